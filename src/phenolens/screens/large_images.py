"""Images too large to be read whole: planes of which only those parts are read that are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from phenolens.runtime.engines.computing import computed
from phenolens.screens.pixel_numbers import check_numbers

if TYPE_CHECKING:
    from phenolens.screens.images import FieldImage

LARGE = 2048 * 2048
"""Pixels of a plane beyond which it is read in parts; a smaller one is read whole, which is no slower."""


def by_levels(image: FieldImage) -> bool:
    """Whether an image is large, and its file holds smaller versions of it."""
    return image.coarser is not None and image.length("Y") * image.length("X") > LARGE


class LargePlane:
    """A plane (C, Y, X) in a file, of which parts are read; takes the place of an array where parts are enough.

    Parameters
    ----------
    image
        Whose plane.
    t, z
        Time and depth.
    """

    def __init__(self, image: FieldImage, t: int, z: int) -> None:
        import dask.array as da

        at = {"T": t, "Z": z}
        plane = da.asarray(image.data)[tuple(at.get(axis, slice(None)) for axis in image.axes)]
        plane = plane if plane.ndim == 3 else plane[None]
        self.lazy: Any = plane.astype(image.dtype.newbyteorder("="))
        """The plane as a dask array."""
        self._names, self._of = image.channel_names, image.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return tuple(map(int, self.lazy.shape))

    @property
    def ndim(self) -> int:
        """Number of axes: 3."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""
        dtype: np.dtype[Any] = np.dtype(self.lazy.dtype)
        return dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a part.

        Raises
        ------
        ImageError
            Pixels of it are no numbers.
        """
        part = np.asarray(computed(self.lazy[key], threads=False))
        if part.ndim == 3 and len(part) == len(self._names):
            check_numbers(part, self._names, self._of)
        return part

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


Plane = NDArray[Any] | LargePlane
"""A plane (C, Y, X): in memory, or read in parts."""


def plane_of(image: FieldImage, t: int | None = None, z: int | None = None) -> Plane:
    """The plane at time `t` and depth `z`, the image's own where None: read where it is small, else by parts."""
    t, z = image.position[0] if t is None else t, image.position[1] if z is None else z
    return LargePlane(image, t, z) if by_levels(image) else image.plane(t, z)
