"""Layers as OME-Zarr and back: images with smaller levels, and labels with their features inside.

What OME-Zarr has a place for, other programs read: channel names, colours, contrast, scale, units, translation, labels
with their colours, tables as ngio has them. The rest, such as a rotation, is kept in the attribute ``phenolens``, so
that layers return as they were.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.runtime.errors import ImageError
from phenolens.screens.large_images import LARGE
from phenolens.widgets.layers.appearance import PLACE, appearance, restored
from phenolens.widgets.layers.layer_files import (
    LayerData,
    facts_of,
    file_word,
    pixel_size,
    spacing,
    stacked_members,
    typed,
)
from phenolens.widgets.layers.shown_levels import halving

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.ome_zarr.images import LabelImage

_INDEX = "label"


def write_zarr(folder: Path, members: Sequence[LayerData], inside: Sequence[LayerData] = ()) -> list[Path]:
    """Write image layers of one shape as the channels of one OME-Zarr image, and labels layers inside; or labels alone.

    Returns
    -------
    list of Path
        The folder of the image.

    Raises
    ------
    OutputError
        A layer holds colours or more axes than T, Z, Y and X, or the folder cannot be written.
    """
    from phenolens.screens.ome_zarr.layer_images import write_layer_image

    pixels, axes, names, looks = stacked_members(members)
    metas = [meta for _, meta, _ in members]
    of_labels = members[0][2] == "labels"
    tables: dict[str, DataFrame] = {}
    if of_labels:
        word = file_word(names[0])
        kept, table = _features(metas[0].get("features"), word)
        looks[0] |= kept
        tables |= {} if table is None else {word: table}
    labels, more = labels_of(inside)
    write_layer_image(
        folder, pixels, axes, names, pixel_size(metas[0]), z_spacing=spacing(metas[0], axes),
        synthetic=any(facts_of(meta).get("synthetic", False) for meta in metas),
        description={**facts_of(metas[0]), "layers": looks}, labels=labels, tables=tables | more, of_labels=of_labels,
    )  # fmt: skip
    return [folder]


def labels_of(layers: Sequence[LayerData]) -> "tuple[dict[str, LabelImage], dict[str, DataFrame]]":
    """Labels layers as label images and tables, by names that are those of folders; see `write_ome_zarr`."""
    from phenolens.screens.image_details import ImageDetails
    from phenolens.screens.ome_zarr.images import LabelImage

    labels: dict[str, LabelImage] = {}
    tables: dict[str, DataFrame] = {}
    for layer in layers:
        pixels, axes, names, looks = stacked_members([layer])
        word = file_word(names[0])
        word = next(one for one in (word, *(f"{word}_{number}" for number in range(2, 10_000))) if one not in labels)
        kept, table = _features(layer[1].get("features"), word)
        if table is not None:
            tables[word] = table
        facts = {"layer": looks[0] | kept}
        said, colours = _said_of_each(table, layer[1].get("colormap"))
        labels[word] = LabelImage(pixels[0], axes.replace("C", ""), said, colours, ImageDetails(facts=facts))
    return labels, tables


def lies_on(labels: LayerData, image: LayerData) -> bool:
    """Whether labels have the shape and the place of an image, or of its planes, so that they can lie inside it."""
    (pixels, of_labels, _), (data, of_image, _) = labels, image
    shape = np.shape(pixels[0] if of_labels.get("multiscale") else pixels)
    whole = np.shape(data[0] if of_image.get("multiscale") else data)
    if shape not in (whole, whole[-2:]):
        return False
    one, other = (appearance(meta, "image") for meta in (of_labels, of_image))
    names = ("scale", "translate", "units") if shape != whole else [name for name in PLACE if name != "axis_labels"]
    return all(
        _close(one[name], other[name] if shape == whole else other[name][-2:])
        for name in names
        if name in one and name in other
    )


def saved_layers(folder: Path) -> bool:
    """Whether a folder is an OME-Zarr image that says of its channels how they looked as layers."""
    from phenolens.screens.ome_zarr.folders import is_zarr, open_group

    try:
        return is_zarr(folder) and bool(_looks(open_group(folder).attributes.get("phenolens")))
    except ImageError:
        return False


def read_zarr(folder: Path) -> list[LayerData] | None:
    """The layers that `write_zarr` wrote, or None where the folder is not such an image.

    Large planes are read when they are looked at, from the level that fits.

    Raises
    ------
    ImageError
        The image is broken.
    """
    if not saved_layers(folder):
        return None
    from phenolens.screens.ome_zarr.images import label_names, read_labels, read_ome_zarr
    from phenolens.screens.ome_zarr.tables import table_names

    image = read_ome_zarr(folder)
    looks = _looks(image.details.facts)
    if len(looks) != image.n_channels:
        raise ImageError(f"{folder} does not hold the {len(looks)} layers that it says it does.")
    tables = table_names(folder)
    layers = [_layer(folder, look, image.channel_levels(index), tables) for index, look in enumerate(looks)]
    for name in label_names(folder):
        labels = read_labels(folder, name)
        look = labels.details.facts.get("layer")
        if isinstance(look, dict):
            layers.append(_layer(folder, look, _levels(folder, name, labels), tables))
    return layers


def _levels(folder: Path, name: str, labels: "LabelImage") -> tuple[Any, ...]:
    from phenolens.screens.ome_zarr.images import read_ome_zarr

    height, width = labels.pixels.shape[-2:]
    return (labels.pixels,) if height * width <= LARGE else read_ome_zarr(folder / "labels" / name).levels


def _layer(folder: Path, look: Mapping[str, Any], levels: Sequence[Any], tables: Sequence[str]) -> LayerData:
    """A layer of its look and its pixels at every level."""
    from phenolens.screens.ome_zarr.tables import read_table_inside

    kind = look.get("kind")
    if kind not in ("image", "labels"):
        raise ImageError(f"{folder} holds a layer of an unknown kind.")
    try:
        how = restored(look, kind)
        shape = tuple(map(int, look["shape"]))
        dtype = np.dtype(str(look["dtype"]))
        whole = [level.reshape((*shape[:-2], *level.shape[-2:])).astype(dtype) for level in levels]
        if whole[0].shape != shape:
            raise ValueError(f"a shape of {whole[0].shape}, not {shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise ImageError(f"{folder} does not say properly how its layers looked ({error}).") from error
    kept = look.get("features")
    if isinstance(kept, dict) and kept.get("table") in tables:
        table = read_table_inside(folder, kept["table"])
        columns = {stored: name for name, stored in kept.get("columns", {}).items() if stored in table.columns}
        how["features"] = typed(table[list(columns)].rename(columns=columns), kept.get("dtypes", {}))
    if len(whole) > 1 and (look.get("multiscale") or shape[-2] * shape[-1] > LARGE):
        return halving(whole), {**how, "multiscale": True}, kind
    return np.asarray(whole[0]), how, kind


def _looks(facts: Any) -> list[dict[str, Any]]:
    looks = facts.get("layers") if isinstance(facts, Mapping) else None
    return looks if isinstance(looks, list) and all(isinstance(look, dict) for look in looks) else []


def _features(table: Any, name: str) -> "tuple[dict[str, Any], DataFrame | None]":
    """What a look says of a layer's features, and the table of them with a column ``label``; nothing where are none."""
    import pandas as pd

    if table is None or not len(getattr(table, "columns", ())):
        return {}, None
    own = table["index"] if "index" in table.columns else None
    fits = own is not None and own.dtype.kind in "iu" and not own.duplicated().any()
    numbers = np.asarray(own if fits else np.arange(len(table)), np.int64)
    stored = {str(column): str(column) if str(column) != _INDEX else f"{_INDEX}_of_layer" for column in table.columns}
    made = pd.DataFrame({_INDEX: numbers})
    for column in table.columns:
        values = table[column].reset_index(drop=True)
        if values.dtype == object or str(values.dtype) == "category":
            values = values.map(lambda value: None if value is None or value != value else str(value)).astype(object)
        made[stored[str(column)]] = values
    dtypes = {str(column): str(kind) for column, kind in table.dtypes.items()}
    return {"features": {"table": name, "columns": stored, "dtypes": dtypes}}, made


def _said_of_each(table: "DataFrame | None", colormap: Any) -> "tuple[DataFrame | None, dict[int, str]]":
    """Class and note of labels, and their colours, for programs that read no tables; both of the same labels.

    Colours are eight hexadecimal digits, and there where a layer gives each label one of its own.
    """
    said = [] if table is None else [name for name in ("class", "note") if name in table.columns]
    properties = table.set_index(_INDEX)[said] if table is not None and said else None
    given = getattr(colormap, "color_dict", None)
    if given is None:
        return properties, {}
    labels = {int(label) for label in given if label}
    if properties is not None:
        labels |= {int(label) for label in properties.index if label}
        properties = properties.reindex(sorted(labels)) if labels else None
    rest = given.get(None, (0, 0, 0, 0))
    return properties, {label: _hexadecimal(given.get(label, rest)) for label in sorted(labels)}


def _hexadecimal(colour: Any) -> str:
    return bytes(round(255 * float(part)) for part in np.clip(colour, 0, 1)).hex().upper()


def _close(one: Any, other: Any) -> bool:
    if one is None or other is None or isinstance(one[0], str):
        return bool(one == other)
    one, other = np.asarray(one, float), np.asarray(other, float)
    return np.shape(one) == np.shape(other) and bool(np.allclose(one, other))
