"""Images in OME-Zarr 0.4 and 0.5, on disk or by URL: pixels when asked for, at every level, and labels."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from pandas import DataFrame

from phenolens.runtime.errors import ImageError
from phenolens.screens.image_details import ImageDetails
from phenolens.screens.images import FieldImage
from phenolens.screens.ome_zarr.folders import ZarrGroup, joined, open_group
from phenolens.screens.ome_zarr.metadata import Multiscale, multiscale_of
from phenolens.screens.ome_zarr.safety import LARGEST_CHUNK

# A plane of all channels is read as one, so one beyond this is refused before it fills the memory.
_LARGEST_PLANE = 16 * 2**30
_MOST_BLOCKS = 20_000
_BYTES = frozenset(map(repr, range(256)))  # 0 to 255, but neither True nor 1.0


@dataclass(frozen=True)
class LabelImage:
    """Labels that lie inside an OME-Zarr image.

    Parameters
    ----------
    pixels
        Whole numbers, 0 for background; numpy, or dask where they were read from a file.
    axes
        One letter an axis of ``TZYX``.
    properties
        What is known of each label, in columns; indexed by the label.
    colours
        Eight hexadecimal digits (red, green, blue, opacity) by label.
    details
        Scales and marks, as of an image.
    """

    pixels: Any
    axes: str
    properties: DataFrame | None = None
    colours: Mapping[int, str] = field(default_factory=dict)
    details: ImageDetails = field(default_factory=ImageDetails)

    def length(self, axis: str) -> int:
        """Length of an axis of ``TZYX``, 1 where the labels do not have it."""
        return int(self.pixels.shape[self.axes.index(axis)]) if axis in self.axes else 1


def read_ome_zarr(address: str | os.PathLike[str]) -> FieldImage:
    """Open an OME-Zarr image; its metadata are read at once, its pixels (dask) when they are asked for.

    Parameters
    ----------
    address
        Path or URL of the image's group. Of a conversion by bioformats2raw that holds one image, its root does too.

    Returns
    -------
    FieldImage
        With Y and X as its last axes, the others in the file's order. `FieldImage.levels` gives smaller versions.

    Raises
    ------
    ImageError
        There is no such image, its metadata are damaged, or it is too large to read a plane of.
    """
    group = open_group(address)
    if "bioformats2raw.layout" in group.ome and "multiscales" not in group.ome:
        names = series_of(group)
        if len(names) != 1:
            raise ImageError(f"{group.address} holds {len(names)} images: give one of them, such as {names[0]}.")
        group = open_group(joined(group.address, names[0]))
    if "plate" in group.ome:
        raise ImageError(f"{group.address} is a plate: open it as a screen, or give one of its images.")
    return image_of(group)


def image_of(group: ZarrGroup) -> FieldImage:
    """Open the image of a group that was read, as `read_ome_zarr` does."""
    known = multiscale_of(group)
    (data,) = _opened(group, known.paths[:1], known.axes)
    axes, scales = _with_yx_last(known.axes), known.details.scales
    plane = math.prod(length for axis, length in zip(axes, data.shape, strict=True) if axis in "CYX")
    if plane * data.dtype.itemsize > _LARGEST_PLANE:
        raise ImageError(
            f"A plane of {group.address} takes {plane * data.dtype.itemsize / 2**30:,.0f} GiB, more than the "
            f"{_LARGEST_PLANE // 2**30} GiB that are read at once: give a part of it, or a smaller level."
        )
    channels = data.shape[axes.index("C")] if "C" in axes else 1
    names, details = known.channel_names, known.details
    if len(names) != channels or not all(names) or len(set(names)) < len(names):
        names = ()
    if len(details.displays) != channels:
        details = ImageDetails(details.name, details.scales, (), details.facts)
    y, x = scales["Y"].micrometres, scales["X"].micrometres
    z = scales["Z"].micrometres if "Z" in scales else None
    coarser = cache(partial(_coarser, group, known)) if len(known.paths) > 1 else None  # each channel asks for them
    return FieldImage(data, axes, names, (y, x) if y and x else None, z, details=details, coarser=coarser)


def series_of(group: ZarrGroup) -> list[str]:
    """Names of the images in a conversion by bioformats2raw, in their order."""
    listed = group.child("OME")
    names = listed.ome.get("series") if listed is not None else None
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return names
    found: list[str] = []
    while len(found) < 10_000 and group.child(str(len(found))) is not None:
        found.append(str(len(found)))
    if not found:
        raise ImageError(f"{group.address} is a conversion by bioformats2raw that holds no image.")
    return found


def label_names(address: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the label images that lie inside an OME-Zarr image.

    Raises
    ------
    ImageError
        There is no such image, or its metadata are damaged.
    """
    labels = open_group(address).child("labels")
    listed = [] if labels is None else labels.ome.get("labels", [])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ImageError(f"The OME-Zarr image {address} is damaged: its labels are not a list of names.")
    return tuple(listed)


def read_labels(address: str | os.PathLike[str], name: str) -> LabelImage:
    """Open a label image that lies inside an OME-Zarr image, with the properties and colours of its labels.

    Raises
    ------
    ImageError
        There are no such labels, or their metadata are damaged.
    """
    group = open_group(address).child(f"labels/{name}")
    if group is None:
        there = ", ".join(label_names(address)) or "none"
        raise ImageError(f"The OME-Zarr image {address} has no labels {name!r}; it has: {there}.")
    known = multiscale_of(group)
    (pixels,) = _opened(group, known.paths[:1], known.axes)
    axes = _with_yx_last(known.axes)
    if "C" in axes:
        at = axes.index("C")
        if pixels.shape[at] != 1:
            raise ImageError(f"The labels {group.address} have {pixels.shape[at]} channels: they should have one.")
        pixels, axes = pixels[(slice(None),) * at + (0,)], axes.replace("C", "")
    if pixels.dtype.kind not in "iu":
        raise ImageError(f"The labels {group.address} are {pixels.dtype}: labels are whole numbers.")
    about = group.ome.get("image-label", {})
    if not isinstance(about, dict):
        raise ImageError(f"The labels {group.address} are damaged: image-label is no mapping.")
    return LabelImage(pixels, axes, *_of_labels(about, group.address), known.details)


def _of_labels(about: Mapping[str, Any], address: str) -> tuple[DataFrame | None, dict[int, str]]:
    rows: dict[int, dict[str, Any]] = {}
    colours: dict[int, str] = {}
    for name in ("properties", "colors"):
        listed = about.get(name) or []
        if not isinstance(listed, list):
            raise ImageError(f"The labels {address} are damaged: their {name} are no list.")
        for one in listed:
            label = one.get("label-value") if isinstance(one, dict) else None
            if type(label) is not int:
                raise ImageError(f"The labels {address} are damaged: one of their {name} has no label-value.")
            if name == "properties":
                rows[label] = {key: value for key, value in one.items() if key != "label-value"}
                continue
            rgba = one.get("rgba")
            if not isinstance(rgba, list) or len(rgba) != 4 or not set(map(repr, rgba)) <= _BYTES:
                raise ImageError(f"The labels {address} are damaged: the colour of label {label} is not rgba.")
            colours[label] = bytes(rgba).hex().upper()
    if not rows:
        return None, colours
    table = DataFrame(list(rows.values()), index=list(rows))
    table.index.name = "label"
    return table, colours


def _coarser(group: ZarrGroup, known: Multiscale) -> tuple[Any, ...]:
    return tuple(_opened(group, known.paths[1:], known.axes))


def _opened(group: ZarrGroup, paths: Sequence[str], axes: str) -> list[Any]:
    """Arrays of a group as dask arrays with Y and X last."""
    import dask.array as da

    opened = []
    for path, array in zip(paths, group.arrays(paths), strict=True):
        where = f"{group.address}/{path}"
        if array.ndim != len(axes):
            raise ImageError(f"The array {where} has {array.ndim} axes, its image names {len(axes)}.")
        if not all(array.shape):
            raise ImageError(f"The array {where} is empty: its shape is {array.shape}.")
        blocks = _blocks(array.shape, array.chunks, array.dtype.itemsize, axes, where)
        pixels = da.from_array(_Pixels(array, where), chunks=blocks, name=f"ome-zarr-{where}-{_changed(where)}")
        order = [axes.index(axis) for axis in _with_yx_last(axes)]
        opened.append(pixels.transpose(order) if order != sorted(order) else pixels)
    return opened


def _changed(where: str) -> str:
    """Something that differs where the array on disk was replaced."""
    try:
        return str(os.stat(where).st_mtime_ns)
    except OSError:  # remote
        return "remote"


def _blocks(shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int, axes: str, where: str) -> tuple[int, ...]:
    """Chunks of the dask array: those of the file, joined where they would be too many to keep account of."""
    blocks = [min(chunk, length) for chunk, length in zip(chunks, shape, strict=True)]
    while math.prod(-(-length // block) for length, block in zip(shape, blocks, strict=True)) > _MOST_BLOCKS:
        # the plane first, for one is read as a whole most of the time
        at = next(
            axes.index(axis) for axis in ("X", "Y", "Z", "C", "T")
            if axis in axes and blocks[axes.index(axis)] < shape[axes.index(axis)]
        )  # fmt: skip
        if axes[at] == "X" and "Y" in axes and blocks[axes.index("Y")] < blocks[at]:
            at = axes.index("Y") if blocks[axes.index("Y")] < shape[axes.index("Y")] else at
        blocks[at] = min(2 * blocks[at], shape[at])
        if math.prod(blocks) * itemsize > LARGEST_CHUNK:
            raise ImageError(f"The array {where} of {' x '.join(map(str, shape))} is too large to be opened.")
    return tuple(blocks)


def _with_yx_last(axes: str) -> str:
    return "".join(axis for axis in axes if axis not in "YX") + "YX"


class _Pixels:
    """An array whose pixels are read when they are asked for, with an error that says where they should be."""

    def __init__(self, array: Any, where: str) -> None:
        self._array, self._where = array, where
        self.shape, self.dtype, self.ndim = array.shape, np.dtype(array.dtype), array.ndim

    def __getitem__(self, key: Any) -> Any:
        try:
            return np.asarray(self._array[key])
        except Exception as error:  # decoders raise whatever a broken file leads them to
            reason = str(error) or type(error).__name__
            raise ImageError(f"Pixels of {self._where} cannot be read, they may be damaged ({reason}).") from error
