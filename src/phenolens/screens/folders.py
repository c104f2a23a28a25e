"""Make a screen's table from the names of the files in a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from phenolens.runtime.contents import IMAGE_SUFFIXES
from phenolens.runtime.errors import ScreenError
from phenolens.screens.tablefiles import as_numbers

if TYPE_CHECKING:
    from pandas import DataFrame

_CHANNEL = {"channel", "c", "ch", "wavelength", "w"}
_NAMES = {"field": "Site", "col": "Column"}
# Names that instruments give: ImageXpress, Opera and Operetta, Yokogawa.
_LAYOUTS = (
    r"(?:(?P<Plate>[^/]+)_)?(?P<Well>[A-P]\d{2})_s(?P<Site>\d+)_w(?P<Channel>\d)(?!_thumb)[^/]*$",
    r"r(?P<Row>\d{2})c(?P<Column>\d{2})f(?P<Site>\d{2,})p(?P<Depth>\d{2,})-ch(?P<Channel>\d+)[^/]*$",
    r"_(?P<Well>[A-P]\d{2})_T(?P<Time>\d+)F(?P<Site>\d+)L\d+A\d+Z(?P<Depth>\d+)C(?P<Channel>\d+)\.[^./]+$",
)


def folder_table(folder: Path, pattern: str | None = None) -> DataFrame:
    """Return a table with one row a field, as `read_screen` reads it, from the images in `folder` and below.

    Parameters
    ----------
    folder
        Where the images are.
    pattern
        Regular expression searched for in each file's path relative to the folder (with ``/``). Its named
        group ``Channel`` joins files to one field, every other named group becomes a ``Metadata_`` column
        (``Row`` and ``Column`` also make the ``Well``). Without a pattern the names of common instruments are
        tried; failing these, each image is a field, and its subfolder, if any, becomes ``Metadata_Folder``.

    Raises
    ------
    ScreenError
        No image, a pattern that fits none, two files for one channel of a field, or a channel without a file.
    """
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
    if not files:
        raise ScreenError(f"{folder} holds neither a screen.csv nor an image; give a table, or a folder with images.")
    if pattern is None:
        for layout in _LAYOUTS:
            matches = [re.search(layout, name) for name in files]
            if all(matches):
                return _matched_table(folder, files, re.compile(layout))
        return _plain_table(files)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ScreenError(f"The pattern {pattern!r} is not a regular expression: {error}.") from error
    if not compiled.groupindex:
        raise ScreenError(f"The pattern {pattern!r} names no group; write for example (?P<Well>[A-H][0-9]+).")
    return _matched_table(folder, files, compiled)


def _plain_table(files: list[str]) -> DataFrame:
    import pandas as pd

    rows = [{"Metadata_Folder": Path(name).parent.as_posix(), "Image": name} for name in files]
    table = pd.DataFrame(rows)
    return table if table["Metadata_Folder"].nunique() > 1 else table[["Image"]]


def _matched_table(folder: Path, files: list[str], pattern: re.Pattern[str]) -> DataFrame:
    import pandas as pd

    fields: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for name in files:
        matched = pattern.search(name)
        if matched is None:
            continue
        channel, metadata = "", {}
        for group, value in matched.groupdict(default="").items():
            if group.casefold() in _CHANNEL:
                channel = value
            else:
                metadata[_NAMES.get(group.casefold(), group[:1].upper() + group[1:])] = value
        if "Row" in metadata and "Column" in metadata and "Well" not in metadata:
            metadata["Well"] = _well(metadata["Row"], metadata["Column"])
        files_of_field = fields.setdefault(tuple(sorted(metadata.items())), {})
        if channel in files_of_field:
            raise ScreenError(
                f"{files_of_field[channel]} and {name} are the same field and channel by the pattern; "
                "add a named group that tells them apart."
            )
        files_of_field[channel] = name
    if not fields:
        raise ScreenError(f"The pattern {pattern.pattern!r} fits no image in {folder}, such as {files[0]!r}.")
    channels = sorted({channel for of_field in fields.values() for channel in of_field})
    rows = []
    for key, of_field in fields.items():
        row = {f"Metadata_{name}": value for name, value in key}
        for channel in channels:
            if channel not in of_field:
                raise ScreenError(
                    f"Channel {channel!r} has no file for the field of {next(iter(of_field.values()))}; "
                    f"each field needs all of the channels {', '.join(channels)}."
                )
            row["Image" if channels == [""] else f"FileName_{channel}"] = of_field[channel]
        rows.append(row)
    return pd.DataFrame(rows).apply(as_numbers)


def _well(row: str, column: str) -> str:
    letter = chr(ord("A") + int(row) - 1) if row.isdigit() and 1 <= int(row) <= 26 else row.upper()
    return f"{letter}{int(column):02d}" if column.isdigit() else letter + column
