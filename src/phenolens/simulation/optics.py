"""The microscope: blur, light out of focus, shading, background, noise, grey levels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from phenolens.simulation.plates import PlateEffect
from phenolens.simulation.styles import Style

COARSE = 4


def _glow(light: NDArray[Any], radius: float) -> NDArray[Any]:
    height, width = light.shape
    padded = np.pad(light, ((0, -height % COARSE), (0, -width % COARSE)), mode="edge")
    small = padded.reshape(padded.shape[0] // COARSE, COARSE, padded.shape[1] // COARSE, COARSE).mean((1, 3))
    small = gaussian_filter(small, max(radius / COARSE, 0.7), mode="nearest", truncate=3)
    large: NDArray[Any] = zoom(small, COARSE, order=1, mode="nearest", grid_mode=True)
    return large[:height, :width]


def shading_field(style: Style, seed: int, shape: tuple[int, int]) -> NDArray[Any]:
    """Draw the illumination of a field, at most 1, float32 (H, W): brightest near the middle."""
    rng = np.random.default_rng([int(seed), 0x5AAD])
    middle = rng.normal(0, 0.25, 2)
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None] - np.float32(middle[0])
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :] - np.float32(middle[1])
    field: NDArray[Any] = 1 - np.float32(style.shading / 2) * (y**2 + x**2)
    field = np.maximum(field, np.float32(0.2))
    return field


def photograph(
    light: NDArray[Any], channel: int, style: Style, seed: int, plate: PlateEffect, shading: NDArray[Any]
) -> NDArray[Any]:
    """Turn the light of one channel into grey levels.

    The noise is one field of standard normal numbers for each seed and channel, scaled by the light: a pixel
    whose light a treatment leaves alone keeps its grey level.

    Parameters
    ----------
    light
        Light of the cells relative to a bright one, float32 (H, W).
    channel
        Number of the channel.

    Returns
    -------
    ndarray
        uint16 (H, W).
    """
    blur = float(np.hypot(style.psf, plate.focus[channel]))
    sharp = gaussian_filter(light, blur, mode="nearest", truncate=3.5)
    if style.glow:
        sharp = (1 - np.float32(style.glow)) * sharp + np.float32(style.glow) * _glow(light, style.glow_radius)
    signal = np.float32(style.channel_strength[channel] * plate.gain[channel]) * sharp
    signal = (signal + np.float32(style.background * plate.background[channel])) * shading
    photons = np.float32(style.photons) * signal
    rng = np.random.default_rng([int(seed), channel, 0x2015E])
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    photons = photons + np.sqrt(photons + np.float32(style.read_noise**2)) * noise
    levels = photons * np.float32(style.gain / style.photons) + np.float32(style.offset)
    grey: NDArray[Any] = np.clip(np.rint(levels), 0, style.ceiling).astype(np.uint16)
    return grey
