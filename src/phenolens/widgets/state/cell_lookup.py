"""Which cell lies where in a field."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from phenolens.annotation.changes import CellKey
    from phenolens.screens.cells import Cells


def nearest_cell(cells: "Cells", field: str, y: float, x: float, reach: float) -> Any:
    """Row of the cell whose centre is nearest to a pixel and no further than `reach`; None where none is."""
    near = cells.table[cells.table["field"] == field]
    if not len(near):
        return None
    away = np.hypot(near["y"] - y, near["x"] - x)
    return near.loc[away.idxmin()] if away.min() <= reach else None


def cell_key_at(cells: "Cells", field: str, y: float, x: float, reach: float) -> "CellKey | None":
    """Field and label of the cell that a pixel is of, else of the nearest one; None where none is near."""
    labels = cells.labels.get(field)
    if labels is not None:
        row, column = round(y), round(x)
        inside = 0 <= row < labels.shape[0] and 0 <= column < labels.shape[1]
        if inside and labels[row, column]:
            return field, int(labels[row, column])
    nearest = nearest_cell(cells, field, y, x, reach)
    return None if nearest is None else (field, int(nearest["label"]))


def centre_of(cells: "Cells", cell: "CellKey") -> tuple[float, float] | None:
    """Centre (y, x) of a cell in pixels of its field; None where there is no such cell."""
    table = cells.table
    rows = table[(table["field"] == cell[0]) & (table["label"] == cell[1])]
    return (float(rows["y"].iloc[0]), float(rows["x"].iloc[0])) if len(rows) else None
