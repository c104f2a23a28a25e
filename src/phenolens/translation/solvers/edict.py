"""EDICT: an exactly invertible solver of two coupled series (Wallace et al., CVPR 2023, arXiv 2211.12446)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from phenolens.runtime.progress import Job, Progress
from phenolens.translation.solvers.guided import GuidedNoise, spread
from phenolens.translation.solvers.schedule import alpha_sigma_at
from phenolens.translation.solvers.trajectory import (
    NOTHING_DRAWN,
    NoiseModel,
    Renoise,
    Trajectory,
    in_full_precision,
    precise,
)

MIXING = 0.93  # the paper's p
Series = tuple[torch.Tensor, torch.Tensor]


def step_down(predict: Callable[[torch.Tensor, float], torch.Tensor], pair: Series, grid: np.ndarray, i: int) -> Series:
    """One step of both series from level `i` of `grid` to the cleaner level i - 1: two evaluations at s_i."""
    one, other = _ordered(pair, i)
    s, h, scale = grid[i], grid[i] - grid[i - 1], _scale(grid, i)
    one = one - h * predict(other, s)
    other = other - h * predict(scale * one, s)
    one = MIXING * one + (1 - MIXING) * other
    other = MIXING * other + (1 - MIXING) * one
    return _ordered((one, other), i)


def step_up(predict: Callable[[torch.Tensor, float], torch.Tensor], pair: Series, grid: np.ndarray, i: int) -> Series:
    """`step_down` undone: from level i - 1 to level `i`."""
    one, other = _ordered(pair, i)
    s, h, scale = grid[i], grid[i] - grid[i - 1], _scale(grid, i)
    other = (other - (1 - MIXING) * one) / MIXING
    one = (one - (1 - MIXING) * other) / MIXING
    other = other + h * predict(scale * one, s)
    one = one + h * predict(other, s)
    return _ordered((one, other), i)


def _ordered(pair: Series, i: int) -> Series:
    """The two series in the order in which they are stepped, which alternates as in the paper."""
    return pair if i % 2 else (pair[1], pair[0])


def _scale(grid: np.ndarray, i: int) -> float:
    """What makes y of level i - 1 into the y that level `i` reads as the same x, as the paper's equations do."""
    return alpha_sigma_at(float(grid[i - 1]))[0] / alpha_sigma_at(float(grid[i]))[0]


@torch.no_grad()
def invert(
    noise: NoiseModel,
    latents: torch.Tensor,
    tokens: torch.Tensor,
    grid: np.ndarray,
    renoise: Renoise = NOTHING_DRAWN,
) -> Job[Trajectory]:
    """Bring `latents` (n, c, h, w) from clean to noise under their own `tokens` (n, K, d): 2 N evaluations."""
    noise, steps = in_full_precision(noise), len(grid) - 1
    states = renoise.states(precise(latents), grid)
    coupled = list(states)
    for i in range(len(states), steps + 1):
        one, other = step_up(lambda y, s: noise(y, s, tokens), (states[-1], coupled[-1]), grid, i)
        states.append(one)
        coupled.append(other)
        yield Progress(i, steps, "Inverting")
    stacked = torch.stack(states)
    return Trajectory(grid, stacked, stacked[:0], torch.stack(coupled))


@torch.no_grad()
def translate(
    noise: NoiseModel,
    trajectory: Trajectory,
    source: torch.Tensor,
    target: torch.Tensor,
    strengths: Sequence[float],
    guidance: float = 1.5,
    moving: torch.Tensor | None = None,
) -> Job[torch.Tensor]:
    """Generate under the guided condition from the last pair of states; arguments as of `difference`."""
    chosen = [s for s in strengths if s != 0]
    grid, steps = trajectory.grid, len(trajectory.grid) - 1
    if not chosen:
        yield Progress(steps, steps, "Translating")
        return spread(trajectory.latents[:0], strengths, trajectory.latents)
    assert trajectory.coupled is not None
    guided = GuidedNoise(in_full_precision(noise), source, target, chosen, guidance, len(trajectory.latents))
    pair = guided.rows(trajectory.states[steps]), guided.rows(trajectory.coupled[steps])
    for i in range(steps, 0, -1):
        one, other = step_down(guided, pair, grid, i)
        if moving is not None:
            free = moving.view(1, -1, 1, 1) > 0
            one = torch.where(free, one, guided.rows(trajectory.states[i - 1]))
            other = torch.where(free, other, guided.rows(trajectory.coupled[i - 1]))
        pair = one, other
        yield Progress(steps - i + 1, steps, "Translating")
    return spread(pair[0] - guided.rows(trajectory.latents), strengths, trajectory.latents)


@torch.no_grad()
def regenerate(noise: NoiseModel, trajectory: Trajectory, tokens: torch.Tensor) -> Job[torch.Tensor]:
    """The clean latents (n, c, h, w) again, from the last pair of states alone, under `tokens` (n, K, d)."""
    noise = in_full_precision(noise)
    steps = len(trajectory.grid) - 1
    assert trajectory.coupled is not None
    pair = trajectory.states[steps], trajectory.coupled[steps]
    for i in range(steps, 0, -1):
        pair = step_down(lambda y, s: noise(y, s, tokens), pair, trajectory.grid, i)
        yield Progress(steps - i + 1, steps, "Generating")
    return pair[0]
