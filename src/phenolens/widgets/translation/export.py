"""Gathers what a session has translated, for the engine to write."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.files import write_annotations
from phenolens.runtime.progress import Job, Progress
from phenolens.widgets.layers.appearance import appearance, with_contour
from phenolens.widgets.layers.layer_files import LayerData, file_word, write_geometry, write_pixels
from phenolens.widgets.state.session import PlaneId, Session, TranslatedCell

if TYPE_CHECKING:
    import pandas as pd


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
        data, meta, kind = layer.as_layer_data_tuple()
        if kind in ("labels", "points", "shapes"):
            if kind == "labels":
                data, meta = np.array(data), with_contour(meta, int(layer.contour))
            drawn.append((data, meta, kind))
    return drawn


def export_job(
    session: Session, folder: Path, looks: Looks | None = None, drawn: Sequence[LayerData] = ()
) -> Job[Path]:
    """A job that writes every field with translated cells to a new folder in `folder`, at the slider's strength.

    Parameters
    ----------
    looks
        How the layers look, so that they come back so; see `looks_of`.
    drawn
        Labels, points and shapes on the shown field, which are written beside it; see `drawn_layers`.
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
    shown = session.field.key if session.field is not None else "field"
    annotations = Annotations()
    annotations.repeat(session.annotations.record())  # as they are now

    def beside(new: Path) -> None:
        write_annotations(annotations, new / "annotations.csv")
        _write_drawn(new, shown, drawn)

    return _export(session, folder, name, cells, session.strength, facts, looks, beside)


def _export(
    session: Session,
    folder: Path,
    name: str,
    cells: dict[PlaneId, list[TranslatedCell]],
    strength: float,
    facts: dict[str, Any],
    looks: Looks | None,
    beside: Callable[[Path], None],
) -> Job[Path]:
    from phenolens.translation.apply.composite import Composite
    from phenolens.translation.apply.session_export import ExportedField, export_session, exported_planes

    screen, adapter = session.screen, session.adapter
    assert screen is not None
    assert adapter is not None
    if adapter.folder is not None and adapter.folder.is_dir():
        facts |= {"adapter": str(adapter.folder), "adapter_sha256": adapter.sha256()}
    fields: list[ExportedField] = []
    for field in screen.fields:
        planes = {(t, z): here for (key, t, z), here in cells.items() if key == field.key}
        if not planes:
            continue
        yield Progress(len(fields), len(cells), f"reading {field.key}")
        image = field.image()
        composites = {}
        for position, here in planes.items():
            composite = composites[position] = Composite(image.plane(*position))
            for cell in here:
                difference = cell.difference(strength)
                if cell.translation is not None and difference is not None:
                    composite.put(cell.id, cell.translation.window, difference)
        conditions = next(iter(planes.values()))[0].conditions
        fields += exported_planes(field.key, image, composites, strength, conditions)
    table = _table([cell for clicked in cells.values() for cell in clicked], strength)
    return (yield from export_session(folder, name, fields, table, facts, looks=looks, beside=beside))


def _write_drawn(folder: Path, field: str, drawn: Sequence[LayerData]) -> None:
    """Write drawn layers as ``<field>__<layer>``, each under a name of its own."""
    names: set[str] = set()
    for layer in drawn:
        word = file_word(str(layer[1].get("name", layer[2])))
        name = next(one for one in chain([word], (f"{word}_{number}" for number in count(2))) if one not in names)
        names.add(name)
        if layer[2] == "labels":
            write_pixels(folder / f"{field}__{name}.ome.tif", [layer])
        else:
            write_geometry(folder / f"{field}__{name}.geojson", layer)


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
    return pd.DataFrame(rows)
