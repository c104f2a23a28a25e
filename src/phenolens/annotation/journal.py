"""A journal: a file of JSON lines that only grows, so that what was done is not lost when a program is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import output_error, writable_folder, writing
from phenolens.runtime.json_files import parsed_json

Record = dict[str, Any]


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
    ...     journal.append({"note": "first"})
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
            self.records, whole, ended = _read(self.path, kind)
            self._mend(whole, ended)
        except BaseException:
            self.close()
            raise

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and wait until it is on the disk.

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
    return _read(Path(path), kind)[0]


def _read(path: Path, kind: str) -> tuple[list[Record], int, bool]:
    """Records of a journal, how many bytes of it are whole lines, and whether the last of them ends in a break."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OutputError(f"The journal {path} cannot be read ({error.strerror or error}).") from error
    records: list[Record] = []
    whole = 0
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        last = number == len(lines)
        if line.strip():
            try:
                record = parsed_json(line)
                if not isinstance(record, dict):
                    raise ValueError("no record")
            except ValueError as error:
                if last or not b"".join(lines[number:]).strip():
                    break
                raise OutputError(
                    f"Line {number} of the journal {path} is broken: put a copy in its place, or move it away."
                ) from error
            records.append(record)
        whole += len(line) + (not last)
    if records and records[0].get("journal") != kind:
        raise OutputError(f"{path} is no journal of {kind}: choose another file, so that nothing is overwritten.")
    if whole == 0 and content and not b'{"journal"'.startswith(content[:10]):
        raise OutputError(f"{path} is no journal of {kind}: choose another file, so that nothing is overwritten.")
    return records[1:], whole, content[:whole].endswith(b"\n")


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


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
