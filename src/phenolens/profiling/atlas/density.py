"""Outlines of the densest part of a group of points on a map: where 20, 50 and 80 % of them lie closest together.

The regions are highest-density regions (R. J. Hyndman, The American Statistician 50, 1996): of all regions with so many
of the points the smallest ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SHARES = (0.2, 0.5, 0.8)
FEWEST = 30
"""Of fewer points a line would follow single ones."""

_CELLS = 3  # of the grid in a bandwidth
_MOST_CELLS = 512
_OUTER = 1  # per cent of the points at either end of an axis, which may lie beyond the grid
_REACH = 4  # bandwidths that the grid goes on beyond the other points
_LOOKED_AT = 5_000  # points whose neighbours say how wide the smoothing is


@dataclass(frozen=True, eq=False)
class DensityOutline:
    """The border of the densest part of a group.

    Parameters
    ----------
    share
        Part of the group's points that lies within, 0 to 1.
    lines
        Closed lines, each (k, 2) x and y in units of the map, the last point equal to the first. Lines within lines are
        holes: what is within an odd number of them is within.
    """

    share: float
    lines: tuple[NDArray[np.float32], ...]


def density_outlines(places: ArrayLike, shares: Sequence[float] = SHARES) -> tuple[DensityOutline, ...]:
    """Draw lines around the densest parts of a group of points.

    The points are counted on a grid and smoothed with a Gaussian that is as wide as what lies around a typical point:
    for a Gaussian cloud Scott's rule, for several clouds that of one of them. A line is where the density is that of
    the last point within.

    Parameters
    ----------
    places
        (n, 2) x and y.
    shares
        Parts of the points, between 0 and 0.9: a few far ones may lie beyond all lines.

    Returns
    -------
    An outline a share; none where there are fewer than `FEWEST` points, or most of them on one spot.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates
    from skimage.measure import find_contours

    points = np.asarray(places, np.float64)
    bandwidth = _bandwidth(points) if len(points) >= FEWEST else 0.0
    if not bandwidth > 0:
        return ()
    low, high = np.percentile(points, [_OUTER, 100 - _OUTER], axis=0) + _REACH * bandwidth * np.array([[-1], [1]])
    cells = np.clip(np.ceil(_CELLS * (high - low) / bandwidth), 8, _MOST_CELLS).astype(int)
    step = (high - low) / cells
    x, y = points[:, 0], points[:, 1]
    counts, _, _ = np.histogram2d(x, y, [int(cells[0]), int(cells[1])], np.stack([low, high], axis=1))
    density = gaussian_filter(counts, np.maximum(bandwidth / step, 1.0), mode="constant")
    # between the middles of the grid's cells as the lines go; beyond the grid there is no density
    here = map_coordinates(density, ((points - low) / step - 0.5).T, order=1, mode="constant")
    ordered = np.sort(here)[::-1]
    around = np.pad(density, 1)  # so that every line is closed
    outlines = []
    for share in shares:
        last = min(max(round(share * len(points)), 1), len(points) - 1)
        level = (ordered[last - 1] + ordered[last]) / 2
        lines = find_contours(around, level)
        outlines.append(DensityOutline(share, tuple(((line - 0.5) * step + low).astype(np.float32) for line in lines)))
    return tuple(outlines)


def _bandwidth(points: NDArray[np.float64]) -> float:
    """Width of the smoothing: the distance within which a typical point has n^(2/3) / 4 neighbours.

    That is Scott's n^(-1/6) standard deviations where the points are one round Gaussian cloud.
    """
    from scipy.spatial import cKDTree

    count = len(points)
    some = points
    if count > _LOOKED_AT:
        some = points[np.random.default_rng(0).choice(count, _LOOKED_AT, replace=False)]
    nearest = max(round(len(some) * count ** (-1 / 3) / 4), 2)
    away, _ = cKDTree(some).query(some, k=[nearest + 1])  # the first is the point itself
    return float(np.median(away))
