"""Annotations as rows of a table, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.changes import CellKey, Value
from phenolens.annotation.classes import CellClass
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
    checked_column,
    checked_value,
    is_taken,
)
from phenolens.annotation.suggested import Suggested
from phenolens.runtime.errors import AnnotationError

Row = dict[str, Any]


def to_rows(annotations: Annotations) -> list[Row]:
    """Return a row for each cell that is annotated or has a suggestion, by field and label; None stands for gaps.

    Columns are `COLUMNS`, then the user's own with ``Metadata_`` before their names. A class without a cell has a row
    without field and label, so that no class is lost.
    """
    own = annotations.own_columns
    suggested = {} if annotations.suggested is None else {cell: said for cell, *said in annotations.suggested.rows()}
    rows = []
    used = set()
    for cell in sorted({*annotations.cells, *suggested}):
        one, of_class = annotations.of(cell), annotations.class_of(cell)
        used.add(of_class)
        name, probability = suggested.get(cell, (None, None))
        row = _row(of_class) | {FIELD: cell[0], LABEL: cell[1], NOTE: one.note or None}
        row |= {SUGGESTED: name, PROBABILITY: probability}
        rows.append(row | {PREFIX + column: one.own.get(column) for column in own})
    empty = {PREFIX + column: None for column in own}
    return rows + [_row(one) | empty for one in annotations.classes if one not in used]


def from_rows(rows: Iterable[Mapping[str, Any]], source: str) -> Annotations:
    """Read annotations from rows of a table; columns that are not this program's are the user's own.

    Parameters
    ----------
    rows
        With ``Metadata_Field`` and ``Metadata_Label`` at least.
    source
        What the table is called in messages.

    Raises
    ------
    AnnotationError
        A cell is there twice, a label is no whole number, or a class has two colours or keys.
    """
    made = Annotations()
    rows = list(rows)
    columns = list(dict.fromkeys(str(name) for row in rows for name in row))
    if rows and not {FIELD, LABEL} <= set(columns):
        raise AnnotationError(f"{source} does not name its cells by {FIELD} and {LABEL}. Columns: {_listed(columns)}.")
    own = {name: checked_column(name) for name in columns if not is_taken(name)}
    twice = next((name for name in own if list(own.values()).count(own[name]) > 1), None)
    if twice is not None:
        raise AnnotationError(f"{source} has the column {own[twice]!r} twice, with and without {PREFIX}: keep one.")
    _add_classes(made, rows, source)
    texts: dict[tuple[str, str], list[CellKey]] = {}
    values: dict[tuple[str, str, str], tuple[Value, list[CellKey]]] = {}
    suggested: list[tuple[CellKey, str, float]] = []
    seen: set[CellKey] = set()
    for number, row in enumerate(rows, start=1):
        if _blank(row.get(FIELD)) and _blank(row.get(LABEL)):
            continue
        cell = (str(row.get(FIELD) or ""), _label(row.get(LABEL), f"row {number} of {source}"))
        if cell in seen:
            raise AnnotationError(f"{source} has cell {cell[1]} of field {cell[0]} twice: keep one row of each cell.")
        seen.add(cell)
        for column in (CLASS, NOTE):
            if not _blank(row.get(column)):
                texts.setdefault((column, str(row[column])), []).append(cell)
        for column, name in own.items():
            value = checked_value(row.get(column))
            if value is not None:
                # by type too, for 1 equals True
                values.setdefault((name, type(value).__name__, repr(value)), (value, []))[1].append(cell)
        if not _blank(row.get(SUGGESTED)):
            suggested.append((cell, str(row[SUGGESTED]), _probability(row.get(PROBABILITY), number, source)))
    for (name, _, _), (value, cells) in values.items():
        made.set_value(cells, name, value)
    for (column, text), cells in texts.items():
        if column == CLASS:
            made.annotate(cells, text.strip())
        else:
            made.set_note(cells, text)
    if suggested:
        made.suggest(_suggested(suggested))
    made.forget_steps()
    return made


def _row(one: CellClass | None) -> Row:
    row: Row = dict.fromkeys(COLUMNS)
    return row if one is None else row | {CLASS: one.name, COLOUR: one.colour, SHORTCUT: one.shortcut}


def _add_classes(made: Annotations, rows: list[Mapping[str, Any]], source: str) -> None:
    """Add the classes that rows name: first those with a key of their own, so that no other takes it."""
    said: dict[str, dict[str, Any]] = {}
    for row in rows:
        if _blank(row.get(CLASS)):
            continue
        known = said.setdefault(str(row[CLASS]).strip(), {})
        for column in (COLOUR, SHORTCUT):
            value = row.get(column)
            if not _blank(value) and known.setdefault(column, value) != value:
                raise AnnotationError(f"{source} gives the class {row[CLASS]!r} two values of {column}: keep one.")
    described = any(known for known in said.values())
    for name, known in sorted(said.items(), key=lambda item: SHORTCUT not in item[1]):
        key = known.get(SHORTCUT)
        one = made.add_class(name, known.get(COLOUR), None if key is None else _label(key, f"{SHORTCUT} of {source}"))
        if described and key is None:
            made.set_shortcut(one.name, None)


def _suggested(rows: list[tuple[CellKey, str, float]]) -> Suggested:
    names = tuple(dict.fromkeys(name for _, name, _ in rows))
    code = {name: place for place, name in enumerate(names)}
    return Suggested(
        np.array([cell[0] for cell, _, _ in rows], object),
        np.array([cell[1] for cell, _, _ in rows], np.int64),
        names,
        np.array([code[name] for _, name, _ in rows], np.intp),
        np.array([probability for _, _, probability in rows], np.float64),
    )


def _probability(value: Any, number: int, source: str) -> float:
    try:
        probability = 1.0 if _blank(value) else float(value)
    except (TypeError, ValueError):
        probability = -1.0
    if not 0 <= probability <= 1:
        raise AnnotationError(f"{value!r} in row {number} of {source} is no probability from 0 to 1.")
    return probability


def _label(value: Any, where: str) -> int:
    try:
        number = float(value)
        whole = int(value) if not isinstance(value, str) else int(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise AnnotationError(f"{value!r} in {where} is no whole number.") from error
    if whole != number or not 0 <= whole < 2**32:
        raise AnnotationError(f"{value!r} in {where} is no whole number.")
    return whole


def _blank(value: Any) -> bool:
    return value is None or value == "" or value != value  # NaN is not itself


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" and more" if len(names) > 8 else "")
