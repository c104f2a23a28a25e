"""What a session remembers at one moment: values by key, and how records of a journal change them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.files import writing, writing_folder

Values = dict[str, Any]
"""Plain values, as JSON has them, by key, such as ``strength`` or ``labels/plate1_A01_1``."""

Record = dict[str, Any]

_NAME = re.compile(r"[a-z]{1,20}-[0-9a-f]{16}(\.npz)?")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A value with arrays, which lie in a file of their own; the file is named after what it holds.

    Parameters
    ----------
    of
        What the arrays are of: they are looked at again only where it is another object.
    stem
        What the file's name begins with, in small letters.
    facts
        What is plain about it.
    arrays
        Gives the arrays by name; called on the thread that writes.
    packed
        Whether compressing them is worth its time.
    together
        Values of the same name come back together or not at all; alone where empty.
    """

    of: object
    stem: str
    arrays: Callable[[], Mapping[str, NDArray[Any]]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    packed: bool = False
    together: str = ""

    def write(self, folder: Path) -> str:
        """Write the file where it is not there yet, whole or not at all, and return its name."""
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays().items()}
        digest = sha256()
        for name, array in sorted(arrays.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
            digest.update(array.tobytes())
        name = f"{self.stem}-{digest.hexdigest()[:16]}.npz"
        if not (folder / name).is_file():
            with writing(folder / name) as partial, partial.open("wb") as file:
                (np.savez_compressed if self.packed else np.savez)(file, **arrays)  # type: ignore[arg-type]
        return name


@dataclass(frozen=True, kw_only=True)
class KeptFolder:
    """A value that lies in a folder of its own, such as a map; as `Kept`.

    Parameters
    ----------
    digest
        Gives what tells it from all others.
    files
        Writes its files into a folder.
    """

    of: object
    stem: str
    digest: Callable[[], str]
    files: Callable[[Path], None]
    facts: Mapping[str, Any] = field(default_factory=dict)
    together: str = ""

    def write(self, folder: Path) -> str:
        """Write the folder where it is not there yet, whole or not at all, and return its name."""
        name = f"{self.stem}-{sha256(self.digest().encode()).hexdigest()[:16]}"
        if not (folder / name).is_dir():
            with writing_folder(folder / name) as partial:
                self.files(partial)
        return name


@dataclass(frozen=True)
class Later:
    """A plain value that takes time, such as what files hold: it is computed aside, once for each object `of`."""

    of: object
    make: Callable[[], Any]


UNKNOWN = Later(None, lambda: None)
"""Stands for a value that is not known yet: what was remembered under its key stays."""


def is_file_name(name: object) -> bool:
    """Whether `name` can be that of a file or folder of a session, and so lies in the session's folder."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def files_of(values: Mapping[str, Any]) -> set[str]:
    """The names of the files that values speak of."""
    return {
        value["file"] for value in values.values() if isinstance(value, Mapping) and is_file_name(value.get("file"))
    }


@dataclass
class SessionState:
    """Values, and what was said of cells (records of `Annotations`), as the records of a journal make them.

    A record may hold ``snapshot`` (values and sayings that replace all), ``set`` (new values by key), ``drop`` (keys)
    and ``say`` (records of annotations), and is taken as a whole.
    """

    values: Values = field(default_factory=dict)
    said: list[Record] = field(default_factory=list)

    def take(self, record: Mapping[str, Any]) -> None:
        """Do what a record says; what is not of its form is passed over, since a newer version may have written it."""
        snapshot = record.get("snapshot")
        if isinstance(snapshot, Mapping):
            self.values, self.said = {}, []
            self.take({"set": snapshot.get("values"), "say": snapshot.get("said")})
        changed, dropped, said = record.get("set"), record.get("drop"), record.get("say")
        if isinstance(dropped, list):
            for key in dropped:
                self.values.pop(str(key), None)
        if isinstance(changed, Mapping):
            self.values.update({str(key): value for key, value in changed.items()})
        if isinstance(said, list):
            self.said.extend(one for one in said if isinstance(one, dict))

    def snapshot(self) -> Record:
        """The record that makes this state of any other."""
        return {"snapshot": {"values": self.values, "said": self.said}}
