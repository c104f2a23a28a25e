"""Cells that are corrected by hand: one field's outlines replaced, a cell deleted or added, the others as they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, concat

from phenolens.runtime.errors import CellError
from phenolens.screens.cells import COLUMNS, Cells, check_labels, measure_cells
from phenolens.screens.table import Screen


def apply_labels(cells: Cells | None, screen: Screen, given: Mapping[str, NDArray[Any]]) -> Cells:
    """Return the cells with the label images of some fields in place of what was found there; other fields stay.

    Parameters
    ----------
    cells
        What is known so far, or None.
    given
        Label images (H, W) of whole numbers by the key of their field.

    Raises
    ------
    CellError
        The screen has no such field, or a label image does not have the shape of its field.
    """
    known = {one.key: one for one in screen}
    made = cells if cells is not None else Cells(DataFrame(columns=list(COLUMNS)))
    for key, labels in given.items():
        if key not in known:
            raise CellError(f"These labels are of field {key}, which this screen does not have.")
        made = _with_labels(made, key, check_labels(labels, key, known[key].image().plane_shape))
    return made


def correct_labels(cells: Cells, key: str, labels: NDArray[Any]) -> Cells:
    """Return the cells with an edited label image of one field, counted and measured anew.

    A cell is its label: one whose outline was painted over stays the same cell.

    Parameters
    ----------
    labels
        (H, W), of the shape of the field's label image so far.

    Raises
    ------
    CellError
        The field has no label image, or it has another shape.
    """
    return _with_labels(cells, key, check_labels(labels, key, _outlines(cells, key).shape))


def delete_cells(cells: Cells, key: str, labels: Iterable[int]) -> Cells:
    """Return the cells without some of one field; their pixels become background.

    Raises
    ------
    CellError
        There is no such cell.
    """
    gone = sorted({int(label) for label in labels})
    here = cells.table["field"] == key
    missing = sorted(set(gone) - set(cells.table.loc[here, "label"]))
    if missing:
        raise CellError(f"Field {key} has no cell {missing[0]}.")
    table = cells.table[~(here & cells.table["label"].isin(gone))].reset_index(drop=True)
    images = dict(cells.labels)
    if key in images:
        images[key] = np.where(np.isin(images[key], gone), 0, images[key]).astype(np.int32)
    return replace(cells, table=table, labels=images)


def add_cell(cells: Cells, key: str, mask: NDArray[np.bool_]) -> tuple[Cells, int]:
    """Return the cells with one more in a field, and its label: the first above all that are there.

    Parameters
    ----------
    mask
        (H, W) True where the cell is; pixels of other cells stay theirs.

    Raises
    ------
    CellError
        The field has no label image, the mask has another shape, or all of it belongs to other cells.
    """
    outlines = _outlines(cells, key)
    if mask.shape != outlines.shape:
        raise CellError(f"The new cell's mask is {mask.shape}, and field {key} is {outlines.shape}.")
    own = np.asarray(mask, bool) & (outlines == 0)
    if not own.any():
        raise CellError(f"There is no room for a new cell here: all of it belongs to other cells of field {key}.")
    label = int(max(outlines.max(initial=0), cells.table.loc[cells.table["field"] == key, "label"].max())) + 1
    return _with_labels(cells, key, np.where(own, label, outlines).astype(np.int32)), label


@dataclass(frozen=True)
class CellChanges:
    """What differs between two label images of a field.

    Parameters
    ----------
    added, deleted, corrected
        Labels that are new, gone, and there with another outline.
    """

    added: tuple[int, ...]
    deleted: tuple[int, ...]
    corrected: tuple[int, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.deleted or self.corrected)


def cell_changes(before: NDArray[Any], after: NDArray[Any]) -> CellChanges:
    """Compare two label images (H, W) of one field, before and after the brush."""
    old, new = set(np.unique(before)) - {0}, set(np.unique(after)) - {0}
    differ = np.asarray(before) != np.asarray(after)
    touched = (set(np.unique(before[differ])) | set(np.unique(after[differ]))) & old & new
    return CellChanges(*(tuple(sorted(int(label) for label in some)) for some in (new - old, old - new, touched)))


def same_cells(before: NDArray[Any], after: NDArray[Any]) -> dict[int, int | None]:
    """Return the label after by the label before, for a field that was segmented anew.

    A cell is the same where the two outlines share more than half of the pixels that either has (intersection over
    union above 0.5, so that each has one partner at most); None where it has none. `Annotations.follow` takes it.
    """
    old, old_at, old_area = np.unique(before, return_inverse=True, return_counts=True)
    new, new_at, new_area = np.unique(after, return_inverse=True, return_counts=True)
    pairs, overlap = np.unique(old_at.ravel() * len(new) + new_at.ravel(), return_counts=True)
    row, column = np.divmod(pairs, len(new))
    union = old_area[row] + new_area[column] - overlap
    same = (2 * overlap > union) & (old[row] != 0) & (new[column] != 0)
    partner = dict(zip(row[same].tolist(), new[column[same]].tolist(), strict=True))
    return {int(label): partner.get(place) for place, label in enumerate(old) if label != 0}


def _with_labels(cells: Cells, key: str, labels: NDArray[np.int32]) -> Cells:
    """The cells with one field's measured anew, in its place in the table."""
    before = dict(list(cells.table.groupby("field", sort=False)))
    before[key] = measure_cells(key, labels)
    parts = [part for part in before.values() if len(part)]
    table = concat(parts, ignore_index=True) if parts else DataFrame(columns=list(COLUMNS))
    return replace(cells, table=table, labels={**cells.labels, key: labels}, found="given")


def _outlines(cells: Cells, key: str) -> NDArray[Any]:
    if key not in cells.labels:
        raise CellError(f"The cells of field {key} have no outlines to correct: find the cells, or give label images.")
    return cells.labels[key]
