"""Which channels tell the two conditions apart, and so have something to translate.

The networks see all channels at once and may let one move to meet another: a nucleus towards a reporter, where only the
reporter was treated. A channel that by itself cannot tell the conditions apart, in wells that it was not asked about
before, gives no ground for changing it: it is held.
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

# Chance is 0.5. On simulated screens channels that a treatment leaves alone come to 0.38 to 0.60, those that it changes
# to 0.93 and more.
DISCRIMINATIVE = 0.65
_RINGS = 6
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_SCALES = (0.7, 1.5, 3.0, 6.0)
_RIDGE = 10.0


def discriminative_channels(
    source: np.ndarray, target: np.ndarray, source_wells: np.ndarray, target_wells: np.ndarray
) -> np.ndarray | None:
    """Area under the ROC curve with which each channel alone tells two conditions apart, in wells left out.

    A linear classifier on simple features of a crop (rings, quantiles, contrast at several scales) is fitted without
    one well of each condition and judged on them, each well in turn.

    Parameters
    ----------
    source, target
        (n, C, size, size) float32 mapped crops of the two conditions.
    source_wells, target_wells
        (n,) the well of each crop.

    Returns
    -------
    (C,) float64, 0.5 where the channel says nothing; None where a condition has a single well, as then differences
    between conditions and between wells cannot be told apart.
    """
    wells = np.unique(source_wells), np.unique(target_wells)
    if min(map(len, wells)) < 2:
        return None
    folds = [(wells[0][i % len(wells[0])], wells[1][i % len(wells[1])]) for i in range(max(map(len, wells)))]
    areas = np.empty((source.shape[1], len(folds)))
    for channel in range(source.shape[1]):
        one, other = _features(source[:, channel]), _features(target[:, channel])
        for fold, (out, left) in enumerate(folds):
            judge = _fit(one[source_wells != out], other[target_wells != left])
            areas[channel, fold] = _area(judge(one[source_wells == out]), judge(other[target_wells == left]))
    return np.asarray(areas.mean(axis=1))


def fit_progress(source: np.ndarray, target: np.ndarray) -> Callable[[np.ndarray], float]:
    """How far cells have come on the way from one condition to the other, by the mean of their features.

    Parameters
    ----------
    source, target
        (n, C, size, size) float32 mapped crops of the two conditions.

    Returns
    -------
    Callable
        Of crops (m, C, size, size): 0 where their mean features are those of `source`, 1 for `target`, along the line
        between them. A feature counts by its spread within the conditions.
    """

    one, other = features_of_cells(source), features_of_cells(target)
    spread = np.sqrt((one.var(axis=0) + other.var(axis=0)) / 2) + 1e-6
    start = one.mean(axis=0) / spread
    way = other.mean(axis=0) / spread - start
    return lambda crops: float((features_of_cells(crops).mean(axis=0) / spread - start) @ way / (way @ way))


def fit_judge(source: np.ndarray, target: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the linear classifier of `discriminative_channels` to all channels together.

    Parameters
    ----------
    source, target
        (n, C, size, size) float32 mapped crops of the two conditions.

    Returns
    -------
    Callable
        Of crops (m, C, size, size): (m,) float64, above 0 where a crop is more like `target`.
    """
    judge = _fit(features_of_cells(source), features_of_cells(target))
    return lambda crops: judge(features_of_cells(crops))


def features_of_cells(crops: np.ndarray) -> np.ndarray:
    """(n, k) float64: simple features of crops (n, C, size, size), channel by channel (rings, quantiles, contrast)."""
    return np.concatenate([_features(crops[:, channel]) for channel in range(crops.shape[1])], axis=1)


def _features(crops: np.ndarray) -> np.ndarray:
    """(n, k) features of crops (n, h, w) that do not depend on how a cell is turned."""
    n, height, width = crops.shape
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    ring = (radius / (height / 2) * _RINGS).astype(int)
    found = []
    for number in range(_RINGS):
        inside = crops[:, ring == number]
        found += [inside.mean(axis=1), inside.std(axis=1)]
    found += list(np.quantile(crops.reshape(n, -1), _QUANTILES, axis=1))
    for scale in _SCALES:
        band = gaussian_filter(crops, (0, scale, scale)) - gaussian_filter(crops, (0, 2 * scale, 2 * scale))
        found += [band.std(axis=(1, 2)), (band**3).mean(axis=(1, 2))]
    return np.stack(found, axis=1).astype(np.float64)


def _fit(one: np.ndarray, other: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a ridge classifier in which both conditions weigh the same; its score rises from `one` to `other`."""
    both = np.concatenate([one, other])
    mean, spread = both.mean(axis=0), both.std(axis=0) + 1e-6
    weight = np.concatenate([np.full(len(one), 0.5 / len(one)), np.full(len(other), 0.5 / len(other))])
    goal = np.concatenate([np.full(len(one), -1.0), np.full(len(other), 1.0)])
    seen = (both - mean) / spread
    seen -= weight @ seen
    penalty = np.eye(seen.shape[1]) * _RIDGE / len(both)
    slope = np.linalg.solve((seen.T * weight) @ seen + penalty, (seen.T * weight) @ goal)
    return lambda features: (features - mean) / spread @ slope


def _area(low: np.ndarray, high: np.ndarray) -> float:
    """Share of pairs in which the score of `high` is above that of `low`; ties count half."""
    ranks = rankdata(np.concatenate([low, high]))[len(low) :]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(low) * len(high)))
