"""At which dose do translated cells land? One measure of theirs, beside that of real cells of each dose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.evaluation.statistics.well_statistics import draw_wells, interval
from phenolens.evaluation.translations.distributions import ks_distance

_DRAWS = 500
_FEWEST = 2  # cells of a dose with a number
Values = tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True)
class Level:
    """Real cells of one dose, and how far translated cells are from them.

    Parameters
    ----------
    dose
        None for the control cells that were translated.
    own
        Whether it is a dose of the adapter's condition.
    wells, cells
        How many there are.
    median, distance
        Of the measure, and the Kolmogorov-Smirnov distance from translated cells; each with a 95 % interval by
        bootstrap over wells, NaN where there is one well.
    """

    dose: float | None
    own: bool
    wells: int
    cells: int
    median: tuple[float, float, float]
    distance: tuple[float, float, float]


@dataclass(frozen=True)
class DoseDistances:
    """Translated cells beside real cells of each dose.

    Parameters
    ----------
    measure
        What is compared.
    levels
        The control cells, then the doses as they rise.
    closest
        The level that translated cells are closest to.
    alike
        The levels that the wells (of one well, its cells) do not tell from `closest`: drawn anew, they are as close in
        more than 2.5 % of the draws.
    translated
        Median of the translated cells, with its interval.
    """

    measure: str
    levels: tuple[Level, ...]
    closest: Level
    alike: tuple[Level, ...]
    translated: tuple[float, float, float]


def compare_doses(
    measure: str,
    control: Values,
    translated: Values,
    doses: Mapping[float, Values],
    own: Sequence[float],
    seed: int = 0,
) -> DoseDistances | None:
    """Compare `measure` of translated cells with real cells of each dose.

    Parameters
    ----------
    control, translated
        The measure (n,) of each cell before and after, and the well (n,) of each; cells without a number are left out.
    doses
        The same of the real cells of each dose.
    own
        Doses of the adapter's condition.

    Returns
    -------
    DoseDistances or None
        None where fewer than two doses, or too few translated cells, can be measured.
    """
    given: list[tuple[float | None, Values]] = [(None, control), *((dose, doses[dose]) for dose in sorted(doses))]
    sets = [one for one in ((dose, *_known(*values)) for dose, values in given) if len(one[1]) >= _FEWEST]
    after, after_wells = _known(*translated)
    if len(after) < _FEWEST or sum(dose is not None for dose, *_ in sets) < 2:
        return None
    several = len(np.unique(after_wells)) > 1
    drawn_after = _weights(after_wells, seed)
    levels, drawn = [], []
    for number, (dose, values, wells) in enumerate(sets):
        # control and translated cells are of the same wells: one seed draws them together
        weights = _weights(wells, seed if dose is None else seed + 1 + number)
        found = np.array([ks_distance(after, values, a, b) for a, b in zip(drawn_after, weights, strict=True)])
        at = ks_distance(after, values)
        low, high = interval(found) if several and len(np.unique(wells)) > 1 else (np.nan, np.nan)
        level = Level(
            dose, dose in own, len(np.unique(wells)), len(values), _median(values, wells, weights),
            (at, min(low, at), high),
        )  # fmt: skip
        levels.append(level)
        drawn.append(found)
    nearest = int(np.argmin([level.distance[0] for level in levels]))
    farther = np.quantile(np.array(drawn) - drawn[nearest], 0.025, axis=1)
    alike = tuple(
        level for level, gap in zip(levels, farther, strict=True) if gap <= 0 and level is not levels[nearest]
    )
    middle = _median(after, after_wells, drawn_after)
    return DoseDistances(measure, tuple(levels), levels[nearest], alike, middle)


def _known(values: ArrayLike, wells: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    given = np.asarray(values, float)
    return given[np.isfinite(given)], np.asarray(wells)[np.isfinite(given)]


def _weights(wells: NDArray[np.str_], seed: int) -> NDArray[np.float64]:
    """(draws, n) weights of cells: by bootstrap over wells, or over the cells of one well."""
    names, place = np.unique(wells, return_inverse=True)
    if len(names) == 1:
        names, place = wells, np.arange(len(wells))
    return draw_wells(len(names), seed, _DRAWS)[:, place]


def _median(
    values: NDArray[np.float64], wells: NDArray[np.str_], weights: NDArray[np.float64]
) -> tuple[float, float, float]:
    at = float(np.median(values))
    if len(np.unique(wells)) < 2:
        return at, np.nan, np.nan
    order = np.argsort(values)
    share = np.cumsum(weights[:, order], axis=1)
    low, high = interval(values[order][np.argmax(share >= share[:, -1:] / 2 - 1e-12, axis=1)])
    return at, low, high
