"""Processes that share work, and end with it: at once where it is broken off, and with the process that made them."""

import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import InvalidStateError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from phenolens.runtime.errors import DeviceError
from phenolens.runtime.interrupts import undone_at_end
from phenolens.runtime.processes import end_with_parent

_END = 2.0  # s for the system to take away a process that was ended


@contextmanager
def process_pool(workers: int | None = None, start: str = "", *args: Any) -> Iterator[ProcessPoolExecutor]:
    """Processes that share work while the block runs.

    Where the block raises, for a signal came, the job is closed or a process failed, they are ended at once, whatever
    they do; so whatever they write is written whole or not at all. They are new processes rather than copies of this
    one: copying one in which torch has threads can hang.

    Parameters
    ----------
    workers
        How many; as many as there are cores where None.
    start
        Function that each of them calls first, as ``"package.module:name"``: given as text, it is imported only once
        the parent is watched, since that takes a while where it needs torch.
    args
        For that function.

    Raises
    ------
    DeviceError
        One of them was ended from outside.
    """
    context = _Context()
    _begin_tracker()
    pool = ProcessPoolExecutor(workers, context, _begin, (start, *args))
    forget = undone_at_end(context.end)
    try:
        yield pool
        pool.shutdown(wait=True)
    except BrokenProcessPool as error:
        raise DeviceError(
            "A process that shared the work was ended from outside, perhaps since no memory was left: ask for fewer "
            "processes. What was finished is kept."
        ) from error
    finally:
        _say_nothing_of_what_was_cancelled()
        context.end()
        # Not waited for: whoever waited for an answer of a process that is gone would wait here.
        pool.shutdown(wait=False, cancel_futures=True)
        forget()


def _begin_tracker() -> None:
    """Start Python's process that removes what is shared; it warns of what a process that ended at once had left."""
    if sys.platform == "win32":
        return
    from multiprocessing import resource_tracker

    quiet = "ignore:resource_tracker:UserWarning"
    sys.warnoptions.append(quiet)  # which it is started with
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)


def _say_nothing_of_what_was_cancelled() -> None:
    """Python 3.11's pool, whose processes are gone, fails in its own thread where an answer was given up before."""
    usual = threading.excepthook
    if getattr(usual, "after_pool", False):
        return

    def hook(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, InvalidStateError):
            usual(args)

    hook.after_pool = True  # type: ignore[attr-defined]
    threading.excepthook = hook


class _Context(SpawnContext):
    """Makes processes, and knows which."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[SpawnProcess] = []

    def Process(self, *args: Any, **named: Any) -> SpawnProcess:  # type: ignore[override]
        process = SpawnProcess(*args, **named)
        self._made.append(process)
        return process

    def end(self) -> None:
        """End those that still run."""
        begun = [process for process in self._made if process.pid is not None]
        for process in begun:
            process.kill()
        for process in begun:
            process.join(_END)


def _begin(start: str, *args: Any) -> None:
    """Begin a process: its parent ends it, not a signal that their whole group gets."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    end_with_parent()
    if start:
        module, _, name = start.partition(":")
        getattr(import_module(module), name)(*args)
