"""Write translated cells as a set of files: layers of each field, a table of the cells, and where they come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.runtime.csv_tables import write_csv
from phenolens.runtime.errors import CellError, OutputError
from phenolens.runtime.output_kinds import EXPORT
from phenolens.runtime.outputs import check_output, writing_output
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import write_provenance
from phenolens.screens.export import WRITERS
from phenolens.screens.image_details import ImageDetails
from phenolens.screens.images import FieldImage
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.large_composite import LargeComposite

if TYPE_CHECKING:
    import pandas as pd

    from phenolens.screens.ome_zarr.images import LabelImage

_MADE_BY = "export_session"
FORMATS = {"ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}
"""What the images of an export are written as, and how the names of their files end."""


def check_format(name: str) -> str:
    """The ending of a format's files.

    Raises
    ------
    OutputError
        There is no such format.
    """
    if name not in FORMATS:
        raise OutputError(f"There is no format {name!r}: choose {' or '.join(FORMATS)}.")
    return FORMATS[name]


@dataclass(frozen=True, kw_only=True)
class ExportedField:
    """A field with its translated cells, or one on which something was drawn.

    Parameters
    ----------
    key
        The field's key, which the files are named after.
    image
        Its raw pixels: all of them, or one plane of a stack or a series.
    translated, difference
        The same pixels translated, and translated minus source (float32, intensity units); shaped as ``image.data``,
        numpy, or dask where the field is large. None where no cell of the field was translated.
    strength
        Slider position that they show.
    conditions
        Names of the source and the target.
    plane
        Which plane of a stack or a series it is, such as ``t0_z3``; empty where it is the whole field.
    labels, tables
        Label images by name, and tables by name with a row a label, as `write_ome_zarr` takes them.
    """

    key: str
    image: FieldImage
    translated: Any
    difference: Any
    strength: float
    conditions: tuple[str, str]
    plane: str = ""
    labels: "Mapping[str, LabelImage]" = field(default_factory=dict)
    tables: "Mapping[str, pd.DataFrame]" = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{self.key}__{self.plane}" if self.plane else self.key


def exported_planes(
    key: str,
    image: FieldImage,
    composites: Mapping[tuple[int, int], Composite | LargeComposite],
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
            image.restacked(getattr(plane, kind) for plane in planes) for kind in ("source", "translated", "difference")
        )
        return [
            ExportedField(
                key=key, image=source, translated=translated.data, difference=difference.data, strength=strength,
                conditions=conditions,
            )
        ]  # fmt: skip
    return [
        ExportedField(
            key=key,
            image=FieldImage(
                composite.source, "CYX", image.channel_names, image.pixel_size,
                details=ImageDetails(scales=image.details.scales),
            ),
            translated=composite.translated,
            difference=composite.difference,
            strength=strength,
            conditions=conditions,
            plane="_".join(f"{axis.lower()}{at}" for axis, at in zip("TZ", position, strict=True) if axis in axes),
        )
        for position, composite in sorted(composites.items())
    ]  # fmt: skip


def untranslated(key: str, image: FieldImage, conditions: tuple[str, str] = ("", "")) -> ExportedField:
    """What is written of a field none of whose cells are translated: its raw pixels, read while they are written."""
    channels = [image.channel(index) for index in range(image.n_channels)]
    if all(isinstance(channel, np.ndarray) for channel in channels):
        pixels: Any = np.stack(channels)
    else:
        import dask.array as da

        pixels = da.stack(channels)
    scales = ImageDetails(scales=image.details.scales)
    own = replace(image, data=pixels, axes=f"C{image.stack_axes}YX", details=scales, coarser=None)
    return ExportedField(key=key, image=own, translated=None, difference=None, strength=0.0, conditions=conditions)


def export_session(
    folder: Path,
    name: str,
    fields: Sequence[ExportedField],
    cells: "pd.DataFrame",
    facts: dict[str, Any],
    overwrite: bool = False,
    looks: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    beside: Callable[[Path], object] | None = None,
    file_format: str = "ome-tiff",
) -> Job[Path]:
    """Write the layers, cells and provenance of translated cells to the new folder ``<folder>/<name>``.

    For each field ``<key>__source`` (raw), ``<key>__translated`` (marked synthetic, in the source's dtype) and
    ``<key>__difference`` (float32, intensity units), ``<key>__<plane>__...`` where it is one plane of a stack or a
    series, as OME-TIFF or OME-Zarr 0.5; ``cells.parquet`` and ``cells.csv`` (a row a cell), and ``provenance.json``.
    Labels and their tables lie inside the source's OME-Zarr, or are ``<key>__<labels>.ome.tif`` beside it. The folder
    is written whole or not at all; an earlier export of the same name is replaced.

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
    file_format
        One of `FORMATS`.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    CellError
        Where there is no field.
    OutputError
        Where the folder cannot be written, or holds something else.
    """
    ending = check_format(file_format)
    if not fields:
        raise CellError("No cell is translated yet: translate at least one, then export.")
    out = check_output(Path(folder) / name, EXPORT, overwrite)
    with writing_output(out, EXPORT, overwrite) as temporary:
        for number, one in enumerate(fields, start=1):
            _write_layers(temporary, one, looks or {}, several=len(fields) > 1, ending=ending)
            yield Progress(number, len(fields), f"Writing the layers of {one.stem}")
        if beside is not None:
            beside(temporary)
        cells.to_parquet(temporary / "cells.parquet")
        write_csv(cells, temporary / "cells.csv")
        write_provenance(
            temporary,
            made_by=_MADE_BY,
            synthetic=any(one.translated is not None for one in fields),
            fields=list(dict.fromkeys(one.key for one in fields)),
            cells=len(cells),
            **facts,
        )
    return out


def _write_layers(
    folder: Path, of: ExportedField, looks: Mapping[str, Sequence[Mapping[str, Any]]], several: bool, ending: str
) -> None:
    source, target = of.conditions
    image = of.image
    about = {"field": of.key} | ({"plane": of.plane} if of.plane else {})
    made = {**about, "source": source, "target": target, "strength": of.strength}
    layers: list[tuple[str, Any, bool, dict[str, Any]]] = [
        ("source", image.data, False, about),
        ("translated", of.translated, True, made),
        ("difference", of.difference, True, made | {"content": "translated minus source, in intensity units"}),
    ]
    zarr = ending == FORMATS["ome-zarr"]
    for name, pixels, synthetic, facts in layers:
        if pixels is None:
            continue
        look = looks.get(name)
        description = facts if not look else facts | {"layers": _looks(look, of, pixels, several)}
        inside = {"labels": of.labels, "tables": of.tables} if zarr and name == "source" else {}
        WRITERS[ending](
            folder / f"{of.stem}__{name}{ending}", pixels, image.axes, image.channel_names, image.pixel_size,
            synthetic=synthetic, description=description, z_spacing=image.z_spacing,
            time_scale=image.scale("T"), **inside,
        )  # fmt: skip
    for name, labels in {} if zarr else of.labels.items():
        own = {fact: said for fact, said in labels.details.facts.get("layer", {}).items() if fact != "features"}
        WRITERS[ending](
            folder / f"{of.stem}__{name}{ending}", labels.pixels, labels.axes, (name,), image.pixel_size,
            synthetic=False, description=about | ({"layers": [own]} if own else {}), z_spacing=image.z_spacing,
        )  # fmt: skip


def _looks(looks: Sequence[Mapping[str, Any]], of: ExportedField, pixels: Any, several: bool) -> list[dict[str, Any]]:
    """How the channels of this field look: as those of the field on display, which may have more axes."""
    axes = of.image.axes
    shape = [length for axis, length in zip(axes, pixels.shape, strict=True) if axis != "C"]
    made = []
    for look in looks:
        flat = dict(look)
        flat["metadata"] = {"phenolens": {**look.get("metadata", {}).get("phenolens", {}), "field": of.key}}
        if several:
            flat["name"] = f"{look.get('name', '')} · {of.stem}"
        for name in ("scale", "translate", "units", "axis_labels"):
            if name in flat:
                flat[name] = list(flat[name])[-len(shape) :]
        if "scale" in flat and len(look["scale"]) != len(shape):
            for name in ("rotate", "shear", "affine"):
                flat.pop(name, None)
        made.append({"kind": "image", "dtype": str(pixels.dtype), "shape": shape, **flat})
    return made
