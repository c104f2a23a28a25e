"""The difference equation: only what the target condition changes is integrated, along a stored trajectory."""

from collections.abc import Sequence

import numpy as np
import torch

from phenolens.runtime.progress import Job, Progress
from phenolens.translation.solvers.guided import GuidedNoise, spread
from phenolens.translation.solvers.multistep import PredictorCorrector
from phenolens.translation.solvers.trajectory import NOTHING_DRAWN, NoiseModel, Renoise, Trajectory


@torch.no_grad()
def invert(
    noise: NoiseModel,
    latents: torch.Tensor,
    tokens: torch.Tensor,
    grid: np.ndarray,
    renoise: Renoise = NOTHING_DRAWN,
) -> Job[Trajectory]:
    """Integrate `latents` (n, c, h, w) from clean to noise under their own `tokens` (n, K, d).

    One evaluation a step, at its clean side, and one at the noise end: N + 1 in all.
    """
    steps = len(grid) - 1
    states = renoise.states(latents.float(), grid)
    drawn = len(states) - 1
    equation = PredictorCorrector(states[drawn])
    noises: list[torch.Tensor] = []
    for i in range(steps + 1):
        noises.append(noise(states[i], grid[i], tokens))
        if drawn <= i < steps:
            states.append(equation.step(noises[i], grid[i], grid[i + 1]))
        yield Progress(i + 1, steps + 1, "Inverting")
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
    left: torch.Tensor | None = None,
) -> Job[torch.Tensor]:
    """Integrate what the target condition changes, from noise to clean, along a cached trajectory.

    delta' = eps(y_i + delta; source) + g (eps(y_i + delta; target) - eps(y_i + delta; source)) - e_i
    with delta = 0 at the noise end and g = guidance * strength. A strength of zero is zero exactly.

    At every second level only the condition that counts for more is evaluated, and how far the two lie apart is
    continued from the levels before; where g is 1 the target alone is enough. So N steps take N evaluations, and
    (N - 1) // 2 more where g is not 1.

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
    left
        (n, c, h, w) part of the noise that strength 1 leaves behind: delta starts at -strength * s * left instead of 0.
        Nothing where None.

    Returns
    -------
    (S, n, c, h, w) float32, to be added to the clean latents.
    """
    grid, steps = trajectory.grid, len(trajectory.grid) - 1
    chosen = [s for s in strengths if s != 0 and not torch.equal(source, target)]
    if not chosen:
        yield Progress(steps, steps, "Translating")
        return torch.zeros(len(strengths), *trajectory.latents.shape, device=trajectory.latents.device)
    guided = GuidedNoise(noise, source, target, chosen, guidance, len(trajectory.latents))
    delta = torch.zeros_like(guided.rows(trajectory.latents))
    if left is not None:
        delta = torch.cat([-strength * float(grid[-1]) * left for strength in chosen])
        if moving is not None:
            delta = delta * moving.view(1, -1, 1, 1)
    equation = PredictorCorrector(delta)
    gaps: list[tuple[float, torch.Tensor]] = []
    for i in range(steps, 0, -1):
        y, known = guided.rows(trajectory.states[i]) + delta, guided.rows(trajectory.noises[i])
        if guided.plain:
            predicted = guided(y, grid[i])
        elif (steps - i) % 2 == 0:
            # At first nothing has moved yet, so what the source condition predicts is known.
            predicted, gap = guided.with_gap(y, grid[i], known if i == steps and left is None else None)
            gaps = [*gaps[-1:], (grid[i], gap)]
        else:
            predicted = guided.by_gap(y, grid[i], _continued(gaps, grid[i]))
        slope = predicted - known
        if moving is not None:
            slope = slope * moving.view(1, -1, 1, 1)
        delta = equation.step(slope, grid[i], grid[i - 1])
        yield Progress(steps - i + 1, steps, "Translating")
    return spread(delta, strengths, trajectory.latents)


@torch.no_grad()
def regenerate(noise: NoiseModel, trajectory: Trajectory, tokens: torch.Tensor) -> Job[torch.Tensor]:
    """Latents (n, c, h, w) from the noise end alone, under `tokens` (n, K, d): the plain equation, integrated back.

    A translation does not take this way. It is how far the equation, at these steps, is from leading back.
    """
    grid, steps = trajectory.grid, len(trajectory.grid) - 1
    y = trajectory.states[steps]
    equation = PredictorCorrector(y)
    for i in range(steps, 0, -1):
        y = equation.step(noise(y, grid[i], tokens), grid[i], grid[i - 1])
        yield Progress(steps - i + 1, steps, "Generating")
    return y


def _continued(known: list[tuple[float, torch.Tensor]], s: float) -> torch.Tensor:
    """The values of one or two levels, continued to the level `s` along a straight line in log s."""
    if len(known) == 1:
        return known[0][1]
    (s_one, one), (s_other, other) = known
    return other + float(np.log(s / s_other) / np.log(s_other / s_one)) * (other - one)
