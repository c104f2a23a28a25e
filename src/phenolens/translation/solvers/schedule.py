"""Noise levels of a diffusion model, by timestep and by sigma/alpha."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

# Where a cell's shape is decided: about s = e, within a factor of 4. Levels beyond change little between them, so a
# few serve. Found on simulated and on real cells as the grid that leaves the smallest error at 20 evaluations.
_MIDDLE = 1.0
_EVEN = 1.5


@dataclass(frozen=True)
class NoiseSchedule:
    """A variance-preserving schedule: x_t = alpha x_0 + sigma eps, alpha**2 + sigma**2 = 1.

    Parameters
    ----------
    alphas_cumprod
        (T,) float64, alpha**2 by timestep, falling; down to 0 where the schedule ends in pure noise.
    prediction
        What the network predicts: ``"epsilon"`` or ``"v_prediction"``.
    """

    alphas_cumprod: np.ndarray
    prediction: str = "v_prediction"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "NoiseSchedule":
        """Read a diffusers scheduler configuration."""
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler.from_config(config)
        return cls(scheduler.alphas_cumprod.double().numpy(), scheduler.config.prediction_type)

    @property
    def log_s(self) -> np.ndarray:
        """(T,) log(sigma/alpha) by timestep, rising; large but finite where alpha is 0."""
        squared = np.maximum(self.alphas_cumprod, 1e-9)
        return np.asarray(0.5 * np.log((1 - squared) / squared))

    def timestep(self, s: float) -> float:
        """Timestep, between whole ones too, at which sigma/alpha equals `s`."""
        return float(np.interp(np.log(s), self.log_s, np.arange(len(self.alphas_cumprod))))

    def grid(self, steps: int, low: float = 0.01, high: float = 80.0) -> np.ndarray:
        """(steps + 1,) values of s = sigma/alpha from clean to noise: even in log s about e, wider at the ends."""
        bounds = np.exp(self.log_s[[0, -1]])
        ends = np.log([max(low, bounds[0]), min(high, bounds[1])])
        first, last = np.arcsinh((ends - _MIDDLE) / _EVEN)
        return np.asarray(np.exp(_MIDDLE + _EVEN * np.sinh(np.linspace(float(first), float(last), steps + 1))))

    def alpha_sigma(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Alpha and sigma, each (n, 1, 1, 1) float32, at whole `timesteps` (n,)."""
        squared = self._squared(timesteps).view(-1, 1, 1, 1)
        return squared.sqrt(), (1 - squared).sqrt()

    def snr(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Signal-to-noise ratio alpha**2 / sigma**2, (n,) float32, at whole `timesteps` (n,)."""
        squared = self._squared(timesteps)
        return squared / (1 - squared)

    def _squared(self, timesteps: torch.Tensor) -> torch.Tensor:
        # Made float32 before it goes to the device, for not every device has float64.
        return torch.from_numpy(self.alphas_cumprod.astype(np.float32)).to(timesteps.device)[timesteps]


def alpha_sigma_at(s: float) -> tuple[float, float]:
    """Alpha and sigma of the variance-preserving schedule at s = sigma/alpha."""
    alpha = 1 / float(np.sqrt(1 + s * s))
    return alpha, s * alpha
