"""How far apart two sets of cells lie as sets: the unbiased kernel distance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.progress import Job, Progress

DRAWS = 50


@dataclass(frozen=True, eq=False)
class KernelDistances:
    """Squared distances of sets of `size` cells, (draws,) each, over random draws of wells and of their cells.

    Parameters
    ----------
    translated, source, real
        From translated, source and further real treated cells, to real treated cells.
    wells
        Of how many wells the cells of a set are; 0 where there is one treated well, which all real cells share.
    """

    size: int
    translated: NDArray[np.float64]
    source: NDArray[np.float64]
    real: NDArray[np.float64]
    wells: int


def kernel_distance(one: NDArray[np.floating], other: NDArray[np.floating], bandwidth: float) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy of (n, F) and (m, F), n and m at least 2.

    With the Gaussian kernel exp(-|a - b|^2 / (2 bandwidth^2)) (Gretton et al., 2012). It may fall below zero.
    """
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    n, m = len(a), len(b)
    within_a = (_kernel(a, a, bandwidth).sum() - n) / (n * (n - 1))
    within_b = (_kernel(b, b, bandwidth).sum() - m) / (m * (m - 1))
    return float(within_a + within_b - 2 * _kernel(a, b, bandwidth).mean())


def median_distance(rows: NDArray[np.floating]) -> float:
    """Median Euclidean distance between rows (n, F), for the bandwidth."""
    from scipy.spatial.distance import pdist

    return float(np.median(pdist(np.asarray(rows, np.float64)))) or 1.0


def measure_distances(
    source: NDArray[np.floating],
    translated: NDArray[np.floating],
    source_wells: NDArray[np.str_],
    treated: NDArray[np.floating],
    treated_wells: NDArray[np.str_],
    seed: int = 0,
) -> Job[KernelDistances | None]:
    """Compare sets of as many cells of as many wells, so that no distance is small for its sample alone.

    Each draw takes some treated wells, as many others, and as many control wells (cells, where there is one treated
    well), and as many cells from each set. Features are scaled by the source and treated cells.

    Returns
    -------
    KernelDistances or None
        None where there are too few cells.
    """
    several = len(np.unique(treated_wells)) > 1
    here, there = (
        np.unique(wells if several else np.arange(len(wells)), return_inverse=True)[1]
        for wells in (source_wells, treated_wells)
    )
    sizes = [np.sort(np.bincount(place)) for place in (here, there)]
    wells = min(len(sizes[0]), len(sizes[1]) // 2)
    size = min(int(each[:wells].sum()) for each in sizes)
    if size < 4:
        return None
    both = np.concatenate([source, treated])
    mean, spread = both.mean(0), both.std(0)
    used = spread > 1e-9 * (np.abs(mean) + 1e-9)
    source, translated, treated = (
        (part[:, used] - mean[used]) / spread[used] for part in (source, translated, treated)
    )
    bandwidth = median_distance(np.concatenate([source, treated]))
    rng = np.random.default_rng([seed, size])

    def drawn(place: NDArray[np.intp], names: NDArray[np.intp]) -> NDArray[np.intp]:
        return rng.permutation(np.flatnonzero(np.isin(place, names)))[:size]

    found = []
    for number in range(DRAWS):
        names = rng.permutation(len(sizes[1]))
        one, other = treated[drawn(there, names[:wells])], treated[drawn(there, names[wells : 2 * wells])]
        cells = drawn(here, rng.permutation(len(sizes[0]))[:wells])
        found.append([kernel_distance(part, one, bandwidth) for part in (translated[cells], source[cells], other)])
        if number % 10 == 0:
            yield Progress(number, DRAWS, "Kernel distances")
    at = np.array(found)
    return KernelDistances(size, at[:, 0], at[:, 1], at[:, 2], wells if several else 0)


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(squared, 0) / (2 * bandwidth**2)))
