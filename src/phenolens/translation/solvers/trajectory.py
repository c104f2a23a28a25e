"""What an inversion leaves behind, and what all solvers share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

# (scaled latents y (n, c, h, w), s, tokens (n, K, d)) -> predicted noise (n, c, h, w)
NoiseModel = Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Renoise:
    """How much of a trajectory is drawn at random instead of being inverted.

    Up to a level the states are the latents with noise added; the inversion goes on from there. The noise is one draw
    for all cells, so that a cell has the same result alone and among others.

    Parameters
    ----------
    share
        Part of the grid's levels, from the clean end, that are drawn: 0 inverts all, 1 none.
    seed
        Which noise.
    """

    share: float = 0.0
    seed: int = 0

    def levels(self, steps: int) -> int:
        """How many of `steps` levels are drawn."""
        return round(self.share * steps)

    def noise(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, c, h, w) float32 standard normal noise for `latents` (n, c, h, w), the same on every device."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(1, *latents.shape[1:], generator=generator).to(latents.device)

    def states(self, latents: torch.Tensor, grid: np.ndarray) -> list[torch.Tensor]:
        """The latents, and the scaled states y of the levels that are drawn."""
        drawn = grid[1 : self.levels(len(grid) - 1) + 1]
        if not len(drawn):
            return [latents]
        noise = self.noise(latents)
        return [latents, *(latents + float(s) * noise for s in drawn)]


NOTHING_DRAWN = Renoise()


@dataclass(frozen=True)
class Trajectory:
    """The inverted latents of n images under their own condition.

    Parameters
    ----------
    grid
        (N + 1,) values of s = sigma / alpha, from clean to noise.
    states
        (N + 1, n, c, h, w) float32, or float64 for solvers that undo their steps: y = x / alpha at each s.
    noises
        (N + 1, n, c, h, w) float32: the predicted noise at each s; of no levels where a solver needs none later.
    coupled
        (N + 1, n, c, h, w), as `states`: the second series of a solver that carries two.
    """

    grid: np.ndarray
    states: torch.Tensor
    noises: torch.Tensor
    coupled: torch.Tensor | None = None

    @property
    def latents(self) -> torch.Tensor:
        """(n, c, h, w) the clean latents that were inverted."""
        return self.states[0]

    @property
    def noise(self) -> torch.Tensor:
        """(n, c, h, w) the inverted noise y_N / s_N, standard normal where the inversion is sound."""
        return self.states[-1] / float(self.grid[-1])

    def every_second(self) -> "Trajectory":
        """The same path at every second level, for half as many steps along it."""
        coupled = None if self.coupled is None else self.coupled[::2]
        return Trajectory(self.grid[::2], self.states[::2], self.noises[::2], coupled)

    def one(self, index: int) -> "Trajectory":
        """The trajectory of the image `index` alone."""
        chosen = slice(index, index + 1)
        coupled = None if self.coupled is None else self.coupled[:, chosen]
        return Trajectory(self.grid, self.states[:, chosen], self.noises[:, chosen], coupled)


def precise(latents: torch.Tensor) -> torch.Tensor:
    """`latents` in float64, or in float32 on a device that has no other.

    Undoing a step divides by less than one, which lets the rounding of the states grow with every step.
    """
    return latents.float() if latents.device.type == "mps" else latents.double()


def in_full_precision(noise: NoiseModel) -> NoiseModel:
    """`noise` in float32 whatever the surroundings.

    An exact inversion meets the same inputs again up to the rounding of its states. In half precision the network
    would answer these with jumps a thousand times as large.
    """

    def predict(y: torch.Tensor, s: float, tokens: torch.Tensor) -> torch.Tensor:
        with torch.autocast(y.device.type, enabled=False):
            return noise(y, s, tokens)

    return predict
