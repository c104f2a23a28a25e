"""Is it still the same cell? Structural similarity and the overlap of its nucleus, before and after."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.translations.features import NUCLEUS
from phenolens.evaluation.translations.measured_cells import MeasuredCells
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.crops import resample
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base

_SPAN = 2.0  # mapped intensities go from about -1 to 1


@dataclass(frozen=True, eq=False)
class Identity:
    """Per cell, (n,) each: 1 where nothing changed.

    Parameters
    ----------
    similarity
        Structural similarity to the autoencoder's reconstruction of the source, mean over the channels.
    overlap
        Intersection over union of the nucleus before and after; NaN where none was found before.
    other_similarity, other_overlap
        The same between the source and another, real treated cell: what drawing any treated cell would give.
    """

    similarity: NDArray[np.float64]
    overlap: NDArray[np.float64]
    other_similarity: NDArray[np.float64]
    other_overlap: NDArray[np.float64]


def measure_identity(
    base: Base, adapter: Adapter, source: MeasuredCells, translated: MeasuredCells, treated: MeasuredCells
) -> Job[Identity]:
    """How alike n source cells and their translations are, and as many treated cells drawn beside them."""
    other = np.arange(len(source)) % len(treated)
    same, others = [], []
    for start in range(0, len(source), 16):
        rows = slice(start, start + 16)
        mapped = resample(adapter.intensity.forward(source.crops[rows]), base.crop)
        change = resample(adapter.intensity.forward(translated.crops[rows]), base.crop) - mapped
        decoded = _reconstructed(base, mapped)
        same.append(similarities(decoded, decoded + change))
        real = resample(adapter.intensity.forward(treated.crops[other[rows]]), base.crop)
        others.append(similarities(decoded, _reconstructed(base, real)))
        yield Progress(min(start + 16, len(source)), len(source), "Comparing with the source")
    return Identity(
        np.concatenate(same),
        overlaps(source.nuclei, translated.nuclei),
        np.concatenate(others),
        overlaps(source.nuclei, treated.nuclei[other]),
    )


def similarities(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Structural similarity (n,) of mapped crops (n, C, h, w), mean over the channels."""
    from skimage.metrics import structural_similarity

    width = min(7, 2 * ((min(one.shape[2:]) - 1) // 2) + 1)
    return np.array(
        [
            structural_similarity(a, b, data_range=_SPAN, channel_axis=0, win_size=width)
            for a, b in zip(one, other, strict=True)
        ]
    )


def overlaps(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Intersection over union (n,) of the nuclei of `outline_nuclei`; 0 where it was lost, NaN where there was none."""
    one, other = before == NUCLEUS, after == NUCLEUS
    union = (one | other).sum((1, 2))
    share = (one & other).sum((1, 2)) / np.maximum(union, 1)
    return np.where(one.any((1, 2)), share, np.nan)


def _reconstructed(base: Base, mapped: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    return np.asarray(base.decode(base.encode(torch.from_numpy(mapped))).float().cpu().numpy(), np.float32)
