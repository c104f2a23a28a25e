"""How large a crop around each cell is, where nobody has said so: by the cells of a sample of the fields.

A sample, and always the same one of the same fields, so that each job of an array comes to the same size by itself.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from pandas import DataFrame, concat

from phenolens.runtime.progress import Job
from phenolens.screens.cells import Cells, no_cells, suggest_crop
from phenolens.screens.table import Screen

FIELDS = 16
"""Fields with cells that the size goes by."""


def sampled_crop(screen: Screen, cells_of: Callable[[str], Job[DataFrame | None]], whole: bool) -> Job[int]:
    """The size of a crop, in pixels of the field, as `suggest_crop` takes it from the cells of up to `FIELDS` fields.

    Parameters
    ----------
    cells_of
        The rows of a field's cells, by its key; None where it cannot be read.
    whole
        Whether each field is one cell.

    Raises
    ------
    CellError
        No field has any cells.
    """
    found: dict[str, DataFrame] = {}
    for key in _in_turn([field.key for field in screen]):
        table = yield from cells_of(key)
        if table is not None and len(table):
            found[key] = table
        if len(found) == FIELDS:
            break
    if not found:
        raise no_cells(len(screen))
    sample = screen.select([field.key in found for field in screen])
    table = concat([found[field.key] for field in sample], ignore_index=True)
    # outlines are not needed, but that there are some tells cells from whole fields
    return suggest_crop(Cells(table, {} if whole else {"": np.zeros((0, 0))}), sample)


def _in_turn(keys: Sequence[str]) -> list[str]:
    """Fields in an order that is the same everywhere, and that no row or column of the plate leads."""
    return sorted(keys, key=lambda key: sha256(key.encode()).digest())
