"""Maps: 2-D projections that are fitted once, on which a new point has one place, alone or among others.

UMAP's own ``transform`` goes by all points it is given at once, so it is not used here. The places of new points come
from a written rule: for PCA its linear map, for UMAP and t-SNE the mean of the nearest fitted points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.vectors.row_blocks import row_blocks
from phenolens.profiling.vectors.search import checked_table, unit_rows
from phenolens.runtime.errors import PhenolensError, ScreenError
from phenolens.runtime.progress import Job, Progress

ProjectionName = Literal["pca", "umap", "tsne"]
PROJECTIONS: tuple[str, ...] = get_args(ProjectionName)

NEIGHBOURS = 10
"""Fitted points that the place of a new one is the mean of."""
LANDMARKS = 50_000
"""Points that UMAP and t-SNE are fitted to at most; the others are placed by the rule for new points."""

_NO_DISTANCE = 1e-6  # closer than this, points count as equally close: what the similarities are exact to
_DIGITS = 12  # of a cosine
_FEWEST = 10
_TSNE_STEPS = 50


class Projection(Protocol):
    """A fitted map."""

    def place(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Return the coordinates (m, 2) of `vectors` (m, d)."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `restore_projection` makes it from."""
        ...


@dataclass(frozen=True, eq=False)
class LinearProjection:
    """Principal components.

    Parameters
    ----------
    mean
        (d,) float64, taken off first.
    axes
        (d, 2) float64: the directions of greatest and second greatest variance, each with its greatest part positive.
    explained
        (2,) share of the variance along each.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    explained: NDArray[np.float64]

    @classmethod
    def fit(cls, vectors: NDArray[Any]) -> Job[LinearProjection]:
        """Find the components of `vectors` (n, d), a block of rows at a time."""
        count, dimension = vectors.shape
        total = np.zeros(dimension)
        for start, block in row_blocks(vectors, dimension):
            total += block.sum(axis=0, dtype=np.float64)
            yield Progress(start + len(block), 2 * count, "Fitting the principal components")
        mean = total / count
        spread = np.zeros((dimension, dimension))
        for start, block in row_blocks(vectors, dimension):
            centred = block - mean
            spread += centred.T @ centred
            yield Progress(count + start + len(block), 2 * count, "Fitting the principal components")
        variance, directions = np.linalg.eigh(spread)
        axes = np.zeros((dimension, 2))
        used = min(2, dimension)
        axes[:, :used] = directions[:, ::-1][:, :used]
        axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
        share = np.zeros(2)
        if (whole := float(variance.clip(0).sum())) > 0:
            share[:used] = variance.clip(0)[::-1][:used] / whole
        return cls(mean, axes, share)

    def place(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Return the coordinates (m, 2) of `vectors` (m, d); see `Projection`."""
        table = _usable(vectors, len(self.mean))
        placed = np.empty((len(table), 2), np.float32)
        for start, block in row_blocks(table, table.shape[1]):
            placed[start : start + len(block)] = (block - self.mean) @ self.axes
        return placed

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `restore_projection` makes it from."""
        return {"mean": self.mean, "axes": self.axes, "explained": self.explained}


@dataclass(frozen=True, eq=False)
class NeighbourProjection:
    """Places by the nearest fitted points, for maps that are no function themselves.

    A point equal to a fitted one is where that one is. Any other is at the mean of its `NEIGHBOURS` nearest fitted
    points by cosine, each weighted by 1 / max(1 - cosine, 1e-6), which is the inverse square of the distance between
    the directions (D. Shepard, Proc. 23rd ACM National Conference, 517, 1968). Of equally near ones the earlier counts.

    Parameters
    ----------
    rows
        (L,) int64: numbers of the fitted points in the table they were chosen from.
    vectors
        (L, d) float32, no two the same.
    coordinates
        (L, 2) float32: where the fit has put them.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    coordinates: NDArray[np.float32]

    @cached_property
    def _known(self) -> dict[bytes, int]:
        return {vector.tobytes(): number for number, vector in enumerate(self.vectors)}

    @cached_property
    def _directions(self) -> NDArray[np.float64]:
        """The vectors (L, d) at length 1, in double precision: in single, neighbours would go by the batch."""
        return unit_rows(self.vectors)

    def place(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Return the coordinates (m, 2) of `vectors` (m, d); see `Projection`."""
        table = _usable(vectors, self.vectors.shape[1])
        numbers = np.array([self._known.get(row.tobytes(), -1) for row in table])
        placed: NDArray[np.float32] = self.coordinates[numbers]
        new = np.flatnonzero(numbers < 0)
        for start, block in row_blocks(table[new], len(self.vectors)):
            placed[new[start : start + len(block)]] = self._among_neighbours(block)
        return placed

    def _among_neighbours(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        if not block.any(axis=1).all():
            raise ScreenError("An embedding is all zeros and has no direction, so it has no place on this map.")
        cosine = unit_rows(block) @ self._directions.T
        # a product's last bits go by the number of rows; rounded, equal neighbours stay equal
        np.round(cosine, _DIGITS, out=cosine)
        count = min(NEIGHBOURS, cosine.shape[1])
        least = np.partition(cosine, cosine.shape[1] - count, axis=1)[:, -count]
        nearest = np.empty((len(block), count), np.intp)
        for row, near in enumerate(cosine):
            found = np.flatnonzero(near >= least[row])
            nearest[row] = found[np.argsort(-near[found], kind="stable")[:count]]
        weights = 1 / np.maximum(1 - np.take_along_axis(cosine, nearest, axis=1), _NO_DISTANCE)
        place = np.einsum("mk,mkc->mc", weights, self.coordinates[nearest].astype(np.float64))
        return np.asarray(place / weights.sum(axis=1, keepdims=True))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `restore_projection` makes it from."""
        return {"rows": self.rows, "fitted": self.coordinates}


def fit_projection(vectors: NDArray[np.float32], name: str = "pca", seed: int = 0) -> Job[Projection]:
    """Fit a map to `vectors` (n, d).

    Parameters
    ----------
    name
        "pca", "umap" (L. McInnes, J. Healy, J. Melville, arXiv:1802.03426) or "tsne" (L. van der Maaten, G. Hinton,
        J. Mach. Learn. Res. 9, 2579, 2008). The latter two go by cosine, start from the principal components
        (D. Kobak, G. C. Linderman, Nat. Biotechnol. 39, 156, 2021), and are fitted to at most `LANDMARKS` points.
    seed
        For what is drawn: landmarks, and the steps of UMAP and t-SNE.

    Raises
    ------
    ScreenError
        There are too few different points, or one is not finite.
    PhenolensError
        The map needs a package that is not installed.
    """
    if name not in PROJECTIONS:
        raise ValueError(f"projection is {name!r}; choose one of {', '.join(PROJECTIONS)}")
    table = _usable(vectors)
    if name == "pca":
        return (yield from LinearProjection.fit(table))
    yield Progress(0, 0, "Choosing the points to fit")
    rows = _landmarks(table, seed)
    chosen = table[rows]
    start = (yield from LinearProjection.fit(chosen)).place(chosen)
    embed = _umap if name == "umap" else _tsne
    return NeighbourProjection(rows, chosen, np.asarray((yield from embed(chosen, start, seed)), np.float32))


def restore_projection(arrays: Mapping[str, NDArray[Any]], vectors: NDArray[np.float32]) -> Projection:
    """Make a projection again from its `arrays` and the `vectors` (n, d) that it was fitted to."""
    if "axes" in arrays:
        return LinearProjection(arrays["mean"], arrays["axes"], arrays["explained"])
    return NeighbourProjection(arrays["rows"], _usable(vectors[arrays["rows"]]), arrays["fitted"])


def _usable(vectors: ArrayLike, dimension: int | None = None) -> NDArray[np.float32]:
    """Check `vectors`, and return them with one zero only, so that equal rows have equal bytes."""
    table = checked_table(vectors)
    if dimension is not None and table.shape[1] != dimension:
        raise ScreenError(
            f"The embeddings have {table.shape[1]} dimensions and the map was fitted to {dimension}: embed both with "
            "the same encoder."
        )
    usable: NDArray[np.float32] = table.astype(np.float32)
    usable += 0.0
    for start, block in row_blocks(usable, usable.shape[1]):
        if not np.isfinite(block).all():
            wrong = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise ScreenError(f"Embedding row {wrong} (counted from 0) is not finite: leave it out, or embed it again.")
    return usable


def _landmarks(table: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    """Rows to fit, in their order: the first of equal ones, and at most `LANDMARKS`."""
    as_bytes = np.ascontiguousarray(table).view(np.dtype((np.void, table.dtype.itemsize * table.shape[1])))
    rows = np.sort(np.unique(as_bytes.ravel(), return_index=True)[1])
    rows = rows[table[rows].any(axis=1)]
    if len(rows) < _FEWEST:
        raise ScreenError(
            f"There are {len(rows)} different embeddings, and UMAP and t-SNE need at least {_FEWEST}: use pca."
        )
    if len(rows) > LANDMARKS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, LANDMARKS, replace=False))
    return rows.astype(np.int64)


def _umap(vectors: NDArray[np.float32], start: NDArray[np.float32], seed: int) -> Job[NDArray[Any]]:
    yield Progress(0, 0, f"Fitting UMAP to {len(vectors)} points")
    try:
        from umap import UMAP
    except ImportError as error:
        raise _absent("UMAP", "umap-learn") from error
    neighbours = min(15, len(vectors) - 1)
    made = UMAP(n_neighbors=neighbours, metric="cosine", init=start, random_state=seed, n_jobs=1).fit_transform(vectors)
    return np.asarray(made)


def _tsne(vectors: NDArray[np.float32], start: NDArray[np.float32], seed: int) -> Job[NDArray[Any]]:
    yield Progress(0, 0, f"Fitting t-SNE to {len(vectors)} points")
    try:
        from openTSNE import TSNE
    except ImportError as error:
        raise _absent("t-SNE", "openTSNE") from error
    spread = float(start[:, 0].std()) or 1.0
    fit = TSNE(
        perplexity=min(30, (len(vectors) - 1) / 3),
        metric="cosine",
        initialization=start.astype(np.float64) / spread * 1e-4,
        random_state=seed,
        n_jobs=1,
    ).prepare_initial(vectors)
    for exaggeration, steps, before in ((12, 250, 0), (1, 500, 250)):
        for done in range(0, steps, _TSNE_STEPS):
            fit.optimize(_TSNE_STEPS, exaggeration=exaggeration, momentum=0.8, inplace=True)
            yield Progress(before + done + _TSNE_STEPS, 750, "Fitting t-SNE")
    return np.asarray(fit)


def _absent(what: str, package: str) -> PhenolensError:
    return PhenolensError(
        f"{what} needs the package {package}, which is not installed: pip install 'napari-phenolens[map]', or use pca."
    )
