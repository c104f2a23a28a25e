"""Real cells on the axis from control to treated, to be seen beside a translated one that stands at the same place."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, concat

from phenolens.evaluation.translations.flips import LabelledCells, fit_folds, judge_folds, well_folds
from phenolens.evaluation.translations.judged_cells import draw_cells
from phenolens.evaluation.translations.measured_cells import describe
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.screens.cells import Cells
from phenolens.screens.conditions import Condition
from phenolens.screens.table import Screen
from phenolens.translation.model.adapter import Adapter

MOST_CELLS = 120


@dataclass(frozen=True, eq=False)
class Axis:
    """The axis from control to treated as classifiers see it, and real cells on it.

    Wells take turns: each cell is placed by a classifier that has seen no cell of its well.

    Parameters
    ----------
    positions
        (n,) log-odds of being treated, of each real cell.
    treated
        (n,) whether it really is.
    wells
        (n,) its well.
    classifiers, fold_of
        The classifier of each group of wells, fitted without that group, and the group of each well.
    """

    positions: NDArray[np.float64]
    treated: NDArray[np.bool_]
    wells: NDArray[np.str_]
    classifiers: list[Callable[[NDArray[np.floating]], NDArray[np.float64]]]
    fold_of: dict[str, int]

    @property
    def accuracy(self) -> float:
        """Balanced accuracy on real cells of wells that the classifiers have not seen; 0.5 is chance."""
        right = (self.positions > 0) == self.treated
        return float((right[self.treated].mean() + right[~self.treated].mean()) / 2)

    def place(self, features: NDArray[np.floating], well: str) -> NDArray[np.float64]:
        """Log-odds (m,) of features (m, F) of cells, made or real, of a well that the classifier has not seen.

        Of a well that is on neither side no classifier knows anything: the mean of all of them is taken.
        """
        fold = self.fold_of.get(well)
        asked = self.classifiers if fold is None else [self.classifiers[fold]]
        return np.asarray(np.mean([classify(features) for classify in asked], axis=0))

    def nearest(self, position: float, count: int, but: int | None = None) -> NDArray[np.intp]:
        """Rows of the real cells whose log-odds are nearest to `position`, from control to treated.

        Parameters
        ----------
        but
            A row that is left out: the cell that was translated is no comparison for itself.
        """
        away = np.abs(self.positions - position)
        if but is not None:
            away[but] = np.inf
        rows = np.argsort(away, kind="stable")[: min(count, int(np.isfinite(away).sum()))]
        return np.asarray(rows[np.argsort(self.positions[rows], kind="stable")])


def fit_axis(cells: LabelledCells) -> Axis | None:
    """Fit the classifiers and place the cells; None where a condition has a single well, so that none is unseen.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> treated = np.repeat([False, True], 40)
    >>> wells = np.repeat(["A01", "A02", "B01", "B02"], 20)
    >>> axis = fit_axis(LabelledCells(rng.normal(size=(80, 3)) + 3 * treated[:, None], wells, treated))
    >>> axis.accuracy > 0.9
    True
    """
    fold_of, folds = well_folds(cells)
    if folds < 2:
        return None
    groups = np.array([fold_of[well] for well in cells.wells])
    classifiers = fit_folds(cells, None, groups, folds, cells.treated, None)
    assert classifiers is not None  # each fold leaves wells of both conditions
    positions = judge_folds(classifiers, cells.features, groups)
    return Axis(positions, cells.treated, cells.wells, classifiers, fold_of)


@dataclass(frozen=True, eq=False)
class RealCells:
    """Real cells of two conditions, and where they stand on the axis between them.

    Parameters
    ----------
    axis
        The axis, whose rows are those of `table`.
    table
        A row a cell: ``field``, ``label``, ``y``, ``x``, ``well``.
    crops
        (n, C, size, size) their pixels.
    """

    axis: Axis
    table: DataFrame
    crops: NDArray[np.generic]

    def row_of(self, field: str, y: float, x: float) -> int | None:
        """The row of the cell at a centre; None where it is not among these."""
        table = self.table
        here = (table["field"] == field) & (np.hypot(table["y"] - y, table["x"] - x) < 0.5)
        return int(np.flatnonzero(here)[0]) if here.any() else None


def real_cells(
    screen: Screen, cells: Cells, conditions: tuple[str, str], adapter: Adapter, most: int = MOST_CELLS, seed: int = 0
) -> Job[RealCells]:
    """Draw real cells of two conditions, evenly over wells, and place them on the axis.

    Parameters
    ----------
    conditions
        Where the axis begins and where it ends.
    most
        Cells of each condition.

    Raises
    ------
    ScreenError
        A condition has a single well, so that no classifier could judge it unseen.
    CellError
        No cell is known in the fields of a condition.
    """
    drawn = []
    for name in conditions:
        part = Screen.select(screen, Condition.parse(name))
        drawn.append((yield from draw_cells(part, cells, adapter.crop, most, seed)))
    crops = np.concatenate([one.crops for one in drawn])
    table = concat([one.table for one in drawn], ignore_index=True)
    treated = np.repeat([False, True], [len(one) for one in drawn])
    features = yield from relabelled(describe(crops, adapter), Progress(0, 0, "Describing real cells"))
    axis = fit_axis(LabelledCells(features, np.asarray(table["well"], str), treated))
    if axis is None:
        raise ScreenError(
            "A classifier must not have seen the wells of the cells it judges, and one of the two conditions has a "
            "single well here: open a screen with two wells or more of each."
        )
    return RealCells(axis, table, crops)
