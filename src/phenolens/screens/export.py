"""Write images as OME-TIFF, whole or not at all, with what they are said in the file."""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ImageError
from phenolens.runtime.files import writing
from phenolens.runtime.json_files import parsed_json
from phenolens.screens.image_details import AxisScale
from phenolens.screens.images import FieldImage
from phenolens.screens.pixel_numbers import check_finite

# OME-XML's names of units of time, in seconds
_TIMES = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}


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
        Pixels, numpy or dask. The dtype is kept where OME-TIFF has it; bool becomes uint8, and half floats and
        64-bit integers (labels) the nearest type that there is.
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
    from tifffile import imwrite

    path = Path(path)
    FieldImage(image, axes, tuple(map(str, channel_names)))  # refuses what does not fit together
    pixels = _storable(np.asarray(image))
    check_finite(pixels, path.name)
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
    pixels = np.ascontiguousarray(pixels)
    metadata["UUID"] = str(_identity(pixels, metadata))
    with writing(path) as temporary:
        imwrite(
            temporary, pixels, ome=True, photometric="minisblack", metadata=metadata,
            compression="zlib", bigtiff=pixels.nbytes > 2**31,
        )  # fmt: skip
    return path


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
