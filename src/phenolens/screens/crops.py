"""Cut square windows around cells, bring them to the size of a model, and paste changes back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from phenolens.screens.large_images import Plane


@dataclass(frozen=True)
class Window:
    """A square of a field: top-left pixel (`y`, `x`), which may lie outside, and `size` of its side."""

    y: int
    x: int
    size: int


def window_at(y: float, x: float, size: int) -> Window:
    """Return the window of `size` pixels a side whose middle is nearest to (`y`, `x`).

    Pixel centres are at integers.
    """
    if size < 1:
        raise ValueError("A window is at least one pixel wide.")
    corner = (size - 1) / 2
    return Window(int(np.floor(y - corner + 0.5)), int(np.floor(x - corner + 0.5)), int(size))


def cut(plane: Plane, window: Window) -> NDArray[Any]:
    """Cut `window` out of `plane` (C, H, W); beyond the border the image is reflected.

    Of a `LargePlane` no more is read than that.

    Returns
    -------
    ndarray (C, size, size)
        A copy in the plane's dtype.
    """
    rows = _reflected(window.y, window.size, plane.shape[-2])
    columns = _reflected(window.x, window.size, plane.shape[-1])
    top, left = int(rows.min()), int(columns.min())
    near = plane[..., top : int(rows.max()) + 1, left : int(columns.max()) + 1]
    return np.ascontiguousarray(near[..., (rows - top)[:, None], (columns - left)[None, :]])


def resample(crops: NDArray[Any], size: int) -> NDArray[np.float32]:
    """Resize `crops` (..., h, w) to (..., size, size) with a cubic filter, antialiased when it shrinks.

    Linear, keeps constants, and is the identity where `size` is the size already.
    """
    return resample_to(crops, size, size)


def resample_to(crops: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Resize `crops` (..., h, w) to (..., height, width) as `resample` does."""
    rows = _resampling(crops.shape[-2], height)
    columns = _resampling(crops.shape[-1], width)
    return np.asarray(rows @ np.asarray(crops, np.float32) @ columns.T, np.float32)


def feather(size: int, margin: float) -> NDArray[np.float32]:
    """Return weights (size, size): 1 inside, falling smoothly over `margin` pixels to 0 on the outermost."""
    if margin <= 0:
        return np.ones((size, size), np.float32)
    index = np.arange(size)
    distance = np.minimum(index, size - 1 - index)
    profile = 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / margin, 0, 1))
    return np.asarray(profile[:, None] * profile[None, :], np.float32)


def paste(plane: NDArray[Any], window: Window, difference: NDArray[Any]) -> NDArray[Any]:
    """Add `difference` (C, size, size), in intensity units, to `plane` (C, H, W) at `window`.

    Parts of the window outside the plane are dropped. Integers are rounded and held to the range of their
    dtype. A pixel whose difference is zero keeps its value bit for bit.

    Returns
    -------
    ndarray (C, H, W)
        A new array of the plane's dtype.
    """
    if difference.shape[-2:] != (window.size, window.size):
        raise ValueError(f"A difference of shape {difference.shape} does not fit a window of {window.size} pixels.")
    result = plane.copy()
    height, width = plane.shape[-2:]
    top, left = max(window.y, 0), max(window.x, 0)
    bottom, right = min(window.y + window.size, height), min(window.x + window.size, width)
    if top >= bottom or left >= right:
        return result
    part = difference[..., top - window.y : bottom - window.y, left - window.x : right - window.x]
    result[..., top:bottom, left:right] = changed(result[..., top:bottom, left:right], part)
    return result


def changed(pixels: NDArray[Any], difference: NDArray[Any]) -> NDArray[Any]:
    """Add `difference`, in intensity units, to `pixels` of the same shape.

    Integers are rounded, and all are held to the range of their dtype. A pixel whose difference is zero keeps its
    value bit for bit. Truth values count as 0 and 1.

    Returns
    -------
    ndarray
        A new array of the dtype of `pixels`.
    """
    wanted = pixels.astype(np.float64)
    part = np.asarray(difference, np.float64)
    if pixels.dtype == bool:
        return np.where(part == 0, pixels, wanted + part >= 0.5)
    if np.issubdtype(pixels.dtype, np.integer):
        # The room left up to the ends of the dtype is exact in float64 for all but 64-bit images.
        integers = np.iinfo(pixels.dtype)
        moved = np.clip(wanted + np.rint(part), integers.min, integers.max)
    else:
        floats = np.finfo(pixels.dtype)
        moved = np.clip(wanted + part, floats.min, floats.max)
    return np.where(part == 0, pixels, moved.astype(pixels.dtype))


def _reflected(start: int, count: int, length: int) -> NDArray[np.int64]:
    """Indices start..start+count of an axis of `length`, reflected without repeating the last pixel."""
    if length == 1:
        return np.zeros(count, np.int64)
    index = np.arange(start, start + count) % (2 * length - 2)
    return np.asarray(np.minimum(index, 2 * length - 2 - index), np.int64)


@lru_cache(maxsize=64)
def _resampling(source: int, target: int) -> NDArray[np.float32]:
    """Matrix (target, source) of the cubic filter (a = -1/2), widened when shrinking."""
    scale = source / target
    width = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale - 0.5
    reach = int(np.ceil(2 * width))
    matrix = np.zeros((target, source))
    for offset in range(-reach, reach + 1):
        position = np.floor(centre).astype(int) + offset
        t = np.abs(position - centre) / width
        near = (1.5 * t - 2.5) * t**2 + 1
        far = ((-0.5 * t + 2.5) * t - 4) * t + 2
        weight = np.where(t <= 1, near, np.where(t < 2, far, 0.0))
        np.add.at(matrix, (np.arange(target), _folded(position, source)), weight)
    return np.asarray(matrix / matrix.sum(1, keepdims=True), np.float32)


def _folded(position: NDArray[Any], length: int) -> NDArray[np.int64]:
    """Reflect positions at the outer pixel edges (repeating the last pixel)."""
    index = position % (2 * length)
    return np.asarray(np.minimum(index, 2 * length - 1 - index), np.int64)
