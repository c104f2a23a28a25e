"""What of a translation is no biology: its spread over seeds, and what the autoencoder cannot represent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from phenolens.runtime.errors import ModelError
from phenolens.runtime.progress import Job
from phenolens.screens.crops import Window, resample
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.apply.cell_translation import CellTranslation
from phenolens.translation.apply.translator import Translator

SEEDS = 4
RENOISE = 0.5
"""Share of the noise levels that are drawn, where the spread over seeds is asked for."""


def translate_by_seeds(
    translator: Translator,
    crop: np.ndarray,
    conditions: tuple[str, str],
    *,
    seeds: int = SEEDS,
    renoise: float = RENOISE,
    **changes: Any,
) -> Job[list[CellTranslation]]:
    """Translate a raw crop (C, size, size) from one condition to another once for each of `seeds` seeds.

    Without drawn noise a translation has no seed: `renoise` is the share of the noise levels that are drawn. Further
    `changes` are of the translator's settings.
    """
    window, (source, target) = Window(0, 0, crop.shape[-1]), conditions
    found: list[CellTranslation] = []
    for seed in range(seeds):
        found += yield from translator.translate_crops(
            [crop], [window], source=source, target=target, renoise=renoise, seed=seed, **changes
        )
    return found


def spread_over_seeds(translations: Sequence[CellTranslation]) -> np.ndarray:
    """Standard deviation over several translations of one cell that differ in their seed alone.

    Returns
    -------
    (S, C, size, size) float32 in the file's intensity units, for each of their strengths.

    Raises
    ------
    ModelError
        Where there are fewer than two, or they are of different cells or strengths.
    """
    if len(translations) < 2:
        raise ModelError(
            "The spread over seeds needs at least 2 translations of the cell: translate it with more seeds."
        )
    if len({(one.window, one.strengths) for one in translations}) > 1:
        raise ModelError("The spread over seeds is of one cell: give translations of the same window and strengths.")
    return np.asarray(np.std([one.difference for one in translations], axis=0, ddof=1), np.float32)


def share_of_change(raw: np.ndarray, difference: np.ndarray, spread: np.ndarray, intensity: IntensityMap) -> float:
    """Size of a spread beside the size of the change, after the adapter's intensity map, over all pixels and channels.

    Parameters
    ----------
    raw
        (C, size, size) the crop, in the file's units.
    difference, spread
        (C, size, size) float32 in the same units: translated minus source, and what it varies by.

    Returns
    -------
    0 and up: 0.2 where a fifth of the change varies; infinite where nothing changed but something varies.

    Notes
    -----
    It says what depends on the noise that was drawn, and little of how right a translation is: as
    ``benchmarks/confidence.py`` has it, its rank correlation with the true error was 0.57, 0.48 and -0.02.
    """
    before = np.asarray(raw, np.float64)
    varied, changed = (
        float(np.linalg.norm(intensity.forward(before + part) - intensity.forward(before)))
        for part in (spread, difference)
    )
    return varied / changed if changed else (float("inf") if varied else 0.0)


def autoencoder_error(translator: Translator, crops: np.ndarray) -> np.ndarray:
    """What the base's autoencoder cannot represent of raw crops (n, C, size, size): |x - D(E(x))|.

    No translation shows it, since only differences of decoded images are added to the raw pixels; but neither can a
    translation change what lies in it.

    Returns
    -------
    (n, C, size, size) float32 in the file's intensity units.
    """
    intensity, base = translator.adapter.intensity, translator.base
    raw = np.asarray(crops, np.float64)
    seen = resample(intensity.forward(raw), base.crop)
    decoded = base.decode(base.encode(torch.from_numpy(seen))).cpu().numpy()
    return np.abs(np.asarray(intensity.inverse(resample(decoded, raw.shape[-1])) - raw, np.float32))
