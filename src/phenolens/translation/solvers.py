"""Inversion of an image into noise, and its translation under another condition.

In y = x / alpha and s = sigma / alpha the probability-flow ODE is dy/ds = eps(alpha y, s; c)
(Song et al., 2021, arXiv 2011.13456, in the variables of Karras et al., 2022, arXiv 2206.00364).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from phenolens.runtime.progress import Job, Progress

# (scaled latents y (n, c, h, w), s, tokens (n, K, d)) -> predicted noise (n, c, h, w)
NoiseModel = Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Trajectory:
    """The inverted latents of n images under their own condition.

    Parameters
    ----------
    grid
        (N + 1,) values of s = sigma / alpha, from clean to noise.
    states, noises
        (N + 1, n, c, h, w) float32: y and the predicted noise at each s.
    """

    grid: np.ndarray
    states: torch.Tensor
    noises: torch.Tensor

    @property
    def latents(self) -> torch.Tensor:
        """(n, c, h, w) the clean latents that were inverted."""
        return self.states[0]

    def noise_statistics(self) -> tuple[float, float]:
        """Mean and variance of the inverted noise y_N / s_N: 0 and 1 where the inversion is sound."""
        noise = self.states[-1] / self.grid[-1]
        return float(noise.mean()), float(noise.var())


def step_adams_bashforth(h: float, h_before: float, slope: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
    """Two-step Adams-Bashforth increment over a step `h` that follows a step `h_before`; Euler at the start."""
    if before is None:
        return h * slope
    ratio = h / (2 * h_before)
    return h * ((1 + ratio) * slope - ratio * before)


@torch.no_grad()
def invert(noise: NoiseModel, latents: torch.Tensor, tokens: torch.Tensor, grid: np.ndarray) -> Job[Trajectory]:
    """Integrate `latents` (n, c, h, w) from clean to noise under their own `tokens` (n, K, d).

    One evaluation a step, at its clean side, and one at the noise end: N + 1 in all.
    """
    steps = len(grid) - 1
    y = latents.float()
    states, noises = [y], [noise(y, grid[0], tokens)]
    yield Progress(1, steps + 1, "Inverting")
    for i in range(steps):
        h, h_before = grid[i + 1] - grid[i], grid[i] - grid[i - 1]
        y = y + step_adams_bashforth(h, h_before, noises[i], noises[i - 1] if i else None)
        states.append(y)
        noises.append(noise(y, grid[i + 1], tokens))
        yield Progress(i + 2, steps + 1, "Inverting")
    return Trajectory(grid, torch.stack(states), torch.stack(noises))


@torch.no_grad()
def difference(
    noise: NoiseModel,
    trajectory: Trajectory,
    source: torch.Tensor,
    target: torch.Tensor,
    strengths: Sequence[float],
    guidance: float = 1.5,
    moving: torch.Tensor | None = None,
) -> Job[torch.Tensor]:
    """Integrate what the target condition changes, from noise to clean, along a cached trajectory.

    delta' = eps(y_i + delta; source) + g (eps(y_i + delta; target) - eps(y_i + delta; source)) - e_i
    with delta = 0 at the noise end and g = guidance * strength. A strength of zero is zero exactly.

    Parameters
    ----------
    source, target
        (K, d) tokens of the two conditions.
    strengths
        S positions of the slider; they go through the network as one batch.
    guidance
        Weight of the condition difference at strength 1.
    moving
        (c,) 1 for the latents that may change and 0 for those that are held, whose difference stays zero; all may
        change where None.

    Returns
    -------
    (S, n, c, h, w) float32, to be added to the clean latents.
    """
    steps = len(trajectory.grid) - 1
    n = trajectory.states.shape[1]
    nonzero = [s for s in strengths if s != 0 and not torch.equal(source, target)]
    result = trajectory.latents.new_zeros(len(strengths), *trajectory.latents.shape)
    if not nonzero:
        yield Progress(steps, steps, "Translating")
        return result
    rows = len(nonzero) * n
    scale = guidance * torch.tensor(nonzero, device=result.device).repeat_interleave(n).view(-1, 1, 1, 1)
    tokens = torch.cat([source.expand(rows, *source.shape), target.expand(rows, *target.shape)])
    delta = result.new_zeros(rows, *result.shape[2:])
    before = None
    grid = trajectory.grid
    for i in range(steps, 0, -1):
        y = trajectory.states[i].repeat(len(nonzero), 1, 1, 1) + delta
        if i == steps:
            # Nothing has moved yet, so what the source condition predicts is known.
            under_source = trajectory.noises[i].repeat(len(nonzero), 1, 1, 1)
            under_target = noise(y, grid[i], tokens[rows:])
        else:
            under_source, under_target = noise(y.repeat(2, 1, 1, 1), grid[i], tokens).chunk(2)
        slope = (
            under_source + scale * (under_target - under_source) - trajectory.noises[i].repeat(len(nonzero), 1, 1, 1)
        )
        if moving is not None:
            slope = slope * moving.view(1, -1, 1, 1)
        h_before = grid[i] - grid[i + 1] if i < steps else 0.0
        delta = delta + step_adams_bashforth(grid[i - 1] - grid[i], h_before, slope, before)
        before = slope
        yield Progress(steps - i + 1, steps, "Translating")
    positions = [k for k, s in enumerate(strengths) if s != 0]
    result[positions] = delta.view(len(nonzero), n, *result.shape[2:])
    return result


@torch.no_grad()
def stock_ddim(
    predict: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    scheduler_config: dict[str, object],
    latents: torch.Tensor,
    source: torch.Tensor,
    targets: Sequence[torch.Tensor],
    steps: int = 50,
) -> Job[torch.Tensor]:
    """Invert with diffusers' DDIMInverseScheduler and generate with its DDIMScheduler, as Phen-LDiff does.

    Parameters
    ----------
    predict
        (noisy latents, timesteps (n,), tokens (n, K, d)) -> the network's raw output.
    targets
        S tokens (K, d) to generate under.

    Returns
    -------
    (S, n, c, h, w) float32 change of the clean latents.
    """
    from diffusers import DDIMInverseScheduler, DDIMScheduler

    # The two schedulers agree on timesteps under "leading" spacing with the last alpha not set to one.
    config = {**scheduler_config, "timestep_spacing": "leading", "set_alpha_to_one": False, "clip_sample": False}
    inverse, forward = DDIMInverseScheduler.from_config(config), DDIMScheduler.from_config(config)
    inverse.set_timesteps(steps)
    forward.set_timesteps(steps)
    n, total = len(latents), steps * (1 + len(targets))

    def evaluate(x: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return predict(x, t.expand(n).to(x.device), tokens.expand(n, *tokens.shape))

    x = latents.float()
    for done, t in enumerate(inverse.timesteps, start=1):
        x = inverse.step(evaluate(x, t, source), t, x).prev_sample
        yield Progress(done, total, "Inverting")
    changes = []
    for number, target in enumerate(targets, start=1):
        z = x
        for done, t in enumerate(forward.timesteps, start=1):
            z = forward.step(evaluate(z, t, target), t, z).prev_sample
            yield Progress(steps * number + done, total, "Translating")
        changes.append(z - latents)
    return torch.stack(changes)
