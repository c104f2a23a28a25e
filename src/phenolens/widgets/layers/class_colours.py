"""Colours of cells by their class: outlines in the class's own colour, suggestions in a pale one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.annotation.state import AnnotationState
from phenolens.annotation.suggested import Suggested
from phenolens.widgets.kit.style import rgb

UNMARKED = "#f2e9b8"
"""Outline of a cell that has no class; napari takes a colormap of this one alone for random colours."""
_PALE = 0.55
_PALE_ALPHA = 0.8
_FAINT_ALPHA = 0.25
_UNMARKED_ALPHA = 0.5

Colour = NDArray[np.float32]


def pale(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of a suggestion of a class: its colour, more than half of the way to white."""
    red, green, blue = (part + _PALE * (1 - part) for part in rgb(colour))
    return red, green, blue


def outline_colours(annotations: AnnotationState, field: str, dashed: bool) -> dict[int | None, Any]:
    """Colour of each marked cell of a field by its label, as napari's `DirectLabelColormap` takes them.

    Where dashes are drawn over the outlines of suggested cells, these are faint, so that the gaps are seen.
    """
    of_class = {one.number: np.array([*rgb(one.colour), 1], np.float32) for one in annotations.classes}
    unmarked = np.array([*rgb(UNMARKED), _UNMARKED_ALPHA if annotations.classes else 1], np.float32)
    colours: dict[int | None, Any] = {0: np.zeros(4, np.float32), None: unmarked}
    alpha = _FAINT_ALPHA if dashed else _PALE_ALPHA
    pales = {one.name: np.array([*pale(one.colour), alpha], np.float32) for one in annotations.classes}
    colours |= _of_suggested(annotations, field, pales)
    colours |= {label: of_class[number] for label, number in _classes_in(annotations, field).items()}
    return colours


def dash_colours(annotations: AnnotationState, field: str) -> dict[int | None, Any]:
    """Colour of the dashes of each cell of a field whose class is suggested, by its label."""
    colours = {one.name: np.array([*rgb(one.colour), 1], np.float32) for one in annotations.classes}
    return _of_suggested(annotations, field, colours)


def _classes_in(annotations: AnnotationState, field: str) -> dict[int, int]:
    """Number of the class by label, of the cells of a field that have one."""
    return {
        label: one.class_number
        for (key, label), one in annotations.cells.items()
        if key == field and one.class_number is not None
    }


def _suggested(annotations: AnnotationState, field: str) -> Suggested | None:
    """What is suggested for the cells of a field that have no class; None where that is nothing."""
    if annotations.suggested is None:
        return None
    here = annotations.suggested.in_field(field)
    known = _classes_in(annotations, field)
    return here.only(~np.isin(here.labels, np.fromiter(known, np.int64, len(known)))) if known else here


def _of_suggested(annotations: AnnotationState, field: str, colours: Mapping[str, Any]) -> dict[int | None, Any]:
    """The one of `colours`, by the name of a class, that each cell of a field gets whose class is suggested."""
    here = _suggested(annotations, field)
    if here is None:
        return {}
    palette = [colours.get(name) for name in here.names]  # None of a class that is there no longer
    drawn = zip(here.labels.tolist(), map(palette.__getitem__, here.codes.tolist()), strict=True)
    return {label: colour for label, colour in drawn if colour is not None}


def cell_features(annotations: AnnotationState, field: str, labels: NDArray[Any]) -> Any:
    """Features of a Labels layer: a row a cell with class, suggestion, note and the user's own columns.

    Parameters
    ----------
    labels
        (n,) labels of the cells of the field.
    """
    import pandas as pd

    index = np.asarray(labels, np.int64)
    order = np.argsort(index, kind="stable")

    def rows_of(some: Any) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Rows of those of `some` labels that are there, and which of them are."""
        wanted = np.asarray(some, np.int64)
        if not len(index):
            return np.zeros(0, np.intp), np.zeros(len(wanted), bool)
        at = order[np.minimum(np.searchsorted(index, wanted, sorter=order), len(index) - 1)]
        there = index[at] == wanted
        return at[there], there

    here = [(label, one) for (key, label), one in annotations.cells.items() if key == field]
    rows, there = rows_of([label for label, _ in here])
    said = [one for (_, one), is_there in zip(here, there.tolist(), strict=True) if is_there]
    names = {one.number: one.name for one in annotations.classes}

    def filled(empty: Any, values: list[Any]) -> list[Any]:
        column = np.full(len(index), empty, object)
        column[rows] = np.fromiter(values, object, len(values))
        return column.tolist()

    suggested, probability = np.full(len(index), "", object), np.full(len(index), np.nan)
    if (open_ := _suggested(annotations, field)) is not None and len(open_):
        at, known = rows_of(open_.labels)
        suggested[at] = np.array(open_.names, object)[open_.codes[known]]
        probability[at] = open_.probabilities[known]
    columns: dict[str, Any] = {
        "index": index,
        "class": filled("", ["" if one.class_number is None else names.get(one.class_number, "") for one in said]),
        "suggested_class": suggested.tolist(),
        "suggested_probability": probability,
        "note": filled("", [one.note for one in said]),
    }
    for column in annotations.own_columns:
        columns[column] = filled(None, [one.own.get(column) for one in said])
    return pd.DataFrame(columns)


OURS = ("index", "class", "suggested_class", "suggested_probability", "note")
"""Columns that the program writes; all others of the layer are the user's own."""
