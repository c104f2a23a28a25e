"""How well a base in training knows cells of styles kept apart, by which its best weights are chosen."""

from dataclasses import dataclass

import numpy as np
import torch

from phenolens.pretraining.pretraining_sets import CropSet
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.translation.model.base import Base
from phenolens.translation.model.precision import half_precision
from phenolens.translation.solvers.difference_ode import invert

# Even in log s, where an inversion draws its noise and where a cell's shape is decided.
LEVELS = tuple(float(s) for s in np.exp(np.linspace(np.log(0.02), np.log(5.0), 8)))
_STEPS, _BATCH = 16, 32


@dataclass(frozen=True)
class Knowledge:
    """Figures on cells of styles kept apart, under no token.

    Parameters
    ----------
    error
        Mean squared error of the predicted velocity, mean over `LEVELS`.
    variance
        Of the noise that inversion ends in; 1 where the model knows these cells.
    """

    error: float
    variance: float


class HeldOut:
    """A few crops of each of `sets`, always with the same noise."""

    def __init__(self, base: Base, sets: list[CropSet], each: int = 2) -> None:
        self._base = base
        by_channels: dict[int, list[np.ndarray]] = {}
        for s in sets:
            by_channels.setdefault(s.crops.shape[1], []).extend(s.crops[:each].astype(np.float32))
        alike = [torch.from_numpy(np.stack(crops)) for crops in by_channels.values()]
        self._latents = [part for crops in alike for part in base.encode(crops).split(_BATCH)]

    @torch.no_grad()
    def judge(self, waiting: Progress) -> Job[Knowledge]:
        """Measure the base as it is now; `waiting` is told after each evaluation."""
        total, values, noises = 0.0, 0, []
        schedule = self._base.schedule
        for number, latents in enumerate(self._latents):
            tokens = latents.new_zeros(len(latents), 2, self._base.token_size)
            drawn = torch.randn(latents.shape, generator=torch.Generator().manual_seed(number)).to(latents)
            for s in LEVELS:
                timesteps = torch.full((len(latents),), round(schedule.timestep(s)), device=latents.device)
                alpha, sigma = schedule.alpha_sigma(timesteps)
                with half_precision(self._base.device):
                    out = self._base.predict(alpha * latents + sigma * drawn, timesteps, tokens)
                total += float((out - (alpha * drawn - sigma * latents)).square().sum())
                values += out.numel()
                yield waiting
            path = yield from relabelled(invert(self._noise_at, latents, tokens, schedule.grid(_STEPS)), waiting)
            noises.append(path.noise.flatten())
        return Knowledge(total / values, float(torch.cat(noises).var(unbiased=False)))

    def _noise_at(self, y: torch.Tensor, s: float, tokens: torch.Tensor) -> torch.Tensor:
        with half_precision(self._base.device):
            return self._base.noise_at(y, s, tokens)
