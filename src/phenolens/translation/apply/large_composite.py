"""A field that is too large for the memory, with some of its cells translated: drawn around these cells alone."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from phenolens.screens.crops import Window, changed
from phenolens.screens.large_images import LargePlane, Plane
from phenolens.translation.apply.composite import CellDifferences, Composite
from phenolens.translation.apply.tile_pyramid import TilePyramid

_BLOCK = 1024


class LargeComposite:
    """As `Composite`, of a plane that is read in parts.

    Parameters
    ----------
    plane
        Raw pixels (C, H, W).
    """

    def __init__(self, plane: LargePlane) -> None:
        self.plane = plane
        self._cells = CellDifferences()
        self.tiles = TilePyramid(plane.shape, np.float32, self._draw)
        """The difference, at full size and at smaller ones."""
        self._windows: dict[Hashable, Window] = {}

    @property
    def windows(self) -> Mapping[Hashable, Window]:
        """Where each cell lies."""
        return self._windows

    @property
    def source(self) -> Any:
        """The raw pixels, as a dask array."""
        return self.plane.lazy

    @property
    def translated(self) -> Any:
        """The translated pixels, as a dask array: drawn where they are asked for, as cells are then."""
        return self._lazily(lambda block, rows, columns: changed(block, self.tiles.part(0, rows, columns)))

    @property
    def difference(self) -> Any:
        """The difference float32, as a dask array."""
        return self._lazily(lambda block, rows, columns: self.tiles.part(0, rows, columns), np.float32)

    def put(self, cell: Hashable, window: Window, difference: np.ndarray) -> None:
        """Set the difference (C, size, size), in intensity units, of a cell."""
        self.put_all({cell: (window, difference)})

    def put_all(self, cells: Mapping[Any, tuple[Window, np.ndarray]]) -> None:
        """Set the differences of many cells at once."""
        for cell, (window, difference) in cells.items():
            self.drop(cell)
            self._cells.put(cell, window, difference)
            self._windows[cell] = window
            self.tiles.put(cell, window)

    def drop(self, cell: Hashable) -> None:
        """Take a cell out again."""
        if (window := self._cells.drop(cell)) is not None:
            del self._windows[cell]
            self.tiles.drop(cell, window)

    def mean_change(self) -> np.ndarray:
        """(C,) mean size of the difference over the field."""
        total = np.zeros(self.plane.shape[0])
        for rows, columns in self.tiles.touched():
            total += np.abs(self.tiles.part(0, rows, columns)).sum((1, 2))
        height, width = self.plane.shape[-2:]
        return np.asarray(total / (height * width))

    def _draw(self, rows: slice, columns: slice, cells: frozenset[Hashable]) -> np.ndarray:
        return self._cells.drawn(rows, columns, self.plane.shape[0], cells)

    def _lazily(self, drawn: Callable[[np.ndarray, slice, slice], np.ndarray], dtype: Any = None) -> Any:
        from uuid import uuid4

        import dask.array as da

        def one(block: np.ndarray, block_info: Any = None) -> np.ndarray:
            _, rows, columns = (slice(*span) for span in block_info[0]["array-location"])
            return drawn(block, rows, columns)

        whole = self.plane.lazy.rechunk((-1, _BLOCK, _BLOCK))
        dtype = whole.dtype if dtype is None else np.dtype(dtype)
        # a name of its own: what is drawn changes with the cells
        return da.map_blocks(one, whole, dtype=dtype, name=f"composite-{uuid4().hex}", meta=np.zeros((0, 0, 0), dtype))


def composite_of(plane: Plane) -> Composite | LargeComposite:
    """What draws translated cells on a plane."""
    return LargeComposite(plane) if isinstance(plane, LargePlane) else Composite(plane)
