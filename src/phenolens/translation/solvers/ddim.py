"""Stock DDIM inversion and generation, by the schedulers of diffusers."""

from collections.abc import Callable, Sequence
from inspect import signature

import torch

from phenolens.runtime.progress import Job, Progress
from phenolens.translation.solvers.trajectory import NOTHING_DRAWN, Renoise


@torch.no_grad()
def stock_ddim(
    predict: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    scheduler_config: dict[str, object],
    latents: torch.Tensor,
    source: torch.Tensor,
    targets: Sequence[torch.Tensor],
    steps: int = 50,
    renoise: Renoise = NOTHING_DRAWN,
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
    # Told of what only the other one knows, diffusers warns with every call.
    shared = {
        name: value for name, value in config.items() if name in signature(DDIMInverseScheduler.__init__).parameters
    }
    inverse, forward = DDIMInverseScheduler.from_config(shared), DDIMScheduler.from_config(config)
    inverse.set_timesteps(steps)
    forward.set_timesteps(steps)
    n, total = len(latents), steps * (1 + len(targets))

    def evaluate(x: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return predict(x, t.expand(n).to(x.device), tokens.expand(n, *tokens.shape))

    drawn = renoise.levels(steps)
    x = latents.float()
    if drawn:
        x = forward.add_noise(x, renoise.noise(x).expand_as(x), inverse.timesteps[drawn - 1].expand(n))
    for done, t in enumerate(inverse.timesteps[drawn:], start=drawn + 1):
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
