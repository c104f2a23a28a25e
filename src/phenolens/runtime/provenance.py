"""Where a result comes from: versions, machine, time, and the hashes of what went in."""

import hashlib
import os
import platform
from collections.abc import Collection
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from phenolens.runtime.drives.network import patiently
from phenolens.runtime.errors import OutputError, PhenolensError
from phenolens.runtime.files import write_json
from phenolens.runtime.json_files import read_json_object

_PACKAGES = {
    "phenolens": "napari-phenolens",
    "torch": "torch",
    "diffusers": "diffusers",
    "peft": "peft",
    "napari": "napari",
    "numpy": "numpy",
}


def provenance(**facts: Any) -> dict[str, Any]:
    """Collect what is needed to make a result again.

    Parameters
    ----------
    **facts
        What the caller knows: device, seed, inputs, hashes. They come first and keep their names.

    Returns
    -------
    dict
        The facts, and ``versions`` (by package; those not installed are left out), ``python``,
        ``platform`` and ``time`` (UTC, ISO 8601).
    """
    versions = {}
    for name, distribution in _PACKAGES.items():
        try:
            versions[name] = version(distribution)
        except PackageNotFoundError:
            continue
    machine = {
        "versions": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return facts | {name: value for name, value in machine.items() if name not in facts}


def write_provenance(folder: str | os.PathLike[str], **facts: Any) -> Path:
    """Write :func:`provenance` as ``provenance.json`` into `folder` and return its path."""
    path = Path(folder) / "provenance.json"
    write_json(path, provenance(**facts))
    return path


def read_facts(file: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON file that `write_provenance`, or the like, wrote.

    Parameters
    ----------
    remedy
        What to do where it is damaged, for the message.

    Raises
    ------
    OutputError
        It is not there, cannot be read, or is damaged.
    """
    try:
        return read_json_object(file)
    except OSError as error:
        raise OutputError(f"{file} cannot be read ({error.strerror or error}): {remedy}.") from error
    except ValueError as error:
        raise OutputError(f"{file} is damaged ({error}): {remedy}.") from error


def sha256_of(path: str | os.PathLike[str], without: Collection[str] = ()) -> str:
    """Hash a file, or a folder by the names and contents of all files in it but those in the folders `without`.

    The hash of a folder does not depend on where it lies, on its own name, or on times and permissions.

    Raises
    ------
    PhenolensError
        If there is nothing at `path`.
    """
    path = Path(path)
    if path.is_file():
        return _file_digest(path)
    if not path.is_dir():
        raise PhenolensError(f"There is no file or folder at {path}.")
    whole = hashlib.sha256()
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    files = {name: file for name, file in files.items() if name.split("/")[0] not in without}
    for name in sorted(files):
        whole.update(f"{_file_digest(files[name])}  {name}\n".encode())
    return whole.hexdigest()


def _file_digest(path: Path) -> str:
    def read() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return patiently(read)
