"""From a few annotated cells to suggestions for all others, by a classifier on their embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.changes import CellKey
from phenolens.annotation.embedded_cells import EmbeddedCells
from phenolens.annotation.logistic import LogisticRegression
from phenolens.annotation.suggested import Suggested
from phenolens.runtime.errors import AnnotationError

FEWEST = 2
"""Annotated cells that a class needs before it is suggested."""

# Penalty times annotated cells of a class. Chosen on simulated screens alone (benchmarks/suggestions.py --rule).
_PENALTY = 0.1
_LISTED = 200


@dataclass(frozen=True, eq=False)
class Annotated:
    """The annotated cells that a classifier learns from.

    Parameters
    ----------
    rows
        (m,) rows among the embedded cells.
    classes
        (m,) which of `names`.
    names
        Of the k classes with at least `FEWEST` cells.
    left_out
        Names of classes that have fewer.
    """

    rows: NDArray[np.intp]
    classes: NDArray[np.intp]
    names: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Suggestions:
    """What is suggested, and where it is least sure.

    Parameters
    ----------
    suggested
        A class for each cell that has none.
    uncertain
        Those cells, the least certain first: the next ones to annotate.
    """

    suggested: Suggested
    uncertain: tuple[CellKey, ...]


def annotated_cells(cells: EmbeddedCells, annotations: Annotations, by_hand: bool = False) -> Annotated:
    """Return the cells with a class that are among `cells`; those alone that were given it `by_hand` where that is set.

    Raises
    ------
    AnnotationError
        Fewer than two classes have at least two such cells; the message says how many each has.
    """
    known = [
        (key, one.class_number)
        for key, one in annotations.cells.items()
        if one.class_number is not None and not (by_hand and one.accepted)
    ]
    rows = cells.index.rows_of([key for key, _ in known])
    numbers = np.array([number for _, number in known], np.int64)[rows >= 0]
    rows = rows[rows >= 0]
    counts = {one: int((numbers == one.number).sum()) for one in annotations.classes}
    used = [one for one, count in counts.items() if count >= FEWEST]
    if len(used) < 2:
        there = ", ".join(f"{one.name} {count}" for one, count in counts.items()) or "no class yet"
        raise AnnotationError(
            f"Suggestions need two classes with at least {FEWEST} annotated cells each; there are: {there}."
        )
    kept = np.isin(numbers, [one.number for one in used])
    code = {one.number: place for place, one in enumerate(used)}
    classes = np.array([code[number] for number in numbers[kept]], np.intp)
    left_out = tuple(one.name for one, count in counts.items() if 0 < count < FEWEST)
    return Annotated(rows[kept], classes, tuple(one.name for one in used), left_out)


def fit_classifier(features: NDArray[np.float64], classes: NDArray[np.intp], k: int) -> LogisticRegression:
    """Fit standardised embeddings (m, d) to classes (m,); the fewer cells, the stronger the penalty."""
    return LogisticRegression.fit(features, classes, k, _PENALTY * k / len(classes))


def suggest(cells: EmbeddedCells, annotations: Annotations) -> Suggestions:
    """Suggest a class for each cell without one, by logistic regression on the embeddings.

    Each class counts the same, however many of its cells are annotated. Hand the result to `Annotations.suggest`; how
    good it is, `score_left_out` says.

    Raises
    ------
    AnnotationError
        Fewer than two classes have at least two annotated cells.
    """
    known = annotated_cells(cells, annotations)
    model = fit_classifier(cells.standardised(known.rows), known.classes, len(known.names))
    probabilities = cells.probabilities(model)
    with_class = [key for key, one in annotations.cells.items() if one.class_number is not None]
    rows = cells.index.rows_of(with_class)
    open_ = np.ones(len(cells), bool)
    open_[rows[rows >= 0]] = False
    codes = probabilities.argmax(1)
    best_two = -np.partition(-probabilities, 1, axis=1)[:, :2]
    suggested = Suggested(cells.fields[open_], cells.labels[open_], known.names, codes[open_], best_two[open_].max(1))
    margin = np.abs(np.diff(best_two[open_], axis=1))[:, 0]
    return Suggestions(suggested, _least(margin, suggested))


def _least(margin: NDArray[np.float64], suggested: Suggested) -> tuple[CellKey, ...]:
    few = np.argpartition(margin, _LISTED)[:_LISTED] if len(margin) > _LISTED else np.arange(len(margin))
    ordered = few[np.argsort(margin[few], kind="stable")]
    return tuple((str(suggested.fields[row]), int(suggested.labels[row])) for row in ordered)
