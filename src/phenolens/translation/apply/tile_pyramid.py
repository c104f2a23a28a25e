"""A large array that is zero but around some places: drawn by tiles, at full size and at smaller ones."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from itertools import product

import numpy as np
from numpy.typing import DTypeLike

from phenolens.screens.crops import Window

SIDE = 256
_MOST_BYTES = 256 * 2**20

Reduce = Callable[[np.ndarray], np.ndarray]


def means(tile: np.ndarray) -> np.ndarray:
    """(C, h, w) of (C, 2 h, 2 w): the mean of each four pixels."""
    return np.asarray(_fours(tile).mean(axis=(2, 4)), tile.dtype)


def highest(tile: np.ndarray) -> np.ndarray:
    """(C, h, w) of (C, 2 h, 2 w): the highest of each four pixels."""
    return np.asarray(_fours(tile).max(axis=(2, 4)))


class TilePyramid:
    """Tiles (C, 256, 256) of an array (C, H, W) and of ones half as large, drawn when they are looked at.

    Only those are drawn that a named place touches. At most 256 MiB of them are kept.

    Parameters
    ----------
    shape, dtype
        Of the array.
    draw
        Gives the pixels (C, h, w) between rows and columns, of which the places named lie there.
    reduce
        Makes one pixel of four: `means` or `highest`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        draw: Callable[[slice, slice, frozenset[Hashable]], np.ndarray],
        reduce: Reduce = means,
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._draw, self._reduce = draw, reduce
        largest = max(shape[-2:])
        self._touched: list[dict[tuple[int, int], set[Hashable]]] = [{}]
        while SIDE << (len(self._touched) - 1) < largest:
            self._touched.append({})
        self._kept: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def levels(self) -> int:
        """How many sizes there are."""
        return len(self._touched)

    def put(self, name: Hashable, window: Window) -> None:
        """Say that something lies, or has changed, in a window."""
        with self._lock:
            for level, at in self._tiles(window):
                self._touched[level].setdefault(at, set()).add(name)
                self._kept.pop((level, *at), None)

    def drop(self, name: Hashable, window: Window) -> None:
        """Say that it is gone."""
        with self._lock:
            for level, at in self._tiles(window):
                names = self._touched[level].get(at, set())
                names.discard(name)
                if not names:
                    self._touched[level].pop(at, None)
                self._kept.pop((level, *at), None)

    def part(self, level: int, rows: slice, columns: slice) -> np.ndarray:
        """Pixels (C, h, w) between rows and columns of the array that is 2 ** `level` times smaller."""
        top, left = rows.start, columns.start
        out = np.zeros((self.shape[0], max(rows.stop - top, 0), max(columns.stop - left, 0)), self.dtype)
        if not out.size:
            return out
        with self._lock:
            for row, column in product(_over(rows), _over(columns)):
                tile = self._tile(level, row, column)
                if tile is None:
                    continue
                y, x = row * SIDE, column * SIDE
                y0, y1 = max(top, y), min(rows.stop, y + SIDE)
                x0, x1 = max(left, x), min(columns.stop, x + SIDE)
                out[:, y0 - top : y1 - top, x0 - left : x1 - left] = tile[:, y0 - y : y1 - y, x0 - x : x1 - x]
        return out

    def touched(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of the tiles at full size that anything lies in."""
        height, width = self.shape[-2:]
        for row, column in sorted(self._touched[0]):
            yield (
                slice(row * SIDE, min((row + 1) * SIDE, height)),
                slice(column * SIDE, min((column + 1) * SIDE, width)),
            )

    def _tiles(self, window: Window) -> Iterator[tuple[int, tuple[int, int]]]:
        height, width = self.shape[-2:]
        top, left = max(window.y, 0), max(window.x, 0)
        bottom, right = min(window.y + window.size, height), min(window.x + window.size, width)
        if top >= bottom or left >= right:
            return
        for level in range(self.levels):
            side = SIDE << level
            rows, columns = (range(a // side, (b - 1) // side + 1) for a, b in ((top, bottom), (left, right)))
            for at in product(rows, columns):
                yield level, at

    def _tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        names = self._touched[level].get((row, column))
        if names is None:
            return None
        key = (level, row, column)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if level == 0:
            height, width = self.shape[-2:]
            rows = slice(row * SIDE, min((row + 1) * SIDE, height))
            columns = slice(column * SIDE, min((column + 1) * SIDE, width))
            made = np.zeros((self.shape[0], SIDE, SIDE), self.dtype)
            drawn = self._draw(rows, columns, frozenset(names))
            made[:, : rows.stop - rows.start, : columns.stop - columns.start] = drawn
        else:
            four = np.zeros((self.shape[0], 2 * SIDE, 2 * SIDE), self.dtype)
            for down, across in product((0, 1), (0, 1)):
                part = self._tile(level - 1, 2 * row + down, 2 * column + across)
                if part is not None:
                    y, x = down * SIDE, across * SIDE
                    four[:, y : y + SIDE, x : x + SIDE] = part
            made = self._reduce(four)
        self._kept[key] = made
        while len(self._kept) > 1 and len(self._kept) * made.nbytes > _MOST_BYTES:
            self._kept.popitem(last=False)
        return made


def _over(span: slice) -> range:
    return range(span.start // SIDE, (span.stop - 1) // SIDE + 1)


def _fours(tile: np.ndarray) -> np.ndarray:
    channels, height, width = tile.shape
    return tile.reshape(channels, height // 2, 2, width // 2, 2)
