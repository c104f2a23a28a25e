"""OME-Zarr plates as screens: a row an image, with plate, well, row, column, site and acquisition from its path."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.errors import ImageError, ScreenError
from phenolens.screens.keys import safe_name, unique_keys
from phenolens.screens.ome_zarr.conditions import as_metadata, conditions_beside, well_name, with_conditions
from phenolens.screens.ome_zarr.folders import ZarrGroup, is_url, is_zarr, joined, open_group
from phenolens.screens.ome_zarr.images import image_of, read_ome_zarr, series_of
from phenolens.screens.ome_zarr.tables import condition_table

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.images import FieldImage
    from phenolens.screens.table import Screen

_MOST_WELLS = 100_000
# Of an image: its own, or that of a group and the path from there.
_Address = tuple[ZarrGroup, str] | str


def read_zarr_screen(
    address: str | os.PathLike[str], conditions: str | os.PathLike[str] | DataFrame | None = None
) -> Screen:
    """Open an OME-Zarr plate, a folder of plates, or an OME-Zarr image as a screen, without opening an image.

    Parameters
    ----------
    address
        Path or URL.
    conditions
        What was in each well: a table, or the path of a CSV or Parquet file, see `plate_conditions.with_conditions`.
        Where None: the plate's own condition table, else ``<plate>.csv`` or ``conditions.csv`` beside it, if any.

    Raises
    ------
    ScreenError
        There is no image, or the conditions do not fit the plate.
    ImageError
        The metadata are damaged, or cannot be reached.
    """
    import pandas as pd

    from phenolens.screens.table import screen_of

    tables: list[DataFrame] = []
    addresses: list[_Address] = []
    for one in _plates_in(address):
        table, images = _rows(open_group(one), conditions)
        tables.append(table)
        addresses += images
    table = pd.concat(tables, ignore_index=True)
    keys = _keys(table, addresses)
    table = table.set_axis(pd.Index(keys, name="field"), axis=0)
    return screen_of(table, [partial(_read, image) for image in addresses], addresses=list(table["Image"]))


def plates_below(folder: Path) -> list[Path]:
    """The OME-Zarr groups directly in a folder that is none itself."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_zarr(path))


def _plates_in(address: str | os.PathLike[str]) -> list[str]:
    if is_url(address) or is_zarr(address):
        return [os.fspath(address)]
    return [str(path) for path in plates_below(Path(address))]


def _read(image: _Address) -> FieldImage:
    return read_ome_zarr(image) if isinstance(image, str) else _read_within(*image)


def _read_within(plate: ZarrGroup, path: str) -> FieldImage:
    group = plate.child(path)
    if group is None:
        raise ImageError(f"The OME-Zarr {plate.address} is not all there: it has no image {path}.")
    return image_of(group)


def _rows(group: ZarrGroup, conditions: str | os.PathLike[str] | DataFrame | None) -> tuple[DataFrame, list[_Address]]:
    """The table of what is at `group`, and the address of each row's image."""
    import pandas as pd

    ome, address = group.ome, group.address
    root = ZarrGroup(address, group.zarr_format, {})  # what each image keeps, and sends to other processes
    images: list[_Address]
    if "plate" in ome:
        rows = _plate_rows(group)
        images = [(root, row["Image"]) for row in rows]
        row_table = pd.DataFrame(rows)
        row_table["Image"] = [f"{address}/{path}" for path in row_table["Image"]]
        return _joined(row_table, group, conditions), images
    if conditions is not None:
        raise ScreenError(f"{address} is no plate, so that conditions by well do not fit it: leave them out.")
    if "well" in ome:
        found = _images_of_well(group, group)
        rows = [{"Metadata_Site": _number(path), **more, "Image": f"{address}/{path}"} for path, more in found]
        return pd.DataFrame(rows), [(root, path) for path, _ in found]
    if "multiscales" in ome:
        return pd.DataFrame([{"Image": address}]), [address]
    if "bioformats2raw.layout" in ome:
        names = series_of(group)
        rows = [{"Metadata_Site": _number(name), "Image": joined(address, name)} for name in names]
        return pd.DataFrame(rows), [(root, name) for name in names]
    raise ScreenError(f"{address} is a Zarr group, but neither an OME-Zarr plate nor an OME-Zarr image.")


def _plate_rows(group: ZarrGroup) -> list[dict[str, Any]]:
    plate = group.ome["plate"]
    wrong = partial(_wrong, group.address)
    if not isinstance(plate, dict) or not isinstance(plate.get("wells"), list):
        raise wrong("its plate does not list its wells")
    if not 0 < len(plate["wells"]) <= _MOST_WELLS:
        raise wrong(f"its plate lists {len(plate['wells'])} wells")
    paths = []
    for well in plate["wells"]:
        path = well.get("path") if isinstance(well, dict) else None
        if not isinstance(path, str) or path.count("/") != 1:
            raise wrong(f"the path {str(path)[:80]!r} of a well is not a row and a column, such as B/3")
        joined(group.address, path)
        paths.append(path)
    if len(set(paths)) < len(paths):
        raise wrong("its plate lists a well twice")
    rows = []
    for path, well in zip(paths, group.children(paths), strict=True):
        if well is None:
            raise ScreenError(f"The plate {group.address} is not all there: it has no well {path}.")
        row, column = path.split("/")
        place = {
            "Metadata_Plate": plate_name(group),
            "Metadata_Well": well_name(row, column),
            "Metadata_Row": row,
            "Metadata_Column": _number(column),
        }
        for image, more in _images_of_well(well, group):
            rows.append({**place, "Metadata_Site": _number(image), **more, "Image": f"{path}/{image}"})
    if not rows:
        raise ScreenError(f"The plate {group.address} holds no image.")
    return rows


def plate_name(group: ZarrGroup) -> str:
    """Name of a plate: as its metadata have it, else that of its folder without the ending."""
    plate = group.ome.get("plate")
    name = plate.get("name") if isinstance(plate, Mapping) else None
    if isinstance(name, str) and name.strip():
        return name.strip()
    return re.sub(r"(\.ome)?\.zarr$", "", group.address.rsplit("/", 1)[-1], flags=re.IGNORECASE)


def _images_of_well(well: ZarrGroup, plate: ZarrGroup) -> list[tuple[str, dict[str, Any]]]:
    about = well.ome.get("well")
    images = about.get("images") if isinstance(about, dict) else None
    if not isinstance(images, list):
        raise _wrong(plate.address, f"the well {well.address} does not list its images")
    found = []
    for image in images:
        path = image.get("path") if isinstance(image, dict) else None
        if not isinstance(path, str):
            raise _wrong(plate.address, f"an image of the well {well.address} has no path")
        joined(well.address, path)
        acquisition = image.get("acquisition")
        if acquisition is not None and type(acquisition) is not int:
            raise _wrong(plate.address, f"an acquisition of the well {well.address} is no whole number")
        found.append((path, {} if acquisition is None else {"Metadata_Acquisition": acquisition}))
    return found


def _wrong(address: str, why: str) -> ScreenError:
    return ScreenError(f"The OME-Zarr {address} is damaged: {why}.")


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _joined(table: DataFrame, group: ZarrGroup, conditions: str | os.PathLike[str] | DataFrame | None) -> DataFrame:
    import pandas as pd

    from phenolens.screens.tablefiles import read_table

    name = plate_name(group)
    if isinstance(conditions, pd.DataFrame):
        return with_conditions(table, conditions, name, "The table of conditions", whole=True)
    if conditions is not None:
        path = Path(conditions)
        if not path.is_file():
            raise ScreenError(f"There is no table of conditions {path}.")
        return with_conditions(table, read_table(path), name, str(path), whole=True)
    own = condition_table(group)
    if own is not None:
        own_name, rows = own
        return with_conditions(
            table, rows.apply(as_metadata), name, f"The condition table {own_name!r} of {group.address}", whole=False
        )
    beside = None if is_url(group.address) else conditions_beside(Path(group.address))
    if beside is not None:
        return with_conditions(table, read_table(beside), name, str(beside), whole=True)
    return table


def _keys(table: DataFrame, addresses: list[_Address]) -> list[str]:
    if "Metadata_Well" in table.columns:
        parts = zip(table["Metadata_Plate"], table["Metadata_Well"], table["Metadata_Site"], strict=True)
        return unique_keys([f"{plate}_{well}_s{site}" for plate, well, site in parts])
    names = []
    for address in addresses:
        whole = address if isinstance(address, str) else f"{address[0].address}_{address[1]}"
        names.append(safe_name(re.sub(r"(\.ome)?\.zarr", "", whole.rstrip("/").rsplit("/", 1)[-1])))
    return unique_keys(names)
