"""A stack for a layer of which each plane is made when it is looked at."""

import sys
import threading
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class PlaneStack:
    """An array of planes of which only those are made that are asked for, as napari's layers take it.

    Parameters
    ----------
    lengths
        Of the axes of the stack, before those of a plane.
    shape
        Height and width of a plane.
    dtype
        Of the pixels.
    read
        Gives the plane (height, width) at an index along the axes of the stack.
    look
        The same for the canvas, which cannot wait for a file: gives None where the plane is not there yet, which is
        drawn black until the layer is refreshed. Whoever else asks (a user's script, saving) gets what `read` gives.
    """

    def __init__(
        self,
        lengths: tuple[int, ...],
        shape: tuple[int, int],
        dtype: DTypeLike,
        read: Callable[[tuple[int, ...]], NDArray[Any] | None],
        look: Callable[[tuple[int, ...]], NDArray[Any] | None] | None = None,
    ) -> None:
        self._lengths, self._read, self._look = lengths, read, look
        self.shape = (*lengths, *shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        parts = key if isinstance(key, tuple) else (key,)
        if any(part is Ellipsis for part in parts):
            at = next(place for place, part in enumerate(parts) if part is Ellipsis)
            filled = (slice(None),) * (self.ndim - len(parts) + 1)
            parts = (*parts[:at], *filled, *parts[at + 1 :])
        stack, inside = parts[: len(self._lengths)], parts[len(self._lengths) :]
        stack = (*stack, *(slice(None),) * (len(self._lengths) - len(stack)))
        chosen: list[NDArray[Any]] = [
            np.asarray(np.arange(length)[part]) for length, part in zip(self._lengths, stack, strict=True)
        ]
        lengths = tuple(length for index in chosen for length in index.shape)
        wanted = [tuple(map(int, at)) for at in product(*map(np.atleast_1d, chosen))]
        read = self._look if self._look is not None and len(wanted) == 1 and _to_be_drawn() else self._read
        empty = np.zeros(self.shape[len(self._lengths) :], self.dtype)[inside]
        planes = [empty if (plane := read(at)) is None else plane[inside] for at in wanted]
        made = np.stack(planes) if planes else np.empty((0, *empty.shape), self.dtype)
        return np.asarray(made.reshape(*lengths, *empty.shape), self.dtype)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


def _to_be_drawn() -> bool:
    """Whether napari asks for pixels to draw them, on the window's own thread.

    Only then may the answer be that they are not there yet: what anybody else gets are the pixels.
    """
    asks = sys._getframe(2).f_globals.get("__name__", "")
    return asks.startswith("napari.layers.") and threading.current_thread() is threading.main_thread()
