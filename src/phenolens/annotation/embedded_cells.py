"""Cells with their embeddings, plate by plate in the same units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phenolens.annotation.cell_index import CellIndex
from phenolens.annotation.columns import FIELD, LABEL
from phenolens.annotation.logistic import LogisticRegression, softmax
from phenolens.runtime.errors import AnnotationError

if TYPE_CHECKING:
    from pandas import DataFrame

_ROWS = 1 << 16  # rows at a time


@dataclass(frozen=True, eq=False)
class EmbeddedCells:
    """Cells with their embeddings.

    Parameters
    ----------
    fields, labels
        (n,) key of the field and label of each cell.
    vectors
        (n, d) float32 embeddings.
    plates
        (n,) name of each cell's plate; each plate is brought to mean 0 and standard deviation 1. One where None.
    wells
        (n,) name of each cell's well, by which cells are left out; not known where None.

    Raises
    ------
    AnnotationError
        The arrays are not of one length, or an embedding is not finite.
    """

    fields: NDArray[np.object_]
    labels: NDArray[np.int64]
    vectors: NDArray[np.float32]
    plates: NDArray[np.object_] | None = None
    wells: NDArray[np.object_] | None = None

    def __post_init__(self) -> None:
        columns = [self.fields, self.labels, self.vectors, self.plates, self.wells]
        if len({len(column) for column in columns if column is not None}) > 1 or self.vectors.ndim != 2:
            raise AnnotationError("Embedded cells need one field, label and embedding each.")
        if not all(np.isfinite(self.vectors[start : start + _ROWS]).all() for start in range(0, len(self), _ROWS)):
            raise AnnotationError("Some embeddings are not finite: embed the cells again, or leave those out.")

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def of_profiles(cls, metadata: DataFrame, vectors: NDArray[np.float32]) -> EmbeddedCells:
        """Take the rows of cell profiles: their ``Metadata_`` columns and embeddings (n, d).

        Raises
        ------
        AnnotationError
            The rows do not say which field and label they are of.
        """
        missing = next((name for name in (FIELD, LABEL) if name not in metadata.columns), None)
        if missing is not None or metadata[[FIELD, LABEL]].isna().any().any():
            raise AnnotationError(
                f"The profiles do not name their cells (no {missing or FIELD}): embed cells, not fields or wells."
            )
        plates = _joined(metadata, ("Metadata_Source", "Metadata_Batch", "Metadata_Plate"))
        wells = _joined(metadata, ("Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_Well"))
        known = "Metadata_Well" in metadata.columns
        fields = metadata[FIELD].astype(str).to_numpy(object)
        return cls(fields, metadata[LABEL].to_numpy(np.int64), vectors, plates, wells if known else None)

    def only(self, rows: NDArray[np.bool_]) -> EmbeddedCells:
        """Return the cells whose rows (n,) are marked."""
        plates = None if self.plates is None else self.plates[rows]
        wells = None if self.wells is None else self.wells[rows]
        return EmbeddedCells(self.fields[rows], self.labels[rows], self.vectors[rows], plates, wells)

    @cached_property
    def index(self) -> CellIndex:
        """Where each cell is among the n."""
        return CellIndex(self.fields, self.labels)

    @cached_property
    def _plate_codes(self) -> tuple[NDArray[np.intp], int]:
        import pandas as pd

        if self.plates is None:
            return np.zeros(len(self), np.intp), 1
        codes, names = pd.factorize(self.plates)
        return np.asarray(codes, np.intp), len(names)

    @cached_property
    def _scales(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean of each plate, and what its features are multiplied by, (p, d) each; a mean row has length 1 then."""
        codes, plates = self._plate_codes
        means, factors = np.zeros((2, plates, self.vectors.shape[1]))
        for plate in range(plates):
            here = self.vectors[codes == plate] if plates > 1 else self.vectors
            means[plate] = here.mean(0, dtype=np.float64)
            spread = here.std(0, dtype=np.float64)
            known = spread > 1e-6 * np.abs(here).max(0, initial=1e-30)
            np.divide(1, spread * np.sqrt(len(spread)), out=factors[plate], where=known)
        return means, factors

    def standardised(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the embeddings (m, d) of some rows in units of their plates, divided by the root of d."""
        means, factors = self._scales
        plates = self._plate_codes[0][rows]
        return np.asarray((self.vectors[rows] - means[plates]) * factors[plates], np.float64)

    def probabilities(self, model: LogisticRegression) -> NDArray[np.float64]:
        """Return (n, k) by a model of standardised embeddings."""
        means, factors = self._scales
        codes, plates = self._plate_codes
        made = np.empty((len(self), len(model.intercepts)))
        for plate in range(plates):
            # the plate's scale goes into the weights, so that no embedding is copied
            weights = factors[plate][:, None] * model.weights
            intercepts = model.intercepts - means[plate] @ weights
            rows = slice(None) if plates == 1 else np.flatnonzero(codes == plate)
            here = self.vectors[rows]
            logits = np.concatenate(
                [here[start : start + _ROWS] @ weights.astype(np.float32) for start in range(0, len(here), _ROWS)]
                or [np.empty((0, len(intercepts)))]
            )
            made[rows] = softmax(logits + intercepts)
        return made


def _joined(metadata: DataFrame, names: tuple[str, ...]) -> NDArray[np.object_]:
    """(n,) what tells plates or wells apart, in one text each."""
    known = [metadata[name].astype(str) for name in names if name in metadata.columns]
    if not known:
        return np.full(len(metadata), "", object)
    joined = known[0]
    for column in known[1:]:
        joined = joined + "/" + column
    return np.asarray(joined.to_numpy(object))
