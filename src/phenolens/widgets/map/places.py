"""Where in the open screen the rows of an atlas lie, and which rows lie in a field."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.table import Screen

_IDENTITY = ("Metadata_Batch", "Metadata_Plate", "Metadata_Well", "Metadata_Site")


class RowPlaces:
    """Fields and centres of rows.

    Rows that name their field (``Metadata_Field``) lie there. Others are matched by batch, plate, well and site, as far
    as both the rows and the screen say them; a row of a whole well lies in the first field of its well.

    Parameters
    ----------
    metadata
        Of the rows of the atlas.
    """

    def __init__(self, metadata: "DataFrame") -> None:
        self._metadata = metadata
        self._fields: NDArray[Any] | None = None
        self._rows: dict[str, NDArray[np.intp]] = {}
        self.y, self.x = (_numbers(metadata, f"Metadata_{axis}") for axis in "YX")
        if "Metadata_Field" in metadata.columns:
            self._index(metadata["Metadata_Field"].astype(str).to_numpy(object))

    def fit(self, screen: "Screen") -> bool:
        """Look for the rows in `screen`; return whether any lies in it."""
        if "Metadata_Field" not in self._metadata.columns:
            self._match(screen)
        return any(field.key in self._rows for field in screen.fields)

    def field(self, row: int) -> str:
        """Key of the field of a row; empty where it is not known."""
        return str(self._fields[row]) if self._fields is not None else ""

    def centre(self, row: int) -> tuple[float, float] | None:
        """Centre (y, x) of a cell in pixels of its field; None for rows of whole fields and wells."""
        if self.y is None or self.x is None or not np.isfinite(self.y[row] + self.x[row]):
            return None
        return float(self.y[row]), float(self.x[row])

    def row_at(self, field: str, y: float, x: float, reach: float) -> int | None:
        """The row nearest to a pixel of a field and no further than `reach`; rows without a centre are near."""
        rows = self._rows.get(field)
        if rows is None:
            return None
        if self.y is None or self.x is None:
            return int(rows[0])
        away = np.hypot(self.y[rows] - y, self.x[rows] - x)
        if not np.isfinite(away).any():
            return int(rows[0])
        nearest = int(np.nanargmin(away))
        return int(rows[nearest]) if away[nearest] <= reach else None

    def _match(self, screen: "Screen") -> None:
        table = screen.table
        columns = [name for name in _IDENTITY if name in table.columns and name in self._metadata.columns]
        if "Metadata_Well" not in columns:
            self._fields, self._rows = None, {}
            return
        known: dict[tuple[str, ...], str] = {}
        for key, *values in zip(table.index, *(table[name] for name in columns), strict=True):
            known.setdefault(tuple(map(str, values)), str(key))
        rows = zip(*(self._metadata[name] for name in columns), strict=True)
        self._index(np.array([known.get(tuple(map(str, values)), "") for values in rows], object))

    def _index(self, fields: NDArray[Any]) -> None:
        import pandas as pd

        numbers, _ = pd.factorize(fields)
        order = np.argsort(numbers, kind="stable")
        ends = np.flatnonzero(np.diff(numbers[order])) + 1
        self._fields = fields
        self._rows = {str(fields[rows[0]]): rows for rows in np.split(order, ends) if len(rows)}
        self._rows.pop("", None)


def _numbers(metadata: "DataFrame", column: str) -> NDArray[np.float64] | None:
    import pandas as pd

    if column not in metadata.columns:
        return None
    return np.asarray(pd.to_numeric(metadata[column], errors="coerce"), np.float64)
