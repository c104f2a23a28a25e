"""Wells that fine-tuning leaves out, so that an evaluation afterwards has wells that the adapter has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phenolens.runtime.errors import ScreenError
from phenolens.screens.conditions import PREFIX, Condition, Term
from phenolens.screens.table import Screen

if TYPE_CHECKING:
    from pandas import DataFrame

WELL = f"{PREFIX}Well"
_ENOUGH_FOR_TWO = 5
"""Wells of a condition from which on two are left out: a feature can be called changed with two new wells or more."""


@dataclass(frozen=True)
class WellsLeftOut:
    """Which wells are left out of fine-tuning, and what is trained on then.

    Parameters
    ----------
    source, target
        The conditions without these wells.
    wells
        Names of the wells of the source and of the target condition; empty where none can be spared.
    why_not
        Why there are none, in a sentence; empty where there are some.
    """

    source: Condition
    target: Condition
    wells: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    why_not: str = ""

    @property
    def said(self) -> str:
        """Which wells are left out, or why none is, in a sentence."""
        if self.why_not:
            return self.why_not
        if not any(self.wells):
            return "All wells are trained on: the evaluation will have none to judge on."
        control, treated = (", ".join(wells) for wells in self.wells)
        return f"Left out: {control} of the control, {treated} of the treated."


def leave_wells_out(screen: Screen, source: Condition, target: Condition) -> WellsLeftOut:
    """Leave out the last wells by name of each condition: two of five or more, one of three or four.

    Examples
    --------
    >>> import phenolens as ph
    >>> from phenolens.screens.conditions import Condition
    >>> conditions = Condition.parse("Role=negative control"), Condition.parse("translocation")
    >>> leave_wells_out(ph.read_screen("screen"), *conditions).wells
    (('A05',), ('A06',))
    """
    table = screen.table
    if WELL not in table:
        return WellsLeftOut(source, target, why_not="No wells are left out: the table does not say which there are.")
    if any(term.operator == "!=" and term.column in ("Well", WELL) for term in (*source.terms, *target.terms)):
        return WellsLeftOut(source, target, why_not="Your conditions leave out wells by themselves.")
    chosen = [_spared(table, condition) for condition in (source, target)]
    if not all(chosen):
        return WellsLeftOut(
            source,
            target,
            why_not="No wells are left out: a condition has fewer than three. None will be there to judge on.",
        )
    first, second = (_without(condition, wells) for condition, wells in zip((source, target), chosen, strict=True))
    return WellsLeftOut(first, second, (chosen[0], chosen[1]))


def without_last_wells(screen: Screen, condition: Condition) -> tuple[Condition, tuple[str, ...]]:
    """Leave out the last wells of one condition by itself, as many as `leave_wells_out`, and say which.

    None where it has fewer than three, or where it leaves out wells by itself.
    """
    if WELL not in screen.table or any(t.operator == "!=" and t.column in ("Well", WELL) for t in condition.terms):
        return condition, ()
    wells = _spared(screen.table, condition)
    return _without(condition, wells), wells


def _spared(table: DataFrame, condition: Condition) -> tuple[str, ...]:
    """The wells of a condition that can be left out."""
    try:
        wells = sorted({str(well).strip() for well in table.loc[condition.mask(table), WELL].dropna()})
    except ScreenError:
        return ()
    return tuple(wells[-2:] if len(wells) >= _ENOUGH_FOR_TWO else wells[-1:] if len(wells) > 2 else ())


def _without(condition: Condition, wells: tuple[str, ...]) -> Condition:
    return Condition((*condition.terms, *(Term(WELL, "!=", well) for well in wells)))
