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


def corrected(
    cells: Cells, key: str, labels: NDArray[Any], corner: tuple[int, int] | None = None
) -> tuple[Cells, CellChanges]:
    """Return what `correct_labels` does, or, from a `corner` on, `correct_part`, and what differs."""
    if corner is not None:
        return correct_part(cells, key, corner, labels)
    made = correct_labels(cells, key, labels)
    return made, cell_changes(cells.labels[key], made.labels[key])


def correct_part(cells: Cells, key: str, corner: tuple[int, int], labels: NDArray[Any]) -> tuple[Cells, CellChanges]:
    """Return the cells with an edited part of one field's label image, and what differs.

    Nothing but the pixels that changed is counted, so that a stroke takes as long as to copy the label image.

    Parameters
    ----------
    corner
        Row and column at which the part begins.
    labels
        (h, w) of the part.

    Raises
    ------
    CellError
        The field has no label image, or the part does not lie in it.
    """
    outlines = _outlines(cells, key)
    part = tuple(slice(start, start + length) for start, length in zip(corner, labels.shape, strict=True))
    before = outlines[part]
    if min(corner) < 0 or before.shape != labels.shape:
        raise CellError(f"A part of {labels.shape} from {corner} on does not lie in field {key}, {outlines.shape}.")
    after = check_labels(labels, key, labels.shape)
    made = outlines.copy()
    made[part] = after
    changed = before != after
    y, x = (places + start for places, start in zip(np.nonzero(changed), corner, strict=True))
    lost, won = before[changed], after[changed]
    touched = np.setdiff1d(np.union1d(lost, won), [0])
    table = cells.table[cells.table["field"] == key].set_index("label")
    old = table.reindex(touched).fillna({"area": 0, "y": 0.0, "x": 0.0})
    if not np.isin(lost[lost != 0], table.index).all():  # the table says nothing of some that are there
        return _with_labels(cells, key, made), cell_changes(outlines, made)

    def difference(values: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """What the touched cells won, less what they lost: pixels, or a sum of `values` of them."""
        sums = np.zeros((2, len(touched)))
        for row, of in enumerate((lost, won)):
            inside = of != 0
            at = np.searchsorted(touched, of[inside])
            sums[row] = np.bincount(at, None if values is None else values[inside], len(touched))
        return np.asarray(sums[1] - sums[0])

    area = old["area"].to_numpy(float)
    now = np.rint(area + difference()).astype(int)
    places = {
        axis: (old[axis].to_numpy(float) * area + difference(values)) / np.maximum(now, 1)
        for axis, values in (("y", y), ("x", x))
    }
    left = DataFrame({"field": key, "label": touched, **places, "area": now}, columns=list(COLUMNS))[now > 0]
    rest = table[~table.index.isin(touched)].reset_index()[list(COLUMNS)]
    rows = concat([one for one in (rest, left) if len(one)] or [left], ignore_index=True)
    groups = (touched[(area == 0) & (now > 0)], touched[(area > 0) & (now == 0)], touched[(area > 0) & (now > 0)])
    changes = CellChanges(*(tuple(map(int, one)) for one in groups))
    return _with_labels(cells, key, made, rows.sort_values("label", ignore_index=True)), changes


def outline_of(cells: Cells, key: str, label: int) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """Return where a part of a field begins that holds all of one cell, and its mask (h, w) there.

    Raises
    ------
    CellError
        There is no such cell, or the field has no label image.
    """
    outlines, table = _outlines(cells, key), cells.table
    rows = table[(table["field"] == key) & (table["label"] == label)]
    if not len(rows):
        raise CellError(f"Field {key} has no cell {label}.")
    centre, area = rows[["y", "x"]].to_numpy(float)[0], int(rows["area"].iloc[0])
    reach = int(np.ceil(np.sqrt(area))) + 1
    while True:
        start = np.maximum(centre.astype(int) - reach, 0)
        stop = np.minimum(centre.astype(int) + reach + 1, outlines.shape)
        mask = outlines[start[0] : stop[0], start[1] : stop[1]] == label
        if int(mask.sum()) >= area or mask.shape == outlines.shape:
            return (int(start[0]), int(start[1])), mask
        reach *= 2


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


def _with_labels(cells: Cells, key: str, labels: NDArray[np.int32], rows: DataFrame | None = None) -> Cells:
    """The cells with one field's in its place in the table: its `rows`, measured anew where None."""
    before = dict(list(cells.table.groupby("field", sort=False)))
    before[key] = measure_cells(key, labels) if rows is None else rows
    parts = [part for part in before.values() if len(part)]
    table = concat(parts, ignore_index=True) if parts else DataFrame(columns=list(COLUMNS))
    return replace(cells, table=table, labels={**cells.labels, key: labels}, found="given")


def _outlines(cells: Cells, key: str) -> NDArray[Any]:
    if key not in cells.labels:
        raise CellError(f"The cells of field {key} have no outlines to correct: find the cells, or give label images.")
    return cells.labels[key]
