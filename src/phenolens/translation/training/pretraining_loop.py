"""The steps by which a network is pre-trained, with checkpoints, and with looks at its averaged weights in between."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from phenolens.runtime.checkpoints import About, Checkpoints
from phenolens.runtime.interrupts import saved_on_closing, unbroken
from phenolens.runtime.progress import Job, Progress
from phenolens.translation.model.precision import half_precision, plain_attention
from phenolens.translation.training.averaging import averaged


@dataclass(frozen=True)
class Part:
    """What is trained by one loop, and how.

    Parameters
    ----------
    what
        Its name, as progress tells it.
    rate
        Highest learning rate.
    average
        Decay of the moving average whose weights are kept.
    checkpoint, run
        File of the latest checkpoint, and fingerprint of all that the result depends on.
    """

    what: str
    steps: int
    rate: float
    average: float
    seed: int
    device: str
    checkpoint: Path
    checkpoint_every: int
    run: str


class Watch(Protocol):
    """What else is done while a part is trained."""

    def begin(self, step: int) -> None:
        """Hear after how many steps the loop begins or goes on."""

    def keep(self) -> None:
        """Keep what belongs to the checkpoint that is written next."""

    def look(self, step: int) -> Job[None] | None:
        """A job that is run with the averaged weights after `step` steps; None for nothing."""


def train_part(
    model: torch.nn.Module,
    loss_at: Callable[[np.random.Generator, torch.Generator], torch.Tensor],
    part: Part,
    watch: Watch | None = None,
) -> Job[None]:
    """Optimise `model` in place and leave its averaged weights in it; an interrupted loop goes on from its checkpoint.

    Raises
    ------
    ModelError
        The checkpoint is of another run or damaged.
    """
    from diffusers.training_utils import EMAModel

    parameters = list(model.parameters())
    fused = part.device.split(":")[0] in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(parameters, lr=part.rate, weight_decay=1e-4, fused=fused)
    average = EMAModel(parameters, decay=part.average, use_ema_warmup=True, power=0.75, foreach=True)
    kept, start, steps = Checkpoints(part.checkpoint), 0, part.steps
    if (found := kept.read(part.run, part.device)) is not None:
        model.load_state_dict(found[1]["model"])
        optimizer.load_state_dict(found[1]["optimizer"])
        average.load_state_dict(found[1]["average"])
        start = found[0].step
    done = saved = start

    def save() -> None:
        nonlocal saved
        if saved < done:
            if watch is not None:
                watch.keep()
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state_dict()}
            kept.write(About(done, steps, part.run), state)
            saved = done

    def look() -> Job[None]:
        looking = None if watch is None else watch.look(done)
        if looking is not None:
            with averaged(average, parameters):
                yield from looking

    # Also when the job is closed or fails what was learnt is kept.
    with saved_on_closing(save):
        if watch is not None:
            watch.begin(start)
        yield from look()  # which the run may have been stopped before
        for step in range(start, steps):
            # Randomness depends on the step alone, so that a resumed run is the run itself.
            rng = np.random.default_rng([part.seed, step, len(part.what)])
            noise = torch.Generator().manual_seed(part.seed * 1_000_003 + step)
            decay = min(1.0, (step + 1) / 100, (steps - step) / (0.25 * steps))
            for group in optimizer.param_groups:
                group["lr"] = part.rate * decay
            with half_precision(part.device), plain_attention(part.device):
                loss = loss_at(rng, noise)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            with unbroken():
                optimizer.step()
                average.step(parameters)
                done = step + 1
            optimizer.zero_grad(set_to_none=True)
            if done % part.checkpoint_every == 0 or done == steps:
                save()
            yield from look()
            yield Progress(done, steps, part.what, {"loss": float(loss.detach())})
    average.copy_to(parameters)
