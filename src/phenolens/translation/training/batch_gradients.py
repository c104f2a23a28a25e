"""One step's batch, and its gradients: in as few parts as a device has memory for, shared by several processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from phenolens.runtime.memory.fitting_batch import FittingBatch, is_out_of_memory
from phenolens.translation.model.base import Base
from phenolens.translation.model.precision import half_precision, plain_attention
from phenolens.translation.training.finetune_settings import FinetuneSettings
from phenolens.translation.training.noise_levels import draw_timesteps, loss_weight


@dataclass(frozen=True)
class Batch:
    """What one step learns from, n crops: all that is drawn at random is in it.

    Parameters
    ----------
    noisy, goal
        (n, c, h, w): what the network sees, and what it should say.
    timesteps, weight
        (n,) of each crop, and what its error counts.
    condition, keep
        (n,) 0 for the source and 1 for the target, and whether the token of the condition is shown.
    """

    noisy: torch.Tensor
    goal: torch.Tensor
    timesteps: torch.Tensor
    weight: torch.Tensor
    condition: torch.Tensor
    keep: torch.Tensor


def draw_batch(base: Base, latents: Sequence[torch.Tensor], settings: FinetuneSettings, step: int) -> Batch:
    """Draw the batch of a step, by the step alone: a resumed run, or one of more processes, is the run itself.

    Parameters
    ----------
    latents
        (8, n, c, h, w) of each condition, as `encode_turned` makes them.
    """
    rng = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    n, device = settings.batch, base.device
    # Both conditions have the same share of every batch, whatever their numbers.
    condition = torch.arange(n) % 2
    turn = torch.randint(8, (n,), generator=rng)
    draw = torch.rand(n, generator=rng)
    clean = torch.stack(
        [latents[c][t, int(u * latents[c].shape[1])] for c, t, u in zip(condition, turn, draw, strict=True)]
    )
    timesteps = draw_timesteps(base.schedule, n, settings.low_noise, rng).to(device)
    alpha, sigma = base.schedule.alpha_sigma(timesteps)
    eps = torch.randn(clean.shape, generator=rng).to(device)
    keep = (torch.rand(n, generator=rng) >= settings.dropout).to(device)
    goal = alpha * eps - sigma * clean if base.schedule.prediction == "v_prediction" else eps
    weight = loss_weight(base.schedule, timesteps, settings.snr_gamma, settings.least_weight)
    return Batch(alpha * clean + sigma * eps, goal, timesteps, weight, condition.to(device), keep)


def add_gradients(
    base: Base,
    tokens: torch.Tensor,
    batch: Batch,
    rows: Sequence[int],
    fitting: FittingBatch,
    optimizer: torch.optim.Optimizer,
) -> torch.Tensor:
    """Leave the gradients of some rows' share of the loss of a batch with the parameters, and return that share.

    Where memory ends, all rows are gone through again in smaller parts, whose gradients add up to the same.

    Raises
    ------
    MemoryEnded
        Memory ends with a single row.
    """
    while True:
        size, error = fitting.size(len(rows)), None
        try:
            loss = _in_parts(base, tokens, batch, rows, size)
        except RuntimeError as raised:
            if not is_out_of_memory(raised):
                raise
            error = raised.with_traceback(None)  # whose frames hold activations
        if error is None:
            fitting.fitted(size)
            return loss
        optimizer.zero_grad(set_to_none=True)
        fitting.too_many(size, base.device, error)


def gradients_of(parameters: Sequence[torch.nn.Parameter]) -> Iterator[torch.Tensor]:
    """The gradient of each parameter, zero where it has none."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        yield parameter.grad


def _in_parts(base: Base, tokens: torch.Tensor, batch: Batch, rows: Sequence[int], size: int) -> torch.Tensor:
    loss = torch.zeros((), device=base.device)
    # On the way back too: checkpoints of activations are computed again there.
    with plain_attention(base.device, tokens=batch.noisy[0, 0].numel()):
        for start in range(0, len(rows), max(size, 1)):
            part = _share_of_loss(base, tokens, batch, torch.tensor(rows[start : start + size], device=base.device))
            part.backward()
            loss += part.detach()
    return loss


def _share_of_loss(base: Base, tokens: torch.Tensor, batch: Batch, rows: torch.Tensor) -> torch.Tensor:
    """What some rows add to the mean loss of a batch."""
    own = tokens[1:][batch.condition[rows]] * batch.keep[rows, None]
    context = torch.stack([tokens[0].expand(len(rows), -1), own], dim=1)
    with half_precision(base.device):
        out = base.predict(batch.noisy[rows], batch.timesteps[rows], context)
    error = (out - batch.goal[rows]).square().mean(dim=(1, 2, 3))
    return (error * batch.weight[rows]).sum() / len(batch.keep)
