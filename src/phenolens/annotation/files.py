"""Files of annotations: CSV and Parquet, which come back as they were written."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.columns import (
    CLASS,
    COLOUR,
    COLUMNS,
    FIELD,
    LABEL,
    NOTE,
    PREFIX,
    PROBABILITY,
    SHORTCUT,
    SUGGESTED,
)
from phenolens.annotation.csv_text import original_text, safe_text, value_of, value_text
from phenolens.annotation.tables import from_rows, to_rows
from phenolens.runtime.errors import AnnotationError, OutputError
from phenolens.runtime.files import writing
from phenolens.runtime.json_files import parsed_json

_TEXT = frozenset({FIELD, CLASS, COLOUR, NOTE, SUGGESTED})
_MIXED = b"phenolens_mixed_columns"
_PARQUET = {".parquet", ".pq"}
_SEPARATED = {".csv": ",", ".tsv": "\t"}
_LONGEST_NOTE = 1 << 27


def write_annotations(annotations: Annotations, path: str | os.PathLike[str]) -> Path:
    """Write annotations and suggestions as CSV, TSV or Parquet, whole or not at all.

    In CSV, text that a spreadsheet could take for a formula gets a mark ``'`` before it; `read_annotations` takes it
    away again.

    Raises
    ------
    OutputError
        The name ends in none of them, or the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in {*_PARQUET, *_SEPARATED}:
        raise OutputError(f"Annotations are written as .csv, .tsv or .parquet, and {path.name} is none of them.")
    names = [*COLUMNS, *(PREFIX + column for column in annotations.own_columns)]
    rows = to_rows(annotations)
    with writing(path) as partial:
        if ending in _PARQUET:
            _write_parquet(partial, names, rows)
        else:
            # Excel knows UTF-8 by the mark at the beginning
            with partial.open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.writer(file, delimiter=_SEPARATED[ending], lineterminator="\r\n")
                writer.writerow([safe_text(name) for name in names])
                writer.writerows([_cell(name, row.get(name)) for name in names] for row in rows)
    return path


def read_annotations(path: str | os.PathLike[str]) -> Annotations:
    """Read annotations from a CSV, TSV or Parquet table with ``Metadata_Field`` and ``Metadata_Label``.

    Raises
    ------
    AnnotationError
        There is no such file, or it is no such table; the message says why.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if not path.is_file():
        raise AnnotationError(f"There is no file of annotations {path}.")
    if ending in _PARQUET:
        return from_rows(_read_parquet(path), path.name)
    if ending not in _SEPARATED:
        raise AnnotationError(f"Annotations are read from .csv, .tsv and .parquet, and {path.name} is none of them.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(_LONGEST_NOTE)
            lines = list(csv.reader(file, delimiter=_SEPARATED[ending], strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise AnnotationError(f"{path} cannot be read as a table ({error}).") from error
    if not lines:
        raise AnnotationError(f"{path} is empty.")
    names = [original_text(name) for name in lines[0]]
    if len(set(names)) < len(names):
        raise AnnotationError(f"{path} has a column twice: {', '.join(names)}.")
    uneven = next((number for number, line in enumerate(lines, 1) if line and len(line) != len(names)), None)
    if uneven is not None:
        raise AnnotationError(f"Record {uneven} of {path} has {len(lines[uneven - 1])} values, not {len(names)}.")
    rows = [{n: _value(n, cell) for n, cell in zip(names, line, strict=True)} for line in lines[1:] if line]
    return from_rows(rows, path.name)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    return safe_text(value) if name in _TEXT else value_text(value)


def _value(name: str, cell: str) -> Any:
    if cell == "":
        return None
    return original_text(cell) if name in _TEXT else value_of(cell)


def _write_parquet(path: Path, names: list[str], rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {name: pa.string() for name in _TEXT}
    kinds |= {LABEL: pa.int64(), SHORTCUT: pa.int64(), PROBABILITY: pa.float64()}
    of_type = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    mixed = []
    for name in names[len(COLUMNS) :]:
        types = {type(row[name]) for row in rows if row.get(name) is not None}
        if len(types) == 1:
            kinds[name] = of_type[types.pop()]
        else:  # written as in CSV, so that 1 and "1" stay apart
            mixed.append(name)
            kinds[name] = pa.string()
    arrays = [
        pa.array(
            [value_text(row[name]) if name in mixed and row.get(name) is not None else row.get(name) for row in rows],
            kinds[name],
        )
        for name in names
    ]
    schema = pa.schema([(name, kinds[name]) for name in names], {_MIXED: json.dumps(mixed).encode()})
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        mixed = parsed_json((table.schema.metadata or {}).get(_MIXED, b"[]"))
        rows: list[dict[str, Any]] = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise AnnotationError(f"{path} cannot be read as Parquet ({' '.join(str(error).split())[:200]}).") from error
    for row in rows:
        row.update({name: value_of(row[name]) for name in mixed if row.get(name) is not None})
    return rows
