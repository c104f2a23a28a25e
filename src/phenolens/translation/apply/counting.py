"""How often a network is asked, and how far a job is within a longer one."""

from collections.abc import Callable, Sequence
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


def inversions(steps: Sequence[int], shared: bool) -> list[int]:
    """With how many steps the image is inverted for each of several results, coarse to fine; 0 where it is not anew.

    Where a result has twice the steps of the one before and inversions may be `shared`, that of the finer one comes
    first and serves both: the coarser takes every second level of it.

    Examples
    --------
    >>> inversions((4, 8, 20), shared=True)
    [8, 0, 20]
    """
    made: list[int] = []
    for number, count in enumerate(steps):
        if made and made[-1] == count != steps[number - 1]:
            made.append(0)
        else:
            made.append(2 * count if shared and list(steps[number + 1 : number + 2]) == [2 * count] else count)
    return made
