"""The cells of a session: outlines and places of each field in a file of its own, so that a correction is small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.limits import PIXELS
from phenolens.sessions.reading import SavedSession
from phenolens.sessions.values import Kept

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.cells import Cells

_BLOCK = 1 << 24  # pixels
_COLUMNS = {"label": np.int64, "y": np.float64, "x": np.float64, "area": np.int64}


def kept_cells(cells: Cells) -> dict[str, Any]:
    """The values that `saved_cells` makes the same cells of."""
    table = cells.table
    by_field: dict[str, DataFrame] = {}

    def rows(key: str) -> DataFrame:
        if not by_field and len(table):
            by_field.update({str(name): part for name, part in table.groupby("field", sort=False)})
        return by_field.get(key, table.iloc[:0])

    values: dict[str, Any] = {"cells": {"found": cells.found}}
    for key, labels in cells.labels.items():
        arrays = _outlined(labels, rows, key)
        values[f"labels/{key}"] = Kept(of=labels, stem="labels", arrays=arrays, packed=True, together="cells")
    if not cells.labels:
        values["cells/table"] = Kept(of=table, stem="table", arrays=lambda: _whole(table), packed=True)
    return values


def saved_cells(saved: SavedSession, shapes: Mapping[str, tuple[int, int]] | None = None) -> Cells | None:
    """The cells of a session; None where it has none. Fields that cannot be read are left out, and said so.

    Parameters
    ----------
    shapes
        Height and width of fields, by key, where they are known; outlines of another shape are left out.
    """
    from pandas import DataFrame, concat

    from phenolens.screens.cells import COLUMNS, Cells

    about = saved.value("cells")
    if about is None:
        return None
    parts: list[DataFrame] = []
    labels: dict[str, NDArray[Any]] = {}
    lost: list[str] = []
    for key, value in saved.under("labels"):
        arrays = saved.arrays(value)
        outlines = None if arrays is None else _unpacked(arrays, (shapes or {}).get(key))
        part = None if arrays is None else _rows(arrays)
        if outlines is None or part is None:
            lost.append(key)
            continue
        labels[key] = outlines
        part.insert(0, "field", key)
        parts.append(part)
    whole = saved.value("cells/table")
    if whole is not None:
        arrays = saved.arrays(whole)
        part = None if arrays is None or "field" not in arrays else _rows(arrays)
        if arrays is None or part is None or arrays["field"].shape != (len(part),):
            lost.append("all")
        else:
            part.insert(0, "field", [str(name) for name in arrays["field"]])
            parts.append(part)
    if lost:
        saved.problems.append(f"The cells of {len(lost)} fields are damaged ({lost[0]} first): find them again.")
    parts = [part for part in parts if len(part)]
    if not parts and not labels:
        return None
    table = concat(parts, ignore_index=True) if parts else DataFrame(columns=list(COLUMNS))
    return Cells(table[list(COLUMNS)], labels, str(about.get("found", "given"))[:4096])


def _outlined(
    labels: NDArray[Any], rows: Callable[[str], DataFrame], key: str
) -> Callable[[], dict[str, NDArray[Any]]]:
    return lambda: {**_packed(labels), **_columns(rows(key))}


def _whole(table: DataFrame) -> dict[str, NDArray[Any]]:
    return {"field": table["field"].to_numpy(str), **_columns(table)}


def _columns(rows: DataFrame) -> dict[str, NDArray[Any]]:
    # a table without rows does not say of what kind its columns are
    return {name: rows[name].to_numpy() if len(rows) else np.zeros(0, kind) for name, kind in _COLUMNS.items()}


def _rows(arrays: Mapping[str, NDArray[Any]]) -> DataFrame | None:
    from pandas import DataFrame

    known = {name: arrays[name] for name in _COLUMNS if name in arrays}
    if len(known) < len(_COLUMNS) or any(one.ndim != 1 for one in known.values()):
        return None
    if any(known[name].dtype.kind != np.dtype(kind).kind for name, kind in _COLUMNS.items()):
        return None
    if len({len(one) for one in known.values()}) > 1 or not np.isfinite([known["y"], known["x"]]).all():
        return None
    return DataFrame(known)


def _packed(labels: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Runs of equal labels, row after row: outlines are mostly background, and what is read stays in bounds."""
    flat = np.ascontiguousarray(labels, np.int32).ravel()
    # a block at a time: a large field must not be held once more, let alone thrice
    blocks = [
        np.flatnonzero(flat[begin + 1 : begin + _BLOCK + 1] != flat[begin : min(begin + _BLOCK, len(flat) - 1)]) + begin
        for begin in range(0, len(flat), _BLOCK)
    ]
    starts = np.concatenate([np.zeros(min(len(flat), 1), np.int64), *(block + 1 for block in blocks)])
    lengths = np.diff(starts, append=len(flat))
    return {"shape": np.array(labels.shape, np.int64), "values": flat[starts], "lengths": lengths.astype(np.int64)}


def _unpacked(arrays: Mapping[str, NDArray[Any]], wanted: tuple[int, int] | None) -> NDArray[np.int32] | None:
    shape, values, lengths = (arrays.get(name) for name in ("shape", "values", "lengths"))
    if shape is None or values is None or lengths is None or shape.shape != (2,) or values.shape != lengths.shape:
        return None
    if any(one.ndim != 1 or one.dtype.kind != "i" for one in (shape, values, lengths)):
        return None
    height, width = int(shape[0]), int(shape[1])
    if min(height, width) < 1 or height * width > PIXELS() or (wanted is not None and wanted != (height, width)):
        return None
    if (lengths < 1).any() or (lengths > height * width).any() or (values < 0).any():
        return None
    if int(lengths.sum(dtype=np.float64)) != height * width:
        return None
    return np.repeat(values.astype(np.int32), lengths).reshape(height, width)
