"""Periodic noise textures, made once and cut out many times."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERIOD = 512
REACH = 256
"""Largest half-size of a patch (px)."""

SCALES = (0.8, 1.2, 1.8, 2.7, 4.0, 6.0, 9.0, 14.0)


@lru_cache(maxsize=len(SCALES))
def _bank(index: int) -> NDArray[Any]:
    rng = np.random.default_rng([index, 0x7E47])
    spectrum = np.fft.rfft2(rng.standard_normal((PERIOD, PERIOD)))
    fy = np.fft.fftfreq(PERIOD)[:, None]
    fx = np.fft.rfftfreq(PERIOD)[None, :]
    squared = (2 * np.pi * SCALES[index]) ** 2 * (fy**2 + fx**2)
    # A band around the scale: without the lowest frequencies a patch keeps its mean brightness.
    band = squared * np.exp(-squared / 2)
    noise = np.fft.irfft2(spectrum * band, s=(PERIOD, PERIOD))
    noise = (noise / noise.std()).astype(np.float32)
    return np.tile(noise, (2, 2))


def grain(scale: float, origin: tuple[int, int], top: int, left: int, height: int, width: int) -> NDArray[Any]:
    """Cut a patch of band-limited noise (mean 0, standard deviation 1) as a view.

    Parameters
    ----------
    scale
        Size of the grains (px); the nearest of `SCALES` is taken.
    origin
        Where in the texture the point (0, 0) of the cell lies, each in [0, 512).
    top, left
        First row and column, relative to the cell's centre, at least -256.
    height, width
        Size of the patch, at most 512.
    """
    index = int(np.argmin(np.abs(np.log(np.asarray(SCALES) / scale))))
    y = (origin[0] + top) % PERIOD
    x = (origin[1] + left) % PERIOD
    patch: NDArray[Any] = _bank(index)[y : y + height, x : x + width]
    return patch
