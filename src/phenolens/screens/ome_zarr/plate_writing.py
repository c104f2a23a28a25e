"""Write a screen as OME-Zarr plates: a field an image, with its well, its labels and what was in the well."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import writable_folder
from phenolens.runtime.output_kinds import PLATE
from phenolens.runtime.outputs import named, remove_files, whose
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.screens.image_details import ChannelDisplay
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.keys import safe_name
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.ome_zarr.plate_metadata import by_plate, conditions_of, places_in, plate_facts, write_well
from phenolens.screens.ome_zarr.tables import write_group, write_tables
from phenolens.screens.ome_zarr.writing import check_ours, format_of, ome_attributes, write_ome_zarr

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.table import Field, Screen

_SHOWN = 16  # fields that the contrast of all is taken from
LabelsOf = Callable[["Field"], Mapping[str, LabelImage]]


def write_plate(
    path: str | os.PathLike[str],
    screen: Screen,
    *,
    version: str = "0.5",
    labels: LabelsOf | None = None,
    tables: Callable[[Field], Mapping[str, DataFrame]] | None = None,
    synthetic: bool = False,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Job[Path]:
    """Write the fields of one plate as an OME-Zarr plate; `read_zarr_screen` of `plates` reads it back.

    Each image is written whole or not at all, and the plate's metadata name a well once its images are there: what an
    interrupted job leaves is a smaller plate. What was in the wells becomes a condition table as ngio has them.

    Parameters
    ----------
    path
        Folder to write, ``<plate>.zarr`` by custom.
    screen
        Fields with ``Metadata_Well`` (such as ``B03``); ``Metadata_Site`` and ``Metadata_Acquisition`` where known.
    version, synthetic, provenance
        As `write_ome_zarr` takes them.
    labels, tables
        Give the label images and tables of a field by name.
    overwrite
        Whether a plate that Phenolens wrote may be replaced.

    Raises
    ------
    ScreenError
        The fields are not those of one plate, lack a well, or two of them are one site.
    OutputError
        The folder cannot be written, or something is there that is not to be replaced.
    """
    target = Path(path)
    zarr_format = format_of(version)
    places = places_in(screen)
    conditions = conditions_of(screen, places)
    _make_way(target, overwrite)
    names = {str(of.metadata["Metadata_Plate"]) for of in screen if "Metadata_Plate" in of.metadata}
    name = names.pop() if names else re.sub(r"(\.ome)?\.zarr$", "", target.name)
    displays = yield from _shared_displays(screen)
    writable_folder(target)
    facts = {"format": 1, "synthetic": synthetic, **({"provenance": dict(provenance)} if provenance else {})}
    done: dict[tuple[str, str], list[tuple[str, Any]]] = {}

    def describe() -> None:
        plate = ome_attributes({"plate": plate_facts(name, done, version)}, version)
        write_group(target, zarr_format, plate | {"phenolens": facts})

    describe()
    if conditions is not None:
        write_tables(target, {"conditions": (conditions, {"type": "condition_table"})}, zarr_format)
    for step, field in enumerate(screen):
        row, column, image_path = places[field.key]
        yield Progress(step, len(screen), f"Writing {field.key}")
        image = field.image()
        if not image.details.displays:
            image = replace(image, details=replace(image.details, displays=displays))
        image = replace(image, details=replace(image.details, name=image.details.name or field.key))
        write_ome_zarr(
            target / row / column / image_path, image, version=version, synthetic=synthetic, provenance=provenance,
            labels=labels(field) if labels else None, tables=tables(field) if tables else None,
        )  # fmt: skip
        write_group(target / row, zarr_format, {})
        done.setdefault((row, column), []).append((image_path, field.metadata.get("Metadata_Acquisition")))
        write_well(target / row / column, done[row, column], version)
        describe()
    yield Progress(len(screen), len(screen), f"Wrote {target}")
    return target


def write_plates(folder: str | os.PathLike[str], screen: Screen, **settings: Any) -> Job[list[Path]]:
    """Write each plate of a screen as ``<plate>.zarr`` in `folder`; `read_screen` opens that folder as one screen.

    Parameters
    ----------
    **settings
        As `write_plate` takes them.

    Raises
    ------
    ScreenError, OutputError
        As `write_plate` does.
    """
    written: list[Path] = []
    before = 0
    for plate, chosen in by_plate(screen).items():

        def relabelled_progress(progress: Progress, before: int = before) -> Progress:
            return replace(progress, step=before + progress.step, total=len(screen))

        job = write_plate(Path(folder) / f"{safe_name(plate)}.zarr", chosen, **settings)
        written.append((yield from relabelled(job, relabelled_progress)))
        before += len(chosen)
    return written


def _make_way(target: Path, overwrite: bool) -> None:
    check_ours(target)
    if not target.exists() or not any(target.iterdir()):
        return
    if not overwrite:
        raise OutputError(f"{target} exists: choose another name, or say that it may be overwritten.")
    ours, others = whose(target, PLATE)
    if others:
        raise OutputError(
            f"{target} holds more than the plate that Phenolens wrote, which is not replaced with it: {named(others)}. "
            "Move that away, or choose another name."
        )
    remove_files(target, ours)


def _shared_displays(screen: Screen) -> Job[tuple[ChannelDisplay, ...]]:
    """One contrast a channel for all fields, from some of them: a brighter field must look brighter."""
    step = max(len(screen) // _SHOWN, 1)
    chosen = screen.fields[::step][:_SHOWN]
    yield Progress(0, len(screen), "Looking at the intensities")
    fitted = IntensityMap.fit((field.image().plane() for field in chosen), screen.channel_names)
    return tuple(ChannelDisplay(window=pair) for pair in zip(fitted.low, fitted.high, strict=True))
