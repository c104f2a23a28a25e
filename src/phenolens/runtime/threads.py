"""How many threads torch computes with: as many as there are cores that nobody else uses.

Threads of torch wait for one another at the end of each operation. Where one of them has lost its core to another
process, all others wait for it: on a busy machine more threads are slower, not faster. So the number follows what is
free, measured every few seconds while a job runs: the cores that this process may use (its affinity, and the quota of
its cgroup), less what other processes use of them.

Results differ in their last digits between numbers of threads, as sums are taken in another order. Who needs the same
bytes again fixes the number with ``OMP_NUM_THREADS=1``; that variable is an upper bound in any case.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenolens.runtime.choices.preferences import preferences

EVERY = 2.0  # s between measurements
_STALE = 10.0  # s after which what was measured says nothing of now
_SHORT = 0.5  # s that a measurement must span
# A thread is given up below this share of a core, and one is added above that share of another one.
_DOWN, _UP = 0.65, 0.75
_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Sample:
    """Seconds on the clocks of this moment.

    Parameters
    ----------
    at
        Wall time.
    own
        Processor time of this process, all threads together.
    idle
        Idle time of the cores that this process may use, all together; None where the system does not say.
    running
        Threads of the whole system that run or could run just now.
    """

    at: float
    own: float
    idle: float | None
    running: int = 1


def usable_cores() -> float:
    """Cores that this process may use: its affinity, the quota of its control group, and what the user grants."""
    most = preferences().threads or float("inf")
    return min(float(len(_affinity())), _quota(), most)


def take_sample() -> Sample:
    """Read the clocks of this moment."""
    idle, running = None, 1
    with suppress(OSError, ValueError, IndexError):
        allowed = {f"cpu{number}" for number in _affinity()}
        ticks, idle = os.sysconf("SC_CLK_TCK"), 0.0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *values = line.split()
            if name in allowed:
                idle += (int(values[3]) + int(values[4])) / ticks  # idle, and waiting for a disk
            elif name == "procs_running":
                running = max(1, int(values[0]))
    return Sample(time.monotonic(), time.process_time(), idle, running)


class ThreadCount:
    """The number of threads for this process, measured again and again.

    Parameters
    ----------
    sample
        Reads the clocks.
    cores
        Cores that this process may use.
    clock
        Wall time in s.
    """

    def __init__(
        self,
        sample: Callable[[], Sample] = take_sample,
        cores: Callable[[], float] = usable_cores,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sample, self._cores, self._clock = sample, cores, clock
        self._last = sample()
        self._count = 0
        self._room = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        """How many threads to use now, at least one; cheap, except when it is time to measure."""
        with self._lock:
            since = self._clock() - self._last.at
            if not self._count or since >= EVERY:
                self._measure()
            return self._count

    def _measure(self) -> None:
        before, self._last = self._last, self._sample()
        cores = self._cores()
        most = max(1, int(cores))
        passed = self._last.at - before.at
        if not self._count or passed > _STALE or passed < _SHORT:
            # Nothing recent to compare with: how many are running at this moment, this thread apart.
            self._count, self._room = _whole(cores - (self._last.running - 1), 1 - _DOWN, most), 0
            return
        free = self._free(before, passed, cores)
        if free < self._count - 1 + _DOWN:
            self._count, self._room = _whole(free, 1 - _DOWN, most), 0
        elif free >= self._count + _UP:
            # A pause of another process is not yet its end: it takes two measurements.
            self._room += 1
            if self._room >= 2:
                self._count, self._room = _whole(free, 1 - _UP, most), 0
        else:
            self._room = 0

    def _free(self, before: Sample, passed: float, cores: float) -> float:
        """Cores that no other process used since `before`."""
        if self._last.idle is None or before.idle is None:
            return cores - max(0.0, _system_load() - self._count)
        return min(cores, (self._last.own - before.own + self._last.idle - before.idle) / passed)


def _whole(free: float, bonus: float, most: int) -> int:
    return max(1, min(most, int(free + bonus)))


def thread_count() -> int:
    """How many threads this process should compute with now."""
    return _process.now()


@contextmanager
def fitting_threads(leave: int = 0) -> Iterator[Callable[[], None]]:
    """Let torch compute with as many threads as are free while the block lasts, and then with as many as before.

    Yields a function that is to be called now and then, on the same thread: it looks again. The number at the
    beginning, which the user may have set (``OMP_NUM_THREADS``, `torch.set_num_threads`), is never exceeded.

    Parameters
    ----------
    leave
        Cores that are left to others, such as the viewer.
    """
    most, used = 0, 0

    def look() -> None:
        # torch may be imported only within the job
        nonlocal most, used
        torch: Any = sys.modules.get("torch")
        if not hasattr(torch, "set_num_threads"):
            return
        most = most or torch.get_num_threads()
        wanted = max(1, min(most - leave, thread_count()))
        if wanted != (used or most):
            torch.set_num_threads(wanted)
        used = wanted

    look()
    try:
        yield look
    finally:
        if used and used != most:
            sys.modules["torch"].set_num_threads(most)


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _system_load() -> float:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows
        return 0.0


def _quota() -> float:
    """Cores that the control groups of this process grant it (version 2 or 1), without end where none sets a limit."""
    least = float("inf")
    with suppress(OSError, ValueError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, controllers, inside = line.split(":", 2)
            if not controllers:
                top, read = _GROUPS, _quota_2
            elif "cpu" in controllers.split(","):
                top, read = _GROUPS / "cpu", _quota_1
            else:
                continue
            folder = top / inside.lstrip("/")
            # a container sees its own group at the top; parents may set a stricter limit
            for one in (folder, *folder.parents, top):
                if one == top or top in one.parents:
                    least = min(least, read(one))
    return least


def _quota_2(folder: Path) -> float:
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        if quota != "max":
            return int(quota) / int(period)
    return float("inf")


def _quota_1(folder: Path) -> float:
    with suppress(OSError, ValueError):
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        if quota > 0:
            return quota / int((folder / "cpu.cfs_period_us").read_text())
    return float("inf")


_process = ThreadCount()
