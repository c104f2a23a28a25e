"""Whether the noise that an inversion ends in is the noise that the model was trained on.

A diffusion model generates from noise whose values are independent with mean 0 and variance 1. Where the inverted noise
is not like that, the model starts from what it has never seen: with too little variance, or too little at fine scales,
translations come out too smooth.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

# Amplitude within a tenth, and each band within a factor of two (3 dB): a model trained on levels a few per cent apart
# takes the first for another level, and no level looks like more than the second.
_AMPLITUDE = 0.1
_BAND = 2.0
# Beyond what chance does to white noise of the same size.
_STANDARD_ERRORS = 4.0
_SCALES = ("the coarsest", "coarse", "fine", "the finest")


@dataclass(frozen=True)
class InvertedNoise:
    """What the inverted noise y_N / s_N of n images looks like.

    Parameters
    ----------
    mean, variance
        Over all values; 0 and 1 where the inversion is sound.
    spectrum
        Power by spatial frequency, in bands of equal width from coarse to fine, the corners counted to the finest; the
        constant is left out. 1 in each band for white noise.
    values
        How many values there are.
    modes
        How many independent modes each band holds.
    """

    mean: float
    variance: float
    spectrum: tuple[float, ...]
    values: int
    modes: tuple[int, ...]

    @property
    def warning(self) -> str | None:
        """One sentence where the noise is far from white with unit variance, else None."""
        low, high = (1 - _AMPLITUDE) ** 2, (1 + _AMPLITUDE) ** 2
        chance = _STANDARD_ERRORS * np.sqrt(2 / self.values)
        wrong = []
        if not low - chance <= self.variance <= high + chance:
            wrong.append(f"a variance of {self.variance:.2f} instead of 1")
        # Beyond what chance does, by which factor is each band off?
        chances = [_STANDARD_ERRORS / np.sqrt(count) for count in self.modes]
        off = [
            max(power / (1 + chance), (1 - chance) / max(power, np.finfo(float).tiny))
            for power, chance in zip(self.spectrum, chances, strict=True)
        ]
        worst = int(np.argmax(off))
        if off[worst] > _BAND:
            scale = _SCALES[worst - len(off)]
            wrong.append(f"{self.spectrum[worst]:.2g} times the power of white noise at {scale} scales")
        if not wrong:
            return None
        return (
            f"The inverted noise has {' and '.join(wrong)}, so the model does not know these cells well and "
            "differences may be too smooth or too weak: fine-tune longer, on more cells, or take a stronger base."
        )

    def to_dict(self) -> dict[str, Any]:
        """The numbers and the warning, for JSON."""
        return {**asdict(self), "warning": self.warning}


def inverted_noise(noise: torch.Tensor) -> InvertedNoise:
    """Judge inverted noise (n, c, h, w), such as `Trajectory.noise`."""
    values = noise.double().cpu().numpy()
    height, width = values.shape[-2:]
    power = np.abs(np.fft.fft2(values, norm="ortho")) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    bands = min(len(_SCALES), max(1, min(height, width) // 4))
    band = np.minimum((frequency * 2 * bands).astype(int), bands - 1)
    band[0, 0] = -1
    images = values.shape[0] * values.shape[1]
    return InvertedNoise(
        mean=float(values.mean()),
        variance=float(values.var()),
        spectrum=tuple(float(power[..., band == b].mean()) for b in range(bands)),
        values=values.size,
        # A real image has each mode twice, but for those that are their own mirror image.
        modes=tuple(max(int((band == b).sum()) * images // 2, 1) for b in range(bands)),
    )
