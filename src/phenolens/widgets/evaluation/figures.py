"""Which figures of an answer the dock shows, and how they are called there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.widgets.kit.glyphs import NULL, REAL, TRANSLATED

if TYPE_CHECKING:
    from phenolens.evaluation.reports.parts import Part

# The rows of each answer: name in the report, words, and what it is a figure of.
_ROWS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "flips": (
        ("translated", "translated", TRANSLATED),
        ("control", "null: untouched", NULL),
        ("relabelled", "null: relabelled", NULL),
        ("treated", "real treated", REAL),
    ),
    "slider": (("median_spearman", "rank correlation", TRANSLATED),),
    "identity": (
        ("similarity", "similarity", TRANSLATED),
        ("similarity_other_cell", "null: another cell", NULL),
        ("nucleus_iou", "nucleus overlap", TRANSLATED),
        ("nucleus_iou_other_cell", "null: another cell", NULL),
    ),
    "changes": (
        ("slope", "slope", TRANSLATED),
        ("correlation", "correlation r", TRANSLATED),
        ("sign_agreement", "same sign", TRANSLATED),
    ),
    "kernel": (
        ("translated", "translated", TRANSLATED),
        ("source", "null: untouched", NULL),
        ("real", "real treated", REAL),
    ),
    "distribution": (
        ("translated", "translated", TRANSLATED),
        ("source", "null: untouched", NULL),
        ("real", "real treated", REAL),
    ),
    "memorisation": (("auroc", "new, not repeated", TRANSLATED),),
}
_FORMATS = {"flips": "{:.0%}", "kernel": "{:.3f}"}
_FREE = {"kernel"}  # whose figures do not go from 0 to 1


@dataclass(frozen=True)
class Figure:
    """One figure with its interval, which is None where there is none.

    Parameters
    ----------
    kind
        `TRANSLATED`, `NULL` (what it stands beside) or `REAL`.
    text
        Value and interval in words.
    """

    label: str
    kind: str
    value: float
    interval: tuple[float, float] | None
    text: str


def figures_of(part: "Part") -> tuple[Figure, ...]:
    """The figures of an answer; of one that this module does not know, all that have an interval."""
    if part.key == "doses":
        return _doses(part)
    rows = _ROWS.get(part.key)
    if rows is None:
        known = (name for name, figure in part.figures.items() if isinstance(figure, Mapping) and "value" in figure)
        rows = tuple((name, name.replace("_", " "), TRANSLATED) for name in known)
    form = _FORMATS.get(part.key, "{:.2f}")
    found = (_figure(label, kind, part.figures.get(name), form) for name, label, kind in rows)
    return tuple(figure for figure in found if figure is not None)


def scale_of(part: "Part", figures: tuple[Figure, ...]) -> tuple[float, float]:
    """The ends of the axis that the figures of an answer are drawn on."""
    values = [end for figure in figures for end in (figure.value, *(figure.interval or ()))]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return min(low, 0.0), high if part.key in _FREE and high > 0 else max(high, 1.0)


def _doses(part: "Part") -> tuple[Figure, ...]:
    """Distance of the translated cells to the real ones of each dose."""
    found = []
    for row in [] if part.table is None else part.table.to_dict("records"):
        dose, own = row["dose"], bool(row["the adapter's"])
        label = f"null: {dose}" if dose == "control" else f"from dose {dose}{', its own' * own}"
        kind = NULL if dose == "control" else TRANSLATED if own else REAL
        known = {"value": row["distance"], "low": row["distance, low"], "high": row["distance, high"]}
        known = {name: None if np.isnan(value) else value for name, value in known.items()}
        found.append(_figure(label, kind, known, "{:.2f}"))
    return tuple(figure for figure in found if figure is not None)


def _figure(label: str, kind: str, found: Any, form: str) -> Figure | None:
    if isinstance(found, Mapping):
        value, low, high = found.get("value", found.get("mean")), found.get("low"), found.get("high")
    else:
        value, low, high = found, None, None
    if not isinstance(value, (int, float)):
        return None
    if low is None or high is None:
        return Figure(label, kind, float(value), None, form.format(value))
    said = f"{form} ({form}–{form})" if low >= 0 else f"{form} ({form} to {form})"
    return Figure(label, kind, float(value), (float(low), float(high)), said.format(value, low, high))
