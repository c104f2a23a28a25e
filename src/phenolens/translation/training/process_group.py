"""Several processes that train together, started by ``accelerate launch`` or ``torchrun``."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from phenolens.runtime.errors import DeviceError

if TYPE_CHECKING:
    import torch

_SILENCE = timedelta(minutes=10)  # after which a process that is there and says nothing counts as lost


def in_group() -> bool:
    """Whether this process was started as one of several."""
    return os.environ.get("WORLD_SIZE", "1").strip() not in ("", "0", "1")


def is_first() -> bool:
    """Whether this process is the one that writes and speaks: the only one, or the first of several."""
    return not in_group() or os.environ.get("RANK", "0").strip() == "0"


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together; alone unless `joined` made it.

    Parameters
    ----------
    number, count
        Which, from 0, and of how many.
    local
        Which of those on this computer, and so which of its GPUs.
    """

    number: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.number == 0

    def share(self, rows: int) -> list[int]:
        """The rows of a batch that are this process's: every N-th."""
        return list(range(self.number, rows, self.count))

    def add_up(self, tensors: "Iterable[torch.Tensor]") -> None:
        """Replace each tensor by its sum over all processes.

        Raises
        ------
        DeviceError
            Another process has ended.
        """
        if self.count == 1:
            return
        import torch
        from accelerate.utils.operations import reduce

        tensors = list(tensors)
        flat = torch.cat([one.detach().flatten().float() for one in tensors])
        with _lost_ones():
            summed: torch.Tensor = reduce(flat, "sum")
        for one, part in zip(tensors, summed.split([one.numel() for one in tensors]), strict=True):
            one.copy_(part.view_as(one))

    def of_first(self, value: int, device: str) -> int:
        """The whole number that the first process gives."""
        if self.count == 1:
            return value
        import torch
        from accelerate.utils.operations import broadcast

        with _lost_ones():
            return int(broadcast(torch.tensor([value], device=device)).item())


@contextmanager
def joined(device: str) -> Iterator[ProcessGroup]:
    """Meet the other processes, where this one was started as one of several, and part from them at the end.

    Parameters
    ----------
    device
        Where it is going to compute.

    Raises
    ------
    DeviceError
        They do not come, or have ended.
    """
    if not in_group():
        yield ProcessGroup()
        return
    from accelerate.state import PartialState

    with _lost_ones():
        state = PartialState(cpu=device == "cpu", timeout=_SILENCE)
    yield ProcessGroup(state.process_index, state.num_processes, max(state.local_process_index, 0))
    # not where the block raised: the others may be gone, and the process ends
    state.destroy_process_group()


def own_device(device: str, local: int | None = None) -> str:
    """The GPU of this process, where several on a computer have one each."""
    number = int(os.environ.get("LOCAL_RANK", "0") if local is None else local)
    return f"cuda:{number}" if device == "cuda" and in_group() and number else device


@contextmanager
def _lost_ones() -> Iterator[None]:
    """Say in a sentence that another process is gone."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise DeviceError(
            "Another process of this fine-tuning has ended, or does not answer. What was learnt is kept: start the "
            f"same command again with --resume, with as many processes as you like. ({said})"
        ) from error
