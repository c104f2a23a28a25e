"""What moved in the cells that were translated: each feature, in spreads of real cells, with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.evaluation.statistics.well_statistics import mean_interval, well_means
from phenolens.evaluation.translations.features import measure_cells
from phenolens.evaluation.translations.judged_cells import draw_cells
from phenolens.runtime.progress import Job
from phenolens.screens.cells import Cells, guess_nucleus_channel
from phenolens.screens.conditions import Condition
from phenolens.screens.table import Screen
from phenolens.translation.model.adapter import Adapter

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_REFERENCE = 80


@dataclass(frozen=True, eq=False)
class Moves:
    """Moves of features in units of their spread among real cells of one well.

    Parameters
    ----------
    table
        A row a feature that was measured: ``feature``, ``mean`` over the translated cells, its 95 % interval ``low``
        and ``high``, and ``cells`` with the move (n,) of each cell, NaN where it was not measured.
    wells
        Number of wells that the cells are of. The interval is one over wells where there are several; else one over
        cells, which says how alike the cells of this well moved, and nothing of other wells.
    """

    table: "DataFrame"
    wells: int

    def of_cell(self, number: int) -> NDArray[np.float64]:
        """The move (F,) of each feature in one of the cells, in the order of `table`."""
        return np.array([row[number] for row in self.table["cells"]], float)


def measure_moves(
    before: "DataFrame", after: "DataFrame", wells: ArrayLike, reference: "DataFrame", reference_wells: ArrayLike
) -> Moves:
    """Compare the features of cells before and after a translation.

    Parameters
    ----------
    before, after
        Features of the same n cells, a row a cell; NaN where a cell could not be measured.
    wells
        (n,) the well of each.
    reference, reference_wells
        Features of real cells, and their wells: the spread within wells is the unit.

    Returns
    -------
    Moves
        The largest mean move first; without features that stand still in the reference.
    """
    import pandas as pd

    names = np.asarray(wells, str)
    whole = reference.to_numpy(float)
    kept = np.isfinite(whole).all(axis=1)
    whole, homes = whole[kept], np.asarray(reference_wells, str)[kept]
    if len(whole) < 2:
        spread = np.full(whole.shape[1], np.nan)
    else:
        middle = well_means(whole, homes)[np.unique(homes, return_inverse=True)[1]]
        spread = np.sqrt(((whole - middle) ** 2).sum(axis=0) / max(len(whole) - len(np.unique(homes)), 1))
    moved = after.to_numpy(float) - before.to_numpy(float)
    several = len(np.unique(names)) > 1
    rows = []
    for column, name in enumerate(before.columns):
        least = 1e-9 * (np.abs(whole[:, column]).max(initial=0.0) + 1e-9)
        if not spread[column] > least:
            continue
        cells = moved[:, column] / spread[column]
        units = names if several else np.arange(len(cells)).astype(str)
        mean, low, high = mean_interval(cells, units)
        rows.append({"feature": name, "mean": mean, "low": low, "high": high, "cells": cells})
    table = pd.DataFrame(rows, columns=["feature", "mean", "low", "high", "cells"])
    table = table.sort_values("mean", key=np.abs, ascending=False, ignore_index=True, kind="stable")
    return Moves(table[table["mean"].notna()].reset_index(drop=True), len(np.unique(names)))


def what_moved(
    screen: Screen,
    cells: Cells,
    source: str,
    before: Sequence[NDArray[np.generic]],
    after: Sequence[NDArray[np.generic]],
    wells: Sequence[str],
    adapter: Adapter,
) -> Job[Moves]:
    """Measure cells before and after their translation, and real cells of their condition for the unit.

    Parameters
    ----------
    source
        The condition that the cells are of.
    before, after
        Crops (C, size, size) of each translated cell, in the units of the screen.
    wells
        The well of each.

    Raises
    ------
    CellError
        There is no real cell of this condition to compare with.
    """
    nucleus = adapter.nucleus_channel if adapter.nucleus_channel is not None else guess_nucleus_channel(screen)
    real = yield from draw_cells(screen.select(Condition.parse(source)), cells, adapter.crop, MOST_REFERENCE, 0)
    _, unit = yield from measure_cells(real.crops, nucleus, adapter, "real cells")
    _, one = yield from measure_cells(np.stack(before), nucleus, adapter, "cells as they were")
    _, other = yield from measure_cells(np.stack(after), nucleus, adapter, "translated cells")
    return measure_moves(one, other, list(wells), unit, real.wells)
