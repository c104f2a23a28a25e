"""Writer for layers: pixels as OME-TIFF or OME-Zarr, points and shapes as GeoJSON, synthetic ones marked, with origin.

`phenolens.widgets.reader` gives the same layers back.
"""

from pathlib import Path
from typing import Any

import numpy as np
from napari import current_viewer

from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import write_json
from phenolens.widgets.layers.appearance import PLACE, with_contour
from phenolens.widgets.layers.layer_files import LayerData, facts_of, file_word, write_geometry, write_pixels
from phenolens.widgets.layers.part_layer import KIND as PART
from phenolens.widgets.layers.zarr_layers import lies_on, write_zarr

_ZARR = ".ome.zarr"


def write_layers(path: str, layers: list[LayerData]) -> list[str]:
    """Save layers beside each other under one name, in the format of its ending.

    Real channels go to ``<stem>.ome.tif``, translated ones to ``<stem>__synthetic.ome.tif``, differences to
    ``<stem>__difference.ome.tif``, each labels layer to ``<stem>__<layer>.ome.tif``, with its features as CSV, points
    and shapes to ``<stem>__<layer>.geojson``, and provenance to ``<stem>__provenance.json``. Images of another shape,
    type or place than the first of their kind have a file of their own, called after the layer. As OME-Zarr
    (``<stem>.ome.zarr``), labels that have the place of the real channels lie inside these, with their features.

    Returns
    -------
    list of str
        The files that were written.

    Raises
    ------
    OutputError
        A layer is of a kind that cannot be saved so, two would have one name, or the folder cannot be written.
    """
    from phenolens.runtime.provenance import provenance
    from phenolens.screens.export import WRITERS

    folder, name = Path(path).parent, Path(path).name
    ending = next((one for one in WRITERS if name.endswith(one)), _ZARR if name.endswith(".zarr") else ".ome.tif")
    stem = _stem(name.removesuffix(ending))
    files: dict[str, list[LayerData]] = {}
    alike: dict[tuple[Any, ...], str] = {}
    layers = [_outlined(layer) for layer in _without_parts(layers)]
    inside: list[LayerData] = []
    real = next((layer for layer in layers if layer[2] == "image" and not _suffix(layer)), None)
    for layer in layers:
        suffix = _suffix(layer)
        if ending == _ZARR and layer[2] == "labels" and (real is not None and lies_on(layer, real)):
            inside.append(layer)
        elif layer[2] == "image":
            key = (suffix, *_frame(layer))
            if key not in alike:
                alike[key] = suffix if suffix not in files else f"{suffix}__{file_word(str(layer[1].get('name', '')))}"
            files.setdefault(alike[key], []).append(layer)
        elif suffix in files:
            raise OutputError(f"Two layers would be saved as {stem}{suffix}: rename one of them.")
        else:
            files[suffix] = [layer]
    written: list[Path] = []
    described: dict[str, Any] = {}
    for suffix, members in files.items():
        if members[0][2] in ("image", "labels") and ending == _ZARR:
            made = write_zarr(folder / f"{stem}{suffix}{ending}", members, () if suffix else inside)
        elif members[0][2] in ("image", "labels"):
            made = write_pixels(folder / f"{stem}{suffix}{ending}", members)
        else:
            made = [write_geometry(folder / f"{stem}{suffix}.geojson", members[0])]
        within = [] if suffix else inside
        described[made[0].name] = {str(meta.get("name", "")): facts_of(meta) for _, meta, _ in [*members, *within]}
        written += made
    if written:
        file = folder / f"{stem}__provenance.json"
        write_json(file, provenance(made_by="write_layers", files=described))
        written.append(file)
    return [str(file) for file in written]


def _without_parts(layers: list[LayerData]) -> list[LayerData]:
    """Layers without those of a part of a field whose labels are saved whole."""
    kinds = [facts_of(meta).get("kind") for _, meta, _ in layers]
    return [layer for layer, kind in zip(layers, kinds, strict=True) if kind != PART or "cells" not in kinds]


def _outlined(layer: LayerData) -> LayerData:
    """A layer, with the thickness of its outlines, which napari does not hand over."""
    data, meta, kind = layer
    viewer = current_viewer() if kind == "labels" else None
    shown = {} if viewer is None else {one.name: one for one in viewer.layers}
    return data, with_contour(meta, int(getattr(shown.get(str(meta.get("name"))), "contour", 0))), kind


def _stem(name: str) -> str:
    for suffix in (".tiff", ".tif", ".zarr", ".geojson", ".ome"):
        name = name.removesuffix(suffix)
    return name


def _suffix(layer: LayerData) -> str:
    """What the name of the layer's file ends with."""
    _, meta, kind = layer
    if kind not in ("image", "labels", "points", "shapes"):
        raise OutputError(f"The layer {meta.get('name', '')} of {kind} cannot be saved here: leave it out.")
    if kind != "image":
        return f"__{file_word(str(meta.get('name', kind)))}"
    facts = facts_of(meta)
    if not facts.get("synthetic"):
        return ""
    made = str(facts.get("kind", "translated"))
    return "__synthetic" if made == "translated" else f"__{file_word(made)}"


def _frame(layer: LayerData) -> tuple[Any, ...]:
    """What images must share to be channels of one file."""
    data, meta, _ = layer
    level = data[0] if meta.get("multiscale") else data
    place = tuple(str(np.asarray(meta[name]).tolist()) if name in meta else "" for name in PLACE if name != "units")
    return np.shape(level), str(level.dtype), str(meta.get("units")), place, bool(meta.get("rgb"))
