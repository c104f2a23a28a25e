"""What lies in a folder after a fault: whether each file is whole, what it says, and what is left over."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

# What differs between two runs that do the same: when, and the hashes of files that say when.
_CHANGING = {"time", "sha256", "seconds"}


def files(folder: Path) -> Iterator[Path]:
    """All files that bear a final name: those in temporary folders do not."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(_is_temporary(part) for part in inside):
            yield path


def left_over(folder: Path) -> list[str]:
    """Temporary files, locks and replaced folders that are still there."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if _is_temporary(path.name) or path.name.endswith((".phenolens.lock", ".phenolens-lock"))
    )


def half_written(folder: Path) -> list[str]:
    """Files that still bear a temporary name, or lie in a folder that does; a run may be renaming them meanwhile."""
    return [
        path.relative_to(folder).as_posix()
        for where, _, names in os.walk(folder)
        for path in (Path(where, name) for name in names)
        if any(part.startswith(".partial-") for part in path.relative_to(folder).parts)
        and not path.name.endswith(("lock", "probe"))
    ]


def broken(folder: Path) -> list[str]:
    """Files under a final name that are not whole, with what is wrong with them."""
    found = []
    for path in files(folder):
        try:
            _verify(path)
        except Exception as error:  # noqa: BLE001 - whatever a library says of a broken file
            found.append(f"{path.relative_to(folder)}: {type(error).__name__} {str(error)[:120]}")
    return found + _broken_promises(folder)


def contents(folder: Path) -> dict[str, str]:
    """What all results in a folder say, by name: the hash of their bytes, but for times."""
    return {path.relative_to(folder).as_posix(): _said(path, folder) for path in files(folder) if not _is_lock(path)}


def difference(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Names of what is missing, of what there is too much, and of what differs."""
    names = sorted(found.keys() | expected.keys())
    return [
        f"{name} {'differs' if name in found and name in expected else 'too much' if name in found else 'missing'}"
        for name in names
        if found.get(name) != expected.get(name)
    ]


def _is_temporary(name: str) -> bool:
    return name.startswith((".partial-", ".replaced-"))


def _is_lock(path: Path) -> bool:
    return path.name.endswith((".phenolens.lock", ".phenolens-lock"))


def _verify(path: Path) -> None:
    name = path.name
    if name.endswith(".json") or _is_lock(path):
        json.loads(path.read_text(encoding="utf-8"))
    elif name.endswith((".tif", ".tiff")):
        import tifffile

        with tifffile.TiffFile(path) as tif:
            assert tif.pages
            for page in tif.pages:
                page.asarray()
    elif name.endswith(".parquet"):
        import pyarrow.parquet

        pyarrow.parquet.read_table(path)
    elif name.endswith(".safetensors"):
        from safetensors.numpy import load_file

        load_file(path)
    elif name.endswith((".npz", ".npy")):
        import numpy as np

        loaded = np.load(path, allow_pickle=False)
        if name.endswith(".npz"):
            for held in loaded.files:
                loaded[held]
    elif name.endswith(".pt"):
        from phenolens.runtime.checkpoints import _MAGIC, _read

        if path.read_bytes()[: len(_MAGIC)] == _MAGIC:
            _read(path, "cpu")
        else:
            import torch

            torch.load(path, weights_only=True)
    elif name.endswith(".csv"):
        import pandas as pd

        assert path.read_bytes().endswith(b"\n")
        pd.read_csv(path)
    elif name.endswith(".png"):
        from PIL import Image

        with Image.open(path) as picture:
            picture.load()
    elif name.endswith(".html"):
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    elif name.endswith(".h5ad"):
        import h5py

        with h5py.File(path) as file:
            file.visititems(lambda _, one: one[()] if isinstance(one, h5py.Dataset) else None)


def _broken_promises(folder: Path) -> list[str]:
    """Files that a mark or a record says were written, and that are not there or are others."""
    found = []
    for path in files(folder):
        facts: Any = None
        with suppress(ValueError, OSError):
            facts = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
        if path.name == ".phenolens.json" and isinstance(facts, dict) and facts.get("kind") not in _BY_FIELD:
            found += [f"{path.parent.name}/{name} missing" for name in facts["files"] if not _there(path.parent / name)]
        elif path.parent.name == ".phenolens" and isinstance(facts, dict):
            for name, known in facts.get("files", {}).items():
                file = path.parent.parent / name
                if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != known["sha256"]:
                    found.append(f"{name} is not what its record says")
    return found


_BY_FIELD = ("cells", "translation")  # filled file by file: their marks name what may come


def _there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _said(path: Path, folder: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        said = _without(json.loads(data))
        if path.name == "provenance.json" and isinstance(said, dict):
            said.pop("fields", None)  # how many fields were kept, and how many were made in this run
        data = json.dumps(said, sort_keys=True).replace(str(folder), "FOLDER").encode()
    elif path.suffix in (".pt", ".h5ad"):
        return "a checkpoint" if path.suffix == ".pt" else _values(path)
    return hashlib.sha256(data).hexdigest()


def _values(path: Path) -> str:
    """Hash of what an HDF5 file holds; its bytes have times in them."""
    import h5py

    whole = hashlib.sha256()

    def add(name: str, one: Any) -> None:
        whole.update(name.encode())
        if isinstance(one, h5py.Dataset):
            value = one[()]
            whole.update(
                value.tobytes() if hasattr(value, "tobytes") and value.dtype != object else repr(value).encode()
            )

    with h5py.File(path) as file:
        file.visititems(add)
    return whole.hexdigest()


def _without(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _without(value) for name, value in found.items() if name not in _CHANGING}
    return [_without(value) for value in found] if isinstance(found, list) else found
