"""What is measured of a cell, with names that a biologist knows: its nucleus, and each channel in and around it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, concat

from phenolens.runtime.progress import Job, Progress
from phenolens.screens.segmentation import segment_nuclei
from phenolens.translation.adapter import Adapter

NUCLEUS, OTHER = 1, 2
_SHAPE = ("area", "major axis", "eccentricity", "solidity", "form factor")
_BANDS = ((0.7, 1.4, "fine"), (1.4, 2.8, "middle"), (2.8, 5.6, "coarse"))
_FEWEST = 12  # pixels of a nucleus or of a cytoplasm


def nuclear_ratio(channel: str) -> str:
    """Name of the nuclear-to-cytoplasmic ratio of a channel."""
    return f"{channel} nuclear-to-cytoplasmic ratio (log2)"


def outline_nuclei(channel: NDArray[Any]) -> NDArray[np.uint8]:
    """Outline the nucleus in the middle of each crop of the nucleus channel.

    Parameters
    ----------
    channel
        (n, h, w), any real dtype.

    Returns
    -------
    ndarray (n, h, w) uint8
        `NUCLEUS`, `OTHER` for further nuclei, 0 elsewhere; without `NUCLEUS` where none is near the middle.
    """
    height, width = channel.shape[1:]
    y, x = np.mgrid[:height, :width]
    away = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    found = np.zeros(channel.shape, np.uint8)
    for outlined, crop in zip(found, channel, strict=True):
        labels = segment_nuclei(crop)
        if not labels.any():
            continue
        nearest = np.where(labels > 0, away, np.inf)
        place = np.unravel_index(np.argmin(nearest), nearest.shape)
        outlined[labels > 0] = OTHER
        if nearest[place] <= max(height, width) / 8:
            outlined[labels == labels[place]] = NUCLEUS
    return found


def cell_features(
    crops: NDArray[Any], nuclei: NDArray[np.uint8], channel_names: Sequence[str], background: Sequence[float]
) -> DataFrame:
    """Measure the cell in the middle of each crop.

    Of the nucleus: size and shape. Of each channel: the mean in the nucleus, in the cytoplasm around it and their
    ratio, the spread in the nucleus, mean, spread and brightest twentieth of the crop, detail of three sizes, and the
    gradient. Of each pair of channels: their correlation in the cell.

    Parameters
    ----------
    crops
        (n, C, h, w) intensities.
    nuclei
        (n, h, w) from `outline_nuclei`.
    background
        (C,) intensity where there is no cell.

    Returns
    -------
    DataFrame
        A row a crop, a column a feature; NaN where there is no nucleus.
    """
    rows = [
        _measured(np.asarray(crop, np.float64), outlined, channel_names, background)
        for crop, outlined in zip(crops, nuclei, strict=True)
    ]
    names = next((list(row) for row in rows if row), [])
    return DataFrame(rows, columns=names, dtype=float)


def measure_cells(
    crops: NDArray[Any], nucleus: int, adapter: Adapter, which: str
) -> Job[tuple[NDArray[np.uint8], DataFrame]]:
    """Outline the nucleus of each crop and measure its cell, a few at a time.

    Parameters
    ----------
    nucleus
        The channel that shows it.
    which
        What the cells are called.

    Returns
    -------
    tuple
        What `outline_nuclei` and `cell_features` give.
    """
    nuclei, tables = [], []
    for start in range(0, len(crops), 16):
        part = crops[start : start + 16]
        nuclei.append(outline_nuclei(part[:, nucleus]))
        tables.append(cell_features(part, nuclei[-1], adapter.channel_names, adapter.intensity.low))
        yield Progress(min(start + 16, len(crops)), len(crops), f"Measuring {which}")
    return np.concatenate(nuclei), concat(tables, ignore_index=True)


def _measured(
    crop: NDArray[np.float64], outlined: NDArray[np.uint8], names: Sequence[str], background: Sequence[float]
) -> dict[str, float]:
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.measure import regionprops

    nucleus = outlined == NUCLEUS
    if nucleus.sum() < _FEWEST:
        return {}
    shape = regionprops(nucleus.astype(np.uint8))[0]
    round_ = 4 * np.pi * shape.area / max(shape.perimeter, 1.0) ** 2
    values = (shape.area, shape.axis_major_length, shape.eccentricity, shape.solidity, round_)
    found = {f"nucleus {name}": float(value) for name, value in zip(_SHAPE, values, strict=True)}
    outside = distance_transform_edt(~nucleus)
    reach = max(3.0, 0.6 * shape.equivalent_diameter_area / 2)
    others = outlined == OTHER
    clear = distance_transform_edt(~others) > 1 if others.any() else ~others
    ring = (outside > 1) & (outside <= 1 + reach) & clear
    cell = nucleus | ring
    for name, plane, dark in zip(names, crop, background, strict=True):
        light = plane - dark
        least = max(0.01 * float(np.percentile(light, 99)), 1e-6)
        inside = float(light[nucleus].mean())
        around = float(light[ring].mean()) if ring.sum() >= _FEWEST else np.nan
        found[f"{name} mean in nucleus"] = inside
        found[f"{name} spread in nucleus"] = float(light[nucleus].std())
        found[f"{name} mean in cytoplasm"] = around
        found[nuclear_ratio(name)] = float(np.log2(max(inside, least) / max(around, least)))
        found[f"{name} mean"] = float(light.mean())
        found[f"{name} spread"] = float(light.std())
        found[f"{name} brightest 5 %"] = float(np.percentile(light, 95))
        for small, large, size in _BANDS:
            band = gaussian_filter(plane, small) - gaussian_filter(plane, large)
            found[f"{name} {size} detail"] = float(band[cell].std())
        rows, columns = np.gradient(plane)
        found[f"{name} gradient"] = float(np.hypot(rows, columns)[cell].mean())
    for one in range(len(names)):
        for other in range(one + 1, len(names)):
            a, b = crop[one][cell], crop[other][cell]
            steady = a.std() == 0 or b.std() == 0
            found[f"{names[one]} and {names[other]} correlation"] = 0.0 if steady else float(np.corrcoef(a, b)[0, 1])
    return found
