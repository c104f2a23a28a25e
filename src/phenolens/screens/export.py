"""Write images as OME-TIFF, whole or not at all, with what they are said in the file."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.files import writing


def write_ome_tiff(
    path: str | PathLike[str],
    image: NDArray[Any],
    axes: str,
    channel_names: Sequence[str],
    pixel_size: tuple[float, float] | None,
    *,
    synthetic: bool,
    description: Mapping[str, Any] | None = None,
    z_spacing: float | None = None,
) -> Path:
    """Write an image with its axes, channel names and pixel size.

    Parameters
    ----------
    image
        Pixels, of any dtype that TIFF holds; the dtype is kept.
    axes
        One letter an axis, of ``TCZYX``.
    channel_names
        One name a channel.
    pixel_size
        Micrometres a pixel in Y and X, or None where unknown.
    synthetic
        Whether a model made these pixels. Written into the image's name and description, and before each channel's
        name, so that no reader shows them as data.
    description
        Facts for the image's description, as JSON.
    z_spacing
        Micrometres between planes, or None.

    Raises
    ------
    OutputError
        The file cannot be written; one that was there before is kept.
    """
    from tifffile import imwrite

    path = Path(path)
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
    with writing(path) as temporary:
        imwrite(
            temporary, np.ascontiguousarray(image), ome=True, photometric="minisblack", metadata=metadata,
            compression="zlib", bigtiff=image.nbytes > 2**31,
        )  # fmt: skip
    return path
