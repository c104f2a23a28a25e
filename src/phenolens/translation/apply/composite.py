"""A field with some of its cells translated."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phenolens.screens.crops import Window, changed, feather


class CellDifferences:
    """Differences of cells, and what they come to where windows overlap.

    There each pixel follows mainly the cell whose centre is nearest, since a crop tells most about the cell in its
    middle. Where a cell changes nothing, as outside its own territory, it has no say in what its neighbours change.
    """

    def __init__(self) -> None:
        self._cells: dict[Hashable, tuple[Window, np.ndarray, np.ndarray]] = {}

    def put(self, cell: Hashable, window: Window, difference: np.ndarray) -> None:
        """Set the difference (C, size, size), in intensity units, of a cell."""
        self._cells[cell] = (window, difference, _say(difference))

    def drop(self, cell: Hashable) -> Window | None:
        """Take a cell out again, and give its window; None where there is no such cell."""
        return self._cells.pop(cell)[0] if cell in self._cells else None

    def drawn(self, rows: slice, columns: slice, channels: int, cells: Iterable[Hashable] | None = None) -> np.ndarray:
        """Difference (channels, height, width) float32 in a part of the field.

        Parameters
        ----------
        cells
            Those that may lie there; all of them where None.
        """
        top, bottom, left, right = rows.start, rows.stop, columns.start, columns.stop
        total = np.zeros((channels, bottom - top, right - left), np.float32)
        weight = np.zeros(total.shape[1:], np.float32)
        for cell in self._cells if cells is None else cells:
            window, difference, say = self._cells[cell]
            y0, y1 = max(top, window.y), min(bottom, window.y + window.size)
            x0, x1 = max(left, window.x), min(right, window.x + window.size)
            if y0 >= y1 or x0 >= x1:
                continue
            inside = (slice(y0 - window.y, y1 - window.y), slice(x0 - window.x, x1 - window.x))
            here = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
            nearness = _nearness(window.size)[inside] * say[inside]
            total[:, here[0], here[1]] += nearness * difference[(slice(None), *inside)]
            weight[here] += nearness
        return np.asarray(total / np.maximum(weight, np.finfo(np.float32).tiny))


@dataclass
class Composite:
    """The translated plane and the difference of a field, kept up to date cell by cell.

    Windows that overlap are drawn as `CellDifferences` says. `LargeComposite` is the same of a plane that is not in
    memory.

    Parameters
    ----------
    plane
        Raw pixels (C, H, W); never written to.
    """

    plane: np.ndarray
    translated: np.ndarray = field(init=False)
    difference: np.ndarray = field(init=False)
    _cells: CellDifferences = field(default_factory=CellDifferences, init=False)

    def __post_init__(self) -> None:
        self.translated = self.plane.copy()
        self.difference = np.zeros(self.plane.shape, np.float32)

    @property
    def source(self) -> np.ndarray:
        """The raw pixels."""
        return self.plane

    def put(self, cell: Hashable, window: Window, difference: np.ndarray) -> None:
        """Set the difference (C, size, size), in intensity units, of a cell."""
        self.put_all({cell: (window, difference)})

    def put_all(self, cells: Mapping[Any, tuple[Window, np.ndarray]]) -> None:
        """Set the differences of many cells at once."""
        for cell, (window, difference) in cells.items():
            self._cells.put(cell, window, difference)
        self._draw([window for window, _ in cells.values()])

    def drop(self, cell: Hashable) -> None:
        """Take a cell out again."""
        if (window := self._cells.drop(cell)) is not None:
            self._draw([window])

    def mean_change(self) -> np.ndarray:
        """(C,) mean size of the difference over the field."""
        return np.asarray(np.abs(self.difference).mean((1, 2)))

    def _draw(self, windows: list[Window]) -> None:
        height, width = self.plane.shape[-2:]
        rows = _span([w.y for w in windows], [w.y + w.size for w in windows], height)
        columns = _span([w.x for w in windows], [w.x + w.size for w in windows], width)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        region = (slice(None), rows, columns)
        self.difference[region] = self._cells.drawn(rows, columns, len(self.plane))
        self.translated[region] = changed(self.plane[region], self.difference[region])


def _span(starts: list[int], ends: list[int], length: int) -> slice:
    return slice(max(min(starts), 0), min(max(ends), length))


def _say(difference: np.ndarray) -> np.ndarray:
    """(size, size) bool: where a cell changes anything, with pixels between such that happen to stay as they are."""
    from scipy.ndimage import binary_closing

    changing = np.pad(np.any(difference != 0, axis=0), 1)
    return np.asarray((changing | binary_closing(changing, np.ones((3, 3), bool)))[1:-1, 1:-1], bool)


def _nearness(size: int) -> np.ndarray:
    """Weight (size, size) float32 of a crop's pixels: falls from its centre, and to zero at its edge."""
    away = np.arange(size) - (size - 1) / 2
    profile = np.exp(-((away / (size / 6)) ** 2) / 2)
    return np.asarray(np.outer(profile, profile) * feather(size, max(2, size // 8)), np.float32)
