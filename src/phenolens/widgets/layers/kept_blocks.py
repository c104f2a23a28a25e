"""A large array for the canvas, which asks for nearly the same part with every move: blocks once read are kept."""

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from phenolens.runtime.engines.computing import computed

_MOST_BYTES = 512 * 2**20
_STEP = 256  # pixels: napari asks for whole steps, and anew only where the view leaves them
_TOGETHER = 16  # blocks, so that a whole level is never held beside what is made of it
_kept: OrderedDict[tuple[str, tuple[int, ...]], NDArray[Any]] = OrderedDict()
_lock = threading.Lock()


Span = tuple[int, int]
"""Where a part begins along an axis, and where it ends."""


class ArrayInParts(ABC):
    """An array for the canvas, made of the part that is looked at.

    Parameters
    ----------
    shape, dtype
        Of all of it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.shape: tuple[int, ...] = tuple(map(int, shape))
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    @property
    @abstractmethod
    def lazy(self) -> Any:
        """The same as a dask array, for whoever wants more than to look at a part."""

    @abstractmethod
    def read(self, spans: list[Span]) -> NDArray[Any]:
        """The part, not empty, of all axes."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """What the canvas reads at once along each axis: more than is in view, so that most moves read nothing."""
        steps = (1,) * (len(self.shape) - 2) + (_STEP, _STEP)
        return tuple(min(step, length) for step, length in zip(steps, self.shape, strict=True))

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
        if len(parts) < self.ndim and not any(part is Ellipsis for part in parts):
            parts = (*parts, *(slice(None),) * (self.ndim - len(parts)))
        if len(parts) != self.ndim or not all(_plain(part) for part in parts):
            return np.asarray(computed(self.lazy[key]))
        wanted = [_wanted(part, length) for part, length in zip(parts, self.shape, strict=True)]
        spans = [span for span, _ in wanted]
        lengths = [stop - start for start, stop in spans]
        out = self.read(spans) if all(lengths) else np.empty(lengths, self.dtype)
        return out[tuple(there for _, there in wanted)]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(computed(self.lazy), dtype)


class KeptBlocks(ArrayInParts):
    """A dask array whose blocks are read when they are looked at, and kept; of all such arrays at most 512 MiB.

    Parameters
    ----------
    lazy
        The dask array.
    """

    def __init__(self, lazy: Any) -> None:
        super().__init__(lazy.shape, lazy.dtype)
        self._lazy = lazy
        self._starts = [np.concatenate([[0], np.cumsum(lengths)]) for lengths in lazy.chunks]

    @property
    def lazy(self) -> Any:
        """The dask array."""
        return self._lazy

    def read(self, spans: list[Span]) -> NDArray[Any]:
        """The part, of blocks that are kept."""
        out = np.empty([stop - start for start, stop in spans], self.dtype)
        touched = [
            range(int(np.searchsorted(at, start, "right")) - 1, int(np.searchsorted(at, stop, "left")))
            for at, (start, stop) in zip(self._starts, spans, strict=True)
        ]
        for index, block in self._blocks(list(product(*touched))):
            self._put(out, index, block, spans)
        return out

    def _put(self, out: NDArray[Any], index: tuple[int, ...], block: NDArray[Any], spans: list[Span]) -> None:
        """Copy what lies in `spans` of the `block` at `index` to where it belongs in `out`."""
        here, there = [], []
        for at, number, (start, stop) in zip(self._starts, index, spans, strict=True):
            first, last = max(int(at[number]), start), min(int(at[number + 1]), stop)
            here.append(slice(first - int(at[number]), last - int(at[number])))
            there.append(slice(first - start, last - start))
        out[tuple(there)] = block[tuple(here)]

    def _blocks(self, wanted: list[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        """Blocks by their index; those that are not kept are read together, a few at a time."""
        name = str(self.lazy.name)
        for start in range(0, len(wanted), _TOGETHER):
            some = wanted[start : start + _TOGETHER]
            with _lock:
                found = {index: _kept[name, index] for index in some if (name, index) in _kept}
                for index in found:
                    _kept.move_to_end((name, index))
            missing = [index for index in some if index not in found]
            if missing:
                read = computed(*(self.lazy.blocks[index] for index in missing))
                found |= zip(missing, read if len(missing) > 1 else (read,), strict=True)
                _keep({(name, index): found[index] for index in missing})
            yield from found.items()


def _keep(blocks: dict[tuple[str, tuple[int, ...]], NDArray[Any]]) -> None:
    with _lock:
        _kept.update(blocks)
        held = sum(one.nbytes for one in _kept.values())
        while held > _MOST_BYTES and len(_kept) > 1:
            held -= _kept.popitem(last=False)[1].nbytes


def _plain(part: Any) -> bool:
    return isinstance(part, (slice, int, np.integer)) and not isinstance(part, bool)


def _wanted(part: Any, length: int) -> tuple[Span, int | slice]:
    """What of an axis is read for an index or a slice, and where in that it lies."""
    if isinstance(part, slice):
        places = range(*part.indices(length))
        if not places:
            return (0, 0), slice(None)
        return (min(places[0], places[-1]), max(places[0], places[-1]) + 1), slice(None, None, places.step)
    at = int(part)
    if not -length <= at < length:
        raise IndexError(f"There is no index {at} along an axis of {length}.")
    return (at % length, at % length + 1), 0
