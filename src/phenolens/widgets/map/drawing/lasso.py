"""Which points lie within a drawn outline: exact, and fast enough for a million of them."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CELLS = 512
_BLOCK = 1 << 22  # comparisons held at a time


def points_within(points: ArrayLike, outline: ArrayLike) -> NDArray[np.bool_]:
    """Tell which points lie within a closed outline by the even-odd rule.

    Points outside the bounding box are dropped first. The box is divided into small rectangles; one that no edge
    touches lies wholly within or wholly without, which its middle decides for all its points. The points of the others
    are tested one by one, so the answer is that of the test of every point.

    Parameters
    ----------
    points
        (n, 2).
    outline
        (m, 2) corners in order; the last is joined to the first. Fewer than three enclose nothing.

    Returns
    -------
    (n,) bool
    """
    table, corners = np.asarray(points), _corners(outline)
    within = np.zeros(len(table), bool)
    if len(corners) < 3 or not len(table):
        return within
    low, high = corners.min(0), corners.max(0)
    if not (high > low).all():
        return within
    x, y = table[:, 0], table[:, 1]
    candidates = np.flatnonzero((x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1]))
    if len(candidates) * len(corners) <= _BLOCK:
        within[candidates] = _even_odd(table[candidates], corners)
        return within
    step = (high - low) / _CELLS
    touched = _touched(corners, low, step)
    inner = _middles_within(corners, low, step)
    place = ((x[candidates] - low[0]) / step[0]).astype(np.int32).clip(0, _CELLS - 1) * _CELLS
    place += ((y[candidates] - low[1]) / step[1]).astype(np.int32).clip(0, _CELLS - 1)
    found = inner.ravel()[place]
    near = np.flatnonzero(touched.ravel()[place])
    found[near] = _even_odd(table[candidates[near]], corners)
    within[candidates] = found
    return within


def _corners(outline: ArrayLike) -> NDArray[np.float64]:
    """The outline without corners that repeat the one before."""
    corners = np.asarray(outline, np.float64).reshape(-1, 2)
    if len(corners) < 2:
        return corners
    return corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]


def _even_odd(points: NDArray[Any], corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Count for each point the edges that a ray to the right crosses."""
    odd = np.zeros(len(points), bool)
    size = max(1, _BLOCK // len(corners))
    for first in range(0, len(points), size):
        x, y = np.asarray(points[first : first + size], np.float64).T[:, :, None]
        odd[first : first + size] = ((x < _crossings(corners, y)).sum(axis=1) % 2).astype(bool)
    return odd


def _middles_within(
    corners: NDArray[np.float64], low: NDArray[np.float64], step: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(_CELLS, _CELLS) whether the middle of each rectangle, by column and row, lies within."""
    middle = low + (np.arange(_CELLS)[:, None] + 0.5) * step
    inner = np.zeros((_CELLS, _CELLS), bool)
    for row, crossings in enumerate(_crossings(corners, middle[:, 1:])):
        crossed = np.sort(crossings[crossings > -np.inf])
        inner[:, row] = (len(crossed) - np.searchsorted(crossed, middle[:, 0], side="right")) % 2
    return inner


def _crossings(corners: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m) where each edge crosses the horizontal at `y` (n, 1); minus infinity where it does not."""
    start, end = corners, np.roll(corners, -1, axis=0)
    height = end[:, 1] - start[:, 1]
    slope = np.divide(end[:, 0] - start[:, 0], height, out=np.zeros_like(height), where=height != 0)
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    return np.where(crosses, start[:, 0] + (y - start[:, 1]) * slope, -np.inf)


def _touched(corners: NDArray[np.float64], low: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(_CELLS, _CELLS) rectangles that an edge may pass: those around points set along it, at most one apart."""
    touched = np.zeros((_CELLS, _CELLS), bool)
    ends = (corners - low) / step
    for start, end in zip(ends, np.roll(ends, -1, axis=0), strict=True):
        count = int(np.ceil(np.abs(end - start).max())) + 1
        along = np.floor(np.linspace(start, end, count + 1)).astype(np.intp)
        for across in (-1, 0, 1):
            for up in (-1, 0, 1):
                place = np.clip(along + np.array([across, up]), 0, _CELLS - 1)
                touched[place[:, 0], place[:, 1]] = True
    return touched
