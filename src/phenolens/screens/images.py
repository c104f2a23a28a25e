"""One field's image with its axes, channel names and physical size, read from TIFF, OME-TIFF, OME-Zarr or PNG."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.contents import IMAGE_SUFFIXES
from phenolens.runtime.engines.computing import computed
from phenolens.runtime.errors import ImageError
from phenolens.screens.image_bounds import check_declared_pixels, png_values
from phenolens.screens.image_details import AxisScale, ImageDetails
from phenolens.screens.ome_zarr.folders import is_url, is_zarr
from phenolens.screens.pixel_numbers import check_numbers
from phenolens.screens.pixel_sizes import is_size
from phenolens.screens.tiff.tiffs import LAZY_BYTES, read_tiff

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})


@dataclass(frozen=True)
class FieldImage:
    """The pixels of one field.

    Parameters
    ----------
    data
        numpy array, or dask array where the file is large (its pixels are read when asked for).
    axes
        One letter an axis of `data` in its order, of ``TCZYX``; Y and X are the last two.
    channel_names
        One name a channel; ``Channel 1``, ``Channel 2``... where the file has none.
    pixel_size
        Micrometres a pixel in Y and X, or None where the file does not say.
    z_spacing
        Micrometres between planes of a stack, or None.
    chosen
        Time and depth (t, z) of the plane that is taken where one stands for the image; the first time and the middle
        depth where None, since the ends of a stack are seldom in focus.
    name
        What the image is called in messages: its field or file, or empty.
    details
        What else the file states: scale and unit of each axis, colours and contrast of the channels, marks.
    coarser
        Opens smaller versions of the image, the largest first, each half as large as the one before or about that;
        None where the file has none. See `levels`.

    Truth values become 0 and 255 of uint8, as in image files of black and white.
    """

    data: Any
    axes: str
    channel_names: tuple[str, ...] = ()
    pixel_size: tuple[float, float] | None = None
    z_spacing: float | None = None
    chosen: tuple[int, int] | None = None
    name: str = ""
    details: ImageDetails = field(default_factory=ImageDetails)
    coarser: Callable[[], tuple[Any, ...]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if np.dtype(self.data.dtype) == bool:
            object.__setattr__(self, "data", self.data.astype(np.uint8) * np.uint8(255))
        if np.dtype(self.data.dtype).kind not in "iuf":
            raise ImageError(f"Pixels are {self.data.dtype}, and not whole or real numbers; convert the image.")
        if self.pixel_size is not None and not all(is_size(float(side)) for side in self.pixel_size):
            raise ImageError(
                f"A pixel of {' by '.join(f'{side:g}' for side in self.pixel_size)} µm is not possible: it must be "
                "a finite number above zero."
            )
        if len(self.axes) != self.data.ndim or set(self.axes) - set("TCZYX") or len(set(self.axes)) != len(self.axes):
            raise ImageError(f"Axes {self.axes!r} do not name each axis of an image of shape {self.data.shape}.")
        if not self.axes.endswith("YX"):
            raise ImageError(f"The last two axes of an image are Y and X; these are {self.axes!r}.")
        if not self.channel_names:
            names = tuple(f"Channel {number + 1}" for number in range(self.n_channels))
            object.__setattr__(self, "channel_names", names)
        if len(self.channel_names) != self.n_channels:
            raise ImageError(
                f"An image of {self.n_channels} channels has {len(self.channel_names)} channel names: "
                f"{', '.join(self.channel_names)}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `data`."""
        return tuple(int(length) for length in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the pixels, as in the file."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def is_small(self) -> bool:
        """Whether memory has room for all pixels, beside those of other images."""
        return int(np.prod(self.shape)) * self.dtype.itemsize <= LAZY_BYTES

    def held(self) -> FieldImage:
        """The image with all pixels in memory, read now.

        Raises
        ------
        ImageError
            The file turns out to be broken.
        """
        return replace(self, data=np.asarray(computed(self.data) if hasattr(self.data, "dask") else self.data))

    @property
    def levels(self) -> tuple[Any, ...]:
        """`data`, and the smaller versions of it that the file holds, with the same axes; a viewer needs them."""
        return (self.data, *(self.coarser() if self.coarser is not None else ()))

    def scale(self, axis: str) -> AxisScale:
        """Step, unit and start of an axis: as the file states them, unless `pixel_size` or `z_spacing` say otherwise.

        A step of 1 without a unit where nothing is known.
        """
        stated = self.details.scales.get(axis, AxisScale())
        known = {"Y": self.pixel_size and self.pixel_size[0], "X": self.pixel_size and self.pixel_size[1]}
        micrometres = known.get(axis, self.z_spacing if axis == "Z" else None)
        if micrometres is None or stated.micrometres == micrometres:
            return stated
        return AxisScale(micrometres, "micrometer", stated.start if stated.unit == "micrometer" else 0.0)

    def length(self, axis: str) -> int:
        """Return the length of an axis of ``TCZYX``, 1 where the image does not have it."""
        return int(self.data.shape[self.axes.index(axis)]) if axis in self.axes else 1

    @property
    def n_channels(self) -> int:
        """Number of channels, 1 without a channel axis."""
        return self.length("C")

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.length("Y"), self.length("X")

    @property
    def stack_axes(self) -> str:
        """The axes among ``TZ`` along which the image has more than one plane."""
        return "".join(axis for axis in "TZ" if self.length(axis) > 1)

    @property
    def position(self) -> tuple[int, int]:
        """Time and depth (t, z) of the plane that stands for the image; a choice beyond its ends is the last there."""
        t, z = self.chosen or (0, self.length("Z") // 2)
        return min(t, self.length("T") - 1), min(z, self.length("Z") - 1)

    def plane(self, t: int | None = None, z: int | None = None) -> NDArray[Any]:
        """Read the plane (C, Y, X) at time `t` and depth `z`, in the file's dtype; the caller owns it.

        Where `t` or `z` is None, it is that of `position`.

        Raises
        ------
        ImageError
            There is no such time or depth, the file turns out to be broken, or pixels are no numbers (NaN), infinite
            or larger than any measurement.
        """
        t, z = self.position[0] if t is None else t, self.position[1] if z is None else z
        for axis, wanted, word in (("T", t, "time"), ("Z", z, "depth")):
            if not 0 <= wanted < self.length(axis):
                raise ImageError(f"There is no {word} {wanted}; the image has {self.length(axis)} (counted from 0).")
        at = {"T": t, "Z": z}
        part = self.data[tuple(at.get(axis, slice(None)) for axis in self.axes)]
        plane = np.array(computed(part) if hasattr(part, "dask") else part)
        plane = plane.astype(plane.dtype.newbyteorder("="), copy=False)
        plane = plane if plane.ndim == 3 else plane[None]
        check_numbers(plane, self.channel_names, self.name)
        return plane

    def channel(self, index: int) -> Any:
        """All planes of a channel, (T, Z, Y, X) without the axes that have one plane; read when they are asked for."""
        at: dict[str, Any] = {"C": index} | {axis: 0 for axis in "TZ" if self.length(axis) == 1}
        kept = [axis for axis in self.axes if axis not in at]
        pixels = self.data[tuple(at.get(axis, slice(None)) for axis in self.axes)]
        pixels = pixels.astype(self.dtype.newbyteorder("="), copy=False)
        order = [kept.index(axis) for axis in (*self.stack_axes, "Y", "X")]
        return pixels.transpose(order) if order != sorted(order) else pixels

    def channel_levels(self, index: int) -> tuple[Any, ...]:
        """`channel` at each of `levels`, the largest first."""
        return tuple(replace(self, data=level, coarser=None).channel(index) for level in self.levels)

    def positions(self) -> Iterator[tuple[int, int]]:
        """Iterate over (t, z) of all planes, times outermost."""
        return ((t, z) for t in range(self.length("T")) for z in range(self.length("Z")))

    def restacked(self, planes: Iterable[NDArray[Any]]) -> FieldImage:
        """Return an image with these axes from `planes` (C, Y, X), given in the order of `positions`.

        The inverse of reading all planes: shape and axes are those of this image.
        """
        stack = np.stack(list(planes))
        whole = stack.reshape(self.length("T"), self.length("Z"), *stack.shape[1:]).transpose(0, 2, 1, 3, 4)
        # from TCZYX to the order of this image, without the axes that it does not have
        whole = whole.reshape([length for axis, length in zip("TCZYX", whole.shape, strict=True) if axis in self.axes])
        present = [axis for axis in "TCZYX" if axis in self.axes]
        return replace(self, data=whole.transpose([present.index(axis) for axis in self.axes]), coarser=None)


def read_image(path: str | os.PathLike[str]) -> FieldImage:
    """Read a TIFF, OME-TIFF, PNG, BMP or JPEG file, or an OME-Zarr image (0.4, 0.5) on disk or by URL.

    Axes, channel names and pixel size come from the file (OME-XML, ImageJ, MetaSeries, OME-Zarr). Of OME-Zarr, and of a
    TIFF larger than 64 MiB, the pixels are read when asked for. Colour becomes three channels; transparency is dropped.

    Raises
    ------
    ImageError
        The file is missing, broken, or not an image of these kinds.
    """
    if is_url(path) or is_zarr(path):
        from phenolens.screens.ome_zarr.images import read_ome_zarr

        return read_ome_zarr(path)
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        raise ImageError(f"{path} is a folder, not an image.")
    if not path.exists():
        raise ImageError(f"There is no image {path}.")
    if suffix not in IMAGE_SUFFIXES:
        raise ImageError(f"{path} is not an image that can be read; use TIFF, OME-TIFF or PNG.")
    if path.stat().st_size == 0:
        raise ImageError(f"The image {path} is empty (0 bytes); copy it again from its source.")
    if suffix in TIFF_SUFFIXES:
        content = read_tiff(path)
        try:
            return FieldImage(
                content.data, content.axes, content.channel_names, content.pixel_size, content.z_spacing,
                name=str(path), details=content.details, coarser=content.coarser,
            )  # fmt: skip
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
    return replace(_from_pixels(_read_picture(path, suffix), path), name=str(path))


def stack_channels(paths: Sequence[str | os.PathLike[str]], names: Sequence[str]) -> FieldImage:
    """Read files of one channel each as one image with channels `names`, in that order.

    Raises
    ------
    ImageError
        A file is missing, broken, has several channels or another size or type than the first.
    """
    images = [_single_channel(Path(path)) for path in paths]
    first = images[0]
    for path, image in zip(paths, images, strict=True):
        if (image.axes, image.shape, image.dtype) != (first.axes, first.shape, first.dtype):
            raise ImageError(
                f"{path} is {image.dtype} of shape {image.shape} ({image.axes}), but the first channel, "
                f"{paths[0]}, is {first.dtype} of shape {first.shape} ({first.axes}); they must agree."
            )
    at = int(first.axes.startswith("T"))
    if all(isinstance(image.data, np.ndarray) for image in images):
        data: Any = np.stack([image.data for image in images], axis=at)
    else:
        import dask.array as da

        data = da.stack([image.data for image in images], axis=at)
    known = next((image for image in images if image.pixel_size is not None), first)
    axes, details = first.axes[:at] + "C" + first.axes[at:], ImageDetails(scales=known.details.scales)
    return FieldImage(data, axes, tuple(names), known.pixel_size, known.z_spacing, name=str(paths[0]), details=details)


def _single_channel(path: Path) -> FieldImage:
    image = read_image(path)
    if "C" not in image.axes:
        return image
    at = image.axes.index("C")
    first = image.data[(slice(None),) * at + (0,)]
    # Programs save grey as colour with three equal channels: that is one channel.
    for number in range(1, image.n_channels):
        if not bool((image.data[(slice(None),) * at + (number,)] == first).all()):
            raise ImageError(
                f"{path} has {image.n_channels} channels, where the table expects one; use an Image column."
            )
    return FieldImage(
        first, image.axes.replace("C", ""), (), image.pixel_size, image.z_spacing,
        details=ImageDetails(scales=image.details.scales),
    )  # fmt: skip


def _read_picture(path: Path, suffix: str) -> NDArray[Any]:
    try:
        if suffix == ".png":  # Pillow would cut 16-bit colour down to 8 bits
            from imagecodecs import png_decode

            content = path.read_bytes()
            check_declared_pixels(png_values(content), path)
            return np.asarray(png_decode(content))
        from PIL import Image

        with Image.open(path) as picture:
            colours = 3 if picture.mode == "P" else len(picture.getbands())
            check_declared_pixels(picture.width * picture.height * colours, path)
            if picture.mode == "P":  # a palette, most often of greys
                pixels = np.asarray(picture.convert("RGB"))
                return pixels[..., 0] if (pixels == pixels[..., :1]).all() else pixels
            return np.asarray(picture)
    except ImageError:
        raise
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise ImageError(f"The image {path} cannot be read, it may be damaged ({error}).") from error


def _from_pixels(pixels: NDArray[Any], path: Path) -> FieldImage:
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.ndim == 2:
        return FieldImage(pixels, "YX")
    if pixels.ndim == 3 and pixels.shape[2] in (1, 2):  # grey, perhaps with transparency
        return FieldImage(np.ascontiguousarray(pixels[..., 0]), "YX")
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        return FieldImage(np.ascontiguousarray(pixels[..., :3].transpose(2, 0, 1)), "CYX", ("red", "green", "blue"))
    raise ImageError(f"{path} has pixels of shape {pixels.shape}, which is neither grey nor colour.")


class Agreement:
    """The channels of the first field read, with which all others must agree."""

    def __init__(self) -> None:
        self._first: tuple[str, tuple[str, ...]] | None = None

    def check(self, key: str, image: FieldImage) -> None:
        """Raise `ImageError` where the channels of a field are not those of the first one."""
        if self._first is None:
            self._first = (key, image.channel_names)
        first, names = self._first
        if len(names) != image.n_channels:
            raise ImageError(
                f"Field {key} has {image.n_channels} channels ({', '.join(image.channel_names)}), but field "
                f"{first} has {len(names)} ({', '.join(names)}); all fields need the same channels."
            )
        if names != image.channel_names and sorted(names) == sorted(image.channel_names):
            raise ImageError(
                f"Field {key} has its channels in the order {', '.join(image.channel_names)}, but field "
                f"{first} has {', '.join(names)}; save them in one order."
            )
