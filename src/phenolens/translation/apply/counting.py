"""How often a network is asked, and how far a job is within a longer one."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from phenolens.runtime.progress import Job, Progress, relabelled

T = TypeVar("T")


class CountedNetwork:
    """A network that counts how many images it has seen."""

    def __init__(self, network: Callable[..., torch.Tensor]) -> None:
        self.network, self.rows = network, 0

    def __call__(self, images: torch.Tensor, *about: Any) -> torch.Tensor:
        self.rows += len(images)
        return self.network(images, *about)


def counted(job: Job[T], done: int, total: int) -> Job[T]:
    """Pass a job on with its steps counted within a longer one."""
    return relabelled(job, lambda now: Progress(done + now.step, total, now.message))
