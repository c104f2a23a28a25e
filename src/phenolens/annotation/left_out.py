"""How good suggestions are: annotated cells, left out in turn and suggested by the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.embedded_cells import EmbeddedCells
from phenolens.annotation.suggestions import annotated_cells, fit_classifier

_FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class LeftOutScore:
    """What is known of how good suggestions are.

    Parameters
    ----------
    known
        Whether whole wells were left out, so that the figure holds for wells without an annotation.
    balanced_accuracy
        Mean over classes of the share of cells that are right, of cells left out.
    chance
        The same by guessing.
    right, cells
        How many of the annotated cells are right.
    wells
        Wells that they lie in; 0 where that is not known.
    """

    known: bool
    balanced_accuracy: float
    chance: float
    right: int
    cells: int
    wells: int

    @property
    def words(self) -> str:
        """The score in a sentence or two."""
        figure = f"balanced accuracy {self.balanced_accuracy:.2f}, chance {self.chance:.2f}"
        if self.known:
            return (
                f"{self.right} of {self.cells} annotated cells are suggested right when their well is left out "
                f"({figure}; {self.wells} wells)."
            )
        return (
            "How good suggestions are in other wells is not known: annotate cells of each class in at least two wells. "
            f"Within the same wells {self.right} of {self.cells} left-out cells are right ({figure}), "
            "which promises too much."
        )


def score_left_out(cells: EmbeddedCells, annotations: Annotations) -> LeftOutScore:
    """Leave annotated cells out and see whether the others suggest their class.

    Whole wells are left out where each class has annotated cells in at least two; else single cells, and the score says
    that nothing is known of other wells. Accepted suggestions are no annotated cells here: they agree with the
    suggestions, and prove nothing.

    Raises
    ------
    AnnotationError
        Fewer than two classes have at least two annotated cells.
    """
    known = annotated_cells(cells, annotations, by_hand=True)
    features, classes, k = cells.standardised(known.rows), known.classes, len(known.names)
    wells = None if cells.wells is None else np.unique(cells.wells[known.rows].astype(str), return_inverse=True)[1]
    by_well = wells is not None and all(len(np.unique(wells[classes == one])) >= 2 for one in range(k))
    groups = wells if by_well and wells is not None else np.arange(len(classes))
    predicted = np.empty(len(classes), np.intp)
    for out in _folds(groups, classes, k):
        model = fit_classifier(features[~out], classes[~out], k)
        predicted[out] = model.probabilities(features[out]).argmax(1)
    right = predicted == classes
    return LeftOutScore(
        known=by_well,
        balanced_accuracy=float(np.mean([right[classes == one].mean() for one in range(k)])),
        chance=1 / k,
        right=int(right.sum()),
        cells=len(classes),
        wells=0 if wells is None else len(np.unique(wells)),
    )


def _folds(groups: NDArray[np.intp], classes: NDArray[np.intp], k: int) -> list[NDArray[np.bool_]]:
    """Masks of what is left out: groups ten times in parts, or one by one where a part would hold all of a class."""
    numbers = np.unique(groups)
    for count in (min(len(numbers), _FOLDS), len(numbers)):
        part = np.searchsorted(numbers, groups) % count
        folds = [part == one for one in range(count)]
        if all(len(np.unique(classes[~fold])) == k for fold in folds):
            return folds
    return [groups == one for one in numbers]
