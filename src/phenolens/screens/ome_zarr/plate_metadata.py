"""What a plate says of itself: where the images of a screen lie in it, its wells, and what was in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.errors import ImageError, ScreenError
from phenolens.screens.keys import safe_name
from phenolens.screens.ome_zarr.folders import open_group
from phenolens.screens.ome_zarr.tables import write_group, write_tables
from phenolens.screens.ome_zarr.writing import format_of, ome_attributes

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.table import Field, Screen

# Columns that say where a field is, and not what was in its well.
_PLACE = frozenset({"Plate", "Well", "Row", "Column", "Site", "Acquisition", "Index"})
Images = Mapping[tuple[str, str], Sequence[tuple[str, Any]]]
"""By row and column: the name of each image, and its acquisition."""


def by_plate(screen: Screen) -> dict[str, Screen]:
    """The fields of each plate of a screen, by the plate's name.

    Raises
    ------
    ScreenError
        Two of them would have one file name.
    """
    plates = [str(of.metadata.get("Metadata_Plate", "plate")) for of in screen]
    names = dict.fromkeys(plates)
    if len({safe_name(plate).casefold() for plate in names}) < len(names):
        raise ScreenError(f"Two of the plates {', '.join(names)} would have one file name: rename one.")
    return {name: screen.select([plate == name for plate in plates]) for name in names}


def plate_places(screen: Screen) -> list[str]:
    """Where `write_plates` puts the image of each field, such as ``plate1.zarr/B/3/1``, relative to its folder."""
    found = {
        key: f"{safe_name(plate)}.zarr/{'/'.join(place)}"
        for plate, fields in by_plate(screen).items() for key, place in places_in(fields).items()
    }  # fmt: skip
    return [found[field.key] for field in screen]


def places_in(screen: Screen) -> dict[str, tuple[str, str, str]]:
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


def conditions_of(screen: Screen, places: Mapping[str, tuple[str, str, str]]) -> DataFrame | None:
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


def plate_facts(name: str, done: Images, version: str, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """OME-Zarr's metadata of a plate with these images; rows, columns and acquisitions as `like` has them, or as found.

    Parameters
    ----------
    like
        Those of another plate, whose empty rows and columns, and names of acquisitions, this one shares.
    """
    rows = sorted({row for row, _ in done}, key=lambda row: (len(row), row))
    columns = sorted({column for _, column in done}, key=int)
    known = sorted({int(one) for images in done.values() for _, one in images if one is not None and one == one})
    rows, columns = _as_in(like, "rows", rows), _as_in(like, "columns", columns)
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
    if known:
        stated = (like or {}).get("acquisitions")
        there = [one for one in stated if isinstance(one, dict)] if isinstance(stated, list) else []
        same = {one.get("id") for one in there} >= set(known)
        plate["acquisitions"] = there if same else [{"id": one} for one in known]
    return plate if version == "0.5" else {**plate, "version": version}


def write_well(folder: Path, images: Sequence[tuple[str, Any]], version: str) -> None:
    """Write what a well says of its images: the name of each, and its acquisition where it has one."""
    listed = [
        {"path": name} | ({"acquisition": int(one)} if one is not None and one == one else {}) for name, one in images
    ]
    well: dict[str, Any] = {"images": listed} | ({} if version == "0.5" else {"version": version})
    write_group(folder, format_of(version), ome_attributes({"well": well}, version))


def describe_plate(
    folder: Path,
    fields: Screen,
    places: Mapping[str, tuple[str, str, str]],
    *,
    name: str,
    version: str,
    synthetic: bool,
    conditions: Mapping[str, Any],
) -> None:
    """Write all that a plate says of itself around images that were written one by one, its own group last.

    Parameters
    ----------
    fields
        Those whose images are there.
    places
        Row, column and name of the image, by field key.
    name
        Of the plate.
    synthetic
        Whether a model made its images.
    conditions
        What holds for every well beside what `fields` say, by column.
    """
    import pandas as pd

    done: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for field in fields:
        row, column, image = places[field.key]
        done.setdefault((row, column), []).append((image, field.metadata.get("Metadata_Acquisition")))
    zarr_format = format_of(version)
    table = conditions_of(fields, places)
    if table is None:
        table = pd.DataFrame(list(done), columns=["row", "column"])
    table = table.assign(**conditions)
    write_tables(folder, {"conditions": (table, {"type": "condition_table"})}, zarr_format)
    for row in {row for row, _ in done}:
        write_group(folder / row, zarr_format, {})
    for (row, column), images in done.items():
        write_well(folder / row / column, images, version)
    plate = plate_facts(name, done, version, _plate_of(fields.fields[0]))
    about = ome_attributes({"plate": plate}, version) | {"phenolens": {"format": 1, "synthetic": synthetic}}
    write_group(folder, zarr_format, about)


def version_of(field: Field) -> str:
    """Version of OME-Zarr that the image of a field is written in: 0.5 where it is none."""
    try:
        return open_group(field.address).version if field.address else "0.5"
    except ImageError:
        return "0.5"


def _plate_of(field: Field) -> Mapping[str, Any] | None:
    """What the plate that a field lies in says of itself; None where it lies in none."""
    root, *place = field.address.rsplit("/", 3)
    if len(place) < 3:
        return None
    try:
        plate = open_group(root).ome.get("plate")
    except ImageError:
        return None
    return plate if isinstance(plate, Mapping) else None


def _as_in(like: Mapping[str, Any] | None, what: str, names: list[str]) -> list[str]:
    stated = (like or {}).get(what)
    if not isinstance(stated, list):
        return names
    there = [str(one.get("name")) for one in stated if isinstance(one, dict)]
    return there if set(names) <= set(there) and len(set(there)) == len(there) else names
