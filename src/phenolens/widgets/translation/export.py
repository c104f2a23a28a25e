"""Gathers what a session has translated, for the engine to write."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.files import write_annotations
from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import Job, Progress
from phenolens.widgets.layers.appearance import appearance, with_contour
from phenolens.widgets.layers.class_colours import cell_features, outline_colours
from phenolens.widgets.layers.layer_files import LayerData, facts_of, file_word, write_geometry, write_pixels
from phenolens.widgets.layers.part_layer import KIND
from phenolens.widgets.layers.zarr_layers import labels_of, lies_on, write_zarr
from phenolens.widgets.state.session import PlaneId, Session, TranslatedCell

if TYPE_CHECKING:
    import pandas as pd

    from phenolens.translation.apply.session_export import ExportedField

# of the table of translated cells, where there is none
_COLUMNS = ("field", "cell", "y", "x", "t", "z", "source", "target", "strength", "synthetic")
Looks = Mapping[str, Sequence[Mapping[str, Any]]]


def looks_of(source: Iterable[Layer], translated: Iterable[Layer], difference: Iterable[Layer]) -> Looks:
    """How the layers of the shown field look, for `export_job`."""
    groups = {"source": source, "translated": translated, "difference": difference}
    return {name: [appearance(layer.as_layer_data_tuple()[1], "image") for layer in layers]
            for name, layers in groups.items()}  # fmt: skip


def drawn_layers(layers: Iterable[Layer]) -> list[LayerData]:
    """Labels, points and shapes as they are now; what is painted afterwards is not in them."""
    drawn = []
    for layer in layers:
        if facts_of({"metadata": layer.metadata}).get("kind") == KIND:
            continue  # a part of the cells
        data, meta, kind = layer.as_layer_data_tuple()
        if kind in ("labels", "points", "shapes"):
            if kind == "labels" and meta.get("multiscale"):
                data, meta = getattr(data[0], "lazy", data[0]), meta | {"multiscale": False}
            elif kind == "labels":
                data = np.array(data)
            if kind == "labels":
                meta = with_contour(meta, int(layer.contour))
            drawn.append((data, meta, kind))
    return drawn


def export_job(
    session: Session,
    folder: Path,
    looks: Looks | None = None,
    drawn: Sequence[LayerData] = (),
    file_format: str = "ome-tiff",
) -> Job[Path]:
    """A job that writes the shown field, and every field with translated cells or drawings, to a new folder.

    Parameters
    ----------
    folder
        Where the new folder is made.
    looks
        How the layers look, so that they come back so; see `looks_of`.
    drawn
        Labels, points and shapes, which are written with the field that their metadata name, or else with the shown
        one; see `drawn_layers`.
    file_format
        What images and labels are written as: "ome-tiff" or "ome-zarr".
    """
    name = f"{session.screen_name or 'phenolens'}-{datetime.now():%Y%m%d-%H%M%S}"
    cells = {
        plane: [c for c in clicked.values() if c.translation is not None]
        for plane, clicked in session.translated.items()
    }
    cells = {plane: clicked for plane, clicked in cells.items() if clicked}
    adapter, translator = session.adapter, session.translator
    facts = {
        "screen": session.screen_name,
        "strength": session.strength,
        "device": session.translator_device,
        "base": adapter.base if adapter is not None else None,
        "reverse_guidance": None if translator is None else translator.guidance_to(translator.adapter.conditions[0]),
        **(translator.settings_for(strengths=(session.strength,)).to_dict() if translator is not None else {}),
        "conditions": list(adapter.conditions) if adapter is not None else None,
        "intensity": adapter.intensity.to_dict() if adapter is not None else None,
    }
    annotations = Annotations()
    annotations.repeat(session.annotations.record())  # as they are now
    layers = drawn_by_field(session, annotations, drawn, {key for key, _, _ in cells})
    return _export(session, folder, name, cells, session.strength, facts, looks, annotations, layers, file_format)


def drawn_by_field(
    session: Session, annotations: Annotations, drawn: Sequence[LayerData], more: Iterable[str]
) -> dict[str, list[LayerData]]:
    """Labels, points and shapes by the key of their field, in the order of the screen.

    The fields are the shown one, those that are drawn on, and `more`; of each, the found cells are there.
    """
    screen, shown = session.screen, session.field
    if screen is None or shown is None:
        raise CellError("No field is open: open a screen, then export.")
    known = {field.key for field in screen}
    found: dict[str, list[LayerData]] = {key: [] for key in (shown.key, *more)}
    template = None
    for layer in drawn:
        facts = facts_of(layer[1])
        field = facts.get("field")
        found.setdefault(field if field in known else shown.key, []).append(layer)
        if layer[2] == "labels" and facts.get("kind") == "cells" and facts.get("made"):
            template = layer
    labels = {} if session.cells is None else session.cells.labels
    for key, layers in found.items():
        if key in labels and not (template is not None and key == facts_of(template[1]).get("field")):
            layers.insert(0, _cells_of(key, labels[key], annotations, template))
    return {field.key: found[field.key] for field in screen if field.key in found}


def _cells_of(key: str, labels: NDArray[Any], annotations: Annotations, template: LayerData | None) -> LayerData:
    """The cells of a field that is not shown, as its layer would be."""
    from napari.utils import DirectLabelColormap

    found = np.unique(labels)
    meta = {} if template is None else dict(template[1])
    contour = 1 if template is None else facts_of(template[1]).get("contour", 1)
    about = {"made": True, "synthetic": False, "kind": "cells", "field": key, "contour": contour}
    meta |= {
        "name": f"cells · {key}",
        "metadata": {"phenolens": about},
        "features": cell_features(annotations, key, found[found > 0]),
        "colormap": DirectLabelColormap(color_dict=outline_colours(annotations, key, dashed=False)),
        "visible": False,
    }
    return np.asarray(labels, np.int32), meta, "labels"


def _export(
    session: Session,
    folder: Path,
    name: str,
    cells: dict[PlaneId, list[TranslatedCell]],
    strength: float,
    facts: dict[str, Any],
    looks: Looks | None,
    annotations: Annotations,
    drawn: Mapping[str, list[LayerData]],
    file_format: str,
) -> Job[Path]:
    from phenolens.screens.large_images import plane_of
    from phenolens.translation.apply.large_composite import composite_of
    from phenolens.translation.apply.session_export import (
        FORMATS,
        ExportedField,
        export_session,
        exported_planes,
        untranslated,
    )

    screen, adapter = session.screen, session.adapter
    assert screen is not None
    if adapter is not None and adapter.folder is not None and adapter.folder.is_dir():
        facts |= {"adapter": str(adapter.folder), "adapter_sha256": adapter.sha256()}
    elif adapter is not None and adapter.unfinished:
        facts |= {"adapter": f"not kept: one that was still being trained, {adapter.unfinished}"}
    fields: list[ExportedField] = []
    beside_images: dict[str, list[LayerData]] = {}
    for number, (key, layers) in enumerate(drawn.items()):
        planes = {(t, z): here for (of, t, z), here in cells.items() if of == key}
        yield Progress(number, len(drawn), f"reading {key}")
        image = screen[key].image()
        composites = {}
        for position, here in planes.items():
            composite = composites[position] = composite_of(plane_of(image, *position))
            for cell in here:
                difference = cell.difference(strength)
                if cell.translation is not None and difference is not None:
                    composite.put(cell.id, cell.translation.window, difference)
        if planes:
            made = exported_planes(key, image, composites, strength, next(iter(planes.values()))[0].conditions)
        else:
            made = [untranslated(key, image)]
        beside_images[key] = list(layers)
        if file_format == "ome-zarr":
            made[0], beside_images[key] = _with_labels(made[0], layers, looks)
        fields += made

    def beside(new: Path) -> None:
        write_annotations(annotations, new / "annotations.csv")
        for key, layers in beside_images.items():
            _write_drawn(new, key, layers, FORMATS[file_format])

    table = _table([cell for clicked in cells.values() for cell in clicked], strength)
    return (
        yield from export_session(
            folder, name, fields, table, facts, looks=looks, beside=beside, file_format=file_format
        )
    )


def _with_labels(
    field: "ExportedField", layers: Sequence[LayerData], looks: Looks | None
) -> "tuple[ExportedField, list[LayerData]]":
    """A field with the labels that lie inside its image, and the layers that do not."""
    plain = field.image.channel(0)
    look: dict[str, Any] = dict((looks or {}).get("source", [{}])[0])
    if len(look.get("scale", ())) != plain.ndim:  # one plane of a stack
        look = {name: list(look[name])[-plain.ndim :] for name in ("scale", "translate", "units") if name in look}
    inside = [layer for layer in layers if layer[2] == "labels" and lies_on(layer, (plain, look, "image"))]
    labels, tables = labels_of(inside)
    others = [layer for layer in layers if not any(layer is one for one in inside)]
    return replace(field, labels=labels, tables=tables), others


def _write_drawn(folder: Path, field: str, drawn: Sequence[LayerData], ending: str) -> None:
    """Write drawn layers as ``<field>__<layer>``, each under a name of its own."""
    names: set[str] = set()
    for layer in drawn:
        word = file_word(str(layer[1].get("name", layer[2])).removesuffix(f" · {field}"))
        name = next(one for one in chain([word], (f"{word}_{number}" for number in count(2))) if one not in names)
        names.add(name)
        if layer[2] != "labels":
            write_geometry(folder / f"{field}__{name}.geojson", layer)
        elif ending == ".ome.zarr":
            write_zarr(folder / f"{field}__{name}{ending}", [layer])
        else:
            write_pixels(folder / f"{field}__{name}{ending}", [layer])


def _table(cells: list[TranslatedCell], strength: float) -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for cell in cells:
        translation, difference = cell.translation, cell.difference(strength)
        if translation is None or difference is None:
            continue
        rows.append(
            {
                "field": cell.field,
                "cell": cell.name,
                "y": cell.y,
                "x": cell.x,
                "t": cell.position[0],
                "z": cell.position[1],
                "window_y": translation.window.y,
                "window_x": translation.window.x,
                "window_size": translation.window.size,
                "changed_part": cell.limit,
                "source": cell.conditions[0],
                "target": cell.conditions[1],
                "strength": strength,
                "interpolated": not cell.has(strength),
                "steps": translation.steps,
                "seed": translation.settings.seed,
                "mean_absolute_difference": float(np.abs(difference).mean()),
                "synthetic": True,
            }
        )
    return pd.DataFrame(rows, columns=None if rows else list(_COLUMNS))
