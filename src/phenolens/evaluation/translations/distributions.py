"""Is one measure distributed in translated cells as it is in real treated cells?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.evaluation.statistics.well_statistics import draw_wells, interval

_HALVES = 200


@dataclass(frozen=True, eq=False)
class Distributions:
    """Kolmogorov-Smirnov distances of one measure, each with a 95 % interval.

    Parameters
    ----------
    measure
        Its name.
    values
        The measure of the ``"source"``, ``"translated"`` and ``"treated"`` cells.
    translated, source
        From translated and from source cells to real treated cells; intervals by bootstrap over wells.
    real
        Between random halves of the real treated wells (of the cells, where there is one well): mean, and 95 %.
    """

    measure: str
    values: dict[str, NDArray[np.float64]]
    translated: tuple[float, float, float]
    source: tuple[float, float, float]
    real: tuple[float, float, float]


def ks_distance(
    one: ArrayLike, other: ArrayLike, one_weights: ArrayLike | None = None, other_weights: ArrayLike | None = None
) -> float:
    """Largest difference of the cumulative distributions of (n,) and (m,) values; weights need not sum to 1."""
    a, b = np.asarray(one, float), np.asarray(other, float)
    wa = np.ones(len(a)) if one_weights is None else np.asarray(one_weights, float)
    wb = np.ones(len(b)) if other_weights is None else np.asarray(other_weights, float)
    values = np.concatenate([a, b])
    order = np.argsort(values, kind="stable")
    steps = np.concatenate([wa / wa.sum(), -wb / wb.sum()])[order]
    values = values[order]
    last = np.append(values[1:] != values[:-1], True)  # of values that are equal, both have come
    return float(np.abs(np.cumsum(steps)[last]).max())


def compare_distributions(
    measure: str,
    source: ArrayLike,
    translated: ArrayLike,
    source_wells: ArrayLike,
    treated: ArrayLike,
    treated_wells: ArrayLike,
    seed: int = 0,
) -> Distributions | None:
    """Compare `measure` of source, translated and real treated cells; None where fewer than two can be measured.

    Parameters
    ----------
    source, translated, treated
        (n,), (n,) and (m,) values; cells without a number are left out.
    """
    before, after, names = np.asarray(source, float), np.asarray(translated, float), np.asarray(source_wells)
    known = np.isfinite(before) & np.isfinite(after)
    before, after, names = before[known], after[known], names[known]
    real, real_names = np.asarray(treated, float), np.asarray(treated_wells)
    real, real_names = real[np.isfinite(real)], real_names[np.isfinite(real)]
    if min(len(before), len(real)) < 2:
        return None
    first, second = _weights(names, seed), _weights(real_names, seed + 1)
    bounds = []
    for values in (after, before):
        at = ks_distance(values, real)
        # where either has one well there is no draw, and so no interval
        drawn = [ks_distance(values, real, a, b) for a, b in zip(first, second, strict=False)]
        low, high = interval(np.array(drawn))
        bounds.append((at, min(low, at), high))  # drawing wells again only adds to a distance near 0
    halves = _halves(real, real_names, seed)
    return Distributions(
        measure,
        {"source": before, "translated": after, "treated": real},
        bounds[0],
        bounds[1],
        (float(halves.mean()), *interval(halves)),
    )


def _weights(wells: NDArray[np.str_], seed: int) -> NDArray[np.float64]:
    """(draws, n) weights of cells by bootstrap over wells; (0, n) where there is one well."""
    names, place = np.unique(wells, return_inverse=True)
    if len(names) < 2:
        return np.empty((0, len(wells)))
    return draw_wells(len(names), seed, 500)[:, place]


def _halves(values: NDArray[np.float64], wells: NDArray[np.str_], seed: int) -> NDArray[np.float64]:
    names, place = np.unique(wells, return_inverse=True)
    count = len(names)
    if count < 2:
        count, place = len(values), np.arange(len(values))
    rng = np.random.default_rng([seed, len(values)])
    found = []
    for _ in range(_HALVES):
        half = np.isin(place, rng.permutation(count)[: count // 2])
        found.append(ks_distance(values[half], values[~half]))
    return np.array(found)
