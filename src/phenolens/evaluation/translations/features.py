"""What is measured of a cell, with names that a biologist knows: its nucleus, and each channel in and around it."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, concat

from phenolens.runtime.progress import Job, Progress
from phenolens.screens.segmentation import segment_nuclei
from phenolens.translation.model.adapter import Adapter

NUCLEUS, OTHER = 1, 2
_SHAPE = ("area", "major axis", "eccentricity", "solidity", "form factor")
_BANDS = ((0.7, 1.4, "fine"), (1.4, 2.8, "middle"), (2.8, 5.6, "coarse"))
_FEWEST = 12  # pixels of a nucleus or of a cytoplasm


def nuclear_ratio(channel: str) -> str:
    """Name of the nuclear-to-cytoplasmic ratio of a channel."""
    return f"{channel} nuclear-to-cytoplasmic ratio (log2)"


def feature_names(channel_names: Sequence[str]) -> list[str]:
    """All that `cell_features` measures of cells with these channels, in its order."""
    found = [f"nucleus {name}" for name in _SHAPE]
    for name in channel_names:
        found += [f"{name} mean in nucleus", f"{name} spread in nucleus", f"{name} mean in cytoplasm"]
        found += [nuclear_ratio(name), f"{name} mean", f"{name} spread", f"{name} brightest 5 %"]
        found += [f"{name} {size} detail" for _, _, size in _BANDS] + [f"{name} gradient"]
    return found + [f"{one} and {other} correlation" for one, other in combinations(channel_names, 2)]


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
        A row a crop, a column for each of `feature_names`; NaN where there is no nucleus.
    """
    names = feature_names(channel_names)
    rows = np.full((len(crops), len(names)), np.nan)
    for row, crop, outlined in zip(rows, crops, nuclei, strict=True):
        if (outlined == NUCLEUS).sum() >= _FEWEST:
            row[:] = _measured(np.asarray(crop, np.float64), outlined, background)
    return DataFrame(rows, columns=names)


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


def _measured(crop: NDArray[np.float64], outlined: NDArray[np.uint8], background: Sequence[float]) -> list[float]:
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.measure import regionprops

    nucleus = outlined == NUCLEUS
    shape = regionprops(nucleus.astype(np.uint8))[0]
    round_ = 4 * np.pi * shape.area / max(shape.perimeter, 1.0) ** 2
    found = [shape.area, shape.axis_major_length, shape.eccentricity, shape.solidity, round_]
    outside = distance_transform_edt(~nucleus)
    reach = max(3.0, 0.6 * shape.equivalent_diameter_area / 2)
    others = outlined == OTHER
    clear = distance_transform_edt(~others) > 1 if others.any() else ~others
    ring = (outside > 1) & (outside <= 1 + reach) & clear
    cell = nucleus | ring
    for plane, dark in zip(crop, background, strict=True):
        light = plane - dark
        least = max(0.01 * float(np.percentile(light, 99)), 1e-6)
        inside = light[nucleus].mean()
        around = light[ring].mean() if ring.sum() >= _FEWEST else np.nan
        found += [inside, light[nucleus].std(), around, np.log2(max(inside, least) / max(around, least))]
        found += [light.mean(), light.std(), np.percentile(light, 95)]
        for small, large, _ in _BANDS:
            band = gaussian_filter(plane, small) - gaussian_filter(plane, large)
            found.append(band[cell].std())
        rows, columns = np.gradient(plane)
        found.append(np.hypot(rows, columns)[cell].mean())
    for one, other in combinations(crop, 2):
        a, b = one[cell], other[cell]
        steady = a.std() == 0 or b.std() == 0
        found.append(0.0 if steady else np.corrcoef(a, b)[0, 1])
    return [float(value) for value in found]
