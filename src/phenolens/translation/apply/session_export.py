"""Write translated cells as a set of files: layers of each field, a table of the cells, and where they come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.runtime.errors import CellError
from phenolens.runtime.output_kinds import EXPORT
from phenolens.runtime.outputs import check_output, writing_output
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import write_provenance
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.images import FieldImage
from phenolens.translation.apply.composite import Composite

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
    image
        Its raw pixels: all of them, or one plane of a stack or a series.
    translated, difference
        The same pixels translated, and translated minus source (float32, intensity units); shaped as ``image.data``.
    strength
        Slider position that they show.
    conditions
        Names of the source and the target.
    plane
        Which plane of a stack or a series it is, such as ``t0_z3``; empty where it is the whole field.
    """

    key: str
    image: FieldImage
    translated: np.ndarray
    difference: np.ndarray
    strength: float
    conditions: tuple[str, str]
    plane: str = ""

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{self.key}__{self.plane}" if self.plane else self.key


def exported_planes(
    key: str,
    image: FieldImage,
    composites: Mapping[tuple[int, int], Composite],
    strength: float,
    conditions: tuple[str, str],
) -> list[ExportedField]:
    """What is written of a field: all of it where every plane is translated, else each translated plane by itself.

    Parameters
    ----------
    composites
        The translated planes by time and depth (t, z).
    """
    axes = image.stack_axes
    if axes and all(position in composites for position in image.positions()):
        planes = [composites[position] for position in image.positions()]
        source, translated, difference = (
            image.restacked(getattr(plane, kind) for plane in planes) for kind in ("plane", "translated", "difference")
        )
        return [ExportedField(key, source, translated.data, difference.data, strength, conditions)]
    return [
        ExportedField(
            key,
            FieldImage(composite.plane, "CYX", image.channel_names, image.pixel_size),
            composite.translated,
            composite.difference,
            strength,
            conditions,
            "_".join(f"{axis.lower()}{at}" for axis, at in zip("TZ", position, strict=True) if axis in axes),
        )
        for position, composite in sorted(composites.items())
    ]


def export_session(
    folder: Path,
    name: str,
    fields: Sequence[ExportedField],
    cells: "pd.DataFrame",
    facts: dict[str, Any],
    overwrite: bool = False,
    looks: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    beside: Callable[[Path], object] | None = None,
) -> Job[Path]:
    """Write the layers, cells and provenance of translated cells to the new folder ``<folder>/<name>``.

    For each field ``<key>__source.ome.tif`` (raw), ``<key>__translated.ome.tif`` (marked synthetic, in the source's
    dtype) and ``<key>__difference.ome.tif`` (float32, intensity units), ``<key>__<plane>__...`` where it is one plane
    of a stack or a series; one ``cells.parquet`` (a row a cell), and ``provenance.json``. The folder is written whole
    or not at all; an earlier export of the same name is replaced.

    Parameters
    ----------
    cells
        A row a translated cell.
    facts
        What the provenance tells beside the fields and the versions.
    overwrite
        Replace any earlier output of phenolens of that name, not an export alone.
    looks
        How the channels of "source", "translated" and "difference" look in a viewer, put into the files' descriptions
        so that they come back so.
    beside
        Called with the new folder before it is whole, to write more files into it.

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
    out = check_output(Path(folder) / name, EXPORT, overwrite)
    with writing_output(out, EXPORT, overwrite) as temporary:
        for number, field in enumerate(fields, start=1):
            _write_layers(temporary, field, looks or {}, several=len(fields) > 1)
            yield Progress(number, len(fields), f"Writing the layers of {field.stem}")
        if beside is not None:
            beside(temporary)
        cells.to_parquet(temporary / "cells.parquet")
        write_provenance(
            temporary,
            made_by=_MADE_BY,
            synthetic=True,
            fields=list(dict.fromkeys(field.key for field in fields)),
            cells=len(cells),
            **facts,
        )
    return out


def _write_layers(
    folder: Path, field: ExportedField, looks: Mapping[str, Sequence[Mapping[str, Any]]], several: bool
) -> None:
    source, target = field.conditions
    image = field.image
    about = {"field": field.key} | ({"plane": field.plane} if field.plane else {})
    made = {**about, "source": source, "target": target, "strength": field.strength}
    layers: list[tuple[str, np.ndarray, bool, dict[str, Any]]] = [
        ("source", np.asarray(field.image.data), False, about),
        ("translated", field.translated, True, made),
        (
            "difference",
            field.difference,
            True,
            made | {"content": "translated minus source, in intensity units"},
        ),
    ]
    for name, pixels, synthetic, facts in layers:
        look = looks.get(name)
        description = facts if look is None else facts | {"layers": _looks(look, field, pixels, several)}
        write_ome_tiff(
            folder / f"{field.stem}__{name}.ome.tif", pixels, image.axes, image.channel_names, image.pixel_size,
            synthetic=synthetic, description=description, z_spacing=image.z_spacing,
            time_scale=image.scale("T"),
        )  # fmt: skip


def _looks(
    looks: Sequence[Mapping[str, Any]], field: ExportedField, pixels: np.ndarray, several: bool
) -> list[dict[str, Any]]:
    """How the channels of this field look: as those of the field on display, which may have more axes."""
    axes = field.image.axes
    shape = [length for axis, length in zip(axes, pixels.shape, strict=True) if axis != "C"]
    made = []
    for look in looks:
        flat = dict(look)
        flat["metadata"] = {"phenolens": {**look.get("metadata", {}).get("phenolens", {}), "field": field.key}}
        if several:
            flat["name"] = f"{look.get('name', '')} · {field.stem}"
        for name in ("scale", "translate", "units", "axis_labels"):
            if name in flat:
                flat[name] = list(flat[name])[-len(shape) :]
        if "scale" in flat and len(look["scale"]) != len(shape):
            for name in ("rotate", "shear", "affine"):
                flat.pop(name, None)
        made.append({"kind": "image", "dtype": str(pixels.dtype), "shape": shape, **flat})
    return made
