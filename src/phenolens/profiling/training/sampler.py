"""Which images a training step compares: two of a compound from different batches, each with a control of its plate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ScreenError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """Rows of one training step.

    Parameters
    ----------
    treated, controls
        (2, items, bag) rows: for each item two bags of cells of its compound, and for each of those a bag of controls.
    compounds
        (items,) numbers of the compounds, from 1.
    """

    treated: Rows
    controls: Rows
    compounds: Rows


class CompoundSampler:
    """Draw what MICON compares (Yu et al., arXiv 2504.09544), with its promises kept.

    The two bags of an item come from different batches wherever its compound is in two; else from different plates,
    wells, or at least cells. Every control comes from the plate of the bag that it stands beside. A plate without
    controls lends its other compounds' cells as reference, and `notes` says so.

    Parameters
    ----------
    compounds
        (n,) numbers: 0 for controls, from 1 for compounds.
    plates, batches, wells
        (n,) names; a well's name may recur on other plates.

    Raises
    ------
    ScreenError
        There is no compound beside the controls.
    """

    def __init__(self, compounds: Rows, plates: Sequence[Any], batches: Sequence[Any], wells: Sequence[Any]) -> None:
        self.compounds = np.asarray(compounds, np.int64)
        self.numbers = np.unique(self.compounds[self.compounds > 0])
        if not len(self.numbers):
            raise ScreenError("No field of this screen has a compound beside the controls: there is nothing to learn.")
        self._plates = _codes(plates)
        self._levels = [_codes(batches), self._plates, _codes(list(zip(plates, wells, strict=True)))]
        self.notes: list[str] = []
        self._groups = {int(number): self._grouped(int(number)) for number in self.numbers}
        self._controls = {
            int(plate): np.flatnonzero((self._plates == plate) & (self.compounds == 0))
            for plate in np.unique(self._plates)
        }
        bare = sum(not len(rows) for rows in self._controls.values())
        if bare:
            self.notes.append(
                f"{bare} of {len(self._controls)} plates have no control: their other compounds serve as reference"
            )
        self._others = {
            plate: np.flatnonzero((self._plates == plate) & (self.compounds > 0)) for plate in self._controls
        }

    def draw(self, items: int, bag: int, rng: np.random.Generator, *, distinct: bool = False) -> Draw:
        """Draw one step.

        Parameters
        ----------
        items
            Number of pairs; no more than there are compounds where they must be `distinct`.
        bag
            Cells that are averaged to one image, all of one well.
        distinct
            No compound twice, as a comparison of images with molecules needs.
        """
        if distinct:
            chosen = rng.permutation(self.numbers)[:items]
        else:
            turns = -(-items // len(self.numbers))
            chosen = np.concatenate([rng.permutation(self.numbers) for _ in range(turns)])[:items]
        treated = np.empty((2, len(chosen), bag), np.int64)
        controls = np.empty_like(treated)
        for item, number in enumerate(chosen):
            for view, well in enumerate(self._two_wells(int(number), rng)):
                treated[view, item] = rng.choice(well, bag, replace=len(well) < bag)
                reference = self._reference(int(self._plates[well[0]]), int(number))
                controls[view, item] = rng.choice(reference, bag, replace=len(reference) < bag)
        return Draw(treated, controls, chosen)

    def _grouped(self, number: int) -> list[list[Rows]]:
        """Cells of a compound by well, the wells by the coarsest level that divides them."""
        rows = np.flatnonzero(self.compounds == number)
        wells = self._levels[2]
        for level in self._levels:
            names = np.unique(level[rows])
            if len(names) > 1:
                return [
                    [within[wells[within] == well] for well in np.unique(wells[within])]
                    for within in (rows[level[rows] == name] for name in names)
                ]
        return [[rows]]

    def _two_wells(self, number: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        groups = self._groups[number]
        if len(groups) == 1:
            # One well alone: two halves of its cells, so that the two bags at least differ.
            cells = rng.permutation(groups[0][0])
            half = max(1, len(cells) // 2)
            return cells[:half], (cells[half:] if len(cells) > 1 else cells)
        one, other = rng.choice(len(groups), 2, replace=False)
        return groups[one][rng.integers(len(groups[one]))], groups[other][rng.integers(len(groups[other]))]

    def _reference(self, plate: int, number: int) -> Rows:
        if len(self._controls[plate]):
            return self._controls[plate]
        others = self._others[plate]
        without = others[self.compounds[others] != number]
        return without if len(without) else others


def _codes(names: Sequence[Any]) -> Rows:
    import pandas as pd

    return np.asarray(pd.factorize(pd.Series(list(names), dtype=object).map(str))[0], np.int64)
