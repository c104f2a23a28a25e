"""Points of the map by the class of their cells: what the user said, and paler what is suggested."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.annotation.embedded_cells import EmbeddedCells
from phenolens.annotation.state import AnnotationState
from phenolens.screens.cells import Cells
from phenolens.widgets.map.colours import OTHER, Grouping
from phenolens.widgets.map.places import RowPlaces

TITLE = "Class"
_SUGGESTED_ALPHA = 0.4


def matched_rows(embedded: EmbeddedCells, places: RowPlaces, cells: Cells, reach: float) -> NDArray[np.bool_]:
    """(n,) rows whose field and label are those of a cell that lies in the same place.

    A map may have been made of another segmentation, whose labels mean other cells.

    Parameters
    ----------
    embedded, places
        The rows.
    cells
        The cells of the open screen.
    reach
        How far apart the two centres may be, in pixels.
    """
    from phenolens.annotation.cell_index import CellIndex

    table = cells.table
    index = CellIndex(table["field"].astype(str).to_numpy(object), table["label"].to_numpy(np.int64))
    at = index.rows_of(list(zip(embedded.fields, embedded.labels.tolist(), strict=True)))
    found = at >= 0
    if places.y is None or places.x is None:
        return found
    y, x = (table[axis].to_numpy(float)[np.maximum(at, 0)] for axis in "yx") if len(table) else (0.0, 0.0)
    away = np.hypot(places.y - y, places.x - x)
    return np.asarray(found & ~(away > reach))  # a row without a centre is taken at its word


def class_grouping(
    annotations: AnnotationState, embedded: EmbeddedCells, matched: NDArray[np.bool_]
) -> Grouping | None:
    """Group rows by the class of their cells; None where there is no class.

    Parameters
    ----------
    annotations
        What is said and suggested.
    embedded, matched
        The rows, and which of them (n,) are cells of the open screen.
    """
    classes = annotations.classes
    if not classes:
        return None
    k, n = len(classes), len(embedded)
    code = {one.number: place for place, one in enumerate(classes)}
    codes = np.full(n, 2 * k, np.int16)
    suggested = annotations.suggested
    if suggested is not None and len(suggested):
        by_name = {one.name: k + place for place, one in enumerate(classes)}
        wanted = np.array([by_name.get(name, 2 * k) for name in suggested.names], np.int16)[suggested.codes]
        at = embedded.index.rows_of(list(zip(suggested.fields, suggested.labels.tolist(), strict=True)))
        codes[at[at >= 0]] = wanted[at >= 0]
    said = [(key, code[one.class_number]) for key, one in annotations.cells.items() if one.class_number is not None]
    if said:
        at = embedded.index.rows_of([key for key, _ in said])
        codes[at[at >= 0]] = np.array([place for _, place in said], np.int16)[at >= 0]
    codes[~matched] = 2 * k
    counts = np.bincount(codes, minlength=2 * k + 1)
    kept = [*range(k), *(place for place in range(k, 2 * k + 1) if counts[place])]
    names = [*(one.name for one in classes), *(f"{one.name}, suggested" for one in classes), "no class"]
    colours = [*(one.colour for one in classes), *(one.colour for one in classes), OTHER]
    alphas = [*(1.0 for _ in classes), *(_SUGGESTED_ALPHA for _ in classes), _SUGGESTED_ALPHA]
    new: dict[int, int] = {old: place for place, old in enumerate(kept)}
    return Grouping(
        TITLE,
        tuple(names[old] for old in kept),
        tuple(colours[old] for old in kept),
        tuple(int(counts[old]) for old in kept),
        _renumbered(codes, new),
        tuple(alphas[old] for old in kept),
    )


def _renumbered(codes: NDArray[Any], new: dict[int, int]) -> NDArray[np.int16]:
    table = np.zeros(max(new, default=0) + 1, np.int16)
    for old, place in new.items():
        table[old] = place
    return table[codes]
