"""How much a file may claim before it is read: what comes from strangers must not take the machine's memory.

Each limit has a default that the data of screens stay far below, and is changed by an environment variable that bears
its name, for example ``PHENOLENS_MAX_PIXELS=500000000``.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import IO

from phenolens.runtime.errors import PhenolensError


@dataclass(frozen=True)
class Limit:
    """One limit: the end of its variable's name, its default, and what it counts."""

    name: str
    default: int
    counts: str

    @property
    def variable(self) -> str:
        """Environment variable that changes the limit."""
        return f"PHENOLENS_MAX_{self.name}"

    def __call__(self, preferred: int | None = None) -> int:
        """Return the limit in force: by the environment variable, or what is preferred where one is, or the default.

        Raises
        ------
        PhenolensError
            The environment variable is not a whole number above zero.
        """
        written = os.environ.get(self.variable, "").strip()
        if not written:
            return self.default if preferred is None else preferred
        try:
            value = int(float(written))
        except (ValueError, OverflowError):
            value = 0
        if value < 1:
            raise PhenolensError(f"{self.variable} is {written!r}: give a whole number above zero, or unset it.")
        return value

    def raised_by(self) -> str:
        """Half a sentence that tells how to raise the limit."""
        return f"if you trust it, raise the limit with the environment variable {self.variable}"


PIXELS = Limit("PIXELS", 150_000_000, "pixels of one plane of an image, times its colours")
PLANES = Limit("PLANES", 100_000, "planes of one image file")
UNPACKED_MB = Limit("UNPACKED_MB", 16_384, "megabytes that a compressed file unpacks to")
ROWS = Limit("ROWS", 20_000_000, "rows of a table")
COLUMNS = Limit("COLUMNS", 100_000, "columns of a table")
JSON_MB = Limit("JSON_MB", 64, "megabytes of a JSON file")
JSON_DEPTH = Limit("JSON_DEPTH", 64, "lists and objects inside one another in a JSON file")
JOURNAL_MB = Limit("JOURNAL_MB", 512, "megabytes of a journal, of which each line may have those of a JSON file")
SMILES = Limit("SMILES", 4_000, "characters of a structure's SMILES")
HEAVY_ATOMS = Limit("HEAVY_ATOMS", 400, "atoms of a structure other than hydrogen")
FRAGMENTS = Limit("FRAGMENTS", 30, "molecules and ions in one structure")
STRUCTURE_SECONDS = Limit("STRUCTURE_SECONDS", 20, "seconds of computing on one structure")
STRUCTURE_MB = Limit("STRUCTURE_MB", 2_048, "megabytes of memory for computing on one structure")
NETWORKS_MB = Limit("NETWORKS_MB", 1_024, "megabytes of networks that are kept for ONNX Runtime in the cache folder")
AHEAD_MB = Limit("AHEAD_MB", 128, "megabytes of cells that the viewer has translated ahead of a click")

ALL = (
    PIXELS, PLANES, UNPACKED_MB, ROWS, COLUMNS, JSON_MB, JSON_DEPTH, JOURNAL_MB,
    SMILES, HEAVY_ATOMS, FRAGMENTS, STRUCTURE_SECONDS, STRUCTURE_MB, NETWORKS_MB, AHEAD_MB,
)  # fmt: skip

# What measurements compress to at most, with room; what unpacks to more of itself was made to fill memory.
_MOST_RATIO = 50
_ALWAYS = 128 * 2**20


def unpacked_bytes(packed: int) -> int:
    """Return how many bytes a compressed file of `packed` bytes may unpack to.

    Fifty times its size, at least 128 MiB, and never more than ``PHENOLENS_MAX_UNPACKED_MB``.
    """
    return min(max(_MOST_RATIO * packed, _ALWAYS), UNPACKED_MB() * 2**20)


class TooLarge(ValueError):
    """What is read unpacks to more than it may."""


class BoundedReader(io.RawIOBase):
    """A binary stream that gives at most `most` bytes of another, and raises `TooLarge` where that holds more."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream = stream
        self._left = most
        self._most = most

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer`, and return how many bytes that took."""
        read = self._stream.read(len(buffer))
        self._left -= len(read)
        if self._left < 0:
            raise TooLarge(
                f"it unpacks to more than {self._most / 2**20:.0f} MiB, which is out of all proportion to its size; "
                + UNPACKED_MB.raised_by()
            )
        buffer[: len(read)] = read
        return len(read)


def read_bounded(stream: IO[bytes], most: int) -> bytes:
    """Read all of `stream`, or raise `TooLarge` where it holds more than `most` bytes."""
    return io.BufferedReader(BoundedReader(stream, most), 1 << 20).read()
