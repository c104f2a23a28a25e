"""TIFF files: pixels (lazily where large), axes, channel names and pixel size as the file states them."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ImageError, PhenolensError
from phenolens.screens.image_bounds import check_declared_pixels, check_declared_planes
from phenolens.screens.image_details import AxisScale, ImageDetails
from phenolens.screens.pixel_sizes import MICROMETRES, is_size
from phenolens.screens.tiff.tiff_parts import LARGEST_PLANE, levels_of
from phenolens.screens.tiff.tiff_structure import (
    check_chain_of_pages,
    check_other_files,
    check_pages_alike,
    declared_ome_planes,
)

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

LAZY_BYTES = 64 * 2**20
# A file that declares more than so many times what it holds is taken for a bomb where its planes are large.
_MOST_PACKED = 200
# An axis that the file does not name is taken as channels up to this length, as depth beyond.
_MOST_CHANNELS = 10


@dataclass(frozen=True)
class TiffContent:
    """What a TIFF file holds: see `phenolens.screens.images.FieldImage`; no names where it has none."""

    data: Any
    axes: str
    channel_names: tuple[str, ...]
    pixel_size: tuple[float, float] | None
    z_spacing: float | None
    details: ImageDetails = field(default_factory=ImageDetails)
    coarser: Callable[[], tuple[Any, ...]] | None = None


def read_tiff(path: Path) -> TiffContent:
    """Read the image of a TIFF file, its pixels lazily (dask) when they take more than `LAZY_BYTES`.

    Raises
    ------
    ImageError
        The file is broken, or holds several images or axes that cannot be told apart.
    """
    with _broken_file(path):
        from tifffile import TiffFile

        stored = check_chain_of_pages(path)
        with TiffFile(path) as tif:
            if tif.is_ome and tif.ome_metadata:
                check_declared_planes(declared_ome_planes(tif.ome_metadata), path)
                check_other_files(tif.ome_metadata, path)
            _check_first_page(tif, path, by_parts=True)
            if not tif.series:
                raise ImageError(f"{path} holds no image.")
            series = tif.series[0]
            check_declared_planes(int(np.prod(series.shape[:-2], dtype=object)), path)
            alike = sum(other.shape == series.shape and other.kind == series.kind for other in tif.series)
            if alike > 1:
                raise ImageError(f"{path} holds {alike} images; save each field as a file of its own.")
            if series.kind == "ome" and any(page is None for page in series.pages):  # tifffile would give zeros
                raise ImageError(f"The image {path} lacks planes that its OME-XML declares; copy it again.")
            check_pages_alike(stored, _places(tif, series), path)
            colour = series.axes.endswith("S") and series.shape[-1] >= 3
            alpha = colour and any(int(extra) in (1, 2) for extra in series.keyframe.extrasamples)
            coarser, levels = None, _levels(path, series)
            if levels is None or series.nbytes > _MOST_PACKED * path.stat().st_size:
                _check_first_page(tif, path, by_parts=False)
            if levels is not None:
                smaller, stored_axes = levels[1:], series.axes
                coarser = lambda: tuple(_named_axes(one, stored_axes, path, alpha)[0] for one in smaller)  # noqa: E731
            data = levels[0] if levels is not None else _lazy(path, series) if series.nbytes > LAZY_BYTES else None
            if data is None:
                data = series.asarray()
            data, axes = _named_axes(data, series.axes, path, alpha)
            channels = data.shape[axes.index("C")] if "C" in axes else 1
            names, pixel_size, z_spacing = _calibration(tif, channels)
            details = ImageDetails(scales=_time_scale(tif))
    if not names and colour and channels == 3:
        names = ("red", "green", "blue")
    return TiffContent(data, axes, names, pixel_size, z_spacing, details, coarser)


def _places(tif: TiffFile, series: TiffPageSeries) -> list[tuple[int, int]]:
    """Of each page of this file in a series, the place of its tags, and of those by which tifffile decodes it."""
    pages: list[Any] = [page for page in series.pages if page is not None and page.parent is tif]
    return [(int(page.offset), int(page.keyframe.offset)) for page in pages]


def _check_first_page(tif: TiffFile, path: Path, by_parts: bool) -> None:
    """Refuse planes, strips and tiles that declare more pixels than may be read; of a plane in parts, than is sane."""
    page: Any = tif.pages.first
    samples = max(int(page.samplesperpixel), 1)
    pixels = int(page.imagewidth) * int(page.imagelength) * samples
    if not by_parts or pixels * (int(page.bitspersample) // 8 or 1) > LARGEST_PLANE:
        check_declared_pixels(pixels, path)
    if page.is_tiled:
        check_declared_pixels(int(page.tilewidth) * int(page.tilelength) * samples, path)


@contextmanager
def _broken_file(path: Path) -> Iterator[None]:
    """Turn what a damaged file leads to, and what tifffile only logs as an error, into an `ImageError`."""
    complaints: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread and not _harmless(record.getMessage()):
                complaints.append(record.getMessage())

    logger = logging.getLogger("tifffile")
    listener = Listener(logging.ERROR)
    logger.addHandler(listener)
    try:
        yield
    except PhenolensError:
        raise
    except Exception as error:  # decoders raise whatever a broken file leads them to
        reason = str(error) or type(error).__name__
        raise ImageError(f"The image {path} cannot be read, it may be damaged ({reason}).") from error
    finally:
        logger.removeHandler(listener)
    if complaints:
        raise ImageError(f"The image {path} is damaged ({complaints[0]}); copy it again from its source.")


def _harmless(complaint: str) -> bool:
    """Whether a complaint is about a maker's own tag, which may be odd in a file whose pixels are whole."""
    tag = re.search(r"TiffTag (\d+) ", complaint)
    return tag is not None and int(tag[1]) >= 32768


def _levels(path: Path, series: TiffPageSeries) -> list[Any] | None:
    """Levels (dask) of an image whose planes are large; None where they are read whole."""
    from phenolens.screens.large_images import LARGE

    height, width = (int(series.shape[series.axes.index(axis)]) if axis in series.axes else 0 for axis in "YX")
    if series.nbytes <= LAZY_BYTES or height * width <= LARGE:
        return None
    return levels_of(path, series, _broken_file)


def _lazy(path: Path, series: TiffPageSeries) -> Any:
    """Dask array of a series with one chunk a plane, or None where its planes are not plain Y by X."""
    import dask.array as da
    from dask.delayed import delayed

    plane = tuple(series.shape[-2:])
    if not series.axes.endswith("YX"):
        return None
    chunks = (*tuple((1,) * length for length in series.shape[:-2]), (plane[0],), (plane[1],))
    if series.dataoffset is not None and not series.is_multifile:
        from tifffile import memmap

        return da.from_array(memmap(path, series=0, mode="r"), chunks=chunks)
    if tuple(series.keyframe.shape) != plane:
        return None
    read = delayed(_read_page, pure=True)
    pages = [
        da.from_delayed(read(path, number), plane, dtype=series.dtype)
        for number in range(int(np.prod(series.shape[:-2])))
    ]
    return da.stack(pages).reshape(series.shape)


def _read_page(path: Path, number: int) -> NDArray[Any]:
    with _broken_file(path):
        from tifffile import TiffFile

        with TiffFile(path) as tif:
            page = tif.series[0].pages[number]
            if page is None:
                raise ImageError(f"Plane {number} of {path} is missing.")
            return np.asarray(page.asarray())


def _named_axes(data: Any, axes: str, path: Path, alpha: bool) -> tuple[Any, str]:
    """Bring the axes of a file to letters of TCZYX with Y and X last; samples of a pixel become channels."""
    if alpha:
        data = data[..., :-1]
    named = list(axes.upper())
    for number, letter in enumerate(named):
        if letter in "TCZYXS":
            continue
        length = data.shape[number]
        free = [
            axis
            for axis in "CZT"
            if axis not in named and (axis != "C" or (length <= _MOST_CHANNELS and "S" not in named))
        ]
        if not free:
            raise ImageError(f"The axes {axes} of {path} cannot be told apart; save it as OME-TIFF with named axes.")
        named[number] = free[0]
    if "S" in named:
        data = np.moveaxis(data, named.index("S"), named.index("Y") - (named.index("S") < named.index("Y")))
        named.remove("S")
        if "C" in named:  # several colour images: all their samples are channels
            at = named.index("C")
            data = np.moveaxis(data, named.index("Y"), at + 1)
            data = data.reshape(*data.shape[:at], data.shape[at] * data.shape[at + 1], *data.shape[at + 2 :])
        else:
            named.insert(named.index("Y"), "C")
    if "".join(named[-2:]) != "YX" or len(set(named)) != len(named):
        raise ImageError(f"The axes {axes} of {path} are not those of an image of rows and columns.")
    if isinstance(data, np.ndarray):
        data = np.ascontiguousarray(data)
    return data, "".join(named)


Calibration = tuple[tuple[str, ...], tuple[float, float] | None, float | None]


def _calibration(tif: TiffFile, channels: int) -> Calibration:
    if tif.is_ome and tif.ome_metadata:
        return _from_ome(tif.ome_metadata, channels)
    if tif.is_imagej and tif.imagej_metadata:
        return _from_imagej(tif, tif.imagej_metadata, channels)
    if tif.is_metaseries and tif.metaseries_metadata:
        plane = tif.metaseries_metadata.get("PlaneInfo", {})
        x, y = plane.get("spatial-calibration-x"), plane.get("spatial-calibration-y")
        if plane.get("spatial-calibration-state") and x and y:
            scale = MICROMETRES.get(str(plane.get("spatial-calibration-units", "um")).lower())
            return (), _sizes(float(y) * scale, float(x) * scale) if scale else None, None
    return (), None, None


def _sizes(y: float | None, x: float | None) -> tuple[float, float] | None:
    """Both sides of a pixel, or None where the file names no length that can be one."""
    return (y, x) if y and x and is_size(y) and is_size(x) else None


def _from_ome(xml: str, channels: int) -> Calibration:
    pixels = ElementTree.fromstring(xml.encode()).find(".//{*}Pixels")
    if pixels is None:
        return (), None, None

    def size(axis: str) -> float | None:
        value = float(pixels.get(f"PhysicalSize{axis}") or 0)
        scale = MICROMETRES.get((pixels.get(f"PhysicalSize{axis}Unit") or "µm").lower())
        return value * scale if scale and is_size(value * scale) else None

    names = tuple(channel.get("Name") or "" for channel in pixels.findall("{*}Channel"))
    y, x = size("Y"), size("X")
    return names if _usable(names, channels) else (), _sizes(y, x), size("Z")


def _time_scale(tif: TiffFile) -> dict[str, AxisScale]:
    """The scale of the time axis in the unit of the file, where it states one."""
    step: Any = None
    unit = "s"
    if tif.is_ome and tif.ome_metadata:
        pixels = ElementTree.fromstring(tif.ome_metadata.encode()).find(".//{*}Pixels")
        if pixels is not None:
            step, unit = pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit") or "s"
    elif tif.is_imagej and tif.imagej_metadata:
        step, unit = tif.imagej_metadata.get("finterval"), str(tif.imagej_metadata.get("tunit") or "s")
    try:
        scale = AxisScale(float(step or 0), unit)
    except ValueError:
        return {}
    return {"T": scale} if scale.step > 0 and scale.seconds else {}


def _from_imagej(tif: TiffFile, metadata: dict[str, Any], channels: int) -> Calibration:
    labels = metadata.get("Labels") or []
    names = tuple(re.sub(r"^([czt]:\d+/\d+\s*)+(-\s*)?", "", str(label)).strip() for label in labels[:channels])
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ").lower()
    scale = MICROMETRES.get(unit)
    pixel_size = None
    tags = tif.pages[0].tags  # type: ignore[union-attr]
    if scale and "XResolution" in tags and "YResolution" in tags:
        (ny, dy), (nx, dx) = tags["YResolution"].value, tags["XResolution"].value
        if ny and nx:
            pixel_size = _sizes(scale * dy / ny, scale * dx / nx)
    spacing = float(metadata.get("spacing") or 0) * (scale or 0)
    return names if _usable(names, channels) else (), pixel_size, spacing if is_size(spacing) else None


def _usable(names: tuple[str, ...], channels: int) -> bool:
    return len(names) == channels and all(names) and len(set(names)) == len(names)
