"""Fine-tune a base on the crops of two conditions, with learned condition tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from phenolens.runtime.checkpoints import About, Checkpoints, fingerprint
from phenolens.runtime.errors import ModelError
from phenolens.runtime.interrupts import saved_on_closing, unbroken
from phenolens.runtime.memory.fitting_batch import FittingBatch
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base
from phenolens.translation.model.memory import fitting_batch
from phenolens.translation.model.methods import Method, find_method
from phenolens.translation.model.widening import end_parameters, load_ends
from phenolens.translation.solvers import difference, invert
from phenolens.translation.training.averaging import averaged
from phenolens.translation.training.batch_gradients import add_gradients, draw_batch, gradients_of
from phenolens.translation.training.finetune_settings import FinetuneSettings as FinetuneSettings
from phenolens.translation.training.process_group import ProcessGroup

T = TypeVar("T")
# Peak learning rate of the widened convolutions at both ends: that at which whole weights are trained.
ENDS_RATE = 1e-4
MOST_COPIED = 20_000_000  # trained numbers, of which a copy is made with each preview
ALONE = ProcessGroup()


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


@dataclass(frozen=True)
class Preview:
    """The same few cells as they are and as the model of this moment translates them.

    Parameters
    ----------
    source, translated
        (n, C, h, w) float32, mapped to about [-1, 1].
    tuned
        What fine-tuning has yielded up to here; None where it is too large to be copied now and then.
    draft
        An adapter of that, to be tried; None where nobody made one.
    """

    channel_names: tuple[str, ...]
    source: np.ndarray
    translated: np.ndarray
    tuned: Tuned | None = None
    draft: Adapter | None = None


def finetune(
    base: Base,
    source: np.ndarray,
    target: np.ndarray,
    channel_names: tuple[str, ...],
    settings: FinetuneSettings,
    checkpoint: Path,
    resume: bool = False,
    moving: Sequence[bool] | None = None,
    request: str = "",
    known: torch.Tensor | None = None,
    group: ProcessGroup = ALONE,
) -> Job[Tuned]:
    """Train the UNet of `base` (changed in place) and the tokens on crops of two conditions.

    Where the UNet is widened for more channels, the convolutions at both its ends are trained too.

    Parameters
    ----------
    source, target
        (n, C, crop, crop) float32, mapped to about [-1, 1].
    checkpoint
        File that is written now and then, after the last step, and when the job is closed before its end. The one
        before it is kept beside it; both stay until whoever saves the result removes them.
    resume
        Go on from `checkpoint` where it exists; the result is that of an uninterrupted run.
    moving
        For each channel whether the previews translate it; all where None.
    request
        What the checkpoint is to say it was asked for; see `request_of`.
    known
        Latents of the source as `encode_turned` makes them, where they were made before.
    group
        The processes that share each batch; the first alone writes, and shows previews.

    Raises
    ------
    ModelError
        There is no such method, the checkpoint is damaged or of other settings or cells, or the loss is not a number.
    DeviceError
        Another process of the group has ended, or there is no memory for even one crop of a batch.
    """
    training = _prepare(base, source.shape[1], settings)
    run = fingerprint(base.name, settings.of_result(), tuple(channel_names), source, target)
    kept = Checkpoints(checkpoint)
    found = _begun(kept, run, base.device, resume, group)
    if found is not None:
        training.put_back(found[0].step, found[1])
        yield Progress(training.step, settings.steps, f"Going on from step {training.step}")

    saved = training.step

    def save() -> None:
        nonlocal saved
        if saved < training.step and group.first:
            kept.write(About(training.step, settings.steps, run, request), training.state())
            saved = training.step

    latents: list[torch.Tensor] = []  # after the last step only the saved weights are wanted
    if saved < settings.steps:
        latents = yield from encode_turned(base, source, target, known)
    # Also when the job is closed or fails what was learnt is kept.
    with saved_on_closing(save):
        while training.step < settings.steps:
            _train_step(training, latents, settings, group)
            step = training.step
            if step % settings.checkpoint_every == 0 or step == settings.steps:
                save()
            preview = None
            every = settings.preview_every
            if group.first and every and (step % every == 0 or step == settings.steps):
                with averaged(training.average, training.parameters):
                    preview = yield from _preview(
                        base, source[:4], channel_names, training.tokens, step, settings.steps, moving
                    )
                    preview = replace(preview, tuned=training.copied())
            yield Progress(step, settings.steps, "Fine-tuning", {"loss": training.loss}, preview)
    return training.result()


def _begun(kept: Checkpoints, run: str, device: str, resume: bool, group: ProcessGroup) -> tuple[About, Any] | None:
    """The checkpoint to go on from, the same for all processes; where there is none, what lies there is given up."""
    found = kept.read(run, device) if resume else None
    step = 0 if found is None else found[0].step
    if group.of_first(step, device) != step:
        raise ModelError(f"The processes see different checkpoints in {kept.path.parent}: let them share the folder.")
    if found is None and group.first:
        kept.start_over()
    return found


@dataclass
class _Training:
    """All that changes while a base is fine-tuned.

    Parameters
    ----------
    weights, ends, tokens
        What is trained: the UNet's weights, the convolutions at its widened ends, the condition tokens.
    average
        The moving average of all of them.
    step, loss
        Steps done, and the loss of the last one.
    fitting
        How many crops of a batch go through the network at once.
    """

    base: Base
    method: Method
    config: dict[str, Any]
    weights: list[torch.nn.Parameter]
    ends: dict[str, torch.nn.Parameter]
    tokens: torch.nn.Parameter
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: Any
    step: int = 0
    loss: float = float("nan")
    fitting: FittingBatch = field(default_factory=fitting_batch)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "loss": self.loss, "weights": self.method.take(self.base.unet), "tokens": self.tokens.detach(),
            "ends": {name: end.detach() for name, end in self.ends.items()},
            "optimizer": self.optimizer.state_dict(), "average": self.average.state_dict(),
        }  # fmt: skip

    def put_back(self, step: int, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint holds."""
        self.method.put(self.base.unet, state["weights"])
        if self.ends:
            load_ends(self.base.unet, state["ends"])
        self.tokens.data.copy_(state["tokens"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.step, self.loss = step, state["loss"]

    def result(self) -> Tuned:
        """Put the averaged weights into the base, and take them out."""
        self.average.copy_to(self.parameters)
        return self._taken()

    def copied(self) -> Tuned | None:
        """A copy of the weights that the base has now, in the computer's memory; None where they are many."""
        taken = self._taken()
        if taken.trained > MOST_COPIED:
            return None
        return replace(
            taken,
            weights={name: one.detach().to("cpu", copy=True) for name, one in taken.weights.items()},
            tokens=taken.tokens.cpu(),
            ends={name: one.cpu() for name, one in taken.ends.items()},
        )

    def _taken(self) -> Tuned:
        return Tuned(
            self.method.kept(self.base.unet),
            self.tokens.detach().clone(),
            self.config,
            sum(parameter.numel() for parameter in [*self.weights, *self.ends.values()]),
            self.loss,
            {name: end.detach().clone() for name, end in self.ends.items()},
        )


def _prepare(base: Base, channels: int, settings: FinetuneSettings) -> _Training:
    """Put what is trained into `base`, and an optimiser beside it."""
    method = find_method(settings.method)
    torch.manual_seed(settings.seed)
    base.use_channels(channels)
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
    _hear_signals(base.unet)
    tokens = torch.nn.Parameter(torch.zeros(3, base.token_size, device=base.device))
    # Whatever else is to be trained joins here.
    groups = [
        (weights, settings.rate),
        ([tokens], settings.token_learning_rate),
        (list(ends.values()), ENDS_RATE),
    ]
    parameters = [parameter for group, _ in groups for parameter in group]
    fused = base.device.split(":")[0] in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(
        [{"params": group, "lr": rate, "peak": rate} for group, rate in groups], weight_decay=0.0, fused=fused
    )
    average = _average(parameters, settings.average)
    return _Training(base, method, config, weights, ends, tokens, parameters, optimizer, average)


def _hear_signals(unet: Any) -> None:
    """Let the way back through `unet` pass through lines of Python, where an interruption can break in.

    It is one call into C otherwise, which lasts for most of a step: seconds for a large network on a CPU.
    """

    def on_the_way_back(module: Any, given: Any, made: Any) -> None:
        if isinstance(made, torch.Tensor) and made.requires_grad:
            made.register_hook(lambda gradient: None)

    for module in unet.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.LayerNorm)):
            module.register_forward_hook(on_the_way_back)


def _average(parameters: list[torch.nn.Parameter], decay: float) -> Any:
    from diffusers.training_utils import EMAModel

    return EMAModel(parameters, decay=decay, use_ema_warmup=True, power=0.75, foreach=True)


def encode_turned(
    base: Base, source: np.ndarray, target: np.ndarray, known: torch.Tensor | None = None
) -> Job[list[torch.Tensor]]:
    """Latents (8, n, c, h, w) of each condition, under the four rotations and their mirror images.

    Parameters
    ----------
    known
        Those of the source, where they were made before.
    """
    latents = [known.to(base.device) if known is not None else (yield from encode_turns(base, source, 0, 16))]
    latents.append((yield from encode_turns(base, target, 8, 16)))
    return latents


def encode_turns(base: Base, crops: np.ndarray, done: int, total: int) -> Job[torch.Tensor]:
    """Latents (8, n, c, h, w) of crops under the four rotations and their mirror images."""
    turned = []
    for turn in range(8):
        seen = np.rot90(crops, turn % 4, axes=(2, 3))
        seen = np.ascontiguousarray(seen[..., ::-1] if turn >= 4 else seen)
        parts = [base.encode(torch.from_numpy(seen[i : i + 64])) for i in range(0, len(seen), 64)]
        turned.append(torch.cat(parts))
        yield Progress(done + turn + 1, total, "Encoding cells")
    return torch.stack(turned)


def _train_step(
    training: _Training, latents: list[torch.Tensor], settings: FinetuneSettings, group: ProcessGroup
) -> None:
    """Take one step, wholly or not at all."""
    step, optimizer = training.step, training.optimizer
    decay = min(1.0, (step + 1) / 20, (settings.steps - step) / (0.3 * settings.steps))
    for each in optimizer.param_groups:
        each["lr"] = each["peak"] * decay
    batch = draw_batch(training.base, latents, settings, step)
    loss = add_gradients(
        training.base, training.tokens, batch, group.share(settings.batch), training.fitting, optimizer
    )  # fmt: skip
    group.add_up([loss, *(gradients_of(training.parameters) if group.count > 1 else ())])
    value = float(loss)
    if not np.isfinite(value):
        raise ModelError(f"The loss is no longer a number at step {step + 1}: lower the learning rate.")
    torch.nn.utils.clip_grad_norm_(training.parameters, 1.0)
    # Up to here nothing has changed but gradients; half a change would be saved as if it were whole.
    with unbroken():
        optimizer.step()
        training.average.step(training.parameters)
        training.step, training.loss = step + 1, value
    optimizer.zero_grad(set_to_none=True)


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
    trajectory = yield from relabelled(inverting, waiting)
    free = [True] * cells.shape[1] if moving is None else moving
    job = difference(base.noise_at, trajectory, source, target, (1.0,), moving=base.latent_mask(free))
    delta = yield from relabelled(job, waiting)
    change = base.decode_change(latents, delta, free)[0].cpu().numpy()
    return Preview(names, cells, cells + change)
