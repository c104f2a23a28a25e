"""Being asked to stop: by Ctrl-C (SIGINT), by SIGTERM, or because the terminal went (SIGHUP).

A command ends within a second. A job first gets a moment to end its step; then the signal breaks in as a
KeyboardInterrupt between two lines of Python. What must not be left half done is put into `unbroken`. A call into C
that holds the main thread is not broken off by the first signal; a second one then ends the process at once.

A signal that was ignored when the process began stays ignored: so a shell asks for what it starts with ``&``.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

STATUS = 130
_GRACE = 0.25  # s that a job gets to end its step
_PATIENCE = 1.0  # s after a second signal, until the process is ended from outside the main thread
_CLOSE = 0.1  # s between the two threads hearing of one signal
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stop:
    """The signals that came to one command, and how they end it.

    Parameters
    ----------
    asked
        How often it was asked to stop.
    patient
        Whether a job is being stepped, which looks at `asked` after each step.
    broke_in
        Whether a KeyboardInterrupt was raised.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.patient = False
        self.broke_in = False
        self._heard_at = float("-inf")
        self._main = threading.main_thread().ident or 0

    def note(self, number: int, frame: Any) -> None:
        """Handle a signal, on the main thread."""
        self._heard_at = time.monotonic()
        self.asked += 1
        if self.patient and self.asked == 1:
            # A signal may come in the middle of another write, where Python's own streams refuse.
            _tell(b"\nphenolens: stopping; what is finished is kept\n")
            return
        self.broke_in = True
        if _unbroken.depth:
            _unbroken.pending = True
            return
        raise KeyboardInterrupt

    def watch(self, pipe: int, numbers: set[int]) -> None:
        """Follow the signals from a thread of its own, to which they come also while a call into C holds the main one.

        After the grace it makes the first signal break in; it ends the process where a second one is not heard.
        """
        came, ours, number = 0, 0, 0
        breaks_in = ends = second = float("inf")
        while True:
            now = time.monotonic()
            if now >= breaks_in:
                breaks_in = float("inf")
                if self.patient:
                    ours += 1  # it comes through the pipe like any other
                    # to the main thread itself, so that it also wakes from a wait
                    signal.pthread_kill(self._main, number)
            if now >= ends:
                if self._heard_at < second - _CLOSE:
                    _tell(b"\nphenolens: interrupted in the middle of a computation\n")
                    os._exit(STATUS)
                ends = float("inf")
            wait = min(breaks_in, ends) - now
            if not select.select([pipe], [], [], max(0.0, wait) if wait < float("inf") else None)[0]:
                continue
            got = os.read(pipe, 1)[0]
            if got == 0:
                return
            if got not in numbers:
                continue
            if ours:
                ours -= 1
                continue
            came, number = came + 1, got
            if came == 1:
                breaks_in = time.monotonic() + _GRACE
            elif came == 2:
                second = time.monotonic()
                ends = second + _PATIENCE
            else:
                os._exit(STATUS)


class _Unbroken:
    depth = 0
    pending = False


_unbroken = _Unbroken()
_active: Stop | None = None


@contextmanager
def stopping() -> Iterator[Stop]:
    """Handle the signals that ask to stop while a command runs; within another such block, that one's `Stop` goes on.

    Off the main thread, where Python hears no signals, nothing is handled.
    """
    global _active
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield _active if threading.current_thread() is threading.main_thread() and _active is not None else Stop()
        return
    stop = Stop()
    numbers = {number for number in _numbers() if signal.getsignal(number) != signal.SIG_IGN}
    before = {number: signal.signal(number, stop.note) for number in numbers}
    with _watched(stop, {int(number) for number in numbers}):
        _active = stop
        try:
            yield stop
        finally:
            _active = None
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _watched(stop: Stop, numbers: set[int]) -> Iterator[None]:
    if os.name == "nt":  # a pipe cannot be waited for there; signals break in at the next line of Python all the same
        yield
        return
    out, into = os.pipe()
    os.set_blocking(into, False)
    earlier = signal.set_wakeup_fd(into, warn_on_full_buffer=False)
    watcher = threading.Thread(target=stop.watch, args=(out, numbers), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier)
        os.write(into, b"\0")
        watcher.join()
        os.close(out)
        os.close(into)


@contextmanager
def unbroken() -> Iterator[None]:
    """A few moments of work that no signal breaks off; it breaks in at the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _unbroken.depth += 1
    try:
        yield
    finally:
        _unbroken.depth -= 1
        if not _unbroken.depth and _unbroken.pending:
            _unbroken.pending = False
            raise KeyboardInterrupt


def end_at_once() -> None:
    """Let the signals end the process with status 130, before a command has begun: nothing is there to be kept."""

    def end(number: int, frame: Any) -> None:
        _tell(b"phenolens: interrupted: nothing was written\n")
        os._exit(STATUS)

    for number in _numbers():
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _tell(text: bytes) -> None:
    with suppress(OSError):
        sys.stderr.flush()
        os.write(2, text)
