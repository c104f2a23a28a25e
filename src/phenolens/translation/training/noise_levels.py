"""Which noise levels a training step sees, and how much each counts."""

import numpy as np
import torch

from phenolens.translation.solvers.schedule import NoiseSchedule

# Levels s = sigma / alpha at which an inversion gathers nearly all of its noise.
LOW, HIGH = 0.01, 3.0


def draw_timesteps(schedule: NoiseSchedule, count: int, low_share: float, generator: torch.Generator) -> torch.Tensor:
    """(count,) whole timesteps: a share of them even in log s from `LOW` to `HIGH`, the others even in time.

    Each part is stratified, which steadies the loss, and every batch has its share, in random order.
    """
    low, levels = round(low_share * count), len(schedule.alphas_cumprod)

    def even(number: int) -> torch.Tensor:
        order = torch.randperm(number, generator=generator)
        return (order + torch.rand(number, generator=generator)) / max(number, 1)

    drawn = (even(count - low) * levels).long()
    if low:
        log_s = np.log(LOW) + even(low).numpy() * np.log(HIGH / LOW)
        inverting = np.interp(log_s, schedule.log_s, np.arange(levels)).round().astype(np.int64)
        # Parts in random order, for a caller's batch may have an order of its own.
        drawn = torch.cat([drawn, torch.from_numpy(inverting)])[torch.randperm(count, generator=generator)]
    return drawn


def loss_weight(schedule: NoiseSchedule, timesteps: torch.Tensor, gamma: float, least: float) -> torch.Tensor:
    """(n,) weight of the squared error of what is predicted: max(min(u, gamma) / u, least).

    u is snr + 1 under v-prediction and snr under epsilon, the weight that the error of the clean latents has then; so
    `gamma` caps it (min-SNR, Hang et al., 2023, arXiv 2303.09556). An inversion draws its noise at low levels, where
    that cap leaves next to nothing; `least` keeps what is predicted there from being forgotten.
    """
    snr = schedule.snr(timesteps)
    unit = snr + 1 if schedule.prediction == "v_prediction" else snr.clamp(min=1e-8)
    return (unit.clamp(max=gamma) / unit).clamp(min=least)
