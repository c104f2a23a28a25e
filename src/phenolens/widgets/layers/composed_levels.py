"""Layers over a large field at its levels: pixels of the source and what is drawn on them, made where one looks."""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import product
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import DTypeLike, NDArray

from phenolens.screens.crops import changed
from phenolens.translation.apply.tile_pyramid import TilePyramid
from phenolens.widgets.layers.kept_blocks import ArrayInParts, Span

Drawn = Callable[[tuple[int, ...]], TilePyramid | None]
"""What is drawn on the plane at an index along the axes of the stack; None where nothing is."""


class ComposedLevel(ArrayInParts):
    """One level (..., H, W) of a channel.

    Parameters
    ----------
    source
        The same level of the source.
    whole
        Height and width of the largest level.
    drawn
        See `Drawn`.
    channel
        Of what is drawn.
    dtype
        Of the pixels.
    added
        Show the source with what is drawn added to it, rather than what is drawn alone.
    """

    def __init__(
        self,
        source: Any,
        whole: tuple[int, int],
        drawn: Drawn,
        channel: int,
        dtype: DTypeLike,
        added: bool,
    ) -> None:
        super().__init__(source.shape, dtype)
        self._source, self._drawn, self._channel, self._added = source, drawn, channel, added
        self._steps = tuple(long / short for long, short in zip(whole, self.shape[-2:], strict=True))

    @cached_property
    def lazy(self) -> Any:
        """The same as a dask array."""
        import dask.array as da

        source = da.asarray(getattr(self._source, "lazy", self._source))

        def one(block_info: Any = None) -> NDArray[Any]:
            return self.read([(int(start), int(stop)) for start, stop in block_info[None]["array-location"]])

        # a name of its own: what is drawn changes with the cells
        name, meta = f"composed-{uuid4().hex}", np.zeros((0,) * self.ndim, self.dtype)
        return da.map_blocks(one, chunks=source.chunks, dtype=self.dtype, name=name, meta=meta)

    def read(self, spans: list[Span]) -> NDArray[Any]:
        """The part, as cells are now."""
        *stack, rows, columns = spans
        out = np.zeros([stop - start for start, stop in spans], self.dtype)
        if self._added:
            out[...] = self._source[tuple(slice(*span) for span in spans)]
        for index in product(*(range(*span) for span in stack)):
            at = tuple(place - start for place, (start, _) in zip(index, stack, strict=True))
            tiles = self._drawn(index)
            if tiles is not None:
                part = self._part(tiles, rows, columns)
                out[at] = changed(out[at], part) if self._added else part
        return out

    def _part(self, tiles: TilePyramid, rows: Span, columns: Span) -> NDArray[Any]:
        """Of the smaller sizes of what is drawn, the nearest pixels: levels of files are not always half as large."""
        level = min(max(int(np.floor(np.log2(min(self._steps)) + 0.01)), 0), tiles.levels - 1)
        places = []
        for (start, stop), step, length in zip((rows, columns), self._steps, tiles.shape[-2:], strict=True):
            at = np.floor((np.arange(start, stop) + 0.5) * step / 2**level).astype(int)
            places.append(np.clip(at, 0, -(-length // 2**level) - 1))
        y, x = places
        part = tiles.part(level, slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1))[self._channel]
        return np.asarray(part[(y - y[0])[:, None], (x - x[0])[None, :]])


def composed_levels(
    sources: Sequence[Any], drawn: Drawn, channel: int, dtype: DTypeLike, added: bool
) -> list[ComposedLevel]:
    """A level for each of `sources`, the largest first; see `ComposedLevel`."""
    height, width = sources[0].shape[-2:]
    return [ComposedLevel(source, (height, width), drawn, channel, dtype, added) for source in sources]
