"""Classes and notes in the tables of cells that are exported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.columns import CLASS, FIELD, LABEL, NOTE, PREFIX, PROBABILITY, SUGGESTED
from phenolens.runtime.errors import AnnotationError
from phenolens.runtime.files import writing

if TYPE_CHECKING:
    from pandas import DataFrame

# What the columns are called where a table has no Metadata_ columns, as in cells.parquet.
_SHORT = {CLASS: "class", NOTE: "note", SUGGESTED: "suggested_class", PROBABILITY: "suggested_probability"}


def with_annotations(table: DataFrame, annotations: Annotations) -> DataFrame:
    """Return a table of cells with class, note, suggested class, its probability, and the user's own columns.

    Parameters
    ----------
    table
        A row a cell, named by ``Metadata_Field`` and ``Metadata_Label``, as in profiles, or by ``field`` and ``label``,
        as in `Cells` and exports; the new columns are called likewise. Rows and their order stay; columns of an earlier
        call are replaced. Annotations of cells that the table does not have are left out.

    Raises
    ------
    AnnotationError
        The table does not name its cells.
    """
    import pandas as pd

    long = {FIELD, LABEL} <= set(table.columns)
    if not long and not {"field", "label"} <= set(table.columns):
        raise AnnotationError(
            "Annotations are of single cells, and this table has no columns for field and label: give a table of cells."
        )
    fields, labels = (table[name] for name in ((FIELD, LABEL) if long else ("field", "label")))
    cells = list(zip(fields.astype(str), labels.astype("int64"), strict=True))
    said = [annotations.cells.get(cell) for cell in cells]
    names = {one.number: one.name for one in annotations.classes}
    columns: dict[str, list[Any]] = {
        CLASS: [None if one is None or one.class_number is None else names[one.class_number] for one in said],
        NOTE: [None if one is None or not one.note else one.note for one in said],
    }
    columns |= _suggested(annotations, cells)
    known = {*table.columns} - set(_SHORT) - set(_SHORT.values())
    result = table.copy()
    for name, values in columns.items():
        kind: Any = "float64" if name == PROBABILITY else "str"
        result[name if long else _SHORT[name]] = pd.Series(values, index=table.index, dtype=kind)
    for own in annotations.own_columns:
        name = PREFIX + own if long else own
        name = f"own_{own}" if not long and name in known else name
        if long and name in known:
            name = f"{PREFIX}Own_{own}"
        result[name] = _column([None if one is None else one.own.get(own) for one in said], table.index)
    return result


def add_annotations(path: str | os.PathLike[str], annotations: Annotations) -> None:
    """Write the columns of `with_annotations` into a Parquet table of cells, whole or not at all.

    Raises
    ------
    AnnotationError
        The table does not name its cells.
    OutputError
        It cannot be written.
    """
    import pandas as pd

    table = with_annotations(pd.read_parquet(path), annotations)
    with writing(Path(path)) as partial:
        table.to_parquet(partial)


def _suggested(annotations: Annotations, cells: list[tuple[str, int]]) -> dict[str, list[Any]]:
    """Suggested class and probability of each cell; of cells that the user gave a class too, where they had one."""
    made: dict[str, list[Any]] = {SUGGESTED: [None] * len(cells), PROBABILITY: [None] * len(cells)}
    known = annotations.suggested
    if known is None or not cells:
        return made
    for place, row in enumerate(known.index.rows_of(cells)):
        if row >= 0:
            made[SUGGESTED][place] = known.names[known.codes[row]]
            made[PROBABILITY][place] = float(known.probabilities[row])
    return made


def _column(values: list[Any], index: Any) -> Any:
    """One column of one type: numbers as numbers, truth values as such, all else as text."""
    import pandas as pd

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int}:
        return pd.Series(values, index=index, dtype="Int64")
    if kinds <= {int, float}:
        return pd.Series(values, index=index, dtype="float64")
    if kinds <= {bool}:
        return pd.Series(values, index=index, dtype="boolean")
    return pd.Series([None if value is None else str(value) for value in values], index=index, dtype="str")
