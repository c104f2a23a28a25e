"""Blocks of rows, for what would take too much memory at once."""

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

_BLOCK = 1 << 22  # numbers of a block of rows


def row_blocks(rows: NDArray[Any], width: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (start, rows) in blocks that take little memory where each row makes `width` numbers."""
    size = max(1, _BLOCK // max(width, 1))
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]
