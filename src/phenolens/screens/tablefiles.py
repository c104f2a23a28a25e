"""Read a screen's table and find the image files that its rows name."""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.errors import ImageError, PhenolensError, ScreenError
from phenolens.runtime.limits import COLUMNS, ROWS
from phenolens.screens.ome_zarr.folders import is_zarr

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# Identifiers stay text: plate 0012 is not 12.
_TEXT = frozenset({"Plate", "Well", "Batch", "Compound", "SMILES", "InChIKey", "Role", "Genotype", "Folder"})
_BLANK = frozenset({"", "nan", "NaN", "NA", "N/A", "None", "null"})


@dataclass(frozen=True)
class FieldFiles:
    """Files of one field: one for each of `channels`, or a single one where `channels` is empty."""

    paths: tuple[Path, ...]
    channels: tuple[str, ...]
    where: str


def read_table(path: Path) -> DataFrame:
    """Read a CSV, TSV or Parquet table; columns whose values are all numbers become numbers.

    Raises
    ------
    ScreenError
        The file is not such a table, has no rows, or more rows or columns than are read.
    """
    import pandas as pd

    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            table = _read_parquet(path)
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                header, separator = header_of(file.readline(MOST_HEADER))
            if path.suffix.lower() != ".txt":
                separator = "\t" if path.suffix.lower() == ".tsv" else ","
            check_table_size(0, len(header), path)
            # Read as text first: a compound called "null" or "NA" is a name, not a gap.
            table = pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=separator, index_col=False,
                nrows=ROWS() + 1,
            )  # fmt: skip
            table = table.apply(as_numbers)
    except PhenolensError:
        raise
    except Exception as error:  # parsers raise whatever a broken file leads them to
        raise ScreenError(f"The table {path} cannot be read ({one_line(error)}).") from error
    check_table_size(len(table), table.shape[1], path)
    if table.empty:
        raise ScreenError(f"The table {path} has no rows.")
    return table.reset_index(drop=True)


MOST_HEADER = 16 * 2**20
"""Characters of the line with the names of the columns; more of them are no header."""


def header_of(line: str) -> tuple[list[str], str]:
    """Names of the columns in the first line of a table, and the comma, semicolon or tab that is between them."""
    separator = max(",;\t", key=line.count)
    return next(csv.reader([line], delimiter=separator), []), separator


def check_table_size(rows: int, columns: int, path: Path) -> None:
    """Raise a `ScreenError` where a table has more rows or columns than are read."""
    for count, limit, what in ((rows, ROWS, "rows"), (columns, COLUMNS, "columns")):
        if count > limit():
            raise ScreenError(f"{path} has more than {limit():,} {what}; {limit.raised_by()}.")


def one_line(error: BaseException) -> str:
    """What an error says, in one line of at most 200 characters, or its kind where it says nothing."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def _read_parquet(path: Path) -> DataFrame:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        check_table_size(file.metadata.num_rows, file.metadata.num_columns, path)
        return checked(file.read())


def checked(table: Any) -> DataFrame:
    """A table of Arrow in pandas, its text decoded: what is none would be noticed only where it is first looked at.

    Raises
    ------
    pyarrow.ArrowInvalid
        Text in it is not UTF-8, or a value lies outside its column.
    """
    table.validate(full=True)
    frame: DataFrame = table.to_pandas()
    return frame


def field_files(table: DataFrame, folder: Path, source: str) -> list[FieldFiles]:
    """Return the image files of each row of `table`, whose paths are relative to `folder`.

    Raises
    ------
    ScreenError
        No column names images, or a row leaves one blank.
    ImageError
        Files are missing.
    """
    columns = [str(column) for column in table.columns]
    channels = tuple(column.removeprefix("FileName_") for column in columns if column.startswith("FileName_"))
    image_columns = ["Image"] if "Image" in columns else [f"FileName_{channel}" for channel in channels]
    if not image_columns:
        near = difflib.get_close_matches("Image", columns, n=1, cutoff=0.5) or [
            column for column in columns if column.casefold().startswith(("filename", "file_name", "path", "file"))
        ]
        hint = f" Did you mean {near[0]!r}? Rename it." if near else ""
        raise ScreenError(
            f"{source} has no column Image or FileName_<channel> that says where the images are.{hint}"
            f" Columns: {', '.join(columns)}."
        )
    found: list[FieldFiles] = []
    missing: list[str] = []
    known: dict[Path, bool] = {}
    for number in range(len(table)):
        where = f"row {number + 1}"
        paths = []
        for column in image_columns:
            name = _text(table[column].iloc[number])
            if not name:
                raise ScreenError(f"Row {number + 1} of {source} has no file name in column {column}.")
            base = column.replace("FileName_", "PathName_")
            within = _text(table[base].iloc[number]) if base != column and base in columns else ""
            path = _path(folder, within, name)
            if path not in known:
                known[path] = _is_file(path) or is_zarr(path)
            if not known[path]:
                missing.append(f"{path} ({where}, column {column})")
            paths.append(path)
        found.append(FieldFiles(tuple(paths), () if "Image" in columns else channels, where))
    if missing:
        count = (
            f"{len(missing)} of the {len(found) * len(image_columns)} image files"
            if len(missing) > 1
            else "An image file"
        )
        verb = "are missing; the first is" if len(missing) > 1 else "is missing:"
        raise ImageError(f"{count} that {source} names {verb} {missing[0]}. Paths are relative to {folder}.")
    return found


def _path(folder: Path, within: str, name: str) -> Path:
    path = folder / within / name
    if not _is_file(path) and "\\" in within + name:  # a table made on Windows
        path = folder / within.replace("\\", "/") / name.replace("\\", "/")
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have, such as one of 300 letters
        return False


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def as_numbers(column: Series) -> Series:
    """Return a column of text as numbers where all that is written in it are numbers."""
    import pandas as pd

    name = str(column.name)
    if name.removeprefix("Metadata_") in _TEXT or name.startswith(("FileName_", "PathName_")) or name == "Image":
        return column
    filled = column.where(~column.isin(_BLANK))
    if filled.isna().all():
        return column
    try:
        return pd.to_numeric(filled)
    except (ValueError, TypeError):
        return column
