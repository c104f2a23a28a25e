"""Multinomial logistic regression with an L2 penalty, for few cells and many features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LogisticRegression:
    """Probabilities of k classes as the softmax of ``features @ weights + intercepts``.

    Parameters
    ----------
    weights
        (d, k).
    intercepts
        (k,).
    """

    weights: Floats
    intercepts: Floats

    @classmethod
    def fit(cls, features: Floats, classes: NDArray[np.intp], k: int, penalty: float) -> LogisticRegression:
        """Minimise the mean cross-entropy, each class counting the same, plus ``penalty / 2 * sum(weights**2)``.

        Parameters
        ----------
        features
            (n, d).
        classes
            (n,) 0 to k - 1; each is there.
        penalty
            Above 0; makes the minimum unique.
        """
        from scipy.optimize import minimize

        n, d = features.shape
        basis = None
        if n < d:  # the minimum lies in the space of the rows
            basis = np.linalg.svd(features, full_matrices=False)[2]
            features = features @ basis.T
        shape = (features.shape[1] + 1, k)
        found = minimize(
            loss, np.zeros(shape).ravel(), (features, classes, k, penalty), "L-BFGS-B", jac=True,
            options={"maxiter": 1000, "ftol": 1e-10, "gtol": 1e-7},
        ).x.reshape(shape)  # fmt: skip
        weights = found[:-1] if basis is None else basis.T @ found[:-1]
        return cls(weights, found[-1] - found[-1].mean())

    def probabilities(self, features: NDArray[np.floating]) -> Floats:
        """Return (n, k), which sum to 1 in each row, of features (n, d)."""
        return softmax(features @ self.weights + self.intercepts)


def loss(
    parameters: Floats, features: Floats, classes: NDArray[np.intp], k: int, penalty: float
) -> tuple[float, Floats]:
    """Return what `LogisticRegression.fit` minimises, and its gradient ((d + 1) * k,).

    Parameters
    ----------
    parameters
        ((d + 1) * k,): weights (d, k), then intercepts (k,), which are not penalised.
    """
    weights, intercepts = np.split(parameters.reshape(-1, k), [-1])
    shares = 1 / (k * np.bincount(classes, minlength=k)[classes])
    logits = features @ weights + intercepts
    logits -= logits.max(1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    rows = np.arange(len(classes))
    value = -float(shares @ log_probabilities[rows, classes]) + penalty / 2 * float((weights**2).sum())
    missed = np.exp(log_probabilities)
    missed[rows, classes] -= 1
    missed *= shares[:, None]
    gradient = np.concatenate([features.T @ missed + penalty * weights, missed.sum(0, keepdims=True)])
    return value, gradient.ravel()


def softmax(logits: NDArray[np.floating]) -> Floats:
    """Return probabilities (n, k) of logits (n, k)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float64)
