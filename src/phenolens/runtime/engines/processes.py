"""Several processes of this computer."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from phenolens.runtime.engines.work import Do, Outcome, Work, attempt
from phenolens.runtime.pools import process_pool
from phenolens.runtime.progress import Job, Progress, finish

_GLANCE = 0.3  # s between looks at what the processes have finished
# of this process, where it is one of them
_work: list[Work] = []
_opened: list[Do] = []


@dataclass(frozen=True)
class Processes:
    """Processes that take the next field when they are done with one; see `Engine`.

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
        with process_pool(workers, f"{__name__}:_begin", threads, work) as pool:
            work_left: set[Future[Outcome]] = {pool.submit(_do, key) for key in keys}
            outcomes: list[Outcome] = []
            while work_left:
                yield Progress(len(outcomes), len(keys), f"{workers} processes are at work")
                ended, work_left = wait(work_left, timeout=_GLANCE, return_when=FIRST_COMPLETED)
                outcomes += [future.result() for future in ended]
                check()
        return outcomes


def _begin(threads: int, work: Work) -> None:
    """Prepare a process."""
    import torch

    torch.set_num_threads(threads)
    _work[:] = [work]


def _do(key: str) -> Outcome:
    """Do a field; the weights are loaded with the first one, where what is wrong with them is heard."""
    if not _opened:
        _opened.append(_work[0].open(lambda: None))
    return finish(attempt(_opened[0], key))
