"""How strongly a translation changes each place of an image, in units that all intensities share."""

import numpy as np
from scipy.ndimage import gaussian_filter

from phenolens.screens.intensity import IntensityMap


def local_change(raw: np.ndarray, difference: np.ndarray, intensity: IntensityMap, width: float) -> np.ndarray:
    """Size of the change at each pixel.

    The change is taken after the adapter's intensity map, so that a map that evens out shot noise does so here too,
    and averaged over about `width` pixels, so that no single pixel counts by itself.

    Parameters
    ----------
    raw
        (C, H, W) pixels before, in the file's units.
    difference
        (C, H, W) float32, translated minus source, in the same units.
    width
        Standard deviation in pixels of the Gaussian that averages.

    Returns
    -------
    (C, H, W) float32, 0 and up, in units of the intensity map (its whole range is 2).
    """
    before = np.asarray(raw, np.float64)
    change = intensity.forward(before + difference) - intensity.forward(before)
    return np.asarray(np.abs(gaussian_filter(change, (0, width, width))))
