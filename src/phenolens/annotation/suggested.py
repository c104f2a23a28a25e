"""Suggested classes of cells: kept apart from what the user said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from phenolens.annotation.cell_index import CellIndex
from phenolens.annotation.changes import CellKey
from phenolens.runtime.errors import AnnotationError


@dataclass(frozen=True, eq=False)
class Suggested:
    """A suggested class for each of n cells.

    Parameters
    ----------
    fields
        (n,) keys of fields, text.
    labels
        (n,) labels of the cells in them, int64.
    names
        Names of the k classes.
    codes
        (n,) which of `names` is suggested.
    probabilities
        (n,) of the suggested class, 0 to 1, float64.

    Raises
    ------
    AnnotationError
        The arrays are not of one length, or a code is none of the classes.
    """

    fields: NDArray[np.object_]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    codes: NDArray[np.intp]
    probabilities: NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = {len(self.fields), len(self.labels), len(self.codes), len(self.probabilities)}
        if len(lengths) > 1:
            raise AnnotationError(f"Suggestions need one value a cell, and these have {sorted(lengths)}.")
        if len(self.codes) and not 0 <= self.codes.min() <= self.codes.max() < len(self.names):
            raise AnnotationError(f"A suggestion is none of the {len(self.names)} classes.")

    def __len__(self) -> int:
        return len(self.labels)

    def __eq__(self, other: object) -> bool:
        """Whether the same cells have the same suggestions, in any order."""
        if not isinstance(other, Suggested):
            return NotImplemented
        return sorted(self.rows()) == sorted(other.rows())

    __hash__ = None  # type: ignore[assignment]

    def only(self, rows: NDArray[np.bool_]) -> Suggested:
        """Return the suggestions whose rows (n,) are marked."""
        return Suggested(self.fields[rows], self.labels[rows], self.names, self.codes[rows], self.probabilities[rows])

    @cached_property
    def index(self) -> CellIndex:
        """Where each cell is among the n."""
        return CellIndex(self.fields, self.labels)

    def of(self, cell: CellKey) -> tuple[str, float] | None:
        """Return the class suggested for a cell and its probability, or None."""
        return next(((name, probability) for _, name, probability in self.rows([cell])), None)

    def in_field(self, field: str) -> Suggested:
        """Return the suggestions for the cells of one field."""
        if len(self) and (self.fields == field).all():
            return self
        rows = np.zeros(len(self), bool)
        rows[self.index.rows_in(field)] = True
        return self.only(rows)

    def rows(self, cells: Iterable[CellKey] | None = None, least: float = 0.0) -> Iterator[tuple[CellKey, str, float]]:
        """Yield cell, class and probability of all or some cells, where the probability is at least `least`."""
        wanted = np.arange(len(self)) if cells is None else self.index.rows_of(list(cells))
        wanted = wanted[wanted >= 0]
        for row in wanted[self.probabilities[wanted] >= least]:
            cell = (str(self.fields[row]), int(self.labels[row]))
            yield cell, self.names[self.codes[row]], float(self.probabilities[row])
