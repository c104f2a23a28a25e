"""Several processes of this computer."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from phenolens.runtime.engines.overlapping import do_fields
from phenolens.runtime.engines.work import Outcome, Work
from phenolens.runtime.pools import process_pool
from phenolens.runtime.progress import Job, Progress, finish

_GLANCE = 0.3  # s between looks at what the processes have finished
# of this process, where it is one of them
_work: list[Work] = []
_ends: "list[Connection[Any, Any]]" = []


@dataclass(frozen=True)
class Processes:
    """Processes that take the next field when they are done with one; see `Engine`.

    While one computes a field it takes the next ahead, as long as there is one left for each of the others.

    Parameters
    ----------
    workers
        How many. The cores are divided among them.
    """

    workers: int

    def run(self, work: Work, keys: Sequence[str], check: Callable[[], None]) -> Job[list[Outcome]]:
        """Do the fields; a step is a field. `DeviceError` where a process is ended from outside, which ends all."""
        workers = min(self.workers, len(keys))
        if not workers:
            return []
        threads = max(1, (os.cpu_count() or 1) // workers)
        with ExitStack() as closed:
            pipes = [Pipe() for _ in range(workers)]
            for end in (end for pipe in pipes for end in pipe):
                closed.enter_context(end)
            theirs = [end for _, end in pipes]
            with process_pool(workers, f"{__name__}:_begin", threads, work, theirs) as pool:
                at_work = [pool.submit(_do_fields, number) for number in range(workers)]
                return (yield from _handed_out([end for end, _ in pipes], at_work, keys, check))


def _handed_out(
    ends: "Sequence[Connection[Any, Any]]", at_work: Sequence[Future[None]], keys: Sequence[str],
    check: Callable[[], None],
) -> Job[list[Outcome]]:  # fmt: skip
    """Give processes the fields that they ask for, and take what became of each."""
    left, outcomes = list(keys), list[Outcome]()
    while True:
        ended = all(one.done() for one in at_work)
        yield Progress(len(outcomes), len(keys), f"{len(at_work)} processes are at work")
        ready = wait(ends, 0 if ended else _GLANCE)
        for end in ready:
            assert isinstance(end, Connection)
            said = end.recv()
            if isinstance(said, Outcome):
                outcomes.append(said)
            else:
                kept_for_others = said and len(left) < len(ends)
                end.send(None if kept_for_others or not left else left.pop(0))
        for one in at_work:
            if one.done():
                one.result()
        check()
        if ended and not ready:
            return outcomes


def _begin(threads: int, work: Work, ends: "Sequence[Connection[Any, Any]]") -> None:
    """Prepare a process."""
    import torch

    torch.set_num_threads(threads)
    _work[:], _ends[:] = [work], ends


def _do_fields(number: int) -> None:
    """Do fields as long as there are some; the weights are loaded first, where what is wrong with them is heard."""
    end = _ends[number]

    def claim(ahead: bool) -> str | None:
        end.send(ahead)
        key: str | None = end.recv()
        return key

    finish(do_fields(_work[0], claim, lambda: None, end.send))
