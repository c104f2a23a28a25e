"""Write translated cells as a set of files: layers of each field, a table of the cells, and where they come from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.runtime.errors import CellError, OutputError
from phenolens.runtime.files import writing_folder
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import write_provenance
from phenolens.screens.export import write_ome_tiff
from phenolens.translation.composite import Composite

if TYPE_CHECKING:
    import pandas as pd

_MADE_BY = "export_session"


@dataclass(frozen=True)
class ExportedField:
    """A field with its translated cells.

    Parameters
    ----------
    key
        The field's key, which the files are named after.
    composite
        Its raw plane (C, H, W) with the cells translated.
    pixel_size
        Micrometres a pixel in Y and X, or None where unknown.
    strength
        Slider position that the composite shows.
    conditions
        Names of the source and the target.
    """

    key: str
    composite: Composite
    channel_names: tuple[str, ...]
    pixel_size: tuple[float, float] | None
    strength: float
    conditions: tuple[str, str]


def export_session(
    folder: Path, name: str, fields: Sequence[ExportedField], cells: "pd.DataFrame", facts: dict[str, Any]
) -> Job[Path]:
    """Write the layers, cells and provenance of translated cells to the new folder ``<folder>/<name>``.

    For each field ``<key>__source.ome.tif`` (raw), ``<key>__translated.ome.tif`` (marked synthetic, in the source's
    dtype) and ``<key>__difference.ome.tif`` (float32, intensity units); one ``cells.parquet`` (a row a cell) and one
    ``provenance.json``. The folder is written whole or not at all; an earlier export of the same name is replaced.

    Parameters
    ----------
    cells
        A row a translated cell.
    facts
        What the provenance tells beside the fields and the versions.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    CellError
        Where no cell is translated.
    OutputError
        Where the folder cannot be written, or holds something else.
    """
    if not fields or cells.empty:
        raise CellError("No cell is translated yet: translate at least one, then export.")
    out = Path(folder) / name
    if out.is_dir() and any(out.iterdir()) and not _is_export(out):
        raise OutputError(f"{out} exists and is not an export: choose another folder, so that nothing is overwritten.")
    with writing_folder(out) as temporary:
        for number, field in enumerate(fields, start=1):
            _write_layers(temporary, field)
            yield Progress(number, len(fields), f"Writing the layers of {field.key}")
        cells.to_parquet(temporary / "cells.parquet")
        write_provenance(
            temporary,
            made_by=_MADE_BY,
            synthetic=True,
            fields=[field.key for field in fields],
            cells=len(cells),
            **facts,
        )
    return out


def _is_export(folder: Path) -> bool:
    try:
        known = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(known, dict) and known.get("made_by") == _MADE_BY


def _write_layers(folder: Path, field: ExportedField) -> None:
    source, target = field.conditions
    made = {"field": field.key, "source": source, "target": target, "strength": field.strength}
    layers: list[tuple[str, np.ndarray, bool, dict[str, Any]]] = [
        ("source", field.composite.plane, False, {"field": field.key}),
        ("translated", field.composite.translated, True, made),
        (
            "difference",
            field.composite.difference,
            True,
            made | {"content": "translated minus source, in intensity units"},
        ),
    ]
    for name, pixels, synthetic, description in layers:
        write_ome_tiff(
            folder / f"{field.key}__{name}.ome.tif", pixels, "CYX", field.channel_names, field.pixel_size,
            synthetic=synthetic, description=description,
        )  # fmt: skip
