"""Take out of embeddings what comes from the batch and is not the same for all cells, after the paper on Harmony.

Cells are clustered softly, with a penalty on clusters that hold one batch more than others; within each cluster a
ridge regression says how far each batch lies from the rest, and that is taken off. Both are repeated.

Korsunsky et al., Fast, sensitive and accurate integration of single-cell data with Harmony, Nature Methods 16,
1289-1296 (2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.corrections.harmony_clusters import (
    SoftClusters,
    batch_offsets,
    expected_offsets,
    first_centroids,
    leading_directions,
    soft_shares,
    unit_directions,
)
from phenolens.profiling.corrections.standardise import finite_table
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress

_SETTLED = 1e-4  # relative change of the objective that ends the rounds
_ROWS = 1 << 14  # rows corrected at a time


@dataclass(frozen=True, eq=False)
class HarmonyCorrection:
    """What is taken off the embeddings of each batch, by where they lie.

    A row is corrected by itself, so that cells that were not there when it was fitted can be, if of a known batch.

    Parameters
    ----------
    batches
        Names of the b batches.
    mean
        (d,) float64, the origin from which directions are seen.
    axes
        (d, p) float64, the p leading directions, in which the k clusters lie.
    centroids
        (t, k, p) float64 of length 1, in each of t rounds.
    favour
        (t, b, k) float64: log of the factor by which a batch is drawn to a cluster that holds too little of it.
    steps
        (t, b, k, p) float64: how far each batch lies off in each cluster, in the leading directions.
    offsets
        (b, k, d) float64: the last of these, in all dimensions; zeros where there is one batch.
    softness
        Width of the soft clustering; see `fit_harmony`.
    """

    batches: tuple[str, ...]
    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    centroids: NDArray[np.float64]
    favour: NDArray[np.float64]
    steps: NDArray[np.float64]
    offsets: NDArray[np.float64]
    softness: float

    def apply(self, embeddings: ArrayLike, batches: Sequence[Any]) -> NDArray[np.float32]:
        """Return `embeddings` (n, d) of rows of the n `batches` as if all were of one batch.

        Raises
        ------
        ScreenError
            A batch was not among those fitted, the dimension is another, or an embedding is not finite.
        """
        table = finite_table(embeddings)
        if table.shape[1] != len(self.mean):
            raise ScreenError(
                f"The embeddings have {table.shape[1]} dimensions where {len(self.mean)} were fitted: embed all with "
                "the same encoder."
            )
        names = _names(batches, len(table))
        unknown = sorted(set(names) - set(self.batches))
        if unknown:
            raise ScreenError(
                f"Batch {unknown[0]!r} was not among the {len(self.batches)} batches that were fitted: "
                "fit it with that batch."
            )
        which = _numbers(names, self.batches)
        corrected = np.empty(table.shape, np.float32)
        for start in range(0, len(table), _ROWS):
            part = slice(start, start + _ROWS)
            corrected[part] = table[part] - self._off(table[part], which[part])
        return corrected

    def _off(self, table: NDArray[np.float64], which: NDArray[np.intp]) -> NDArray[np.float64]:
        """(n, d) what is to be taken off."""
        leading = (table - self.mean) @ self.axes
        off = np.zeros_like(leading)
        shares = np.zeros((len(table), self.offsets.shape[1]))
        for centroids, favour, step in zip(self.centroids, self.favour, self.steps, strict=True):
            shares = soft_shares(unit_directions(leading - off) @ centroids.T, favour[which], self.softness)
            off = expected_offsets(shares, which, step)
        return expected_offsets(shares, which, self.offsets)


def fit_harmony(
    embeddings: ArrayLike,
    batches: Sequence[Any],
    *,
    clusters: int | None = None,
    diversity: float = 2.0,
    softness: float = 0.1,
    ridge: float = 1.0,
    components: int = 50,
    rounds: int = 10,
    seed: int = 0,
) -> Job[HarmonyCorrection]:
    """Find what sets the batches apart in each neighbourhood.

    Parameters
    ----------
    embeddings
        (n, d), best scaled plate by plate first: clusters are told apart by direction from the mean.
    batches
        n names.
    clusters
        Number of clusters; a thirtieth of the rows and at most 100 where None.
    diversity
        Theta of the paper: how strongly a cluster is kept from holding one batch more than others; 0 not at all.
    softness
        Sigma of the paper: towards 0 each cell belongs to one cluster only.
    ridge
        Lambda of the paper: as if so many more cells of each batch in each cluster lay where all do.
    components
        Clusters lie in this many leading directions of the embeddings; the correction is of all dimensions.
    rounds
        Of clustering and correcting, at most; they end when the clusters have settled.
    seed
        Of the first centroids and of the order in which cells are looked at.

    Yields
    ------
    Progress
        One for each round, with the ``objective``.

    Raises
    ------
    ScreenError
        Rows and names do not match, or an embedding is not finite.
    """
    table = finite_table(embeddings)
    names = _names(batches, len(table))
    if min(ridge, softness) <= 0 or diversity < 0:
        raise ValueError(f"ridge {ridge} and softness {softness} must be above 0, diversity {diversity} not below")
    found = tuple(dict.fromkeys(names))
    which = _numbers(names, found)
    count = _cluster_count(clusters, len(table))
    mean = table.mean(axis=0)
    axes = leading_directions(table - mean, components)
    leading = (table - mean) @ axes
    shares = np.zeros((len(table), count))
    off = np.zeros_like(leading)
    random = np.random.default_rng(seed)
    kept: list[tuple[NDArray[np.float64], ...]] = []
    centroids, objective = np.empty((count, axes.shape[1])), np.inf
    for number in range(rounds if len(found) > 1 else 0):
        yield Progress(number, rounds, "Mixing the batches", {"objective": objective} if number else {})
        directions = unit_directions(leading - off)
        if number == 0:
            centroids = first_centroids(directions, count, random)
        clustering = SoftClusters(directions, which, len(found), centroids, diversity, softness)
        before, objective = objective, clustering.settle(random)
        centroids, favour = clustering.centroids, clustering.favour()
        # as `apply` will see each row, by itself
        shares = soft_shares(directions @ centroids.T, favour[which], softness)
        step = batch_offsets(leading, shares, which, len(found), ridge)
        off = expected_offsets(shares, which, step)
        kept.append((centroids, favour, step))
        if abs(before - objective) <= _SETTLED * abs(objective):
            break
    shapes = ((count, axes.shape[1]), (len(found), count), (len(found), count, axes.shape[1]))
    stacked = [np.array([of_round[part] for of_round in kept]).reshape(-1, *shape) for part, shape in enumerate(shapes)]
    offsets = batch_offsets(table - mean, shares, which, len(found), ridge)
    yield Progress(rounds, rounds, f"Mixed the batches in {len(kept)} rounds")
    return HarmonyCorrection(found, mean, axes, stacked[0], stacked[1], stacked[2], offsets, softness)


def harmonise(profiles: Profiles, column: str = "Metadata_Batch", **options: Any) -> Job[Profiles]:
    """Correct `profiles` for the batches that a metadata `column` names; the options are those of `fit_harmony`.

    The card's list ``corrections`` grows by one entry.

    Raises
    ------
    ScreenError
        There is no such column, or as `fit_harmony`.
    """
    batches = profiles.column(column).astype(str).tolist()
    correction = yield from fit_harmony(profiles.vectors, batches, **options)
    entry = {"name": "harmony", "column": column, "rounds": len(correction.centroids), **options}
    return profiles.with_vectors(
        correction.apply(profiles.vectors, batches), corrections=[*profiles.card.get("corrections", []), entry]
    )


def _names(batches: Sequence[Any], rows: int) -> list[str]:
    names = [str(batch) for batch in batches]
    if len(names) != rows:
        raise ScreenError(f"{len(names)} batch names were given for {rows} embeddings: give one a row.")
    return names


def _numbers(names: Sequence[str], known: Sequence[str]) -> NDArray[np.intp]:
    """The place of each name among those known."""
    places = {name: place for place, name in enumerate(known)}
    return np.array([places[name] for name in names], np.intp)


def _cluster_count(wanted: int | None, rows: int) -> int:
    """How many clusters there are to be of so many rows; raise `ScreenError` where that cannot be."""
    count = wanted if wanted is not None else min(100, max(1, round(rows / 30)))
    if not 1 <= count <= rows:
        raise ScreenError(f"{count} clusters were asked for among {rows} embeddings: ask for 1 to {rows}.")
    return count
