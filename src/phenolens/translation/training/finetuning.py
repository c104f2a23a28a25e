"""Fine-tune a base on the crops of two conditions, with learned condition tokens."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import writing
from phenolens.runtime.progress import Job, Progress, retold
from phenolens.screens.intensity import Kind
from phenolens.translation.model.base import Base, half_precision
from phenolens.translation.model.methods import find_method
from phenolens.translation.model.widening import end_parameters, load_ends
from phenolens.translation.solvers import difference, invert

T = TypeVar("T")
# Peak learning rate of the widened convolutions at both ends: that at which whole weights are trained.
ENDS_RATE = 1e-4


@dataclass(frozen=True)
class FinetuneSettings:
    """How an adapter is trained.

    Parameters
    ----------
    method
        What is trained in the UNet: ``"lora"``, ``"svdiff"`` or ``"full"``.
    rank
        Rank of the LoRA weights; the other methods have none.
    learning_rate
        Highest rate of the UNet's weights; the method's own where None.
    dropout
        Share of crops whose condition token is hidden.
    snr_gamma
        Cap of the min-SNR loss weight (Hang et al., 2023, arXiv 2303.09556).
    average
        Decay of the moving average whose weights are kept.
    crop
        Pixels of the field to a crop; chosen from the cells where None.
    max_cells
        Most cells of a condition; more are drawn at random by `seed`.
    intensity
        ``"affine"`` or ``"sqrt"``: the map from intensity to about [-1, 1].
    network_crop
        Pixels that the network sees of a crop, which is resampled to them; the base's own where None.
    checkpointing
        Whether activations are computed again instead of kept, which saves memory; by the base's size where None.
    """

    steps: int = 900
    method: str = "lora"
    rank: int = 16
    learning_rate: float | None = None
    token_learning_rate: float = 1e-2
    batch: int = 16
    seed: int = 0
    dropout: float = 0.1
    snr_gamma: float = 5.0
    average: float = 0.99
    crop: int | None = None
    max_cells: int = 400
    intensity: Kind = "affine"
    network_crop: int | None = None
    checkpointing: bool | None = None
    preview_every: int = 100
    checkpoint_every: int = 100

    @property
    def rate(self) -> float:
        """The learning rate of the UNet's weights, chosen or the method's own."""
        return find_method(self.method).learning_rate if self.learning_rate is None else self.learning_rate


@dataclass(frozen=True)
class Preview:
    """The same few cells as they are and as the model of this moment translates them.

    Parameters
    ----------
    source, translated
        (n, C, h, w) float32, mapped to about [-1, 1].
    """

    channel_names: tuple[str, ...]
    source: np.ndarray
    translated: np.ndarray


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning yields.

    Parameters
    ----------
    weights
        Trained weights by name, as the method keeps them.
    tokens
        (3, d) float32: the token of the data set, of the source and of the target.
    config
        The method's configuration.
    trained
        How many numbers of the UNet were trained.
    loss
        That of the last step.
    ends
        The convolutions at both ends of the UNet, where more channels made it wider and they are not among the weights.
    """

    weights: dict[str, torch.Tensor]
    tokens: torch.Tensor
    config: dict[str, Any]
    trained: int
    loss: float
    ends: dict[str, torch.Tensor] = field(default_factory=dict)


def finetune(
    base: Base,
    source: np.ndarray,
    target: np.ndarray,
    channel_names: tuple[str, ...],
    settings: FinetuneSettings,
    checkpoint: Path,
    resume: bool = False,
    moving: Sequence[bool] | None = None,
) -> Job[Tuned]:
    """Train the UNet of `base` (changed in place) and the tokens on crops of two conditions.

    Where the UNet is widened for more channels, the convolutions at both its ends are trained too.

    Parameters
    ----------
    source, target
        (n, C, crop, crop) float32, mapped to about [-1, 1].
    checkpoint
        File that is written now and then, and when the job is closed before its end.
    resume
        Go on from `checkpoint` where it exists; the result is that of an uninterrupted run.
    moving
        For each channel whether the previews translate it; all where None.

    Raises
    ------
    ModelError
        Where there is no such method, or the checkpoint belongs to other settings or other cells.
    """
    method = find_method(settings.method)
    torch.manual_seed(settings.seed)
    base.use_channels(source.shape[1])
    config = method.configure(settings.rank)
    method.inject(base.unet, config)
    weights = method.parameters(base.unet)
    ends = end_parameters(base.unet) if base.widened else {}
    if any(end.requires_grad for end in ends.values()):
        ends = {}  # they are among the weights
    for end in ends.values():
        end.requires_grad_(True)
    if base.memory.checkpointing if settings.checkpointing is None else settings.checkpointing:
        base.unet.enable_gradient_checkpointing()
    tokens = torch.nn.Parameter(torch.zeros(3, base.token_size, device=base.device))
    # Whatever else is to be trained joins here.
    groups = [
        (weights, settings.rate),
        ([tokens], settings.token_learning_rate),
        (list(ends.values()), ENDS_RATE),
    ]
    parameters = [parameter for group, _ in groups for parameter in group]
    optimizer = torch.optim.AdamW(
        [{"params": group, "lr": rate, "peak": rate} for group, rate in groups], weight_decay=0.0
    )
    average = _average(parameters, settings.average)
    run = {**asdict(settings), "cells": [len(source), len(target)], "sum": float(source.sum()) + float(target.sum())}
    latents = yield from encode_turned(base, source, target)
    step, loss = 0, float("nan")
    if resume and checkpoint.is_file():
        state = torch.load(checkpoint, map_location=base.device, weights_only=True)
        if state["run"] != run:
            raise ModelError(
                f"The checkpoint {checkpoint} was made with other settings or cells: "
                "start without resuming, or set them back."
            )
        method.put(base.unet, state["weights"])
        if ends:
            load_ends(base.unet, state["ends"])
        tokens.data.copy_(state["tokens"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        step, loss = state["step"], state["loss"]

    def save() -> None:
        state = {
            "run": run, "step": step, "loss": loss, "weights": method.take(base.unet), "tokens": tokens.detach(),
            "ends": {name: end.detach() for name, end in ends.items()},
            "optimizer": optimizer.state_dict(), "average": average.state_dict(),
        }  # fmt: skip
        with writing(checkpoint) as temporary:
            torch.save(state, temporary)

    saved = step
    try:
        while step < settings.steps:
            loss = _train_step(base, latents, tokens, parameters, optimizer, settings, step)
            average.step(parameters)
            step += 1
            if step % settings.checkpoint_every == 0:
                save()
                saved = step
            preview = None
            if settings.preview_every and (step % settings.preview_every == 0 or step == settings.steps):
                with _averaged(average, parameters):
                    preview = yield from _preview(base, source[:4], channel_names, tokens, step, settings.steps, moving)
            yield Progress(step, settings.steps, "Fine-tuning", {"loss": loss}, preview)
    finally:
        # Reached also when the job is closed or fails: what was learnt is kept.
        if saved < step < settings.steps:
            save()
    average.copy_to(parameters)
    trained = sum(parameter.numel() for parameter in [*weights, *ends.values()])
    kept_ends = {name: end.detach().clone() for name, end in ends.items()}
    return Tuned(method.kept(base.unet), tokens.detach().clone(), config, trained, loss, kept_ends)


def _average(parameters: list[torch.nn.Parameter], decay: float) -> Any:
    from diffusers.training_utils import EMAModel

    return EMAModel(parameters, decay=decay, use_ema_warmup=True, power=0.75)


@contextmanager
def _averaged(average: Any, parameters: list[torch.nn.Parameter]) -> Generator[None]:
    average.store(parameters)
    average.copy_to(parameters)
    try:
        yield
    finally:
        average.restore(parameters)


def encode_turned(base: Base, source: np.ndarray, target: np.ndarray) -> Job[list[torch.Tensor]]:
    """Latents (8, n, c, h, w) of each condition, under the four rotations and their mirror images."""
    latents = []
    for crops in (source, target):
        turned = []
        for turn in range(8):
            seen = np.rot90(crops, turn % 4, axes=(2, 3))
            seen = np.ascontiguousarray(seen[..., ::-1] if turn >= 4 else seen)
            parts = [base.encode(torch.from_numpy(seen[i : i + 64])) for i in range(0, len(seen), 64)]
            turned.append(torch.cat(parts))
            yield Progress(0, 0, "Encoding cells")
        latents.append(torch.stack(turned))
    return latents


def _train_step(
    base: Base,
    latents: list[torch.Tensor],
    tokens: torch.Tensor,
    parameters: list[torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    settings: FinetuneSettings,
    step: int,
) -> float:
    # Randomness depends on the step alone, so that a resumed run is the run itself.
    rng = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    n, device = settings.batch, base.device
    decay = min(1.0, (step + 1) / 20, (settings.steps - step) / (0.3 * settings.steps))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * decay
    # Both conditions have the same share of every batch, whatever their numbers.
    condition = torch.arange(n) % 2
    turn = torch.randint(8, (n,), generator=rng)
    draw = torch.rand(n, generator=rng)
    clean = torch.stack(
        [latents[c][t, int(u * latents[c].shape[1])] for c, t, u in zip(condition, turn, draw, strict=True)]
    )
    levels = len(base.schedule.alphas_cumprod)
    spread = (torch.randperm(n, generator=rng) + torch.rand(n, generator=rng)) / n
    timesteps = (spread * levels).long().to(device)
    alpha, sigma = base.schedule.alpha_sigma(timesteps)
    eps = torch.randn(clean.shape, generator=rng).to(device)
    keep = (torch.rand(n, generator=rng) >= settings.dropout).to(device)
    context = torch.stack([tokens[0].expand(n, -1), tokens[1:][condition.to(device)] * keep[:, None]], dim=1)
    with half_precision(device):
        out = base.predict(alpha * clean + sigma * eps, timesteps, context)
    if base.schedule.prediction == "v_prediction":
        goal, unit = alpha * eps - sigma * clean, base.schedule.snr(timesteps) + 1
    else:
        goal, unit = eps, base.schedule.snr(timesteps).clamp(min=1e-8)
    # Error in the clean latents has weight snr + 1 under v (snr under epsilon): cap it at gamma.
    weight = unit.clamp(max=settings.snr_gamma) / unit
    loss = ((out - goal).square().mean(dim=(1, 2, 3)) * weight).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _preview(
    base: Base,
    cells: np.ndarray,
    names: tuple[str, ...],
    tokens: torch.Tensor,
    step: int,
    steps: int,
    moving: Sequence[bool] | None,
) -> Job[Preview]:
    base.unet.eval()
    fixed = tokens.detach()
    source, target = fixed[[0, 1]], fixed[[0, 2]]
    latents = base.encode(torch.from_numpy(cells))
    inverting = invert(base.noise_at, latents, source.expand(len(cells), *source.shape), base.schedule.grid(8))
    # Each evaluation is a step of its own, so that a waiting click or a cancel does not wait for the whole preview.
    waiting = Progress(step, steps, "Translating a preview")
    trajectory = yield from retold(inverting, waiting)
    free = [True] * cells.shape[1] if moving is None else moving
    job = difference(base.noise_at, trajectory, source, target, (1.0,), moving=base.latent_mask(free))
    delta = yield from retold(job, waiting)
    change = base.decode_change(latents, delta, free)[0].cpu().numpy()
    return Preview(names, cells, cells + change)
