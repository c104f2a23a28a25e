"""Results that are made one by one in a folder: what each was made from, and whether it still is what was written."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from phenolens.runtime.drives.network import ask_anew, patiently
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import is_temporary, plain, temporary_name, write_json
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.output_kinds import KINDS, OME_ZARR, Kind
from phenolens.runtime.outputs import named, read_mark, remove_output, write_mark
from phenolens.runtime.provenance import sha256_of

RECORDS = ".phenolens"
"""Folder of the records, a JSON file a result."""


class Manifest:
    """What a folder of results holds. Several processes may use one at once, each for results of its own.

    Parameters
    ----------
    folder
        Where the results are.
    settings
        How they are made; see `open_manifest`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.settings = _hash_of(settings or {})

    def changed(self, key: str, inputs: str) -> str | None:
        """What keeps the result `key` from being used: None where nothing does, and it need not be made again.

        Parameters
        ----------
        inputs
            Fingerprint of what the result would be made from now.

        Returns
        -------
        str or None
            ``"missing"``: it was not made. ``"inputs"`` or ``"settings"``: it was made from others. ``"output"``: a
            file of it is gone, or is no longer what was written.
        """
        record = self._record(key)
        if record is None or "inputs" not in record:
            return "missing"
        if record.get("settings") != self.settings:
            return "settings"
        if record.get("inputs") != inputs:
            return "inputs"
        return None if self._is_whole(record) else "output"

    def damaged(self, key: str) -> bool:
        """Whether the files of the result `key` are recorded, and are no longer what was written."""
        record = self._record(key)
        return record is not None and not self._is_whole(record)

    def begin(self, key: str, files: Sequence[str]) -> None:
        """Note the names of files before they are written, so that what an interrupted run leaves is known as ours."""
        self.discard(key)
        self._write(key, {"files": {}, "with_it": list(files)})

    def record(self, key: str, inputs: str, files: Sequence[str], facts: Mapping[str, Any] | None = None) -> None:
        """Note that the result `key` was made: the names of its files, which are all there, and `facts` about it."""
        written = {name: patiently(partial(_state, self.folder / name), must_be_there=True) for name in files}
        about = {"facts": dict(facts)} if facts is not None else {}
        self._write(key, {"settings": self.settings, "inputs": inputs, "files": written, **about})

    def facts(self, key: str) -> dict[str, Any] | None:
        """What was noted about the result `key`; None where it was not made with these settings, or nothing was."""
        record = self._record(key) or {}
        facts = record.get("facts")
        return facts if record.get("settings") == self.settings and isinstance(facts, dict) else None

    def note(self, key: str, facts: Mapping[str, Any]) -> None:
        """Note `facts` about the result `key`, which was made, and that nothing is wrong with it."""
        record = self._record(key)
        if record is not None and (record.get("facts") != facts or "failed" in record):
            self._write(key, {name: one for name, one in record.items() if name != "failed"} | {"facts": dict(facts)})

    def fail(self, key: str, reason: str) -> None:
        """Note why the result `key` cannot be made; what was made before stays."""
        self._write(key, {"files": {}, **(self._record(key) or {}), "failed": reason})

    def failed(self, key: str) -> str | None:
        """Why the result `key` could not be made when it was last tried; None where it was made, or never tried."""
        reason = (self._record(key) or {}).get("failed")
        return reason if isinstance(reason, str) else None

    def add(self, key: str, files: Sequence[str]) -> None:
        """Note files that were made from the result `key`, and go with it."""
        if (record := self._record(key)) is not None:
            self._write(key, record | {"with_it": sorted({*record.get("with_it", ()), *files})})

    def discard(self, key: str) -> None:
        """Remove the files of a result, and its record."""
        for name in self._files(key):
            _remove(self.folder / name)
        with suppress(OSError):
            self._path(key).unlink()

    def files(self) -> set[str]:
        """Names of all files, and folders of OME-Zarr images, that results consist of."""
        return {name for key in self._keys() for name in self._files(key)}

    def clear(self) -> None:
        """Remove all results."""
        for key in self._keys():
            self.discard(key)

    def _keys(self) -> list[str]:
        records = self.folder / RECORDS
        paths = records.glob("*.json") if records.is_dir() else ()
        return [path.stem for path in paths if not is_temporary(path.name)]

    def _files(self, key: str) -> list[str]:
        record = self._record(key) or {}
        names = [*record.get("files", ()), *record.get("with_it", ())]
        return [name for name in map(str, names) if self.is_within(name)]

    def is_within(self, name: str) -> bool:
        """Whether a name is of something in this folder, whatever a record says."""
        parts = name.split("/")
        if os.path.isabs(name) or "\\" in name or ":" in name or any(part in ("", ".", "..") for part in parts):
            return False
        return len(parts) == 1 or (self.folder / name).resolve().is_relative_to(self.folder.resolve())

    def _path(self, key: str) -> Path:
        return self.folder / RECORDS / f"{key}.json"

    def _record(self, key: str) -> dict[str, Any] | None:
        try:
            record = read_json_object(self._path(key))
        except (OSError, ValueError):
            return None
        whole = isinstance(record.get("files"), dict)
        return record if whole and isinstance(record.get("with_it", []), list) else None

    def _write(self, key: str, record: dict[str, Any]) -> None:
        write_json(self._path(key), record)

    def _is_whole(self, record: dict[str, Any]) -> bool:
        try:
            return all(
                patiently(partial(_size, self.folder / name)) == known["size"]
                and patiently(partial(_state, self.folder / name)) == known
                for name, known in record["files"].items()
            )
        except (OSError, TypeError, KeyError):
            return False


def open_manifest(
    folder: Path,
    kind: Kind,
    settings: Mapping[str, Any],
    words: Mapping[str, str],
    results: Sequence[str],
    common: Sequence[str],
    overwrite: bool = False,
) -> Manifest:
    """Open the manifest of a folder that holds, or is to hold, results of this kind; hold the folder's lock meanwhile.

    Parameters
    ----------
    settings
        How the results are made; those of a folder are all made alike.
    words
        What the settings are called in a message.
    results, common
        Names of the files that are to be written: those of single results, and those of all together.
    overwrite
        Remove results that were made with other settings, rather than refuse the folder.

    Raises
    ------
    OutputError
        The folder holds results made with other settings, is an output of another kind, or holds files of others whose
        names are wanted; these are named.
    """
    manifest = Manifest(folder, settings)
    wanted = plain(settings)
    mark = read_mark(folder)
    if mark is not None and mark["kind"] != kind.name:
        what = next((one.what for one in KINDS if one.name == mark["kind"]), mark["kind"])
        raise OutputError(f"{folder} is {what}, in which nothing else is written: choose another folder.")
    before, ours = _before(folder, kind, mark, manifest)
    known = wanted if before is None or mark is None else {**before, **wanted}
    changed = [name for name in known if before is not None and before.get(name) != wanted.get(name)]
    if changed and not overwrite:
        what = words.get(changed[0], changed[0])
        raise OutputError(
            f"{folder} holds results made with another {what}: choose an empty folder, so that they are not mixed, or "
            "give --overwrite, which makes them anew."
        )
    wanted_names = [name for name in (*results, *common) if os.path.lexists(folder / name)]
    if not ours.issuperset(wanted_names):  # other jobs may have written since the names were last asked for
        ask_anew(folder / RECORDS, temporary_name(folder / RECORDS / "probe"))
        mark = read_mark(folder)
        ours |= manifest.files() | set(map(str, mark["files"] if mark else ()))
    others = [name for name in wanted_names if name not in ours]
    if others:
        raise OutputError(
            f"{folder} holds files that phenolens did not write, or of which the record is lost, and that the results "
            f"would replace: {named(others)}. Choose another folder, or move them away; or try again in a minute, "
            "where other computers have just written there."
        )
    if changed:
        gone = [name for name in {*manifest.files(), *(ours - set(results))} if manifest.is_within(name)]
        manifest.clear()
        for name in gone:  # what was written of all together goes too: it was of those
            _remove(folder / name)
        _remove_empty(folder, gone)
    kept = [name for name in map(str, mark["files"] if mark else ()) if os.path.lexists(folder / name)]
    write_mark(folder, kind.name, list(dict.fromkeys([*common, *kept])), settings=wanted)
    return manifest


def _before(
    folder: Path, kind: Kind, mark: dict[str, Any] | None, manifest: Manifest
) -> tuple[dict[str, Any] | None, set[str]]:
    """Settings of the results that are there, None where there are none; and the names of what phenolens wrote."""
    if mark is not None:
        settings = mark.get("settings") if manifest.files() else None
        return settings if isinstance(settings, dict) else None, manifest.files() | set(map(str, mark["files"]))
    file, holds = kind.known_by
    try:
        facts = read_json_object(folder / file)
    except (OSError, ValueError):
        facts = None
    if facts is None or not holds(facts):
        return None, manifest.files()
    # Written before there were marks; nothing says from what, so every result is made again.
    return facts, {path.name for path in folder.iterdir() if kind.writes(path.name)}


def _state(path: Path) -> dict[str, Any]:
    return {"size": _size(path), "sha256": sha256_of(path)}


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size


def _remove(path: Path) -> None:
    """Remove a file, or of the folder of an image what phenolens wrote."""
    if path.is_dir() and not path.is_symlink():
        remove_output(path, OME_ZARR)
        return
    with suppress(OSError):
        path.unlink()


def _remove_empty(folder: Path, names: Sequence[str]) -> None:
    """Remove the folders, below `folder`, that these files or folders were in, where nothing else is in them."""
    inner = {Path(*place.parts[:depth]) for place in map(Path, names) for depth in range(1, len(place.parts))}
    for place in sorted(inner, key=lambda one: len(one.parts), reverse=True):
        with suppress(OSError):
            (folder / place).rmdir()


def _hash_of(settings: Mapping[str, Any]) -> str:
    text = json.dumps(plain(settings), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
