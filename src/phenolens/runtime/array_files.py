"""NumPy's .npy and .npz files, read without pickle and with no more memory than the file has bytes to fill."""

from __future__ import annotations

import io
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.limits import read_bounded, unpacked_bytes

_KINDS = "biufUS"  # truth values, numbers and text
_BROKEN = (
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, SyntaxError, RecursionError, OverflowError,
    MemoryError, NotImplementedError, RuntimeError, UnicodeError, AttributeError, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class BrokenArrays(ValueError):
    """A file of arrays is broken, too large, or holds something else than arrays of numbers and text."""


@contextmanager
def broken_arrays() -> Iterator[None]:
    """Turn whatever a damaged file of arrays leads to into `BrokenArrays`."""
    try:
        yield
    except BrokenArrays:
        raise
    except _BROKEN as error:
        raise BrokenArrays(" ".join(str(error).split())[:200] or type(error).__name__) from error


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read all arrays of an .npz file.

    Raises
    ------
    BrokenArrays
        See there.
    """
    with broken_arrays(), zipfile.ZipFile(path) as archive:
        members = npz_members(archive, Path(path).stat().st_size)
        return {name: parsed_npy(data) for name, data in members}


def npz_members(
    archive: zipfile.ZipFile, packed: int, wanted: tuple[str, ...] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Iterate over the names and .npy bytes of an archive of `packed` bytes, all of them or those `wanted`.

    Together they unpack to no more than `unpacked_bytes` allows; else it raises `TooLarge`.
    """
    left = unpacked_bytes(packed)
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if wanted is not None and name not in wanted:
            continue
        with archive.open(entry) as file:
            data = read_bounded(file, left)
        left -= len(data)
        yield name, data


def npy_header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether columns come first, dtype, and where the values begin, of the bytes of an .npy file."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read(stream)
    if any(length < 0 for length in shape):
        raise BrokenArrays(f"an array has the shape {shape}")
    return tuple(shape), bool(by_column), dtype, stream.tell()


def parsed_npy(data: bytes) -> NDArray[Any]:
    """Make an array of the bytes of an .npy file, without pickle.

    Raises
    ------
    BrokenArrays
        There are not as many bytes as the shape asks for, or they are neither numbers, truth values nor text.
    """
    with broken_arrays():
        shape, by_column, dtype, start = npy_header(data)
        return array_of(data[start:], dtype, shape, by_column)


def array_of(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], by_column: bool = False) -> NDArray[Any]:
    """Make an array of exactly the bytes that it needs; see `parsed_npy`."""
    if dtype.kind not in _KINDS or dtype.itemsize == 0 or dtype.subdtype is not None:
        raise BrokenArrays(f"an array is of the type {str(dtype)[:60]}, and not of numbers or text")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise BrokenArrays(f"an array of shape {shape} and type {dtype} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C").copy()
