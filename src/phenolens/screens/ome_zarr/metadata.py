"""What the metadata of an OME-Zarr image say: axes, levels, scales, units, channels. Every value is checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phenolens.runtime.errors import ImageError
from phenolens.screens.image_details import AxisScale, ChannelDisplay, ImageDetails
from phenolens.screens.ome_zarr.folders import ZarrGroup, joined

_WORDS = {"time": "T", "channel": "C"}
_MOST_LEVELS = 64


@dataclass(frozen=True)
class Multiscale:
    """The first multiscale image of a group.

    Parameters
    ----------
    axes
        A letter of ``TCZYX`` for each axis of the arrays, in their order.
    paths
        Of the arrays, the largest first.
    channel_names
        As stated, or none.
    details
        Scales of the largest array, looks of the channels, marks.
    """

    axes: str
    paths: tuple[str, ...]
    channel_names: tuple[str, ...]
    details: ImageDetails


def multiscale_of(group: ZarrGroup) -> Multiscale:
    """Read what `group` says of its image; nothing but its attributes, which are there, is looked at.

    Raises
    ------
    ImageError
        They are not those of an image, or something in them is missing or of the wrong kind.
    """
    wrong = _Wrong(group.address)
    images = group.ome.get("multiscales")
    if images is None:
        raise ImageError(f"{group.address} is no OME-Zarr image: its metadata name no multiscales.")
    if not isinstance(images, list) or not images or not isinstance(images[0], dict):
        raise wrong("multiscales is not a list of images")
    image = images[0]
    axes, units = _axes(image, wrong)
    datasets = image.get("datasets")
    if not isinstance(datasets, list) or not 0 < len(datasets) <= _MOST_LEVELS:
        raise wrong("it names no datasets")
    paths = []
    for dataset in datasets:
        path = dataset.get("path") if isinstance(dataset, dict) else None
        if not isinstance(path, str):
            raise wrong("a dataset has no path")
        joined(group.address, path)
        paths.append(path)
    steps, starts = _transformed(datasets[0], image, len(axes), wrong)
    scales = {
        axis: AxisScale(step, unit, start) for axis, step, unit, start in zip(axes, steps, units, starts, strict=True)
    }
    names, displays = _channels(group.ome.get("omero"), wrong)
    facts = group.attributes.get("phenolens", {})
    if not isinstance(facts, dict):
        raise wrong("its attribute phenolens is no mapping")
    name = image.get("name", "")
    details = ImageDetails(name if isinstance(name, str) else "", scales, displays, facts)
    return Multiscale(axes, tuple(paths), names, details)


@dataclass(frozen=True)
class _Wrong:
    address: str

    def __call__(self, why: str) -> ImageError:
        return ImageError(f"The OME-Zarr image {self.address} is damaged: {why}.")


def _axes(image: Mapping[str, Any], wrong: _Wrong) -> tuple[str, list[str | None]]:
    stated = image.get("axes")
    if stated is None:  # OME-Zarr before 0.3
        return "TCZYX", [None] * 5
    if not isinstance(stated, list) or not 2 <= len(stated) <= 5:
        raise wrong("its axes are not a list of two to five")
    letters: list[str] = []
    units: list[str | None] = []
    for axis in stated:
        one = {"name": axis} if isinstance(axis, str) else axis  # names alone: OME-Zarr 0.3
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(one, dict) or not isinstance(name, str):
            raise wrong("an axis has no name")
        letters.append(name.upper() if name.upper() in set("TCZYX") else _WORDS.get(str(one.get("type")), name))
        unit = one.get("unit")
        if unit is not None and not isinstance(unit, str):
            raise wrong(f"the unit of its axis {name[:40]!r} is no word")
        units.append(unit or None)
    strange = [letter for letter in letters if letter not in set("TCZYX")]
    if strange or len(set(letters)) < len(letters) or not {"Y", "X"} <= set(letters):
        named = ", ".join(letter[:20] for letter in letters)
        raise wrong(f"its axes are {named}; an image has y and x, and perhaps t, c and z")
    return "".join(letters), units


def _transformed(
    dataset: Mapping[str, Any], image: Mapping[str, Any], count: int, wrong: _Wrong
) -> tuple[list[float], list[float]]:
    """Step and start along each axis, of the dataset's transformations and then the image's own."""
    steps, starts = [1.0] * count, [0.0] * count
    for holder in (dataset, image):
        listed = holder.get("coordinateTransformations") or []
        if not isinstance(listed, list) or len(listed) > _MOST_LEVELS:
            raise wrong("its coordinateTransformations are no list")
        for one in listed:
            kind = one.get("type") if isinstance(one, dict) else None
            if kind == "identity":
                continue
            if kind not in ("scale", "translation"):
                raise wrong(f"it has a transformation {str(kind)[:40]!r}; scale and translation are known")
            values = _numbers(one.get(kind), count)
            if values is None or (kind == "scale" and min(values) <= 0):
                raise wrong(f"its {kind} is not {count} numbers{' above 0' * (kind == 'scale')}")
            if kind == "scale":
                steps = [step * value for step, value in zip(steps, values, strict=True)]
                starts = [start * value for start, value in zip(starts, values, strict=True)]
            else:
                starts = [start + value for start, value in zip(starts, values, strict=True)]
    return steps, starts


def _channels(omero: Any, wrong: _Wrong) -> tuple[tuple[str, ...], tuple[ChannelDisplay, ...]]:
    if omero is None:
        return (), ()
    channels = omero.get("channels", []) if isinstance(omero, dict) else None
    if not isinstance(channels, list) or not all(isinstance(channel, dict) for channel in channels):
        raise wrong("omero does not list its channels")
    names, displays = [], []
    for channel in channels:
        label = channel.get("label", "")
        if not isinstance(label, str):
            raise wrong("a channel's label is no text")
        names.append(label)
        colour = channel.get("color")
        if colour is not None and not (isinstance(colour, str) and re.fullmatch(r"#?[0-9A-Fa-f]{6}", colour)):
            raise wrong(f"the colour of channel {label[:40]!r} is not six hexadecimal digits")
        window = channel.get("window", {})
        if not isinstance(window, dict):
            raise wrong(f"the window of channel {label[:40]!r} is no mapping")
        displays.append(
            ChannelDisplay(
                colour.lstrip("#").upper() if colour else None,
                _pair(window, "start", "end"),
                _pair(window, "min", "max"),
                channel.get("active", True) is not False,
            )
        )
    return tuple(names), tuple(displays)


def _pair(window: Mapping[str, Any], low: str, high: str) -> tuple[float, float] | None:
    values = _numbers([window.get(low), window.get(high)], 2)
    return (values[0], values[1]) if values is not None and values[0] <= values[1] else None


def _numbers(values: Any, count: int) -> list[float] | None:
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(type(value) in (int, float) for value in values):
        return None
    try:
        numbers = [float(value) for value in values]
    except OverflowError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
