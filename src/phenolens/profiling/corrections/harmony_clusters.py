"""Soft clusters of directions that hold all batches alike, and how far the batches lie apart in each.

The two halves of a round of Harmony; see `harmony`.
"""

import numpy as np
from numpy.typing import NDArray

_BLOCKS = 20  # the shares are updated a twentieth of the cells at a time, as in the paper
_CLUSTERINGS = 20  # updates of the centroids, at most
_SETTLED = 1e-5  # relative change of the objective that ends them
_NOBODY = 1e-12  # a cluster with less in it is empty


class SoftClusters:
    """Soft k-means on directions, with a penalty on clusters in which batches are not mixed as they are in all.

    Parameters
    ----------
    directions
        (n, p) rows of length 1.
    which
        (n,) number of each row's batch, below `batches`.
    centroids
        (k, p) to begin with.
    diversity, softness
        Theta and sigma of the paper.
    """

    def __init__(
        self,
        directions: NDArray[np.float64],
        which: NDArray[np.intp],
        batches: int,
        centroids: NDArray[np.float64],
        diversity: float,
        softness: float,
    ) -> None:
        self._directions = directions
        self._which = which
        self._shares_of_batches = np.bincount(which, minlength=batches) / len(which)
        self._diversity = diversity
        self._softness = softness
        self.centroids = centroids
        none = np.zeros((1, len(centroids)))
        self._shares = soft_shares(directions @ centroids.T, none, softness)
        self._held = _held(self._shares, which, batches)

    def favour(self) -> NDArray[np.float64]:
        """(b, k) log of (E / O)^theta; one cell more in each keeps it finite."""
        expected = np.outer(self._shares_of_batches, self._held.sum(axis=0))
        return np.asarray(self._diversity * (np.log1p(expected) - np.log1p(self._held)))

    def settle(self, random: np.random.Generator) -> float:
        """Alternate centroids and shares until the objective stays; return it."""
        objective = np.inf
        for _ in range(_CLUSTERINGS):
            self.centroids = unit_directions(self._shares.T @ self._directions)
            similarity = self._directions @ self.centroids.T
            for block in np.array_split(random.permutation(len(similarity)), min(_BLOCKS, len(similarity))):
                which = self._which[block]
                self._held -= _held(self._shares[block], which, len(self._held))
                self._shares[block] = soft_shares(similarity[block], self.favour()[which], self._softness)
                self._held += _held(self._shares[block], which, len(self._held))
            before, objective = objective, self._objective(similarity)
            if abs(before - objective) <= _SETTLED * abs(objective):
                break
        return objective

    def _objective(self, similarity: NDArray[np.float64]) -> float:
        """Sum of R |z - y|^2 + sigma R log R + sigma theta R log(O / E)."""
        shares = self._shares
        distance = 2 * np.sum(shares * (1 - similarity))
        entropy = np.sum(shares * np.log(np.maximum(shares, 1e-300)))
        return float(distance + self._softness * (entropy - np.sum(self._held * self.favour())))


def soft_shares(similarity: NDArray[np.float64], favour: NDArray[np.float64], softness: float) -> NDArray[np.float64]:
    """(n, k) shares of each row in the clusters: R ~ exp(-2 (1 - cos) / sigma) (E / O)^theta, summing to 1."""
    logs = 2 * (similarity - 1) / softness + favour
    logs -= logs.max(axis=1, keepdims=True)
    np.exp(logs, out=logs)
    logs /= logs.sum(axis=1, keepdims=True)
    return logs


def _held(shares: NDArray[np.float64], which: NDArray[np.intp], batches: int) -> NDArray[np.float64]:
    """(b, k) how much of each batch the clusters hold."""
    return np.stack([shares[which == batch].sum(axis=0) for batch in range(batches)])


def batch_offsets(
    table: NDArray[np.float64], shares: NDArray[np.float64], which: NDArray[np.intp], batches: int, ridge: float
) -> NDArray[np.float64]:
    """(b, k, d) coefficients of the batches in each cluster's weighted ridge regression on intercept and batch.

    The intercept is not penalised. Batches exclude one another, so that given the intercept w0 each coefficient is
    (S - O w0) / (O + lambda), with O the cells and S their sum; put into the intercept's equation that gives w0.
    """
    held = _held(shares, which, batches)
    sums = np.stack([shares[which == batch].T @ table[which == batch] for batch in range(batches)])
    weight = (held * ridge / (held + ridge)).sum(axis=0)
    weighted = (sums * (ridge / (held + ridge))[:, :, None]).sum(axis=0)
    intercept = weighted / np.maximum(weight, _NOBODY)[:, None]
    return np.asarray((sums - held[:, :, None] * intercept) / (held + ridge)[:, :, None])


def expected_offsets(
    shares: NDArray[np.float64], which: NDArray[np.intp], offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, d) the offsets of each row's batch, by the row's shares in the clusters."""
    off = np.empty((len(shares), offsets.shape[2]))
    for batch in np.unique(which):
        rows = which == batch
        off[rows] = shares[rows] @ offsets[batch]
    return off


def first_centroids(directions: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(k, p) rows far from one another (k-means++), moved by a few steps of k-means on the cosine."""
    chosen = [int(random.integers(len(directions)))]
    nearest = directions @ directions[chosen[0]]
    for _ in range(count - 1):
        gap = np.clip(1 - nearest, 0, None)
        total = gap.sum()
        weights = gap / total if total > 0 else np.full(len(gap), 1 / len(gap))
        chosen.append(int(random.choice(len(gap), p=weights)))
        nearest = np.maximum(nearest, directions @ directions[chosen[-1]])
    centroids = directions[chosen]
    for _ in range(10):
        own = (directions @ centroids.T).argmax(axis=1)
        sums = np.zeros_like(centroids)
        np.add.at(sums, own, directions)
        empty = np.bincount(own, minlength=count) == 0
        centroids = np.where(empty[:, None], centroids, unit_directions(sums))
    return centroids


def leading_directions(centred: NDArray[np.float64], components: int) -> NDArray[np.float64]:
    """(d, p) directions of most variance; all, unturned, where there are no more than `components`."""
    dimension = centred.shape[1]
    if dimension <= components:
        return np.eye(dimension)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(vectors[:, ::-1][:, :components])


def unit_directions(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of `table` at length 1; zeros stay."""
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(table, lengths, out=np.zeros_like(table), where=lengths > 0)
    return unit
