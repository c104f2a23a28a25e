"""The answer to one question of an evaluation: what was measured, and what it comes to in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phenolens.evaluation.profiles.matching import Matching

if TYPE_CHECKING:
    from pandas import DataFrame


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
        Matching by k, for the plot.
    notes
        What bears on this answer alone.
    """

    key: str
    title: str
    verdict: str
    good: bool | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    table: DataFrame | None = None
    curves: tuple[Matching, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether there is an answer."""
        return self.good is not None


def not_measured(key: str, title: str, why: str, notes: Sequence[str] = ()) -> Part:
    """Say why there is no answer."""
    return Part(key, title, f"Not measured: {why}.", notes=tuple(notes))
