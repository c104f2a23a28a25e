"""Which pixels of a difference are beyond the noise floor."""

import numpy as np

from phenolens.evaluation.noise.change import local_change
from phenolens.evaluation.noise.noise_floor import ALPHA, NoiseFloor
from phenolens.screens.intensity import IntensityMap


def significant(
    raw: np.ndarray,
    difference: np.ndarray,
    intensity: IntensityMap,
    floor: NoiseFloor,
    alpha: float = ALPHA,
    strength: float = 1.0,
) -> np.ndarray:
    """(C, H, W) bool: the pixels whose change a control cell reaches nowhere, but for one cell in 1 / `alpha`.

    Parameters
    ----------
    raw
        (C, H, W) pixels before translation: a crop or a whole field.
    difference
        (C, H, W) float32, translated minus source in the file's units, as `CellTranslation` and `Composite` have it.
    intensity
        The adapter's intensity map.
    """
    limits = floor.thresholds(alpha, strength)
    return np.asarray(local_change(raw, difference, intensity, floor.width) > limits[:, None, None])


def masked(difference: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`difference` where `mask` holds, and zero elsewhere."""
    return np.where(mask, difference, np.zeros((), difference.dtype))


def contours(mask: np.ndarray) -> list[np.ndarray]:
    """Closed outlines (k, 2), in pixels Y and X, of the regions of `mask` (H, W) and of their holes."""
    from skimage.measure import find_contours

    return [line - 1 for line in find_contours(np.pad(mask, 1).astype(np.float32), 0.5)]
