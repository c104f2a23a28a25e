"""Colours of cells by their class: outlines in the class's own colour, suggestions in a pale one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.annotation.state import AnnotationState
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
    suggested = {one.name: np.array([*pale(one.colour), alpha], np.float32) for one in annotations.classes}
    colours |= {label: suggested[name] for label, name in _suggested(annotations, field).items()}
    for (key, label), one in annotations.cells.items():
        if key == field and one.class_number is not None:
            colours[label] = of_class[one.class_number]
    return colours


def dash_colours(annotations: AnnotationState, field: str) -> dict[int, Any]:
    """Colour of the dashes of each cell of a field whose class is suggested, by its label."""
    colours = {one.name: np.array([*rgb(one.colour), 1], np.float32) for one in annotations.classes}
    return {label: colours[name] for label, name in _suggested(annotations, field).items()}


def _suggested(annotations: AnnotationState, field: str) -> dict[int, str]:
    """Name of the suggested class by label, of the cells of a field that have none."""
    if annotations.suggested is None:
        return {}
    known = {one.name for one in annotations.classes}
    open_ = annotations.suggested.in_field(field).items()
    return {
        label: name
        for label, (name, _) in open_
        if name in known and annotations.of((field, label)).class_number is None
    }


def cell_features(annotations: AnnotationState, field: str, labels: NDArray[Any]) -> Any:
    """Features of a Labels layer: a row a cell with class, suggestion, note and the user's own columns.

    Parameters
    ----------
    labels
        (n,) labels of the cells of the field.
    """
    import pandas as pd

    suggested = {} if annotations.suggested is None else annotations.suggested.in_field(field)
    rows = [annotations.of((field, int(label))) for label in labels]
    names = {one.number: one.name for one in annotations.classes}
    open_ = [int(label) if one.class_number is None else -1 for label, one in zip(labels, rows, strict=True)]
    said = [suggested.get(label) for label in open_]
    columns: dict[str, Any] = {
        "index": np.asarray(labels, np.int64),
        "class": [names.get(one.class_number, "") if one.class_number is not None else "" for one in rows],
        "suggested_class": [one[0] if one is not None else "" for one in said],
        "suggested_probability": np.array([np.nan if one is None else one[1] for one in said], float),
        "note": [one.note for one in rows],
    }
    for column in annotations.own_columns:
        columns[column] = [one.own.get(column) for one in rows]
    return pd.DataFrame(columns)


OURS = ("index", "class", "suggested_class", "suggested_probability", "note")
"""Columns that the program writes; all others of the layer are the user's own."""
