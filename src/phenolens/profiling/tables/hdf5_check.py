"""Whether an HDF5 file can be read at all, tried in a process of its own before it is read here.

A damaged file can hold the library up for ever, and a forged one can name other files or declare any amount of values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phenolens.runtime.errors import ScreenError
from phenolens.runtime.guarded_process import GuardedProcess
from phenolens.runtime.limits import UNPACKED_MB, unpacked_bytes

_BLOCK = 64 * 2**20  # bytes read at a time
_MEGABYTES = 1024
_SECONDS = 4  # of computing on the smallest file, which takes far less
_BYTES_A_SECOND = 10 * 2**20  # a slow disk still gives more

process = GuardedProcess("phenolens.profiling.tables.hdf5_check:try_reading")


def check_hdf5(path: Path) -> None:
    """Read all of an HDF5 file elsewhere.

    Raises
    ------
    ScreenError
        It refers to other files, declares more values than may be read, or cannot be read to its end.
    """
    outcome = process.ask(str(path.resolve()), _SECONDS + path.stat().st_size // _BYTES_A_SECOND, _MEGABYTES)
    if outcome.kind == "sentence":
        raise ScreenError(str(outcome.value).replace(str(path.resolve()), str(path)))
    if outcome.kind != "answer":
        why = {"late": "reading it comes to no end", "died": "it crashes the HDF5 library"}.get(
            outcome.kind, outcome.value
        )
        raise ScreenError(f"{path} cannot be read as AnnData ({why}); it may be broken.")


def try_reading(path: str) -> bool:
    """Walk through the file, and read every value and every note in it.

    Raises
    ------
    ScreenError
        As `check_hdf5`.
    """
    import h5py

    most = unpacked_bytes(Path(path).stat().st_size)
    with h5py.File(path, "r") as file:
        groups, seen = [file], {h5py.h5o.get_info(file.id).addr}
        while groups:
            group = groups.pop()
            _read_notes(group)
            for name in group:
                link = group.get(name, getlink=True)
                held = None if isinstance(link, h5py.ExternalLink) else group[name]
                if held is None or (isinstance(held, h5py.Dataset) and (held.external or held.is_virtual)):
                    raise ScreenError(f"{path} keeps {name!r} in another file, which is not followed: save it whole.")
                address = h5py.h5o.get_info(held.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(held, h5py.Group):
                    groups.append(held)
                elif isinstance(held, h5py.Dataset) and held.shape is not None:
                    check_declared(held.size, held.dtype.itemsize, most, path)
                    _read_notes(held)
                    _read_values(held)
    return True


def check_declared(count: int, itemsize: int, most: int, path: str | Path) -> None:
    """Raise a ScreenError where `count` values are more bytes than may be."""
    if count * itemsize > most:
        raise ScreenError(
            f"{path} declares {count * itemsize / 2**20:,.0f} MiB of values, out of all proportion to its size; "
            f"{UNPACKED_MB.raised_by()}."
        )


def _read_notes(held: Any) -> None:
    for name in held.attrs:
        _ = held.attrs[name]


def _read_values(held: Any) -> None:
    if not held.shape:
        _ = held[()]
        return
    row = max(held.size // max(held.shape[0], 1) * held.dtype.itemsize, 1)
    rows = max(_BLOCK // row, 1)
    for start in range(0, held.shape[0], rows):
        _ = held[start : start + rows]
