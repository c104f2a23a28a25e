"""Write images as OME-Zarr 0.5 or 0.4, with smaller levels, labels and tables, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ImageError, OutputError
from phenolens.runtime.output_kinds import OME_ZARR
from phenolens.runtime.outputs import check_output, writing_output
from phenolens.screens.colours import channel_colour
from phenolens.screens.image_details import AxisScale, ChannelDisplay
from phenolens.screens.images import FieldImage
from phenolens.screens.ome_zarr.folders import is_zarr, open_group
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.ome_zarr.tables import features_of, write_group, write_tables

if TYPE_CHECKING:
    from pandas import DataFrame

VERSIONS = ("0.5", "0.4")
_CHUNK = 1024
# Levels are made until one fits into a square of this side.
_SMALLEST = 256
_KINDS = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def write_ome_zarr(
    path: str | os.PathLike[str],
    image: FieldImage,
    *,
    version: str = "0.5",
    synthetic: bool = False,
    provenance: Mapping[str, Any] | None = None,
    labels: Mapping[str, LabelImage] | None = None,
    tables: Mapping[str, DataFrame] | None = None,
    of_labels: bool = False,
) -> Path:
    """Write an image with its axes, scales, units, channel names, colours and contrast.

    The inverse of `ome_zarr.read_ome_zarr`: what that gives is written back as it was, with its axes in the order time,
    channel, depth, Y, X, which OME-Zarr demands. Memory does not grow with the
    image: it is written in squares of 1024 pixels.

    Parameters
    ----------
    path
        Folder to write, ``.ome.zarr`` or ``.zarr`` by custom.
    image
        Pixels of whole or real numbers, numpy or dask. Channels without colours or contrast get some: colours by their
        order, and the range from the 0.1st to the 99.9th percentile of the smallest level.
    version
        Of OME-Zarr: ``"0.5"`` (Zarr 3) or ``"0.4"`` (Zarr 2).
    synthetic
        Whether a model made these pixels. Written into the attributes, the image's name and before each channel's name,
        so that no reader shows them as data.
    provenance
        Facts for the attributes, where `ImageDetails.facts` finds them.
    labels
        Label images by name, with the properties, colours and facts (`ImageDetails.facts`) of their labels.
    tables
        Tables by name, a row a label of the label image of that name, or else of the first one: a column ``label``, and
        others such as features and classes. Written as ngio's feature tables, in Parquet.
    of_labels
        Whether the pixels themselves are labels: smaller levels then hold labels, and never means of them.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OutputError
        The folder cannot be written, or something else than an OME-Zarr that Phenolens wrote is there.
    ImageError
        The pixels are no numbers, the version is unknown, or labels or tables do not fit the image.
    """
    target = check_output(path, OME_ZARR)
    zarr_format = format_of(version)
    _check(image, labels or {}, tables or {})
    pixels, axes = _in_order(image.data, image.axes)
    image = replace(image, data=pixels, axes=axes, coarser=None)
    facts = {"format": 1, **image.details.facts, "synthetic": synthetic or image.details.synthetic}
    if provenance:
        facts["provenance"] = dict(provenance)
    with writing_output(target, OME_ZARR) as folder:
        name = image.details.name or target.name.split(".")[0]
        if facts["synthetic"] and not name.startswith("synthetic "):
            name = f"synthetic {name}"
        scales = {axis: image.scale(axis) for axis in image.axes}
        smallest, paths = _write_levels(folder, image.data, image.axes, zarr_format, labels=of_labels)
        ome = _multiscales(name, image.axes, scales, paths, version, "nearest" if of_labels else "mean")
        ome["omero"] = _omero(image, smallest, name, bool(facts["synthetic"]), version)
        _write_labels(folder, labels or {}, scales, version)
        first = next(iter(labels or {}), None)
        features = {
            each: (table, features_of(each if each in (labels or {}) else first))
            for each, table in (tables or {}).items()
        }
        write_tables(folder, features, zarr_format)
        write_group(folder, zarr_format, ome_attributes(ome, version) | {"phenolens": facts})
    return target


def format_of(version: str) -> Literal[2, 3]:
    """Zarr's format (2 or 3) that a version of OME-Zarr is written in.

    Raises
    ------
    ImageError
        The version is not one that is written.
    """
    if version not in VERSIONS:
        raise ImageError(f"OME-Zarr {version} is not written: choose {' or '.join(VERSIONS)}.")
    return 3 if version == "0.5" else 2


def ome_attributes(ome: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Put OME-Zarr's metadata where the version has them."""
    return {"ome": {"version": version, **ome}} if version == "0.5" else dict(ome)


def check_ours(target: Path) -> None:
    """Make sure that replacing what is at `target` loses nothing but what Phenolens wrote.

    Raises
    ------
    OutputError
        Where it holds something else.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    try:
        ours = is_zarr(target) and "phenolens" in open_group(target).attributes
    except ImageError:
        ours = False
    if not ours:
        raise OutputError(
            f"{target} exists and was not written by Phenolens: choose another name, so that nothing is overwritten."
        )


def _in_order(pixels: Any, axes: str) -> tuple[Any, str]:
    """Bring axes to the order that OME-Zarr demands: time, channel, space."""
    ordered = "".join(axis for axis in "TCZYX" if axis in axes)
    return (pixels if ordered == axes else pixels.transpose([axes.index(axis) for axis in ordered])), ordered


def _check(image: FieldImage, labels: Mapping[str, LabelImage], tables: Mapping[str, DataFrame]) -> None:
    if image.dtype.kind not in "iuf" or image.dtype.itemsize > 8:
        raise ImageError(f"An image of {image.dtype} cannot be written; use whole or real numbers.")
    spatial = {axis: image.length(axis) for axis in "TZYX"}
    for name, label in labels.items():
        _check_name(name, "labels")
        if label.pixels.dtype.kind not in "iu":
            raise ImageError(f"The labels {name} are {label.pixels.dtype}: labels are whole numbers.")
        given = dict(zip(label.axes, label.pixels.shape, strict=True))
        if set(label.axes) - set("TZYX") or any(given.get(axis, spatial[axis]) != spatial[axis] for axis in "TZYX"):
            raise ImageError(
                f"The labels {name} of shape {tuple(label.pixels.shape)} ({label.axes}) do not fit their image of "
                f"shape {image.shape} ({image.axes})."
            )
    for name, table in tables.items():
        _check_name(name, "table")
        if "label" not in table.columns or table["label"].dtype.kind not in "iu" or table["label"].duplicated().any():
            raise ImageError(f"The table {name} needs a column label, a whole number for each row, none twice.")


def _check_name(name: str, what: str) -> None:
    if not name or name != name.strip() or set(name) & set('/\\:*?"<>|') or name.startswith("."):
        raise ImageError(f"The {what} cannot be called {name!r}: it is the name of a folder.")


def _write_levels(
    folder: Path, data: Any, axes: str, zarr_format: Literal[2, 3], *, labels: bool = False
) -> tuple[NDArray[Any], list[str]]:
    """Write an array and smaller ones; return the smallest and the names of all."""
    try:
        import zarr
    except ImportError as error:
        raise OutputError(
            f'OME-Zarr is written by the package zarr: {error}. pip install "napari-phenolens[zarr]".'
        ) from error
    shape = tuple(int(length) for length in data.shape)
    paths: list[str] = []
    source = data
    while True:
        path = str(len(paths))
        dtype = np.dtype(data.dtype).newbyteorder("=")
        chunks = tuple(min(length, _CHUNK) if axis in "YX" else 1 for axis, length in zip(axes, shape, strict=True))
        settings: dict[str, Any] = {"dimension_names": [axis.lower() for axis in axes]} if zarr_format == 3 else {}
        array = zarr.create_array(
            zarr.storage.LocalStore(folder), name=path, shape=shape, chunks=chunks, dtype=dtype,
            zarr_format=zarr_format, fill_value=0,
            chunk_key_encoding={"name": "default" if zarr_format == 3 else "v2", "separator": "/"}, **settings,
        )  # fmt: skip
        for at in _squares(shape, axes):
            if not paths:
                array[at] = np.asarray(source[at]).astype(dtype, copy=False)
            else:
                array[at] = _halved(source, at, labels)
        paths.append(path)
        if max(shape[-2:]) <= _SMALLEST:
            return np.asarray(array[...]), paths
        source, shape = array, (*shape[:-2], *(-(-length // 2) for length in shape[-2:]))


def _squares(shape: Sequence[int], axes: str) -> Iterator[tuple[slice, ...]]:
    """Parts of an image that are written one after another, each of whole chunks."""
    ranges = [
        [slice(at, min(at + step, length)) for at in range(0, length, step)]
        for axis, length in zip(axes, shape, strict=True)
        for step in [_CHUNK if axis in "YX" else 1]
    ]
    return product(*ranges)


def _halved(source: Any, at: tuple[slice, ...], labels: bool) -> NDArray[Any]:
    """The part `at` of the next smaller level: means of four pixels, of labels the first of four."""
    *outer, y, x = at
    part = np.asarray(source[(*outer, slice(2 * y.start, 2 * y.stop), slice(2 * x.start, 2 * x.stop))])
    if labels:
        return np.asarray(part[..., ::2, ::2])
    height, width = part.shape[-2:]
    part = np.pad(part, [(0, 0)] * (part.ndim - 2) + [(0, height % 2), (0, width % 2)], mode="edge")
    means = part.reshape(*part.shape[:-2], part.shape[-2] // 2, 2, part.shape[-1] // 2, 2).mean(
        axis=(-3, -1), dtype=np.float64
    )
    if part.dtype.kind not in "iu":
        return np.asarray(means.astype(part.dtype))
    limits = np.iinfo(part.dtype)
    # a float cannot hold the largest whole numbers of 64 bits, which rounding would take beyond the type
    highest = limits.max if part.dtype.itemsize < 8 else limits.max - 1024
    return np.asarray(np.clip(np.rint(means), limits.min, highest).astype(part.dtype))


def _multiscales(
    name: str, axes: str, scales: Mapping[str, AxisScale], paths: Sequence[str], version: str, made: str = "mean"
) -> dict[str, Any]:
    stated = []
    for axis in axes:
        one: dict[str, Any] = {"name": axis.lower(), "type": _KINDS[axis]}
        if axis != "C" and scales[axis].unit:
            one["unit"] = scales[axis].unit
        stated.append(one)
    datasets = []
    moved = any(scales[axis].start for axis in axes)
    for level, path in enumerate(paths):
        larger = [2**level if axis in "YX" else 1 for axis in axes]
        steps = [scales[axis].step * factor for axis, factor in zip(axes, larger, strict=True)]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": steps}]
        if moved or level:  # a smaller level's first pixel has its centre between the first ones of the largest
            starts = [
                scales[axis].start + scales[axis].step * (factor - 1) / 2
                for axis, factor in zip(axes, larger, strict=True)
            ]
            transformations.append({"type": "translation", "translation": starts})
        datasets.append({"path": path, "coordinateTransformations": transformations})
    about: dict[str, Any] = {"name": name, "axes": stated, "datasets": datasets, "type": made}
    if version != "0.5":
        about["version"] = version
    return {"multiscales": [about]}


def _omero(image: FieldImage, smallest: NDArray[Any], name: str, synthetic: bool, version: str) -> dict[str, Any]:
    channels = []
    displays = image.details.displays or (ChannelDisplay(),) * image.n_channels
    by_channel = np.moveaxis(smallest, image.axes.index("C"), 0) if "C" in image.axes else smallest[None]
    for number, (label, display) in enumerate(zip(image.channel_names, displays, strict=True)):
        window = display.window or _window(by_channel[number])
        limits = display.limits or _limits(image.dtype, by_channel[number], window)
        if synthetic and not label.startswith("synthetic "):
            label = f"synthetic {label}"
        channels.append({
            "label": label, "active": display.shown, "color": display.colour or channel_colour(number),
            "window": {"start": window[0], "end": window[1], "min": limits[0], "max": limits[1]},
        })  # fmt: skip
    about: dict[str, Any] = {"name": name, "channels": channels, "rdefs": {"model": "color"}}
    return about if version == "0.5" else {**about, "version": version}


def _window(pixels: NDArray[Any]) -> tuple[float, float]:
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite.astype(np.float64), (0.1, 99.9)))
    return low, high if high > low else low + 1.0


def _limits(dtype: np.dtype[Any], pixels: NDArray[Any], window: tuple[float, float]) -> tuple[float, float]:
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    finite = pixels[np.isfinite(pixels)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else window
    return min(low, window[0]), max(high, window[1])


def _write_labels(
    folder: Path, labels: Mapping[str, LabelImage], scales: Mapping[str, AxisScale], version: str
) -> None:
    if not labels:
        return
    zarr_format = format_of(version)
    write_group(folder / "labels", zarr_format, ome_attributes({"labels": list(labels)}, version))
    for name, label in labels.items():
        where = folder / "labels" / name
        where.mkdir(exist_ok=True)
        pixels, axes = _in_order(label.pixels, label.axes)
        _, paths = _write_levels(where, pixels, axes, zarr_format, labels=True)
        own = {axis: scales.get(axis, AxisScale()) for axis in axes}
        ome = _multiscales(name, axes, own, paths, version, "nearest")
        about: dict[str, Any] = {"source": {"image": "../../"}}
        if label.colours:
            about["colors"] = [
                {"label-value": int(value), "rgba": list(bytes.fromhex(colour))}
                for value, colour in label.colours.items()
            ]
        if label.properties is not None:
            rows = label.properties.astype(object).where(label.properties.notna(), None)
            about["properties"] = [
                {"label-value": int(value), **row}
                for value, row in zip(rows.index, rows.to_dict("records"), strict=True)
            ]
        if version != "0.5":
            about["version"] = version
        facts = {"phenolens": dict(label.details.facts)} if label.details.facts else {}
        write_group(where, zarr_format, ome_attributes({**ome, "image-label": about}, version) | facts)
