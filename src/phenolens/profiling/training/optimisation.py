"""Training that can be stopped at any step and goes on from its checkpoint as if it had not been."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from phenolens.runtime.checkpoints import About, Checkpoints
from phenolens.runtime.checkpoints import fingerprint as hashed
from phenolens.runtime.errors import ModelError
from phenolens.runtime.interrupts import saved_on_closing, unbroken
from phenolens.runtime.progress import Job, Progress

LossAt = Callable[[np.random.Generator, torch.Generator], Tensor]


def optimise(
    modules: nn.Module,
    loss_at: LossAt,
    *,
    steps: int,
    seed: int,
    learning_rate: float,
    weight_decay: float,
    what: str,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    fingerprint: str = "",
    device: str = "cpu",
    resume: bool = True,
) -> Job[None]:
    """Minimise a loss with AdamW, a short warm-up and a cosine decay; the weights change in place.

    Closed before its end, it leaves a checkpoint of the last step that was finished.

    Parameters
    ----------
    modules
        Whose parameters are trained, those that require a gradient.
    loss_at
        Gives the loss of one step from that step's own random generators, so that a resumed run is the run itself.
    steps
        Number of steps in all.
    seed
        Seeds the generators of every step.
    checkpoint
        File for the state; the one before it is kept beside it, and both stay until whoever saves the result removes
        them.
    fingerprint
        What tells this run from another; a checkpoint with another one is refused.
    resume
        Whether it goes on from a checkpoint of this run; where not, an earlier one stays until the first of this run.

    Raises
    ------
    ModelError
        The checkpoint is of another run or damaged, or the loss is not a number.
    """
    parameters = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    run = hashed(fingerprint)
    kept = None if checkpoint is None else Checkpoints(checkpoint)
    start = 0
    if kept is not None:
        start = yield from _take_up(kept, run, modules, optimizer, steps=steps, device=device, resume=resume)
    done = saved = start

    def save() -> None:
        nonlocal saved
        if kept is None or saved == done:
            return
        kept.write(About(done, steps, run), {"modules": modules.state_dict(), "optimizer": optimizer.state_dict()})
        saved = done

    modules.train()
    # Also when the job is closed or fails what was learnt is kept.
    with saved_on_closing(save):
        for step in range(start, steps):
            for group in optimizer.param_groups:
                group["lr"] = _rate_at(step, steps, learning_rate)
            loss = _loss_of_step(loss_at, seed, step, device)
            value = float(loss.detach())
            if not np.isfinite(value):
                raise ModelError(f"{what}: the loss is no longer a number at step {step + 1}; lower the learning rate.")
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            with unbroken():
                optimizer.step()
                done = step + 1
            optimizer.zero_grad(set_to_none=True)
            if done % checkpoint_every == 0 or done == steps:
                save()
            yield Progress(done, steps, what, {"loss": value})
    modules.eval()


def _take_up(
    kept: Checkpoints,
    run: str,
    modules: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    device: str,
    resume: bool,
) -> Job[int]:
    """Load the checkpoint of an unfinished run, where there is one to go on from; return the steps that are done."""
    found = kept.read(run, device) if resume else None
    if found is None:
        kept.start_over()
        return 0
    about, state = found
    modules.load_state_dict(state["modules"])
    optimizer.load_state_dict(state["optimizer"])
    yield Progress(about.step, steps, f"Going on from step {about.step}")
    return about.step


def _rate_at(step: int, steps: int, peak: float) -> float:
    """The learning rate of a step: rising for the first 30, and falling along a cosine."""
    return float(peak * min(1.0, (step + 1) / 30) * (0.5 + 0.5 * np.cos(np.pi * step / steps)))


def _loss_of_step(loss_at: LossAt, seed: int, step: int, device: str) -> Tensor:
    """The loss by generators of the step's own; so are those that dropout draws from, which everything shares."""
    noise = torch.Generator().manual_seed(seed * 1_000_003 + step)
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []), half_precision(device):
        torch.manual_seed(seed * 1_000_003 + step)
        return loss_at(np.random.default_rng([seed, step]), noise)


def half_precision(device: str) -> AbstractContextManager[object]:
    """bfloat16 where a GPU computes it, nothing elsewhere."""
    if device.startswith("cuda"):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()
