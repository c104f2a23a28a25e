"""Find the rows of cells in a table by their field and label; made for a million rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.annotation.changes import CellKey

_LABELS = 2**32


class CellIndex:
    """Rows of cells.

    Parameters
    ----------
    fields
        (n,) keys of fields, text.
    labels
        (n,) labels, 0 to 2^32 - 1. Of cells that are there twice the first counts.
    """

    def __init__(self, fields: ArrayLike, labels: ArrayLike) -> None:
        import pandas as pd

        codes, names = pd.factorize(np.asarray(fields, object))
        self._codes = codes
        self._fields = {str(name): number for number, name in enumerate(names)}
        numbers = codes.astype(np.int64) * _LABELS + np.asarray(labels, np.int64)
        self._order = np.argsort(numbers, kind="stable")
        self._sorted = numbers[self._order]

    def rows_of(self, cells: Sequence[CellKey]) -> NDArray[np.intp]:
        """Return the row of each of m cells, (m,); -1 for a cell that is not there."""
        fields = np.array([self._fields.get(key, -1) for key, _ in cells], np.int64)
        wanted = fields * _LABELS + np.array([label for _, label in cells], np.int64)
        if not len(self._sorted):
            return np.full(len(cells), -1, np.intp)
        at = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where((self._sorted[at] == wanted) & (fields >= 0), self._order[at], -1)

    def rows_in(self, field: str) -> NDArray[np.intp]:
        """Return the rows of the cells of one field."""
        return np.flatnonzero(self._codes == self._fields.get(field, -2))
