"""O-BELM: an exactly invertible two-step solver (Wang et al., NeurIPS 2024, arXiv 2410.07273)."""

from collections.abc import Sequence

import numpy as np
import torch

from phenolens.runtime.progress import Job, Progress
from phenolens.translation.solvers.guided import GuidedNoise, spread
from phenolens.translation.solvers.trajectory import (
    NOTHING_DRAWN,
    NoiseModel,
    Renoise,
    Trajectory,
    in_full_precision,
    precise,
)


def across(behind: torch.Tensor, here: torch.Tensor, slope: torch.Tensor, h_behind: float, h: float) -> torch.Tensor:
    """The state a step `h` beyond `here`, from the state `h_behind` before it and the slope at `here`.

    A parabola through both states with that slope, which is the paper's O-BELM with h of either sign. Exchanging the
    two outer states, with the steps, gives the inverse.
    """
    ratio = (h / h_behind) ** 2
    return ratio * behind + (1 - ratio) * here + h * (1 + h / h_behind) * slope


@torch.no_grad()
def invert(
    noise: NoiseModel,
    latents: torch.Tensor,
    tokens: torch.Tensor,
    grid: np.ndarray,
    renoise: Renoise = NOTHING_DRAWN,
) -> Job[Trajectory]:
    """Bring `latents` (n, c, h, w) from clean to noise under their own `tokens` (n, K, d).

    The first step is Euler's. N + 1 evaluations, of which the last, at the noise end, serves the translations.
    """
    noise, steps = in_full_precision(noise), len(grid) - 1
    states = renoise.states(precise(latents), grid)
    noises = [torch.zeros_like(latents, dtype=torch.float32)] * (len(states) - 1)
    for i in range(len(states) - 1, steps + 1):
        noises.append(noise(states[i], grid[i], tokens))
        yield Progress(i + 1, steps + 1, "Inverting")
        if i < steps:
            h = grid[i + 1] - grid[i]
            if i:
                states.append(across(states[i - 1], states[i], noises[i], grid[i] - grid[i - 1], h))
            else:
                states.append(states[0] + h * noises[0])
    return Trajectory(grid, torch.stack(states), torch.stack(noises))


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
    """Generate under the guided condition from the last two states of the inversion; arguments as of `difference`.

    The second of these states is moved by what the target changes in the first step, which is nothing from source to
    source: so that is the inversion undone, evaluation by evaluation.
    """
    chosen = [s for s in strengths if s != 0]
    grid, steps = trajectory.grid, len(trajectory.grid) - 1
    if not chosen:
        yield Progress(steps, steps, "Translating")
        return spread(trajectory.latents[:0], strengths, trajectory.latents)
    guided = GuidedNoise(in_full_precision(noise), source, target, chosen, guidance, len(trajectory.latents))
    above = guided.rows(trajectory.states[steps])
    under_source = guided.rows(trajectory.noises[steps])
    start = guided(above, grid[steps], under_source) - under_source
    if moving is not None:
        start = start * moving.view(1, -1, 1, 1)
    here = guided.rows(trajectory.states[steps - 1]) + (grid[steps - 1] - grid[steps]) * start
    yield Progress(1, steps, "Translating")
    for i in range(steps - 1, 0, -1):
        slope = guided(here, grid[i])
        below = across(above, here, slope, grid[i] - grid[i + 1], grid[i - 1] - grid[i])
        if moving is not None:
            below = torch.where(moving.view(1, -1, 1, 1) > 0, below, guided.rows(trajectory.states[i - 1]))
        above, here = here, below
        yield Progress(steps - i + 1, steps, "Translating")
    return spread(here - guided.rows(trajectory.latents), strengths, trajectory.latents)


@torch.no_grad()
def regenerate(noise: NoiseModel, trajectory: Trajectory, tokens: torch.Tensor) -> Job[torch.Tensor]:
    """The clean latents (n, c, h, w) again, from the last two states alone, under `tokens` (n, K, d)."""
    noise = in_full_precision(noise)
    grid, steps = trajectory.grid, len(trajectory.grid) - 1
    above, here = trajectory.states[steps], trajectory.states[steps - 1]
    for i in range(steps - 1, 0, -1):
        slope = noise(here, grid[i], tokens)
        above, here = here, across(above, here, slope, grid[i] - grid[i + 1], grid[i - 1] - grid[i])
        yield Progress(steps - i, steps, "Generating")
    return here
