"""One run at a time in a folder: a lock file that says who holds it, and that no dead process holds for ever."""

import errno
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from phenolens.runtime.drives.network import move, patiently
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import absolute, output_error, remove, temporary_name, writable_folder
from phenolens.runtime.interrupts import undone_at_end
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.processes import Process, this_process
from phenolens.runtime.progress import Job

LOCK = ".phenolens.lock"
_BESIDE = ".phenolens-lock"
BEAT = 30.0
"""Seconds between the signs of life that a holder gives."""
SILENCE = 20 * BEAT
"""Seconds without one after which a holder on another computer counts as dead; one here is asked directly."""

P = ParamSpec("P")
T = TypeVar("T")


class Held(OutputError):
    """Another run, which lives, holds the lock."""


class Lock:
    """A lock that this process holds; made by `holding`."""

    def __init__(self, file: Path, folder: Path, token: str) -> None:
        self.file, self.folder, self.token = file, folder, token

    def check(self) -> None:
        """Make sure, before something is written, that the lock is still held.

        Raises
        ------
        OutputError
            Another run took it, for this computer gave no sign of life for a long time (it slept, or lost the network);
            or the folder was removed.
        """
        try:
            found = _found(self.file)
        except FileNotFoundError as error:
            raise OutputError(f"{self.folder} was removed, or its lock, while it was written: start again.") from error
        except OSError as error:
            raise output_error(self.folder, error) from error
        if found.get("token") != self.token:
            raise OutputError(
                f"{self.folder} was taken over by another run while this one gave no sign of life: let one of them go "
                "on. What was finished is kept."
            )


@contextmanager
def holding(folder: str | os.PathLike[str], file: Path | None = None) -> Iterator[Lock]:
    """Hold the lock of a folder while the block runs.

    The file is made so that only one of several processes can make it, on network file systems too. It names the
    process, its computer, and when it began. A process of this computer that is gone holds nothing; nor does one of
    another computer that gave no sign of life for `SILENCE` seconds, by the clock of the file system.

    Parameters
    ----------
    file
        The lock file; `LOCK` in the folder where None.

    Raises
    ------
    OutputError
        Another run holds it: the message says which. Or the folder cannot be written to.
    """
    place = absolute(folder)
    file = writable_folder(place) / LOCK if file is None else file
    lock = Lock(file, Path(folder), uuid.uuid4().hex)
    _take(lock)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(lock, ended), name="sign of life", daemon=True)
    beating.start()

    def release() -> None:
        ended.set()
        if _read(file).get("token") == lock.token:
            remove(file)

    forget = undone_at_end(release)
    try:
        yield lock
    finally:
        release()
        forget()


@contextmanager
def holding_place(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a lock beside a folder that is written whole; see `holding`."""
    place = absolute(folder)
    if not place.name:  # the root of a disk, which will be refused
        yield
        return
    tail = os.fsencode(place.name)[-150:].decode(errors="ignore")
    with holding(place, writable_folder(place.parent) / f".{tail}{_BESIDE}"):
        yield


def one_at_a_time(
    folder_of: Callable[[Mapping[str, Any]], str | os.PathLike[str] | None] = lambda given: given["out"],
) -> Callable[[Callable[P, Job[T]]], Callable[P, Job[T]]]:
    """Let a job that writes a folder hold a lock beside it while it runs.

    A second job on the same folder is refused at its first step.

    Parameters
    ----------
    folder_of
        The folder, from the job's arguments by name; the job holds no lock where it is None.
    """

    def decorate(function: Callable[P, Job[T]]) -> Callable[P, Job[T]]:
        known = signature(function)

        @wraps(function)
        def alone(*args: P.args, **kwargs: P.kwargs) -> Job[T]:
            wanted = folder_of(known.bind(*args, **kwargs).arguments)
            with nullcontext() if wanted is None else holding_place(wanted):
                return (yield from function(*args, **kwargs))

        return alone

    return decorate


def _take(lock: Lock) -> None:
    owner = this_process()
    facts = {
        "token": lock.token, "pid": owner.pid, "start": owner.start, "host": owner.host, "name": platform.node(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }  # fmt: skip
    for _ in range(10):
        try:
            if _create(lock.file, json.dumps(facts)):
                return
            _break_dead(lock.file, lock.folder)
        except FileNotFoundError:
            continue  # it was released in between
        except OSError as error:
            raise output_error(lock.folder, error) from error
    raise OutputError(f"{lock.folder} is wanted by several runs at once: start one of them again.")


def _create(file: Path, text: str) -> bool:
    """Make the lock file with its content in one step; False where it is there."""
    whole = temporary_name(file)
    try:
        with whole.open("x", encoding="utf-8") as stream:
            stream.write(text)
        os.link(whole, file)
        return True
    except FileExistsError:
        with suppress(OSError):  # made by us, where the answer to that was lost
            return patiently(file.read_bytes) == text.encode()
        return False
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT):
            raise
    finally:
        remove(whole)
    # A file system without links: then the name first, and the content at once after it.
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
        return True
    except FileExistsError:
        return False


def _break_dead(file: Path, folder: Path) -> None:
    """Take away the lock of a dead holder; refuse where it lives."""
    found = _found(file)
    token = found.get("token")
    silent = _silence(file)
    try:
        holder = Process(int(found["pid"]), str(found["start"]), str(found["host"]))
        dead = holder.has_ended or (not holder.is_here and silent > SILENCE)
    except (KeyError, TypeError, ValueError):
        # Damaged, or just being written.
        dead = silent > 5
        if not dead:
            time.sleep(0.2)
            return
    if not dead:
        raise Held(_held(folder, found))
    aside = temporary_name(file)
    move(file, aside)
    if _read(aside).get("token") != token:
        # Somebody else was faster, and this is the new lock: give it back.
        with suppress(OSError):
            os.link(aside, file)
    remove(aside)


def _held(folder: Path, found: dict[str, Any]) -> str:
    since = str(found.get("since", "")).replace("T", " ")[:19]
    return (
        f"{folder} is being written by another run: process {found.get('pid')} on {found.get('name')}, since {since}. "
        "Wait until it has ended, stop it, or choose another folder."
    )


def _silence(file: Path) -> float:
    """Seconds since the last sign of life, by the clock of the file system, which all computers share."""
    probe = temporary_name(file)
    try:
        probe.write_bytes(b"")
        return probe.stat().st_mtime - file.stat().st_mtime
    finally:
        remove(probe)


def _beat(lock: Lock, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        if _read(lock.file).get("token", lock.token) != lock.token:
            return
        # Written anew rather than dated, so that the file system's clock counts.
        with suppress(OSError), lock.file.open("r+b") as stream:
            first = stream.read(1)
            stream.seek(0)
            stream.write(first)


def _read(file: Path) -> dict[str, Any]:
    try:
        return _found(file)
    except OSError:
        return {}


def _found(file: Path) -> dict[str, Any]:
    """What a lock file says; nothing where it is damaged, or just being written."""
    try:
        return read_json_object(file)
    except ValueError:
        return {}
