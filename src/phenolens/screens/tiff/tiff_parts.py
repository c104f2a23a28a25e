"""Large planes of TIFF files: the tiles or strips that are asked for, at the levels of the file or at our own."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ImageError
from phenolens.screens.image_bounds import check_declared_pixels

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

_BLOCK = 1024  # pixels along each side that are read together, or about that
_OVERVIEW = 8  # every so many pixels are kept of a plane whose file has no smaller version
_SMALLEST = 512
_KEPT_BYTES = 128 * 2**20
_MOST_BLOCKS = 100_000
LARGEST_PLANE = 16 * 2**30
"""Bytes of a plane that is read in parts; one beyond this is refused, for all of it may be asked for."""

Reading = Callable[[Path], AbstractContextManager[None]]


@dataclass(frozen=True)
class _Segments:
    """Where the tiles or strips of a plane lie in the file, and the page that decodes them."""

    keyframe: Any
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    tables: dict[str, Any]


class PlanesInParts:
    """The planes of one level of a TIFF file, as an array of which parts are read.

    Parameters
    ----------
    path
        The file.
    series, level
        Of its first image, which level; 0 is the largest.
    reading
        What turns complaints of the file into an `ImageError`.
    """

    def __init__(self, path: Path, series: TiffPageSeries, level: int, reading: Reading) -> None:
        of: Any = series.levels[level]
        self.shape: tuple[int, ...] = tuple(map(int, of.shape))
        self.dtype: np.dtype[Any] = np.dtype(of.dtype)
        self._path, self._level, self._reading = path, level, reading
        self._samples = int(of.shape[-1]) if of.axes.endswith("S") else 0
        self._planes = self.shape[: -3 if self._samples else -2]
        page = of.keyframe
        self._segment = (
            (int(page.tilelength), int(page.tilewidth))
            if page.is_tiled
            else (min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth))
        )
        # a plane that is stored as it is, in one piece, is read a few rows at a time
        self._plain = (
            not page.is_tiled
            and self._segment[0] == page.imagelength
            and (page.compression, page.predictor, page.fillorder) == (1, 1, 1)
            and page.bitspersample == 8 * self.dtype.itemsize
        )
        if self._plain:
            self._segment = (min(max(1, _BLOCK // 8), self._segment[0]), self._segment[1])
        self._known: dict[int, _Segments] = {}
        self._lock = threading.Lock()
        stat = path.stat()
        self.name = f"tiff-{path.resolve()}-{stat.st_mtime_ns}-{stat.st_size}-{level}"

    @staticmethod
    def can(series: TiffPageSeries, level: int) -> bool:
        """Whether the planes of a level are pages of plain rows and columns, perhaps with colours."""
        of: Any = series.levels[level]
        colours = of.axes.endswith("YXS")
        plane = tuple(of.shape[-3:] if colours else of.shape[-2:])
        whole = tuple(of.keyframe.shape) == plane and int(of.keyframe.imagedepth) == 1
        separate = colours and int(of.keyframe.planarconfig) != 1
        return (colours or of.axes.endswith("YX")) and whole and not separate and not series.is_multifile

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Length along each axis of what is best read together."""
        height, width = self.shape[len(self._planes) : len(self._planes) + 2]
        sides = (max(1, round(_BLOCK / side)) * side for side in self._segment)
        tall, wide = (min(side, length) for side, length in zip(sides, (height, width), strict=True))
        return (*(1,) * len(self._planes), tall, wide, *((self._samples,) if self._samples else ()))

    @property
    def lazy(self) -> Any:
        """The same as a dask array."""
        import dask.array as da

        return da.from_array(self, chunks=self.chunks, name=self.name, asarray=True, meta=np.empty(0, self.dtype))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a part, by a slice or a number for each axis."""
        first = len(self._planes)
        at = [part if isinstance(part, slice) else slice(int(part), int(part) + 1) for part in key]
        places = [range(*part.indices(length)) for part, length in zip(at, self.shape, strict=True)]
        rows, columns = places[first : first + 2]
        out = np.empty([len(one) for one in places], self.dtype)
        if out.size:
            for index in np.ndindex(*out.shape[:first]):
                plane = tuple(place[i] for place, i in zip(places, index, strict=False))
                top, left = _span(rows), _span(columns)
                whole = self._part(self._number(plane), top, left)
                part = whole[rows.start - top[0] :: rows.step, columns.start - left[0] :: columns.step]
                part = part[: len(rows), : len(columns)]
                out[index] = part[..., at[-1]] if self._samples else part
        return out[tuple(0 if not isinstance(part, slice) else slice(None) for part in key)]

    def rows_of(self, number: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """The rows of a plane, in bands of which each is read once, with the number of the first."""
        height, width = self.shape[len(self._planes) : len(self._planes) + 2]
        tall = self.chunks[len(self._planes)]
        for top in range(0, height, tall):
            yield top, self._part(number, (top, min(top + tall, height)), (0, width))

    def _number(self, plane: tuple[int, ...]) -> int:
        return int(np.ravel_multi_index(plane, self._planes)) if plane else 0

    def _part(self, number: int, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[Any]:
        """Rows and columns from and to, of one plane."""
        known = self._segments(number)
        tall, wide = self._segment
        width = self.shape[len(self._planes) + 1]
        across = -(-width // wide)
        colours = (self._samples,) if self._samples else ()
        out = np.zeros((rows[1] - rows[0], columns[1] - columns[0], *colours), self.dtype)
        with self._reading(self._path), self._path.open("rb") as file:
            for row in range(rows[0] // tall, -(-rows[1] // tall)):
                for column in range(columns[0] // wide, -(-columns[1] // wide)):
                    index = row * across + column
                    found = self._decoded(file, known, index)
                    if found is None:
                        continue  # a tile that was left out is background
                    top, left = row * tall, column * wide
                    found = found if colours else found[..., 0]
                    high, low = max(top, rows[0]), min(top + len(found), rows[1])
                    near, far = max(left, columns[0]), min(left + found.shape[1], columns[1])
                    out[high - rows[0] : low - rows[0], near - columns[0] : far - columns[0]] = found[
                        high - top : low - top, near - left : far - left
                    ]
        return out

    def _decoded(self, file: Any, known: _Segments, index: int) -> NDArray[Any] | None:
        """Pixels (h, w, samples) of a tile or strip."""
        if self._plain:
            tall, wide = self._segment
            height, row = self.shape[len(self._planes)], wide * max(self._samples, 1) * self.dtype.itemsize
            rows = min(tall, height - index * tall)
            file.seek(known.offsets[0] + index * tall * row)
            stored = file.read(rows * row)
            if len(stored) < rows * row:
                raise self._cut_short()
            return np.frombuffer(stored, self.dtype.newbyteorder(known.keyframe.parent.byteorder)).reshape(
                rows, wide, max(self._samples, 1)
            )
        if known.counts[index] == 0:
            return None
        file.seek(known.offsets[index])
        stored = file.read(known.counts[index])
        if len(stored) < known.counts[index]:
            raise self._cut_short()
        found, _, shape = known.keyframe.decode(stored, index, **known.tables)
        return None if found is None else found[0, : shape[1], : shape[2]]

    def _cut_short(self) -> ImageError:
        return ImageError(f"The image {self._path} is cut short; copy it again from its source.")

    def _segments(self, number: int) -> _Segments:
        with self._lock:
            if number not in self._known:
                with self._reading(self._path):
                    from tifffile import TiffFile

                    with TiffFile(self._path) as tif:
                        page: Any = tif.series[0].levels[self._level].pages[number]
                        if page is None:
                            raise ImageError(f"Plane {number} of {self._path} is missing.")
                        keyframe = page.keyframe
                        tables = {}
                        if keyframe.jpegtables is not None:
                            tables = {"jpegtables": keyframe.jpegtables, "jpegheader": keyframe.jpegheader}
                        keyframe.decode  # noqa: B018 - made while the file is open
                        self._known[number] = _Segments(
                            keyframe, tuple(page.dataoffsets), tuple(page.databytecounts), tables
                        )
            return self._known[number]


class _Overviews:
    """Every so many pixels of each plane, made in one pass over it and kept for the planes that were seen last."""

    def __init__(self, planes: PlanesInParts) -> None:
        self._planes = planes
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, number: int) -> NDArray[Any]:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
            bands = (band[-top % _OVERVIEW :: _OVERVIEW, ::_OVERVIEW] for top, band in self._planes.rows_of(number))
            made = np.concatenate([band.copy() for band in bands])
            self._kept[number] = made
            while sum(one.nbytes for one in self._kept.values()) > _KEPT_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
            return made

    def lazy(self, step: int) -> Any:
        """Every `step`-th pixel, a multiple of what is kept, as a dask array with a block a plane."""
        import dask.array as da

        planes, first = self._planes, len(self._planes._planes)
        sides = planes.shape[first : first + 2]
        colours = planes.shape[first + 2 :]
        shape = (*planes.shape[:first], *(-(-side // step) for side in sides), *colours)
        each = step // _OVERVIEW

        def block(block_info: Any = None) -> NDArray[Any]:
            plane = tuple(int(start) for start, _ in block_info[None]["array-location"][:first])
            found = self.of(planes._number(plane))[::each, ::each]
            return found.reshape(*(1,) * first, *found.shape)

        chunks = (*((1,) * length for length in shape[:first]), *((length,) for length in shape[first:]))
        return da.map_blocks(
            block, chunks=chunks, dtype=planes.dtype, name=f"{planes.name}-every-{step}", meta=np.empty(0, planes.dtype)
        )


def levels_of(path: Path, series: TiffPageSeries, reading: Reading) -> list[Any] | None:
    """The levels (dask) of a file's first image, the largest first; None where its planes cannot be read in parts.

    Where the file has but one, smaller ones are every second pixel of it, and so on; what is kept of a plane for them
    is every eighth pixel.
    """
    if not PlanesInParts.can(series, 0):
        return None
    planes = PlanesInParts(path, series, 0, reading)
    blocks = math.prod(-(-length // chunk) for length, chunk in zip(planes.shape, planes.chunks, strict=True))
    if blocks > _MOST_BLOCKS:
        return None
    check_declared_pixels(math.prod(planes.chunks), path)
    sides = slice(len(planes._planes), len(planes._planes) + 2)
    held = [
        PlanesInParts(path, series, level, reading)
        for level in range(1, len(series.levels))
        if PlanesInParts.can(series, level) and series.levels[level].ndim == planes.ndim
    ]
    held = [one for one in held if one.shape[: sides.start] == planes.shape[: sides.start]]
    if held:
        return [planes.lazy, *(one.lazy for one in held)]
    whole, overviews, levels, step = planes.lazy, _Overviews(planes), [planes.lazy], 2
    while max(planes.shape[sides]) // (step // 2) > _SMALLEST:
        every = (*(slice(None),) * sides.start, slice(None, None, step), slice(None, None, step))
        levels.append(whole[every] if step < _OVERVIEW else overviews.lazy(step))
        step *= 2
    return levels


def _span(places: range) -> tuple[int, int]:
    return min(places[0], places[-1]), max(places[0], places[-1]) + 1
