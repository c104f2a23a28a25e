"""Channels of a viewer as one OME-Zarr image, with how they looked; the counterpart of `write_ome_tiff`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.screens.image_details import AxisScale, ChannelDisplay, ImageDetails
from phenolens.screens.images import FieldImage
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.ome_zarr.writing import write_ome_zarr

if TYPE_CHECKING:
    from pandas import DataFrame

# of the units that OME-Zarr knows, those that a viewer's axes are likely to have
_UNITS = frozenset({
    "angstrom", "centimeter", "decimeter", "inch", "kilometer", "meter", "micrometer", "millimeter", "nanometer",
    "picometer", "day", "hour", "microsecond", "millisecond", "minute", "nanosecond", "second",
})  # fmt: skip


def write_layer_image(
    path: str | PathLike[str],
    image: Any,
    axes: str,
    channel_names: Sequence[str],
    pixel_size: tuple[float, float] | float | None,
    *,
    synthetic: bool,
    description: Mapping[str, Any] | None = None,
    z_spacing: float | None = None,
    time_scale: AxisScale | None = None,
    labels: Mapping[str, LabelImage] | None = None,
    tables: Mapping[str, DataFrame] | None = None,
    of_labels: bool = False,
) -> Path:
    """Write an image as `write_ome_tiff` does, with labels and tables inside.

    Where ``description["layers"]`` says how each channel looked, colours, contrast, scale, units and translation are
    taken from there. What OME-Zarr has no place for (a rotation, a blending) stays in the description alone, which
    becomes the attribute ``phenolens``.

    Parameters
    ----------
    image, axes, channel_names, pixel_size, synthetic, description, z_spacing, time_scale
        As `write_ome_tiff` takes them.
    labels, tables, of_labels
        As `write_ome_zarr` takes them.

    Raises
    ------
    OutputError, ImageError
        As `write_ome_zarr`.
    """
    facts = dict(description or {})
    looks = facts.get("layers") or ()
    if isinstance(pixel_size, (int, float)):
        pixel_size = (float(pixel_size), float(pixel_size))
    scales = _scales(looks[0], axes) if looks else {}
    if time_scale is not None and "T" in axes:
        scales.setdefault("T", time_scale)
    names = tuple(str(name) for name in channel_names)
    pixels = image if hasattr(image, "dask") else np.asarray(image)
    details = ImageDetails("", scales, displays_of(looks) if len(looks) == len(names) else (), facts)
    made = FieldImage(pixels, axes, names, pixel_size, z_spacing, details=details)
    return write_ome_zarr(path, made, synthetic=synthetic, labels=labels, tables=tables, of_labels=of_labels)


def displays_of(looks: Sequence[Mapping[str, Any]]) -> tuple[ChannelDisplay, ...]:
    """Colour, contrast and visibility of each channel, of how its layer looked."""
    made = []
    for look in looks:
        limits = look.get("contrast_limits")
        window = None if limits is None else (float(limits[0]), float(limits[1]))
        made.append(ChannelDisplay(_brightest(look.get("colormap")), window, shown=bool(look.get("visible", True))))
    return tuple(made)


def _brightest(colormap: Any) -> str | None:
    """Six hexadecimal digits of the colour at the upper end of a colormap; None where only its name is known."""
    colours: Any = colormap.get("colors") if isinstance(colormap, Mapping) else None
    if np.ndim(colours) < 2 or not len(colours):  # colormaps of labels have a number of colours there
        return None
    return "".join(f"{round(255 * min(max(float(part), 0), 1)):02X}" for part in colours[-1][:3])


def _scales(look: Mapping[str, Any], axes: str) -> dict[str, AxisScale]:
    """Step, unit and start of each axis; the steps of a mirrored layer without their sign."""
    inner = [axis for axis in axes if axis != "C"]
    steps = [abs(float(step)) or 1.0 for step in look.get("scale") or (1.0,) * len(inner)]
    starts = [float(start) for start in look.get("translate") or (0.0,) * len(inner)]
    units = [str(unit) if str(unit) in _UNITS else None for unit in look.get("units") or ("",) * len(inner)]
    if not len(steps) == len(starts) == len(units) == len(inner):
        return {}
    return {
        axis: AxisScale(step, unit, start) for axis, step, unit, start in zip(inner, steps, units, starts, strict=True)
    }
