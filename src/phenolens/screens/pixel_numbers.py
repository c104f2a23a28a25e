"""Whether pixels are numbers that can be computed with; nothing else is read as an image, or written as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ImageError

LARGEST = 1e15
"""Beyond any measurement, and small enough that sums of squares stay finite in single precision."""


def check_numbers(plane: NDArray[Any], channel_names: Sequence[str], name: str = "") -> None:
    """Refuse a plane (C, Y, X) with pixels that are NaN, infinite, or beyond `LARGEST`.

    Raises
    ------
    ImageError
        It names the image, how many pixels there are, the channel, and where the first of them is.
    """
    if not (plane.dtype.kind == "f" or (plane.dtype.kind in "iu" and plane.dtype.itemsize == 8)):
        return
    for channel, pixels in zip(channel_names, plane, strict=True):
        with np.errstate(invalid="ignore"):
            usable = np.abs(pixels) <= LARGEST
        if usable.all():
            continue
        y, x = (int(at) for at in np.unravel_index(int(np.argmin(usable)), usable.shape))
        count = int(usable.size - np.count_nonzero(usable))
        raise ImageError(
            f"{f'The image {name}' if name else 'An image'} has {count} "
            f"pixel{'s' * (count > 1)} in channel {channel} that cannot be measured: NaN, infinite, or beyond "
            f"{LARGEST:g}. The first is {pixels[y, x]} in row {y + 1}, column {x + 1}. Correct them, or leave the "
            "image out."
        )


def check_finite(pixels: NDArray[Any], name: str) -> None:
    """Refuse to write pixels that are NaN or infinite.

    Raises
    ------
    ImageError
        It says how many there are.
    """
    if pixels.dtype.kind != "f":
        return
    finite = np.isfinite(pixels)
    if not finite.all():
        raise ImageError(
            f"{name} would hold {int(finite.size - np.count_nonzero(finite))} of {finite.size} pixels that are NaN or "
            "infinite, so it is not written: check the intensities of the image that it was made from."
        )
