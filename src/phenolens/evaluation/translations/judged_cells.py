"""The real cells that an evaluation looks at: drawn evenly over wells, and cut."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells
from phenolens.screens.crops import cut, window_at
from phenolens.screens.table import Screen


@dataclass(frozen=True, eq=False)
class JudgedCells:
    """Cells of one condition.

    Parameters
    ----------
    crops
        (n, C, size, size) in the field's units and dtype.
    table
        n rows: ``field``, ``label``, ``y``, ``x`` and ``well``, in the order of `crops`.
    """

    crops: NDArray[np.generic]
    table: DataFrame

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def wells(self) -> NDArray[np.str_]:
        """(n,) the well of each cell."""
        return np.asarray(self.table["well"], str)


def draw_cells(screen: Screen, cells: Cells, crop: int, most: int, seed: int) -> Job[JudgedCells]:
    """Draw up to about `most` cells, as many from each well, in random order, and cut `crop` pixels around each.

    Raises
    ------
    CellError
        There is no cell in these fields.
    ImageError
        A field cannot be read.
    """
    wells = {field.key: field.well for field in screen}
    table = cells.table[cells.table["field"].isin(wells)].reset_index(drop=True)
    if table.empty:
        raise CellError(
            f"No cell was found in {len(screen)} fields, such as {screen.fields[0].key}: give label images, or add "
            "fields."
        )
    table = table.assign(well=table["field"].map(wells))
    rng = np.random.default_rng([seed, len(table)])
    table = table.iloc[rng.permutation(len(table))]
    share = -(-most // table["well"].nunique())
    table = table.groupby("well", sort=True).head(share).reset_index(drop=True)
    found: dict[int, NDArray[np.generic]] = {}
    groups = table.groupby("field").groups
    for number, (key, rows) in enumerate(groups.items(), start=1):
        plane = screen[str(key)].image().plane()
        for row in rows:
            found[row] = cut(plane, window_at(table.at[row, "y"], table.at[row, "x"], crop))
        yield Progress(number, len(groups), f"Cutting cells of {key}")
    return JudgedCells(np.stack([found[row] for row in range(len(table))]), table)
