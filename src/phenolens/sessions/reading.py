"""Sessions read back: as much of one as can be read, and in a sentence what cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from phenolens.annotation.journal import readable_part
from phenolens.runtime.array_files import BrokenArrays, read_npz
from phenolens.runtime.errors import ScreenError
from phenolens.sessions.folder import JOURNAL, KIND
from phenolens.sessions.values import SessionState, is_file_name


def is_session(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of a session."""
    return (Path(folder) / JOURNAL).is_file()


@dataclass
class SavedSession:
    """A session that was read.

    Parameters
    ----------
    folder
        Where it lies.
    state
        Its values, and what was said of cells.
    saved
        When it was written last, in seconds since 1970; 0 where it does not say.
    problems
        What could not be brought back, a sentence each.
    """

    folder: Path
    state: SessionState
    saved: float = 0.0
    problems: list[str] = field(default_factory=list)

    def value(self, key: str, kind: type | tuple[type, ...] = dict, default: Any = None) -> Any:
        """The value of a key where it is of a `kind`, else `default`: a session may come from strangers."""
        found = self.state.values.get(key)
        if isinstance(found, bool) and bool not in (kind if isinstance(kind, tuple) else (kind,)):
            return default
        return found if isinstance(found, kind) else default

    def under(self, head: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The keys that begin with ``<head>/``, without that, and their values."""
        for key, value in self.state.values.items():
            first, _, rest = key.partition("/")
            if first == head and rest and isinstance(value, dict):
                yield rest, value

    def path_of(self, value: dict[str, Any]) -> Path | None:
        """The file or folder of a value; None where it names none in this session's folder."""
        name = value.get("file")
        return self.folder / str(name) if is_file_name(name) else None

    def arrays(self, value: dict[str, Any]) -> dict[str, NDArray[Any]] | None:
        """The arrays of a value; None where they are missing or damaged."""
        path = self.path_of(value)
        if path is None or path.suffix != ".npz":
            return None
        try:
            return read_npz(path)
        except (BrokenArrays, OSError):
            return None

    @property
    def closed(self) -> bool:
        """Whether it was ended as one wishes, rather than by a crash."""
        return self.state.values.get("closed") is True

    @property
    def title(self) -> str:
        """The name of its screen."""
        name = self.value("screen", default={}).get("name")
        return str(name)[:200] if name else self.folder.name

    def contents(self) -> str:
        """What is in it, in a few words; empty where nothing was made."""
        translated, outlined = len(list(self.under("translated"))), len(list(self.under("labels")))
        parts = [f"{outlined:,} field{'s' * (outlined != 1)} with cells"] if outlined else []
        if translated:
            parts.append(f"{translated:,} translated cell{'s' * (translated != 1)}")
        return ", ".join([*parts, *["annotations"] * bool(self.state.said)])


def read_session(folder: str | os.PathLike[str]) -> SavedSession:
    """Read a session; where its journal is damaged, what was remembered before the damage.

    Raises
    ------
    ScreenError
        The folder is no session.
    OutputError
        The journal cannot be read at all.
    """
    folder = Path(folder)
    if not is_session(folder):
        raise ScreenError(f"{folder} is no session: choose the folder that holds {JOURNAL}.")
    records, broken = readable_part(folder / JOURNAL, KIND)
    saved = SavedSession(folder, SessionState())
    for record in records:
        saved.state.take(record)
        at = record.get("at")
        saved.saved = float(at) if isinstance(at, (int, float)) else saved.saved
    if broken:
        saved.problems.append(
            f"Line {broken} of the session's journal is damaged: what was done after it could not be brought back."
        )
    return saved
