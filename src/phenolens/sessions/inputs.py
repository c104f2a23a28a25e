"""Whether the images and the adapter that a session speaks of are still those that it was saved with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenolens.screens.table import Field, Screen

_ENDS = 1 << 16
_ZARR = ("zarr.json", ".zattrs", ".zarray", ".zgroup", "0/zarr.json", "0/.zarray")


def field_marks(screen: Screen) -> dict[str, str]:
    """What tells the image of each field from others, by the field's key; "" where only memory has it.

    Of files their length and the first and last 64 KiB count, of OME-Zarr its metadata: enough to notice another image,
    and quick for a plate of thousands. A screen that was moved or copied has the same marks.
    """
    return {field.key: _mark(field) for field in screen}


def changed_fields(before: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """The fields whose images are others than before; those of which nothing was known are not among them."""
    return [key for key, mark in now.items() if mark and before.get(key) and before[key] != mark]


def _mark(field: Field) -> str:
    if field.address and not field.paths:
        return sha256(field.address.encode()).hexdigest()[:16]
    if not field.paths:
        return ""
    whole = sha256()
    for path in field.paths:
        try:
            whole.update(_of_folder(path) if path.is_dir() else _of_file(path))
        except OSError:
            whole.update(b"missing")
    return whole.hexdigest()[:16]


def _of_file(path: Path) -> bytes:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(_ENDS)
        file.seek(max(size - _ENDS, 0))
        return sha256(f"{size} ".encode() + first + file.read(_ENDS)).digest()


def _of_folder(path: Path) -> bytes:
    whole = sha256()
    for name in _ZARR:
        if (path / name).is_file():
            whole.update(name.encode() + (path / name).read_bytes()[: 1 << 20])
    return whole.digest()
