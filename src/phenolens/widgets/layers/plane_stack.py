"""A stack for a layer of which each plane is made when it is looked at."""

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
    """

    def __init__(
        self,
        lengths: tuple[int, ...],
        shape: tuple[int, int],
        dtype: DTypeLike,
        read: Callable[[tuple[int, ...]], NDArray[Any]],
    ) -> None:
        self._lengths, self._read = lengths, read
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
        planes = [self._read(tuple(map(int, at)))[inside] for at in product(*map(np.atleast_1d, chosen))]
        empty = np.empty(self.shape[len(self._lengths) :], self.dtype)[inside]
        made = np.stack(planes) if planes else np.empty((0, *empty.shape), self.dtype)
        return np.asarray(made.reshape(*lengths, *empty.shape), self.dtype)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)
