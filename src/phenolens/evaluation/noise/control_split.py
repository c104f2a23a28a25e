"""Split control wells into two pretended conditions, and wells to judge by."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from phenolens.runtime.errors import ScreenError

ENOUGH = 5
"""From so many wells on some are left out of training, and their cells are judged."""
_TRIES = 50


@dataclass(frozen=True)
class ControlSplit:
    """Wells of two pretended conditions, and wells that are in neither; these are none where wells are few."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    judged: tuple[str, ...]


def split_controls(plates: Mapping[str, str], count: int, seed: int) -> list[ControlSplit]:
    """Split wells `count` times at random, each time in another way; fewer where there are not as many ways.

    On each plate both pretended conditions have as many wells, give or take one, and they have as many altogether.
    The wells left out are others each time, until all have had their turn.

    Parameters
    ----------
    plates
        The plate of each control well.

    Raises
    ------
    ScreenError
        Where there are fewer than two wells.
    """
    wells = sorted(plates)
    if len(wells) < 2:
        raise ScreenError(
            f"The noise floor needs cells of at least 2 control wells, and there "
            f"{'is 1' if wells else 'are none'}: add fields of other control wells."
        )
    turns = np.random.default_rng(seed).permutation(len(wells))
    out = _left_out(len(wells))
    splits: list[ControlSplit] = []
    seen: set[frozenset[tuple[str, ...]]] = set()
    for attempt in range(_TRIES):
        if len(splits) == count:
            break
        start = len(splits) * out
        judged = {wells[turns[(start + i) % len(wells)]] for i in range(out)}
        rng = np.random.default_rng([seed, attempt])
        order = [well for plate in rng.permutation(sorted(set(plates.values()))) for well in rng.permutation(
            [well for well in wells if plates[well] == plate and well not in judged])]  # fmt: skip
        halves = [tuple(sorted(map(str, order[part::2]))) for part in (0, 1)]
        if frozenset(halves) not in seen:
            seen.add(frozenset(halves))
            splits.append(ControlSplit(halves[0], halves[1], tuple(sorted(judged))))
    return splits


def _left_out(wells: int) -> int:
    """A fifth of the wells, and one more where that makes the two conditions equal."""
    if wells < ENOUGH:
        return 0
    out = wells // 5
    return out + 1 if (wells - out) % 2 and wells - out > 4 else out
