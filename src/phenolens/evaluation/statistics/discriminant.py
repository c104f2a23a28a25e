"""A linear classifier of two conditions that gives a log-odds."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Share of the identity in the covariance of standardised features, so that few cells suffice for many features.
SHRINKAGE = 0.1


def fit_discriminant(
    features: NDArray[np.floating], treated: NDArray[np.bool_], shrinkage: float = SHRINKAGE
) -> Callable[[NDArray[np.floating]], NDArray[np.float64]]:
    """Fit linear discriminant analysis with a shrunken covariance; both conditions weigh the same.

    Parameters
    ----------
    features
        (n, F) finite; features that stand still are left out.
    treated
        (n,) condition of each row; both occur.

    Returns
    -------
    Callable
        Of features (m, F): the log-odds (m,) of being treated, above 0 where treated is likelier.
    """
    given = np.asarray(features, np.float64)
    mean, spread = given.mean(axis=0), given.std(axis=0)
    used = spread > 1e-9 * (np.abs(mean) + 1e-9)
    mean, spread = mean[used], spread[used]
    seen = (given[:, used] - mean) / spread
    low, high = seen[~treated].mean(axis=0), seen[treated].mean(axis=0)
    within = seen - np.where(treated[:, None], high, low)
    covariance = within.T @ within / len(seen)
    covariance *= 1 - shrinkage
    covariance[np.diag_indices(len(covariance))] += shrinkage
    slope = np.linalg.solve(covariance, high - low)
    middle = (low + high) / 2
    return lambda rows: np.asarray(((np.asarray(rows, np.float64)[:, used] - mean) / spread - middle) @ slope)
