"""Write images as OME-TIFF, whole or not at all, with what they are said in the file."""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.engines.computing import computed
from phenolens.runtime.errors import ImageError
from phenolens.runtime.files import writing
from phenolens.runtime.json_files import parsed_json
from phenolens.screens.image_details import AxisScale
from phenolens.screens.images import FieldImage
from phenolens.screens.pixel_numbers import check_finite

# OME-XML's names of units of time, in seconds
_TIMES = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}

BY_TILES = 256 * 2**20
"""Bytes beyond which an image that is read in parts is written in parts, too."""
_SIDE = 1024
_UNKNOWN = str(uuid.UUID(int=0))


def write_ome_tiff(
    path: str | PathLike[str],
    image: NDArray[Any],
    axes: str,
    channel_names: Sequence[str],
    pixel_size: tuple[float, float] | float | None,
    *,
    synthetic: bool,
    description: Mapping[str, Any] | None = None,
    z_spacing: float | None = None,
    time_scale: AxisScale | None = None,
) -> Path:
    """Write an image with its axes, channel names and pixel size.

    Parameters
    ----------
    image
        Pixels, numpy or dask; a dask array of more than 256 MiB is written tile by tile, in little memory. The dtype is
        kept where OME-TIFF has it; bool becomes uint8, and half floats and 64-bit integers (labels) the nearest type
        that there is.
    axes
        One letter an axis, of ``TCZYX``.
    channel_names
        One name a channel.
    pixel_size
        Micrometres a pixel, in Y and X or for both, or None where unknown.
    synthetic
        Whether a model made these pixels. Written into the image's name and description, and before each channel's
        name, so that no reader shows them as data.
    description
        Facts for the image's description, as JSON.
    z_spacing
        Micrometres between planes, or None.
    time_scale
        Time from one image of a series to the next, with its unit; not written where it has none.

    Raises
    ------
    OutputError
        The file cannot be written; one that was there before is kept.
    ImageError
        Axes or channel names do not fit the image, its pixels are of a kind that OME-TIFF does not have, or some of
        them are NaN or infinite.
    """
    path = Path(path)
    FieldImage(image, axes, tuple(map(str, channel_names)))  # refuses what does not fit together
    by_tiles = hasattr(image, "dask") and int(image.nbytes) > BY_TILES
    pixels = image if by_tiles else _checked(np.asarray(image), path.name)
    if isinstance(pixel_size, (int, float)):
        pixel_size = (pixel_size, pixel_size)
    names = [f"synthetic {name}" if synthetic else str(name) for name in channel_names]
    facts = {"synthetic": synthetic, **(description or {})}
    metadata: dict[str, Any] = {
        "axes": axes,
        "Name": f"{'synthetic ' if synthetic else ''}{path.name.split('.ome')[0]}",
        "Description": json.dumps(facts, default=str),
    }
    if "C" in axes or len(names) == 1:
        metadata["Channel"] = {"Name": names}
    if pixel_size is not None:
        metadata |= {"PhysicalSizeY": float(pixel_size[0]), "PhysicalSizeX": float(pixel_size[1])}
        metadata |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
    if z_spacing is not None:
        metadata |= {"PhysicalSizeZ": float(z_spacing), "PhysicalSizeZUnit": "µm"}
    if time_scale is not None and time_scale.seconds is not None:
        short = next((name for name, factor in _TIMES.items() if factor == time_scale.seconds / time_scale.step), None)
        step, unit = (time_scale.step, short) if short else (time_scale.seconds, "s")
        metadata |= {"TimeIncrement": float(step), "TimeIncrementUnit": unit}
    with writing(path) as temporary:
        (_write_tiles if by_tiles else _write_whole)(temporary, pixels, metadata, path.name)
    return path


def _write_whole(file: Path, pixels: NDArray[Any], metadata: Mapping[str, Any], _: str) -> None:
    from tifffile import imwrite

    pixels = np.ascontiguousarray(pixels)
    imwrite(
        file, pixels, ome=True, photometric="minisblack", compression="zlib", bigtiff=pixels.nbytes > 2**31,
        metadata={**metadata, "UUID": str(_identity(pixels, metadata))},
    )  # fmt: skip


def _write_tiles(file: Path, pixels: Any, metadata: Mapping[str, Any], name: str) -> None:
    """Write a dask array (..., Y, X) in the memory that a few tiles take; `name` is for what is said of a bad one.

    The file's identity, which goes by its content, is put in at the end, when all pixels have been seen.
    """
    from tifffile import TiffFile, imwrite

    dtype, shape = _storable(np.zeros(0, pixels.dtype)).dtype, tuple(map(int, pixels.shape))
    content = hashlib.sha256(json.dumps([str(dtype), shape, _SIDE, metadata], sort_keys=True).encode())

    def tiles() -> Iterator[NDArray[Any]]:
        starts = [range(length) for length in shape[:-2]] + [range(0, length, _SIDE) for length in shape[-2:]]
        for *plane, top, left in product(*starts):
            part = pixels[(*plane, slice(top, top + _SIDE), slice(left, left + _SIDE))]
            tile = _checked(np.asarray(computed(part)), name)
            whole = np.zeros((_SIDE, _SIDE), dtype)
            whole[: tile.shape[0], : tile.shape[1]] = tile
            content.update(whole.data)
            yield whole

    imwrite(
        file, tiles(), shape=shape, dtype=dtype, tile=(_SIDE, _SIDE), ome=True, photometric="minisblack",
        metadata={**metadata, "UUID": _UNKNOWN}, compression="zlib", bigtiff=True,
    )  # fmt: skip
    known = str(uuid.uuid5(uuid.NAMESPACE_OID, content.hexdigest()))
    with TiffFile(file) as tif:
        description = tif.pages.first.tags["ImageDescription"]
    with file.open("r+b") as written:
        written.seek(description.valueoffset)
        said = written.read(description.count)
        written.seek(description.valueoffset)
        written.write(said.replace(_UNKNOWN.encode(), known.encode()))


def _checked(tile: NDArray[Any], name: str) -> NDArray[Any]:
    """A tile as it is written, none of whose pixels is NaN or infinite."""
    stored = _storable(tile)
    check_finite(stored, name)
    return stored


def _identity(pixels: NDArray[Any], metadata: Mapping[str, Any]) -> uuid.UUID:
    """The file's identity, by its content: what is written again is the same file."""
    content = hashlib.sha256(json.dumps([str(pixels.dtype), pixels.shape, metadata], sort_keys=True).encode())
    content.update(pixels.data)
    return uuid.uuid5(uuid.NAMESPACE_OID, content.hexdigest())


def _write_ome_zarr(path: str | PathLike[str], *image: Any, **how: Any) -> Path:
    from phenolens.screens.ome_zarr.layer_images import write_layer_image

    return write_layer_image(path, *image, **how)


WRITERS: dict[str, Callable[..., Path]] = {".ome.tif": write_ome_tiff, ".ome.zarr": _write_ome_zarr}
"""How an image is written, by the end of its file's name; each takes what `write_ome_tiff` does."""


def read_description(path: str | PathLike[str]) -> dict[str, Any]:
    """The facts that `write_ome_tiff` put into a file's description; empty where there are none."""
    from xml.etree import ElementTree

    from tifffile import TiffFile, TiffFileError

    try:
        with TiffFile(path) as tif:
            xml = tif.ome_metadata or ""
        found = ElementTree.fromstring(xml.encode()).find("{*}Image/{*}Description") if xml else None
        facts = parsed_json(found.text or "") if found is not None else {}
    except (OSError, ValueError, TiffFileError, ElementTree.ParseError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _storable(pixels: NDArray[Any]) -> NDArray[Any]:
    """Bring an array to a dtype that OME-TIFF has, without changing a value."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if pixels.dtype == np.float16:
        return pixels.astype(np.float32)
    if pixels.dtype in (np.int64, np.uint64):
        narrow = np.int32 if pixels.dtype == np.int64 else np.uint32
        limits = np.iinfo(narrow)
        if pixels.size and (pixels.min() < limits.min or pixels.max() > limits.max):
            raise ImageError(f"OME-TIFF has no {pixels.dtype}, and the values are too large for {limits.dtype}.")
        return pixels.astype(narrow)
    if pixels.dtype.kind not in "iuf":
        raise ImageError(f"An image of {pixels.dtype} cannot be written; use whole or real numbers.")
    return pixels
