"""Write a screen as OME-Zarr plates: a field an image, with its well, its labels and what was in the well."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.errors import OutputError, ScreenError
from phenolens.runtime.files import writable_folder
from phenolens.runtime.output_kinds import PLATE
from phenolens.runtime.outputs import named, remove_files, whose
from phenolens.runtime.progress import Job, Progress, relabelled
from phenolens.screens.image_details import ChannelDisplay
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.keys import safe_name
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.ome_zarr.tables import write_group, write_tables
from phenolens.screens.ome_zarr.writing import check_ours, format_of, ome_attributes, write_ome_zarr

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.table import Field, Screen

# Columns that say where a field is, and not what was in its well.
_PLACE = frozenset({"Plate", "Well", "Row", "Column", "Site", "Acquisition", "Index"})
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
    places = _places(screen)
    conditions = _conditions(screen, places)
    _make_way(target, overwrite)
    names = {str(of.metadata["Metadata_Plate"]) for of in screen if "Metadata_Plate" in of.metadata}
    name = names.pop() if names else re.sub(r"(\.ome)?\.zarr$", "", target.name)
    displays = yield from _shared_displays(screen)
    writable_folder(target)
    facts = {"format": 1, "synthetic": synthetic, **({"provenance": dict(provenance)} if provenance else {})}
    done: dict[tuple[str, str], list[tuple[str, Any]]] = {}

    def describe() -> None:
        plate = ome_attributes({"plate": _plate(name, done, version)}, version)
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
        well: dict[str, Any] = {"images": [_image(*one) for one in done[row, column]]}
        if version != "0.5":
            well["version"] = version
        write_group(target / row / column, zarr_format, ome_attributes({"well": well}, version))
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
    by_plate: dict[str, list[bool]] = {}
    plates = [str(of.metadata.get("Metadata_Plate", "plate")) for of in screen]
    for plate in dict.fromkeys(plates):
        by_plate[plate] = [other == plate for other in plates]
    if len({safe_name(plate).casefold() for plate in by_plate}) < len(by_plate):
        raise ScreenError(f"Two of the plates {', '.join(by_plate)} would have one file name: rename one.")
    before = 0
    for plate, mask in by_plate.items():
        chosen = screen.select(mask)

        def relabelled_progress(progress: Progress, before: int = before) -> Progress:
            return replace(progress, step=before + progress.step, total=len(screen))

        job = write_plate(Path(folder) / f"{safe_name(plate)}.zarr", chosen, **settings)
        written.append((yield from relabelled(job, relabelled_progress)))
        before += len(chosen)
    return written


def plate_places(screen: Screen) -> list[str]:
    """Where `write_plates` puts the image of each field, such as ``plate1.zarr/B/3/1``, relative to its folder."""
    plates = [str(of.metadata.get("Metadata_Plate", "plate")) for of in screen]
    places: dict[str, tuple[str, str, str]] = {}
    for plate in dict.fromkeys(plates):
        places |= _places(screen.select([other == plate for other in plates]))
    return [
        f"{safe_name(plate)}.zarr/{'/'.join(places[field.key])}" for plate, field in zip(plates, screen, strict=True)
    ]


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


def _places(screen: Screen) -> dict[str, tuple[str, str, str]]:
    """Row, column and name of the image, by field key."""
    plates = {str(of.metadata.get("Metadata_Plate", "")) for of in screen}
    if len(plates) > 1:
        raise ScreenError(f"These are {len(plates)} plates ({', '.join(sorted(plates)[:4])}): write each by itself.")
    places: dict[str, tuple[str, str, str]] = {}
    taken: dict[tuple[str, str, str], str] = {}
    count: dict[str, int] = {}
    for field in screen:
        well = str(field.metadata.get("Metadata_Well", ""))
        match = re.fullmatch(r"\s*([A-Za-z]{1,2})[\s/_-]*0*(\d{1,3})\s*", well)
        if match is None:
            raise ScreenError(
                f"Field {field.key} has no well that a plate knows ({well or 'none'}): Metadata_Well is written B03."
            )
        count[well] = count.get(well, 0) + 1
        site = field.metadata.get("Metadata_Site")
        image = re.sub(r"[^0-9A-Za-z]", "", _whole(site)) if site is not None and site == site else ""
        place = (match[1].upper(), match[2], image or str(count[well]))
        if (acquisition := field.metadata.get("Metadata_Acquisition")) is not None and place in taken:
            place = (*place[:2], f"{place[2]}acquisition{_whole(acquisition)}")
        if place in taken:
            raise ScreenError(
                f"Fields {taken[place]} and {field.key} are both image {place[2]} of well {well}: "
                "give them different values of Metadata_Site."
            )
        taken[place] = field.key
        places[field.key] = place
    return places


def _whole(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _conditions(screen: Screen, places: Mapping[str, tuple[str, str, str]]) -> DataFrame | None:
    """A row a well with the columns that say the same for all of its fields."""
    import pandas as pd

    columns = [
        name for name in map(str, screen.table.columns)
        if name.startswith("Metadata_") and name.removeprefix("Metadata_") not in _PLACE
    ]  # fmt: skip
    wells = pd.Series([places[key][:2] for key in screen.table.index], index=screen.table.index)
    first = ~wells.duplicated()
    kept = [
        name for name in columns
        if (screen.table[name].groupby(wells).transform("nunique", dropna=False) == 1).all()
    ]  # fmt: skip
    if not kept:
        return None
    table = screen.table.loc[first, kept].rename(columns=lambda name: name.removeprefix("Metadata_"))
    table.insert(0, "row", [place[0] for place in wells[first]])
    table.insert(1, "column", [place[1] for place in wells[first]])
    return table.reset_index(drop=True)


def _shared_displays(screen: Screen) -> Job[tuple[ChannelDisplay, ...]]:
    """One contrast a channel for all fields, from some of them: a brighter field must look brighter."""
    step = max(len(screen) // _SHOWN, 1)
    chosen = screen.fields[::step][:_SHOWN]
    yield Progress(0, len(screen), "Looking at the intensities")
    fitted = IntensityMap.fit((field.image().plane() for field in chosen), screen.channel_names)
    return tuple(ChannelDisplay(window=pair) for pair in zip(fitted.low, fitted.high, strict=True))


def _plate(name: str, done: Mapping[tuple[str, str], list[tuple[str, Any]]], version: str) -> dict[str, Any]:
    rows = sorted({row for row, _ in done}, key=lambda row: (len(row), row))
    columns = sorted({column for _, column in done}, key=int)
    acquisitions = sorted({int(one) for images in done.values() for _, one in images if one is not None and one == one})
    plate: dict[str, Any] = {
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
            for row, column in sorted(done, key=lambda well: (rows.index(well[0]), columns.index(well[1])))
        ],
        "field_count": max((len(images) for images in done.values()), default=0) or 1,
    }
    if acquisitions:
        plate["acquisitions"] = [{"id": one} for one in acquisitions]
    return plate if version == "0.5" else {**plate, "version": version}


def _image(path: str, acquisition: Any) -> dict[str, Any]:
    return {"path": path} | (
        {"acquisition": int(acquisition)} if acquisition is not None and acquisition == acquisition else {}
    )
