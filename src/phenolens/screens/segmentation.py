"""Find nuclei in a DNA channel without a model: local thresholds, split by shape, outlined at half their brightness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import CellError

# Nuclei are 3 to 60 µm wide: used only where the pixel size is known, to leave out debris and merged clumps.
_DIAMETERS = (3.0, 60.0)
_START_RADIUS = 8.0
# Share of the median contrast that a nucleus needs.
_LEAST_CONTRAST = 0.15
# A cut at least this bright, of the dimmer side, through a shape this solid and, of the typical area, no larger than
# this is no border between two nuclei.
_DARKEST_CUT = 0.92
_CONVEX = 0.93
_LARGEST_WHOLE = 1.6


@dataclass(frozen=True)
class _Scene:
    """An image smoothed for one scale, with its local background and contrast, all (H, W) float32."""

    smooth: NDArray[np.float32]
    background: NDArray[np.float32]
    noise: float


def segment_nuclei(channel: NDArray[Any], pixel_size: float | tuple[float, float] | None = None) -> NDArray[np.int32]:
    """Outline nuclei in one channel.

    The scale is estimated from the image: a first pass finds the typical radius, a second one smooths, thresholds and
    splits at that scale.

    Parameters
    ----------
    channel
        Plane (H, W) of the DNA channel, any real dtype.
    pixel_size
        Micrometres a pixel, where known; leaves out what is too small or large for a nucleus.

    Returns
    -------
    ndarray (H, W) int32
        0 for background, 1, 2, ... for nuclei; all 0 where there are none.

    Raises
    ------
    CellError
        The array is not a plane, or has pixels that are not numbers.
    """
    if channel.ndim != 2:
        raise CellError(f"Nuclei are found in one plane of one channel; this array has shape {channel.shape}.")
    image = np.asarray(channel, np.float32)
    if not np.isfinite(image).all():
        raise CellError("The nucleus channel has pixels that are not numbers (NaN).")
    empty = np.zeros(image.shape, np.int32)
    if min(image.shape) < 8 or np.ptp(image) == 0:
        return empty
    image = np.minimum(image, np.percentile(image, 99.95))  # hot pixels and debris must not set the scale
    radius = _START_RADIUS
    for _ in range(2):
        mask = _mask(_scene(image, radius), radius)
        if not mask.any():
            return empty
        radius = _scale_of(mask)
    scene = _scene(image, radius)
    labels = _rejoined(_split(_mask(scene, radius), radius), scene)
    labels = _outlined(labels, scene, radius)
    return _plausible(_distinct(labels, scene, radius), pixel_size)


def detection_f1(labels: NDArray[Any], truth: NDArray[Any], iou: float = 0.5) -> float:
    """Return the F1 score of objects found, those that overlap a true one by at least `iou`.

    Parameters
    ----------
    labels, truth
        Label images (H, W), 0 for background.
    iou
        Least intersection over union, at least 0.5, so that pairs are unique.

    Returns
    -------
    float
        2 TP / (objects found + true objects); 1 where both are empty.
    """
    if not 0.5 <= iou <= 1:
        raise ValueError("iou is between 0.5 and 1, so that each object has one partner at most.")
    found, labels_index = np.unique(labels, return_inverse=True)
    true, truth_index = np.unique(truth, return_inverse=True)
    overlap = np.bincount(
        labels_index.ravel() * len(true) + truth_index.ravel(), minlength=len(found) * len(true)
    ).reshape(len(found), len(true))
    union = overlap.sum(1, keepdims=True) + overlap.sum(0, keepdims=True) - overlap
    share = (overlap / union)[found != 0][:, true != 0]
    total = sum(share.shape)
    if total == 0:
        return 1.0
    # Above one half a pair is unique; at exactly one half two could tie, so each object counts once.
    hits = share >= iou
    return 2.0 * int(min(hits.any(0).sum(), hits.any(1).sum())) / int(total)


def _mask(scene: _Scene, radius: float) -> NDArray[np.bool_]:
    from scipy import ndimage
    from skimage.morphology import remove_small_holes

    mask = ndimage.binary_opening(_foreground(scene, radius), _disk(max(1.0, radius / 6)))
    return np.asarray(remove_small_holes(mask, max_size=int(radius**2)), bool)


def _scene(image: NDArray[np.float32], radius: float) -> _Scene:
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image, np.clip(radius / 8, 0.7, 4))
    # The background changes slowly: estimate it coarsely, as a low percentile within some nuclei's width.
    step = max(1, round(radius))
    coarse = _block_means(smooth, step)
    size = 2 * round(4 * radius / step) + 1
    background = ndimage.percentile_filter(coarse, 15, size=min(size, 2 * min(coarse.shape) - 1), mode="reflect")
    background = ndimage.gaussian_filter(background, 2 * radius / step)
    zoomed = _enlarged(background, step, image.shape)
    fine = smooth - ndimage.gaussian_filter(image, np.clip(radius / 8, 0.7, 4) * 1.6)
    noise = 1.4826 * float(np.median(np.abs(fine - np.median(fine)))) * 1.5
    return _Scene(smooth, zoomed, noise)


def _foreground(scene: _Scene, radius: float) -> NDArray[np.bool_]:
    """Brighter than half way, on a square-root scale, between the background and the brightest nearby."""
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    height = np.maximum(scene.smooth - scene.background, 0)
    level = np.sqrt(height)
    least = max(0.5 * float(threshold_otsu(level)), np.sqrt(4 * scene.noise))
    step = max(1, round(radius / 3))
    coarse = _block_means(level, step)
    size = 2 * round(1.5 * radius / step) + 1
    peak = ndimage.maximum_filter(coarse, size=size, mode="reflect")
    peak = ndimage.gaussian_filter(peak, radius / step)
    threshold = np.maximum(0.6 * _enlarged(peak, step, level.shape), least)
    return np.asarray(level > threshold, bool)


def _split(mask: NDArray[np.bool_], radius: float) -> NDArray[np.int32]:
    """Cut touching nuclei apart at the necks of their shape."""
    from scipy import ndimage
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    distance = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    distance = ndimage.gaussian_filter(distance, max(0.7, radius / 10))
    # Sixteenths of a pixel as integers, which sort several times faster.
    depth = np.minimum(16 * distance, 2**15).astype(np.int16)
    seeds, _ = ndimage.label(h_maxima(depth, int(16 * max(0.75, 0.12 * radius))), np.ones((3, 3)))
    return np.asarray(watershed(-depth, seeds, mask=mask), np.int32)


def _rejoined(labels: NDArray[np.int32], scene: _Scene) -> NDArray[np.int32]:
    """Undo cuts through one long nucleus: no darker along the cut, and convex when whole."""
    from scipy import ndimage
    from skimage.measure import regionprops

    touching: dict[tuple[int, int], list[float]] = {}
    for first, second, lights in (
        (labels[1:], labels[:-1], np.minimum(scene.smooth[1:], scene.smooth[:-1])),
        (labels[:, 1:], labels[:, :-1], np.minimum(scene.smooth[:, 1:], scene.smooth[:, :-1])),
    ):
        cut = (first != second) & (first > 0) & (second > 0)
        for a, b, light in zip(first[cut].tolist(), second[cut].tolist(), lights[cut].tolist(), strict=True):
            touching.setdefault((min(a, b), max(a, b)), []).append(light)
    if not touching:
        return labels
    inside = np.concatenate([[0.0], ndimage.median(scene.smooth, labels, np.arange(1, labels.max() + 1))])
    areas = np.bincount(labels.ravel())
    boxes = ndimage.find_objects(labels)
    ground = np.median(scene.background)
    typical = _LARGEST_WHOLE * np.pi * _typical_radius(labels) ** 2
    target = np.arange(len(areas))
    for (a, b), light in touching.items():
        whole = areas[a] + areas[b] <= typical and target[a] == a and target[b] == b
        if not whole or np.median(light) - ground < _DARKEST_CUT * (min(inside[a], inside[b]) - ground):
            continue
        (rows, columns), (more_rows, more_columns) = boxes[a - 1], boxes[b - 1]
        part = labels[
            min(rows.start, more_rows.start) : max(rows.stop, more_rows.stop),
            min(columns.start, more_columns.start) : max(columns.stop, more_columns.stop),
        ]
        if regionprops(((part == a) | (part == b)).astype(np.uint8))[0].solidity > _CONVEX:
            target[b] = a
    return np.asarray(target[labels], np.int32)


def _outlined(labels: NDArray[np.int32], scene: _Scene, radius: float) -> NDArray[np.int32]:
    """Draw each nucleus where it falls to half of its own brightness: the edge of a blurred step."""
    from scipy import ndimage
    from skimage.segmentation import expand_labels

    height = scene.smooth - scene.background
    zones = expand_labels(labels, max(1.0, radius / 4))
    result = np.zeros_like(labels)
    number = 0
    for label, (area, zone_area) in enumerate(
        zip(ndimage.find_objects(labels), ndimage.find_objects(zones), strict=True), start=1
    ):
        if area is None:
            continue
        inside = height[area][labels[area] == label]
        edge = 0.5 * float(np.percentile(inside, 75))
        own = (zones[zone_area] == label) & (height[zone_area] > edge)
        parts, count = ndimage.label(own)
        if count == 0:
            continue
        if count > 1:
            own = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
        own = ndimage.binary_fill_holes(own)
        number += 1
        result[zone_area][own] = number
    return result


def _distinct(labels: NDArray[np.int32], scene: _Scene, radius: float) -> NDArray[np.int32]:
    """Drop haze: what stands out from its own surroundings far less than nuclei of this image do."""
    from scipy import ndimage
    from skimage.segmentation import expand_labels

    count = int(labels.max())
    if count == 0:
        return labels
    numbers = np.arange(1, count + 1)
    gap = expand_labels(labels, max(1.0, radius / 5))
    ring = np.where(gap > 0, 0, expand_labels(labels, max(2.5, radius / 1.6)))
    inside = ndimage.median(scene.smooth, labels, numbers)
    # A nucleus shut in by others has no surroundings of its own: compare it with the background.
    around = np.where(
        np.bincount(ring.ravel(), minlength=count + 1)[1:] > 0,
        ndimage.median(scene.smooth, ring, numbers),
        ndimage.mean(scene.background, labels, numbers),
    )
    contrast = inside - around
    kept = np.concatenate([[False], contrast > _LEAST_CONTRAST * np.median(contrast)])
    return np.asarray(np.where(kept[labels], labels, 0), np.int32)


def _scale_of(mask: NDArray[np.bool_]) -> float:
    """Typical radius of the parts of a mask in which nuclei may touch: what the largest discs inside measure."""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(mask)
    peaks = distance[(distance == ndimage.maximum_filter(distance, size=5)) & (distance > 1.5)]
    if peaks.size == 0:
        return 2.5
    # Ridges of a long nucleus count several times, specks little: weigh each disc by its area.
    peaks = np.sort(peaks)
    middle = peaks[np.searchsorted(np.cumsum(peaks**2), (peaks**2).sum() / 2)]
    return float(np.clip(1.15 * middle, 2.5, min(mask.shape) / 3))


def _typical_radius(labels: NDArray[np.int32]) -> float:
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 12] if (areas > 12).any() else areas
    # The median over area, not over objects: specks do not count.
    order = np.sort(areas)
    middle = order[np.searchsorted(np.cumsum(order), order.sum() / 2)]
    return float(np.clip(np.sqrt(middle / np.pi), 2.5, min(labels.shape) / 3))


def _plausible(labels: NDArray[np.int32], pixel_size: float | tuple[float, float] | None) -> NDArray[np.int32]:
    """Drop what is far smaller or larger than the rest, then number the rest from 1."""
    from skimage.segmentation import relabel_sequential

    if not labels.any():
        return labels
    areas = np.bincount(labels.ravel()).astype(float)
    areas[0] = 0
    typical = np.pi * _typical_radius(labels) ** 2
    touching = np.zeros(len(areas), bool)
    touching[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = True
    least = np.where(touching, 0.08, 0.2) * typical
    kept = (areas >= np.maximum(least, 6)) & (areas <= 6 * typical)
    if pixel_size is not None:
        size = np.broadcast_to(np.asarray(pixel_size, float), (2,))
        diameters = 2 * np.sqrt(areas * size[0] * size[1] / np.pi)
        kept &= ((diameters >= _DIAMETERS[0]) | touching) & (diameters <= _DIAMETERS[1])
    return np.asarray(relabel_sequential(np.where(kept[labels], labels, 0))[0], np.int32)


def _block_means(image: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    if step == 1:
        return image
    height, width = (-(-length // step) * step for length in image.shape)
    padded = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1])), mode="edge")
    return np.asarray(padded.reshape(height // step, step, width // step, step).mean((1, 3)), np.float32)


def _enlarged(coarse: NDArray[np.float32], step: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if step == 1:
        return coarse
    rows, columns = (_linear(length, count, step) for length, count in zip(shape, coarse.shape, strict=True))
    return np.asarray(rows @ coarse @ columns.T, np.float32)


def _linear(length: int, count: int, step: int) -> NDArray[np.float32]:
    """Matrix (length, count) that interpolates between the middles of blocks of `step` pixels."""
    at = np.clip((np.arange(length) + 0.5) / step - 0.5, 0, count - 1)
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(count)), 0), np.float32)


def _disk(radius: float) -> NDArray[np.bool_]:
    reach = int(np.floor(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(y**2 + x**2 <= radius**2 + 0.5, bool)
