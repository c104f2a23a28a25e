"""Which process wrote something, and whether it still runs: told apart even when its number was given again."""

import hashlib
import os
import platform
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process.

    Parameters
    ----------
    pid
        Its number, which another process may be given later.
    start
        What tells it from those: a mark of when it started.
    host
        A mark of the computer, or container, whose numbers these are.
    """

    pid: int
    start: str
    host: str

    @property
    def is_here(self) -> bool:
        """Whether it belongs to this computer, so that `has_ended` can tell."""
        return self.host == host_mark()

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended; False for one of another computer, of which nothing is known."""
        if not self.is_here:
            return False
        now = start_mark(self.pid)
        return now is None or (now != self.start and _UNKNOWN not in (now, self.start))


# A process that is there, but does not say when it started.
_UNKNOWN = "unknown"


def this_process() -> Process:
    """The process that runs this."""
    return _this(os.getpid())


@lru_cache(maxsize=1)
def _this(pid: int) -> Process:
    return Process(pid, start_mark(pid) or _UNKNOWN, host_mark())


@lru_cache(maxsize=1)
def host_mark() -> str:
    """Eight letters for this computer; a container with process numbers of its own counts as another one."""
    try:
        numbers = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        numbers = ""
    return _short(platform.node(), numbers)


def start_mark(pid: int) -> str | None:
    """Eight letters for when the process with this number started; None where there is none, or it is dead."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        # After the name, which may hold anything: the state, and as the twentieth the start in ticks since boot, which
        # unlike a time of day stays the same when the clock is set.
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if facts[0] in "ZX" else _short(boot, facts[19])
    except (OSError, IndexError):
        pass
    import psutil

    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
    except (psutil.Error, OSError):
        return _UNKNOWN
    return _short(f"{started:.0f}")


def end_with_parent() -> None:
    """Let this process, which another one made, end at once when that one is gone, however it ended.

    For pools of `multiprocessing`, as their initializer: a parent that is killed cannot tell its children.
    """
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        # The parent holds the other end of this for as long as it lives.
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent's end", daemon=True).start()
    _ask_kernel()
    if not parent.is_alive():
        os._exit(1)


def _ask_kernel() -> None:
    """On Linux the kernel ends this process, even in the middle of long computations that hold up its threads."""
    import ctypes
    import signal
    import sys

    if not sys.platform.startswith("linux"):
        return
    set_parent_death_signal = 1
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)


def _short(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]
