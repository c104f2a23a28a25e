"""The folder of a session while it is written: a journal that only grows, and files that never change."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from phenolens.annotation.journal import Journal
from phenolens.runtime.errors import AnnotationError, OutputError
from phenolens.runtime.files import plain, remove, writable_folder
from phenolens.sessions.values import UNKNOWN, Kept, KeptFolder, Record, SessionState, files_of, is_file_name

JOURNAL = "session.journal"
KIND = "session"
_LONG = 4_000_000  # bytes of records since the last snapshot
_MANY = 5_000  # records
_UNNEEDED = 64_000_000  # bytes of files that nothing speaks of any longer


class SessionFolder:
    """A session that is written; one program at a time writes to it.

    Files are written first, whole, and the line that speaks of them after them, so that every line of the journal
    speaks of files that are there. They are named after what they hold and never changed. Those that nothing speaks of
    any longer are removed when the journal is written anew, which happens too where they take much room.

    Parameters
    ----------
    folder
        Made where there is none.

    Raises
    ------
    OutputError
        It holds something else, its journal is broken, another program writes to it, or it cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = writable_folder(folder)
        if not (self.folder / JOURNAL).is_file() and any(not n.startswith(".") for n in os.listdir(self.folder)):
            raise OutputError(f"{self.folder} holds something else than a session: choose an empty or a new folder.")
        self._journal = Journal(self.folder / JOURNAL, KIND)
        self.state = SessionState()
        for record in self._journal.records:
            self.state.take(record)
        self._records, self._bytes = len(self._journal.records), 0
        self._journal.records.clear()
        wanted = files_of(self.state.values)
        self._unneeded = self._size(name for name in os.listdir(self.folder) if name not in wanted)
        self._known: dict[str, Kept | KeptFolder] = {}
        self._given: dict[str, Any] = {}  # the very objects of the last time are not looked at again

    def save(self, values: Mapping[str, Any], said: Sequence[Record] = ()) -> bool:
        """Remember `values` in place of all earlier ones, and what was `said` of cells since the last time.

        Parameters
        ----------
        values
            Plain ones, `Kept` and `KeptFolder` by key; keys that are not named are forgotten.
        said
            What `Annotations.recorded` has emitted.

        Returns
        -------
        bool
            Whether there was anything to write.

        Raises
        ------
        OutputError
            It cannot be written; what was remembered before stays.
        """
        return any(list(self.saving(values, said)))

    def saving(self, values: Mapping[str, Any], said: Sequence[Record] = ()) -> Iterator[bool]:
        """Do what `save` does, a record a step; each step tells whether there was anything to write.

        The first writes all that needs no file: no slider waits for the pixels of a cell. The others write what has
        files, those together that are `together`. Between two steps it may be left for newer values.
        """
        changed, wanted = {}, dict[str, dict[str, Any]]()
        for key, value in values.items():
            if value is UNKNOWN or (key in self.state.values and key in self._given and self._given[key] is value):
                continue
            if isinstance(value, (Kept, KeptFolder)):
                wanted.setdefault(value.together or key, {})[key] = value
            else:
                changed[key] = plain(value)
        dropped = [key for key in self.state.values if key not in values]
        yield self._write(changed, dropped, said)
        self._given = {key: value for key, value in values.items() if not isinstance(value, (Kept, KeptFolder))} | {
            key: value for key, value in self._given.items() if isinstance(value, (Kept, KeptFolder)) and key in values
        }
        for key in dropped:
            self._known.pop(key, None)
        for group in wanted.values():
            yield self._write({key: self._with_file(key, value) for key, value in group.items()})
            self._given |= group
            self._known |= group

    def _write(self, values: Mapping[str, Any], dropped: Sequence[str] = (), said: Sequence[Record] = ()) -> bool:
        """Write a record of what has changed; return whether anything has."""
        there = self.state.values
        changed = {key: value for key, value in values.items() if key not in there or there[key] != value}
        record: Record = {"at": round(time.time(), 3)}
        for name, part in (("set", changed), ("drop", list(dropped)), ("say", list(said))):
            if part:
                record[name] = part
        if len(record) == 1:
            return False
        replaced = {key: there.get(key) for key in (*changed, *dropped)}
        self._unneeded += self._size(files_of(replaced))
        self._bytes += self._journal.append(record)
        self._records += 1
        self.state.take(record)
        if self._bytes > _LONG or self._records > _MANY or self._unneeded > _UNNEEDED:
            self.compact()
        return True

    def compact(self) -> None:
        """Write the journal anew with the present state alone, and remove the files that it does not speak of."""
        self.state.said = shortened(self.state.said)
        self._journal.replace([{"at": round(time.time(), 3), **self.state.snapshot()}])
        self._records, self._bytes, self._unneeded = 1, 0, 0
        wanted = files_of(self.state.values)
        for name in os.listdir(self.folder):
            if is_file_name(name) and name not in wanted:
                remove(self.folder / name)

    def close(self) -> None:
        """Let go of the folder."""
        self._journal.close()

    def _size(self, names: Iterable[str]) -> int:
        paths = [self.folder / name for name in names if is_file_name(name)]
        return sum(path.stat().st_size for path in paths if path.is_file())

    def _with_file(self, key: str, value: Kept | KeptFolder) -> Record:
        """The facts of a value and the name of its file, which is written where its arrays are others than before."""
        before = self._known.get(key)
        if key in self.state.values and before is not None and before.of is value.of and before.stem == value.stem:
            file = self.state.values[key]["file"]
        else:
            file = value.write(self.folder)
        return {**plain(value.facts), "file": file}


def shortened(said: Sequence[Record]) -> list[Record]:
    """Fewer records that say the same of the same cells, and with which the same steps can be undone and redone."""
    from phenolens.annotation.annotations import Annotations

    if len(said) < 2:
        return list(said)
    annotations = Annotations()
    for record in said:
        try:
            annotations.repeat(record)
        except AnnotationError:
            continue
    return annotations.history()
