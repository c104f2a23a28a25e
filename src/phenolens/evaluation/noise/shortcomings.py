"""What a screen does not allow of a noise floor."""

import numpy as np

from phenolens.evaluation.noise.control_split import ENOUGH, ControlSplit
from phenolens.evaluation.noise.noise_floor import ALPHA
from phenolens.runtime.errors import ScreenError
from phenolens.screens.table import Screen
from phenolens.translation.model.adapter import Adapter


def shortcomings(
    splits: list[ControlSplit],
    wanted: int,
    groups: np.ndarray,
    wells: int,
    adapter: Adapter,
    screen: Screen,
    plates: set[str],
) -> list[str]:
    """What this screen did not allow, a sentence each.

    Parameters
    ----------
    wanted
        How many splits were asked for.
    groups
        Of each judged cell.
    wells, plates
        How many control wells there are, and on which plates they lie.
    """
    said = []
    if wells < ENOUGH:
        said.append(
            f"With {wells} control wells no well can be left out: the cells judged are cells that were trained on."
        )
    if len(splits) < wanted:
        said.append(f"{wells} control wells can be split in {len(splits)} way(s) only, not in {wanted}.")
    if len(splits) < 2:
        said.append("With one split, how much null adapters differ among themselves is not known.")
    fewest = int(np.bincount(groups).min())
    if fewest < round(1 / ALPHA) - 1:
        said.append(f"{fewest} cells in a group are too few for alpha {ALPHA:g}, at which nothing is significant.")
    treated = {field.key for field in _target_fields(adapter, screen)}
    elsewhere = {str(f.metadata.get("Metadata_Plate", "")) for f in screen if f.key in treated} - plates
    if elsewhere:
        said.append("Treated wells lie on plates without these controls: what such a plate does is not in the floor.")
    return said


def _target_fields(adapter: Adapter, screen: Screen) -> Screen | tuple[()]:
    try:
        return screen.select(adapter.target)
    except ScreenError:
        return ()
