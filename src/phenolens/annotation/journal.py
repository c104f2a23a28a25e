"""A journal: a file of JSON lines that only grows, so that what was done is not lost when a program is killed.

Each line is one object and bears a checksum of itself.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import output_error, writable_folder, writing
from phenolens.runtime.json_files import parsed_json
from phenolens.runtime.limits import JOURNAL_MB, JSON_MB

Record = dict[str, Any]

# the end of a line; one without it, of an earlier version, is taken as it is
_SUM = re.compile(rb',?"crc32":"([0-9a-f]{8})"\}\s*$')


class Journal:
    """Records, one a line, each on the disk when `append` returns.

    A line that was cut off when the program or the machine stopped is no record and is left out; it can only be the
    last. One program at a time writes to a journal.

    Parameters
    ----------
    path
        The file; made where there is none. Records that it holds are read at once.
    kind
        What the records are of, such as "annotations"; the first line says so.

    Attributes
    ----------
    records : list of dict
        What the file held when it was opened.

    Raises
    ------
    OutputError
        It is a journal of another kind or no journal, a line in its middle is broken, another program writes to it, or
        it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "notes.journal"
    >>> with Journal(path, "notes") as journal:
    ...     _ = journal.append({"note": "first"})
    >>> Journal(path, "notes").records
    [{'note': 'first'}]
    """

    def __init__(self, path: str | os.PathLike[str], kind: str) -> None:
        self.path, self.kind = Path(path), kind
        self._lock = Lock()
        writable_folder(self.path.parent)
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        except OSError as error:
            raise output_error(self.path, error) from error
        try:
            _claim(self._file, self.path)
            found = _read(self.path, kind)
            found.check(self.path)
            self.records = found.records
            self._mend(found.whole, found.ended)
        except BaseException:
            self.close()
            raise

    def append(self, record: Mapping[str, Any]) -> int:
        """Write one record, wait until it is on the disk, and return how many bytes it took.

        Raises
        ------
        OutputError
            It cannot be written; the file is as it was.
        """
        line = _line(record)
        with self._lock:
            if self._file < 0:
                raise OutputError(f"The journal {self.path} is closed.")
            size = os.fstat(self._file).st_size
            try:
                _write(self._file, line)
            except OSError as error:
                os.ftruncate(self._file, size)
                raise output_error(self.path, error) from error
        return len(line)

    def replace(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Hold `records` in place of all that was written, whole or not at all; keeps a long journal short."""
        lines = [_line({"journal": self.kind, "format": 1}), *map(_line, records)]
        with self._lock:
            with writing(self.path) as partial:
                new = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
                try:
                    _claim(new, self.path)
                    _write(new, b"".join(lines))
                except BaseException:
                    os.close(new)
                    raise
                if os.name == "nt":  # which does not rename a file that is open
                    os.close(new)
                    os.close(self._file)
            if os.name == "nt":
                new = os.open(self.path, os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0))
            else:
                os.close(self._file)
            self._file = new

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _mend(self, whole: int, ended: bool) -> None:
        """Cut off what is left of a torn line, end the last whole one, and begin a new file."""
        try:
            os.ftruncate(self._file, whole)
            if whole == 0:
                _write(self._file, _line({"journal": self.kind, "format": 1}))
            elif not ended:
                _write(self._file, b"\n")
        except OSError as error:
            raise output_error(self.path, error) from error


def read_journal(path: str | os.PathLike[str], kind: str) -> list[Record]:
    """Return the records of a journal without opening it for writing; a line that was cut off at the end is left out.

    Raises
    ------
    OutputError
        It is missing or no such journal, or a line in its middle is broken.
    """
    found = _read(Path(path), kind)
    found.check(Path(path))
    return found.records


def readable_part(path: str | os.PathLike[str], kind: str) -> tuple[list[Record], int]:
    """Return the records of a journal up to the first broken line, and that line's number; 0 where none is broken.

    A line that was cut off at the end is no broken one.

    Raises
    ------
    OutputError
        It is missing or no such journal.
    """
    found = _read(Path(path), kind)
    return found.records, found.broken


@dataclass(frozen=True)
class _Found:
    """Records of a journal, how many bytes are whole lines, whether the last of them ends in a break, what is broken.

    `broken` is the number of the first line that is broken and not the last one, else 0.
    """

    records: list[Record]
    whole: int
    ended: bool
    broken: int = 0

    def check(self, path: Path) -> None:
        if self.broken:
            raise OutputError(
                f"Line {self.broken} of the journal {path} is broken: put a copy in its place, or move it away."
            )


def _read(path: Path, kind: str) -> _Found:
    try:
        size = path.stat().st_size
        if size > JOURNAL_MB() * 2**20:
            raise OutputError(
                f"The journal {path} has {size / 2**20:.0f} MiB, more than are read; {JOURNAL_MB.raised_by()}."
            )
        content = path.read_bytes()
    except OSError as error:
        raise OutputError(f"The journal {path} cannot be read ({error.strerror or error}).") from error
    records: list[Record] = []
    whole = broken = 0
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        last = number == len(lines)
        if line.strip():
            try:
                records.append(_record(line))
            except ValueError:
                broken = 0 if last or not b"".join(lines[number:]).strip() else number
                break
        whole += len(line) + (not last)
    if records and records[0].get("journal") != kind:
        raise OutputError(f"{path} is no journal of {kind}: choose another file, so that nothing is overwritten.")
    if whole == 0 and content and not b'{"journal"'.startswith(content[:10]):
        raise OutputError(f"{path} is no journal of {kind}: choose another file, so that nothing is overwritten.")
    return _Found(records[1:], whole, content[:whole].endswith(b"\n"), broken)


def _record(line: bytes) -> Record:
    """The record of a line; a ValueError where it is none, or not what was written."""
    if len(line) > JSON_MB() * 2**20:
        raise ValueError("it is too long")
    found = _SUM.search(line)
    if found is not None and zlib.crc32(line[: found.start()]) != int(found[1], 16):
        raise ValueError("it was altered")
    record = parsed_json(line)
    if not isinstance(record, dict):
        raise ValueError("it is no record")
    record.pop("crc32", None)
    return record


def _line(record: Mapping[str, Any]) -> bytes:
    written = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8")[:-1]
    comma = b"," if len(written) > 1 else b""
    return written + comma + f'"crc32":"{zlib.crc32(written):08x}"'.encode() + b"}\n"


def _write(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]
    os.fsync(file)


def _claim(file: int, path: Path) -> None:
    """Keep other programs from writing to the file, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OutputError(f"Another program is writing to {path}: close it there first.") from error
