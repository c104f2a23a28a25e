"""Whether an image can be read into memory, by what its header declares and before any of it is decoded."""

from __future__ import annotations

import struct
from pathlib import Path

from phenolens.runtime.errors import ImageError
from phenolens.runtime.limits import PIXELS, PLANES

_PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


def check_declared_pixels(values: int, path: Path) -> None:
    """Raise an `ImageError` where a plane of `values` pixels, times its colours, is more than may be read."""
    if values > PIXELS():
        raise ImageError(
            f"The image {path} declares {values:,} pixels in one plane, more than the {PIXELS():,} that are read; "
            f"{PIXELS.raised_by()}."
        )


def check_declared_planes(planes: int, path: Path) -> None:
    """Raise an `ImageError` where `planes` are more than may be read."""
    if planes > PLANES():
        raise ImageError(
            f"The image {path} declares {planes:,} planes, more than the {PLANES():,} that are read; "
            f"{PLANES.raised_by()}."
        )


def png_values(data: bytes) -> int:
    """Pixels times colours that the header of a PNG file declares.

    Raises
    ------
    ValueError
        The file does not begin as PNG files do.
    """
    if len(data) < 33 or data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        raise ValueError("it does not begin as a PNG file does")
    width, height, _, colour = struct.unpack(">IIBB", data[16:26])
    return int(width) * int(height) * _PNG_SAMPLES.get(colour, 4)
