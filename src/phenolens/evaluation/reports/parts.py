"""An evaluation and its parts: a part answers one question, with what was measured and what it comes to in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

_MARKS = {True: "(holds up)", False: "(does not hold up)", None: ""}


@dataclass(frozen=True, eq=False)
class Part:
    """The answer to one question.

    Parameters
    ----------
    key, title
        Its name for machines and for people.
    verdict
        One or two sentences; where it could not be measured, "Not measured: " and why.
    good
        Whether it speaks for the profiles; None where it could not be measured.
    figures
        What a machine reads.
    table
        What a person reads; None where there is nothing.
    curves
        What its plot is drawn from; for machines and tables it is in `figures`.
    notes
        What bears on this answer alone.
    explained
        How it was measured, in a sentence or two for the report; empty for the parts that the report itself explains.
    """

    key: str
    title: str
    verdict: str
    good: bool | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    table: DataFrame | None = None
    curves: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()
    explained: str = ""

    @property
    def measured(self) -> bool:
        """Whether there is an answer."""
        return self.good is not None


def not_measured(key: str, title: str, why: str, notes: Sequence[str] = ()) -> Part:
    """Say why there is no answer."""
    return Part(key, title, f"Not measured: {why}.", notes=tuple(notes))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The answers to all questions, and what they were asked of.

    Parameters
    ----------
    facts
        What was evaluated: numbers of what was judged, seeds, settings.
    parts
        The answers, in the order of the report.
    notes
        What the reader should know about all of them.
    """

    facts: dict[str, Any]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]

    def part(self, key: str) -> Part:
        """Return the part called `key`, such as ``"activity"``."""
        return next(part for part in self.parts if part.key == key)

    def summary(self) -> dict[str, Any]:
        """Everything in a form that JSON has; tables as lists of rows."""
        return {
            "facts": self.facts,
            "notes": list(self.notes),
            "parts": {
                part.key: {
                    "title": part.title,
                    "verdict": part.verdict,
                    "measured": part.measured,
                    "good": part.good,
                    "notes": list(part.notes),
                    "figures": part.figures,
                    "table": None if part.table is None else part.table.to_dict("records"),
                }
                for part in self.parts
            },
        }

    def _repr_html_(self) -> str:
        answers = "".join(
            f"<li><b>{escape(part.title)}</b> {_MARKS[part.good]}<br>{escape(part.verdict)}</li>" for part in self.parts
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"<div><ul>{answers}</ul>{f'<div>Notes</div><ul>{notes}</ul>' if notes else ''}</div>"
