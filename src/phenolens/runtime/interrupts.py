"""Being asked to stop: by Ctrl-C (SIGINT), by SIGTERM, or because the terminal went (SIGHUP).

A command ends within a second. A job first gets a moment to end its step; then the signal breaks in as a
KeyboardInterrupt between two lines of Python. Where neither ends the command, for a call into C holds the main thread
or something swallows the KeyboardInterrupt, the process is ended from another thread. That is safe, for files are
written whole or not at all, but for two things, for which it waits: what must not be left half done, which is put into
`unbroken`, and what is lost unless it is saved on closing, which is put into `saved_on_closing`. A second signal waits
for neither.

A signal that was ignored when the process began stays ignored: so a shell asks for what it starts with ``&``.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

STATUS = 130
_GRACE = 0.2  # s that a job gets to end its step
_END = 0.7  # s after the first signal, when the process is ended from outside the main thread
_PATIENCE = 1.0  # s after a second signal, until the same
_CLOSE = 0.1  # s between the two threads hearing of one signal; and between looks whether something is being saved
_LAST = 0.2  # s for cleaning up and last words when the process is ended so
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stop:
    """The signals that came to one command, and how they end it.

    Parameters
    ----------
    asked
        How often it was asked to stop.
    patient
        Whether a job is being stepped, which looks at `asked` after each step.
    last_words
        Says that the command was interrupted, and what is kept, where it is ended from outside the main thread.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.patient = False
        self.last_words: Callable[[], None] = lambda: _tell(b"phenolens: interrupted\n")
        self._heard_at = float("-inf")
        self._main = threading.main_thread().ident or 0

    def note(self, number: int, frame: Any) -> None:
        """Handle a signal, on the main thread."""
        self._heard_at = time.monotonic()
        self.asked += 1
        _command.asked = True
        if self.patient and self.asked == 1:
            # A signal may come in the middle of another write, where Python's own streams refuse.
            _tell(b"\nphenolens: stopping; what is finished is kept\n")
            return
        if _unbroken.depth:
            _unbroken.pending = True
            return
        raise KeyboardInterrupt

    def watch(self, pipe: int, numbers: set[int]) -> None:
        """Follow the signals from a thread of its own, to which they come also while a call into C holds the main one.

        After the grace it makes the first signal break in, and ends the process where that does not end the command,
        or a second signal is not heard.
        """
        came, ours, number = 0, 0, 0
        breaks_in = ends = second = ends_roughly = float("inf")
        while True:
            now = time.monotonic()
            if now >= breaks_in:
                breaks_in = float("inf")
                if self.patient:
                    ours += 1  # it comes through the pipe like any other
                    # to the main thread itself, so that it also wakes from a wait
                    signal.pthread_kill(self._main, number)
            if now >= ends:
                ends = now + _CLOSE  # as soon as nothing is being saved
                if not (_unbroken.depth or _saved.depth):
                    _end_process(self.last_words)
            if now >= ends_roughly:
                ends_roughly = float("inf")
                if self._heard_at < second - _CLOSE:
                    _end_process(self.last_words)
            wait = min(breaks_in, ends, ends_roughly) - now
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
                if _command.begun:  # no other process is ours to end
                    ends = time.monotonic() + _END
            elif came == 2:
                second = time.monotonic()
                ends_roughly = second + _PATIENCE
            else:
                os._exit(STATUS)


class _Unbroken:
    depth = 0
    pending = False


class _Saved:
    depth = 0


class _Command:
    begun = False
    handled = False
    asked = False


_unbroken, _saved, _command = _Unbroken(), _Saved(), _Command()
_undone: dict[object, Callable[[], None]] = {}
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
        _command.handled = True
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


@contextmanager
def saved_on_closing(save: Callable[[], None]) -> Iterator[None]:
    """Work that would be lost, such as a training between two checkpoints: `save` is called however the block ends.

    The first signal waits for a call into C here, rather than end the process in the middle of it.
    """
    _saved.depth += 1
    try:
        yield
    finally:
        try:
            save()
        finally:
            _saved.depth -= 1


def undone_at_end(action: Callable[[], None]) -> Callable[[], None]:
    """Have something done when the process is ended by a signal, which runs no ``finally`` and no `atexit`.

    Returns
    -------
    callable
        Forgets it, once it is done or no more to be done.
    """
    key = object()
    _undone[key] = action

    def forget() -> None:
        _undone.pop(key, None)

    return forget


@contextmanager
def as_command() -> Iterator[None]:
    """Run a whole process as a command: from its first line on the signals end it, with status 130.

    Before a command handles them by `stopping` nothing is there to be kept. The process of an interrupted command ends
    without tidying up Python's own memory, which takes more than a second where torch was imported.
    """
    numbers = [number for number in _numbers() if signal.getsignal(number) != signal.SIG_IGN]

    def end(number: int, frame: Any) -> None:
        if _command.handled:
            return  # it has ended already, and its own status stands
        _tell(b"phenolens: interrupted: nothing was written\n")
        os._exit(STATUS)

    for number in numbers:
        signal.signal(number, end)
    _command.begun = True
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as ended:
        status = ended.code if isinstance(ended, SystemExit) else STATUS
        if status == STATUS or (_command.asked and status not in (0, None)):
            _end_process(lambda: None)
        raise
    finally:
        _command.begun = False
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


def _end_process(last_words: Callable[[], None]) -> None:
    """End this process now: the main thread may be anywhere, even in a lock that is needed here."""

    def say() -> None:
        with suppress(Exception):
            last_words()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()

    def undo() -> None:
        for action in list(_undone.values()):
            with suppress(Exception):
                action()

    threads = [threading.Thread(target=work, daemon=True) for work in (say, undo)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _LAST
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    os._exit(STATUS)


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _tell(text: bytes) -> None:
    with suppress(OSError, RuntimeError):  # in the middle of another write
        sys.stderr.flush()
    with suppress(OSError):
        os.write(2, text)
