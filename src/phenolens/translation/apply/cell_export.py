"""Export sets without a viewer: some cells of a field by an adapter, or fields that were translated before."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.checkpoints import fingerprint
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import CellError, ModelError, ScreenError
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.manifest import Manifest
from phenolens.runtime.output_kinds import EXPORT
from phenolens.runtime.outputs import check_output
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import sha256_of
from phenolens.screens.cells import Cells
from phenolens.screens.crops import Window, window_at
from phenolens.screens.fingerprints import screen_fingerprint
from phenolens.screens.image_details import ImageDetails
from phenolens.screens.images import FieldImage, read_image
from phenolens.screens.table import Field, Screen
from phenolens.translation.apply.cell_translation import CellTranslation
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.export_figures import check_figures, write_figures
from phenolens.translation.apply.export_looks import labels_look, plain_looks
from phenolens.translation.apply.result_files import ResultFiles, kind_of
from phenolens.translation.apply.session_export import ExportedField, check_format, export_session, exported_planes
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import open_base

if TYPE_CHECKING:
    import pandas as pd

    from phenolens.screens.ome_zarr.images import LabelImage

Annotated = Callable[["pd.DataFrame"], "pd.DataFrame"]
"""Adds classes and notes to a table of cells."""
_BATCH = 16
_NAMED = 8


@one_at_a_time()
def export_cells(
    adapter: Adapter,
    screen: Screen,
    key: str | None,
    labels: Sequence[int] | None,
    out: Path,
    settings: TranslationSettings,
    *,
    cells: str | Path | Cells | None = None,
    device: str = "auto",
    overwrite: bool = False,
    file_format: str = "ome-tiff",
    annotated: Annotated | None = None,
    figures: Sequence[str] = (),
) -> Job[Path]:
    """Translate some cells of one field and write their export set to `out`; see `export_session` for the files.

    Of a stack or a series the plane is taken that stands for it: the first time, the middle depth.

    Parameters
    ----------
    key
        The field's key; may be None where the screen has one field.
    labels
        The cells by their labels; all cells of the field where None.
    settings
        How; the last of its strengths is exported.
    cells
        ``"auto"``, ``"whole"``, a folder of label images or `Cells`; as the adapter was trained where None.
    overwrite
        Replace any earlier output of phenolens in `out`, not an export alone.
    file_format
        As `export_session` takes it.
    annotated
        Adds classes and notes to the table of cells.
    figures
        Formats (png, svg, pdf) in which a figure of each field is written, ``<key>__figure.png``.

    Raises
    ------
    ScreenError, CellError, ModelError, ImageError, OutputError, DeviceError
        Where there is no such field or cell, or the adapter, the image or the folder is not usable.
    """
    out = check_output(out, EXPORT, overwrite)
    check_format(file_format)
    figures = check_figures(figures)
    annotated = annotated or _as_it_is
    adapter.check_channels(tuple(screen.channel_names), "the screen")
    field = _field(screen, key)
    only = screen.select(np.array([one.key == field.key for one in screen]))
    cells = yield from adapter.cells_as_trained(only, cells)
    table = annotated(_chosen(cells.table, field.key, labels))
    where = resolve_device(device)
    translator = Translator((yield from open_base(adapter.base, where)), adapter, settings)
    image = field.image()
    plane = image.plane()
    windows = [window_at(cell.y, cell.x, adapter.crop) for cell in table.itertuples()]
    translated = yield from _translated(translator, plane, windows)
    strength = settings.strengths[-1]
    exported = composed(field.key, image, translated, strength)
    if field.key in cells.labels:
        inside = labels_inside(
            cells.labels[field.key], annotated(cells.table[cells.table["field"] == field.key]), image
        )
        exported = [replace(one, labels=inside[0], tables=inside[1]) for one in exported]
    made_with = translator.settings_for().to_dict()
    facts = {
        **_facts_of(adapter), **made_with, "strength": strength, "device": where,
        "inputs_sha256": screen_fingerprint(only, cells),
    }  # fmt: skip
    rows = cell_rows(table, translated, strength).assign(t=image.position[0], z=image.position[1])
    looks = plain_looks(exported[0].image, adapter.intensity.low, adapter.intensity.high)
    return (
        yield from export_session(
            out.parent, out.name, exported, rows, facts, overwrite, looks=looks, file_format=file_format,
            beside=lambda new: write_figures(new, exported, looks, figures),
        )
    )  # fmt: skip


def labels_inside(
    pixels: NDArray[Any], table: "pd.DataFrame", image: FieldImage
) -> "tuple[dict[str, LabelImage], dict[str, pd.DataFrame]]":
    """The found cells of a field as `ExportedField` takes labels and tables; classes and notes go with both."""
    from phenolens.screens.ome_zarr.images import LabelImage

    said = [name for name in ("class", "note") if name in table.columns]
    properties = table.set_index("label")[said] if said else None
    features = table.drop(columns="field").assign(label=table["label"].astype("int64")).reset_index(drop=True)
    look = labels_look("cells", pixels, image, features)
    inside = LabelImage(pixels, "YX", properties, details=ImageDetails(facts={"layer": look}))
    return {"cells": inside}, {"cells": features}


def _as_it_is(table: "pd.DataFrame") -> "pd.DataFrame":
    return table


def composed(key: str, image: FieldImage, cells: Sequence[CellTranslation], strength: float) -> list[ExportedField]:
    """A field with all of `cells` at one of their strengths in the plane that stands for it, ready to be exported."""
    composite = Composite(image.plane())
    composite.put_all(
        {number: (cell.window, cell.difference[cell.strengths.index(strength)]) for number, cell in enumerate(cells)}
    )
    return exported_planes(key, image, {image.position: composite}, strength, cells[0].conditions)


def cell_rows(table: "pd.DataFrame", cells: Sequence[CellTranslation], strength: float) -> "pd.DataFrame":
    """Table of translated cells: a row of `table` for each of `cells`, with how it was translated."""
    return table.reset_index(drop=True).assign(
        window_y=[cell.window.y for cell in cells],
        window_x=[cell.window.x for cell in cells],
        window_size=[cell.window.size for cell in cells],
        changed_part="crop",
        source=[cell.conditions[0] for cell in cells],
        target=[cell.conditions[1] for cell in cells],
        strength=strength,
        steps=[cell.steps for cell in cells],
        seed=[cell.settings.seed for cell in cells],
        mean_absolute_difference=[
            float(np.abs(cell.difference[cell.strengths.index(strength)]).mean()) for cell in cells
        ],
        synthetic=True,
    )


@one_at_a_time()
def export_translated(
    folder: Path,
    out: Path,
    *,
    key: str | None = None,
    strength: float = 1.0,
    overwrite: bool = False,
    file_format: str = "ome-tiff",
    annotated: Annotated | None = None,
    figures: Sequence[str] = (),
) -> Job[Path]:
    """Write the export set of fields that `translate_screen` wrote to `folder`.

    Parameters
    ----------
    key
        The field's key; all fields where None.
    strength
        One of the strengths that were written; strength 0 must be there too, for it is the source.
    overwrite
        Replace any earlier output of phenolens in `out`, not an export alone.
    file_format
        As `export_session` takes it.
    annotated
        Adds classes and notes to the table of cells.
    figures
        Formats (png, svg, pdf) in which a figure of each field is written, ``<key>__figure.png``.

    Raises
    ------
    ModelError
        Where `folder` is not what `translate_screen` writes, or lacks a strength.
    ScreenError
        Where it has no such field.
    """
    import pandas as pd

    out = check_output(out, EXPORT, overwrite)
    check_format(file_format)
    figures = check_figures(figures)
    folder = Path(folder)
    facts = translation_facts(folder)
    if facts is None:
        raise ModelError(f"{folder} is neither an adapter nor the output of translate: give one of them.")
    keys = [str(name) for name in facts["inputs"]]
    if key is not None and key not in keys:
        raise ScreenError(f"{folder} has no field {key}: {_listed(keys)}.")
    chosen = keys if key is None else [key]
    conditions = (str(facts["conditions"][0]), str(facts["conditions"][1]))
    files = ResultFiles.from_facts(facts)
    exported = []
    for number, name in enumerate(chosen, start=1):
        exported.append(_translated_field(folder, files, name, strength, conditions))
        yield Progress(number, len(chosen), f"Reading {name}")
    table = pd.read_parquet(folder / "cells.parquet")
    table = table[table["field"].isin(chosen)].reset_index(drop=True).assign(strength=strength)
    table = (annotated or _as_it_is)(table)
    kept = ("adapter", "base", "conditions", "intensity", "device", *(one.name for one in fields(TranslationSettings)))
    known: dict[str, Any] = {name: facts[name] for name in kept if name in facts}
    known |= {"strength": strength, "translated_in": str(folder)}
    known["inputs_sha256"] = fingerprint(*(sha256_of(folder / files.name(name, kind_of(strength))) for name in chosen))
    limits = facts.get("intensity") or {}
    looks = plain_looks(exported[0].image, limits["low"], limits["high"]) if {"low", "high"} <= set(limits) else None

    def beside(new: Path) -> None:
        if looks is not None and figures:
            write_figures(new, exported, looks, figures, _other_strengths(folder, exported, files))

    return (
        yield from export_session(
            out.parent, out.name, exported, table, known, overwrite, looks=looks, file_format=file_format,
            beside=beside,
        )
    )  # fmt: skip


def _translated_field(
    folder: Path, files: ResultFiles, key: str, strength: float, conditions: tuple[str, str]
) -> ExportedField:
    """A field at one strength, beside its source, as `translate_screen` wrote them."""
    source, translated = (folder / files.name(key, kind_of(value)) for value in (0.0, strength))
    absent = next((path for path in (source, translated) if not path.exists()), None)
    if absent is not None:
        raise ModelError(f"There is no {absent}: translate with --strength 0 {strength:g} first.")
    if Manifest(folder).damaged(key):
        raise ModelError(
            f"The files of {key} in {folder} are not what translate wrote: give its command again, which makes them "
            "anew."
        )
    image = read_image(source)
    made = np.asarray(read_image(translated).data)
    difference = np.subtract(made, np.asarray(image.data), dtype=np.float32)
    return ExportedField(
        key=key, image=image, translated=made, difference=difference, strength=strength, conditions=conditions
    )


def _other_strengths(
    folder: Path, exported: Sequence[ExportedField], files: ResultFiles
) -> dict[str, dict[float, NDArray[Any]]]:
    """The fields at lower strengths that were written too."""
    found: dict[str, dict[float, NDArray[Any]]] = {}
    for field in exported:
        lower = {strength for strength in files.strengths if 0 < strength < field.strength}
        paths = {strength: folder / files.name(field.key, kind_of(strength)) for strength in lower}
        found[field.stem] = {one: np.asarray(read_image(path).data) for one, path in paths.items() if path.exists()}
    return found


def translation_facts(folder: Path) -> dict[str, Any] | None:
    """The provenance of an output folder of `translate_screen`, or None where `folder` is none, or is unfinished."""
    if not (folder / "cells.parquet").is_file():
        return None
    try:
        facts = read_json_object(folder / "provenance.json")
    except (OSError, ValueError):
        return None
    return facts if {"inputs", "conditions", "strengths"} <= set(facts) else None


def _translated(translator: Translator, plane: NDArray[Any], windows: Sequence[Window]) -> Job[list[CellTranslation]]:
    """Translate the cells of one plane, a batch at a time."""
    found: list[CellTranslation] = []
    for start in range(0, len(windows), _BATCH):
        found += yield from translator.translate_crops([plane], windows[start : start + _BATCH])
    return found


def _facts_of(adapter: Adapter) -> dict[str, Any]:
    """What an export's provenance says of the adapter itself."""
    return {
        "adapter": None if adapter.folder is None else str(adapter.folder),
        "adapter_sha256": adapter.sha256(),
        "base": adapter.base,
        "conditions": list(adapter.conditions),
        "intensity": adapter.intensity.to_dict(),
    }


def _field(screen: Screen, key: str | None) -> Field:
    keys = [field.key for field in screen]
    if key is None and len(keys) > 1:
        raise ScreenError(f"The screen has {len(keys)} fields, so say which one: {_listed(keys)}.")
    if key is not None and key not in keys:
        raise ScreenError(f"The screen has no field {key}: {_listed(keys)}.")
    return screen[key or keys[0]]


def _chosen(table: "pd.DataFrame", key: str, labels: Sequence[int] | None) -> "pd.DataFrame":
    here = table[table["field"] == key]
    if here.empty:
        raise CellError(f"No cell was found in field {key}: give label images, or choose another field.")
    if labels is None:
        return here
    known = [int(label) for label in here["label"]]
    missing = [label for label in labels if label not in known]
    if missing:
        raise CellError(f"Field {key} has no cell {missing[0]}: {_listed([str(label) for label in known])}.")
    return here[here["label"].isin(labels)]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"there are {', '.join(names[:_NAMED])}{more}"
