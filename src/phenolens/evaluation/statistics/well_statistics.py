"""Statistics in which the well is what was repeated: cells of one well are not independent of one another."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2000
_LEVELS = (0.025, 0.975)


def well_means(values: ArrayLike, wells: ArrayLike) -> NDArray[np.float64]:
    """(W, F) means of `values` (n, F) within each well, in the order of the wells' names; NaN is left out."""
    given = np.asarray(values, float)
    names = np.asarray(wells)
    return np.stack([np.nanmean(given[names == well], axis=0) for well in np.unique(names)])


def draw_wells(count: int, seed: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """(draws, count) weights of wells that are drawn with replacement; each row sums to 1."""
    rng = np.random.default_rng([seed, count])
    return np.asarray(rng.multinomial(count, np.full(count, 1 / count), size=draws) / count)


def mean_interval(values: ArrayLike, wells: ArrayLike, seed: int = 0) -> tuple[float, float, float]:
    """Mean of `values` (n,), wells weighing alike, with a 95 % interval by bootstrap over wells.

    Without a number where there is nothing to average; the interval is NaN where there are fewer than two wells.
    """
    given, names = np.asarray(values, float), np.asarray(wells)
    known = np.isfinite(given)
    if not known.any():
        return np.nan, np.nan, np.nan
    means = well_means(given[known][:, None], names[known])[:, 0]
    low, high = interval(draw_wells(len(means), seed) @ means) if len(means) > 1 else (np.nan, np.nan)
    return float(means.mean()), low, high


def interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile interval of bootstrap draws (draws,); NaN where none is a number."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, _LEVELS)
    return float(low), float(high)
