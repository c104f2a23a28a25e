"""How far apart two sets of cells lie as sets: the unbiased kernel distance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.progress import Job, Progress

DRAWS = 50


@dataclass(frozen=True, eq=False)
class KernelDistances:
    """Squared distances of sets of `size` cells, (draws,) each, over random draws of cells and halves of wells.

    Parameters
    ----------
    translated, source, real
        From translated, source and further real treated cells, to real treated cells.
    by_wells
        Whether the two sets of real cells are of different wells.
    """

    size: int
    translated: NDArray[np.float64]
    source: NDArray[np.float64]
    real: NDArray[np.float64]
    by_wells: bool


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
    treated: NDArray[np.floating],
    treated_wells: NDArray[np.str_],
    seed: int = 0,
) -> Job[KernelDistances | None]:
    """Compare sets of one size, so that no distance is small for its sample alone.

    Each draw divides the treated wells in two halves (their cells, where there is one well) and draws as many source
    and translated cells. Features are scaled by the source and treated cells.

    Returns
    -------
    KernelDistances or None
        None where there are too few cells.
    """
    wells = np.unique(treated_wells)
    by_wells = len(wells) > 1
    units = treated_wells if by_wells else np.arange(len(treated)).astype(str)
    names = np.unique(units)
    sizes = np.sort([int((units == name).sum()) for name in names])
    size = min(len(source), len(translated), int(sizes[: len(names) // 2].sum()))
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
    found = []
    for number in range(DRAWS):
        half = np.isin(units, rng.permutation(names)[: len(names) // 2])
        if rng.random() < 0.5:
            half = ~half
        one = treated[rng.permutation(np.flatnonzero(half))[:size]]
        other = treated[rng.permutation(np.flatnonzero(~half))[:size]]
        cells = rng.permutation(len(source))[:size]
        found.append([kernel_distance(part, one, bandwidth) for part in (translated[cells], source[cells], other)])
        if number % 10 == 0:
            yield Progress(number, DRAWS, "Kernel distances")
    at = np.array(found)
    return KernelDistances(size, at[:, 0], at[:, 1], at[:, 2], by_wells)


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(squared, 0) / (2 * bandwidth**2)))
