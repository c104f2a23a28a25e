"""Fields one after the other, where the next is read and the last one written while one is computed.

At most one field is held that was read ahead, and one that is being written. One that is too large for that is alone:
nothing is read or written beside it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import closing, suppress
from typing import Any, TypeVar

from phenolens.runtime.engines.work import Do, Outcome, Work
from phenolens.runtime.errors import DeviceError, OutputError, PhenolensError
from phenolens.runtime.interrupts import undone_at_end
from phenolens.runtime.progress import Job, Progress

T = TypeVar("T")
Claim = Callable[[bool], "str | None"]
"""The next field, or None; told whether it is to be taken ahead, which may be refused where others are idle."""
_LOOK = 0.1  # s between steps while nothing but files is waited for
_LEAVE = 0.3  # s that breaking off waits for what is being read


class _BrokenOff(Exception):
    """Nothing more is to be written."""


def do_fields(work: Work, claim: Claim, check: Callable[[], None], finished: Callable[[Outcome], None]) -> Job[None]:
    """Do one field after the other until there is none; each step of computing is a step.

    A field that cannot be done is an outcome. Closing the job ends it at once, but for a file that is being written.

    Parameters
    ----------
    check
        Called before a field is computed and before files are written; raises where that must not be.
    finished
        Is given each outcome, in the order of the fields.

    Raises
    ------
    OutputError, DeviceError
        The folder or the device is not usable, which no other field would escape.
    """
    broken_off = threading.Event()

    def still() -> None:
        if broken_off.is_set():
            raise _BrokenOff
        check()

    files = _Files(work.open(still), finished)
    forget = undone_at_end(broken_off.set)
    try:
        yield from _each(files, claim, still)
    except Exception:
        files.leave()  # the field before is finished
        raise
    finally:
        broken_off.set()
        files.leave()
        forget()


def _each(files: "_Files", claim: Claim, still: Callable[[], None]) -> Job[None]:
    do, key = files.do, claim(False)
    reading = None if key is None else files.read(key)
    while key is not None and reading is not None:
        still()
        following: str | None = None
        reading_next: Future[Any] | None = None
        try:
            what = yield from _waited(reading, f"Reading {key}")
            alone = what is None
            if alone:
                yield from files.written()
                what = do.read(key, True)
            elif do.ahead and (following := claim(True)) is not None:
                reading_next = files.read(following)
            made = yield from files.beside(do.compute(key, what))
            del what
            yield from files.written()
            files.write(key, made)
            del made
            if alone:
                yield from files.written()
        except PhenolensError as error:
            yield from files.failed(key, error)
        if following is None and (following := claim(False)) is not None:
            reading_next = files.read(following)
        key, reading = following, reading_next
    yield from files.written()


class _Files:
    """What is read and written beside the computing."""

    def __init__(self, do: Do, finished: Callable[[Outcome], None]) -> None:
        self.do = do
        self._finished = finished
        self._reading: Future[Any] | None = None
        self._writing: tuple[str, Future[str]] | None = None

    def read(self, key: str) -> Future[Any]:
        """Begin to read a field."""
        self._reading = _beside(lambda: self.do.read(key, False), f"reading {key}")
        return self._reading

    def write(self, key: str, made: Any) -> None:
        """Begin to write a field."""
        self._writing = key, _beside(lambda: self.do.write(key, made), f"writing {key}")

    def beside(self, job: Job[T]) -> Job[T]:
        """Run a job, and say when what is being written has been."""
        with closing(job):
            while True:
                try:
                    step = next(job)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                yield step
                if self._writing is not None and self._writing[1].done():
                    yield from self.written()

    def written(self) -> Job[None]:
        """Wait for what is being written, and say what became of it."""
        if self._writing is None:
            return
        key, writing = self._writing
        try:
            how = yield from _waited(writing, f"Writing {key}")
            self._writing = None
            self._finished(Outcome(key, how))
            yield Progress(0, 0, f"Finished {key}")
        except PhenolensError as error:
            self._writing = None
            yield from self.failed(key, error)

    def failed(self, key: str, error: PhenolensError) -> Job[None]:
        """Say that a field cannot be done, after what became of the one before it."""
        if isinstance(error, OutputError | DeviceError):
            raise error
        yield from self.written()
        self.do.fail(key, str(error))
        self._finished(Outcome(key, "failed", error.with_traceback(None)))
        yield Progress(0, 0, f"Finished {key}")

    def leave(self) -> None:
        """Wait for the file that is being written, and a moment for what is read."""
        if self._writing is not None:
            self._writing[1].exception()
        if self._reading is not None:
            with suppress(TimeoutError):
                self._reading.exception(_LEAVE)


def _waited(one: Future[T], message: str) -> Job[T]:
    while not wait([one], _LOOK).done:
        yield Progress(0, 0, message)
    return one.result()


def _beside(call: Callable[[], T], name: str) -> "Future[T]":
    """Call something on a thread of its own, which does not keep the process from ending."""
    outcome = Future[T]()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where the outcome is asked for
            outcome.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome
