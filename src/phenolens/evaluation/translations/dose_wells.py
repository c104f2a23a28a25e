"""Which new wells hold which dose of an adapter's treatment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ScreenError
from phenolens.screens.conditions import PREFIX, Condition, Term, column_named
from phenolens.screens.table import Screen

# Columns of numbers that say where or when a field was taken, and are no doses.
_PLACES = {"plate", "well", "site", "field", "row", "column", "batch", "source", "replicate", "run", "day",
           "time", "timepoint", "t", "z", "pixelsize"}  # fmt: skip


@dataclass(frozen=True)
class DoseWells:
    """New wells by dose.

    Parameters
    ----------
    column
        The column of doses (concentrations or ranks); None where none is known.
    own
        Doses of the adapter's target condition.
    screens
        The fields of each dose, by rising dose.
    """

    column: str | None = None
    own: tuple[float, ...] = ()
    screens: Mapping[float, Screen] = field(default_factory=dict)


def find_doses(
    screen: Screen,
    new: NDArray[np.bool_],
    trained: Condition,
    source: Condition,
    target: Condition,
    asked: str | None = None,
) -> DoseWells:
    """Find the wells of all doses of the treatment among the new ones.

    They are those that fit what the target condition asks besides the dose, are of its compounds, and are no controls.

    Parameters
    ----------
    new
        (n,) whether a field is of a well that the adapter was not fine-tuned on.
    trained
        The adapter's own target condition. Where it is judged itself, its terms on wells do not count: they left out
        the wells that are to be judged.
    source, target
        Conditions that are judged.
    asked
        The column of doses. Where None it is the one column of numbers that the target condition asks about, or else
        the adapter's own.

    Raises
    ------
    ScreenError
        The table has no such column, or it holds no number for the treated fields.
    """
    table = screen.table
    known = [one for one in dict.fromkeys((target, trained)) if _fits(one, screen)]
    if asked is not None:
        column = column_named(table, asked)
        basis = next((one for one in known if column in _columns(one, screen)), target)
    else:
        numeric = [(one, columns[0]) for one in known if len(columns := _numeric(one, screen)) == 1]
        if not numeric:
            return DoseWells()
        basis, column = numeric[0]
    doses = _numbers(screen, column)
    owners = (trained if trained in known else target).mask(table)
    own = np.unique(doses[owners & np.isfinite(doses)])
    if not len(own):
        raise ScreenError(f"{column} holds no number for the treated fields: choose another column of doses.")
    apart = {column, PREFIX + "Well"} if basis == trained else {column}
    terms = tuple(term for term in basis.terms if _column(term, screen) not in apart)
    chosen = new & np.isfinite(doses) & ~source.mask(table)
    if terms:
        chosen &= Condition(terms).mask(table)
    if (compound := PREFIX + "Compound") in table:
        chosen &= table[compound].isin(table[compound][owners]).to_numpy()
    screens = {float(dose): screen.select(chosen & (doses == dose)) for dose in np.unique(doses[chosen])}
    return DoseWells(column, tuple(own.tolist()), screens)


def dose_columns(screen: Screen) -> list[str]:
    """The columns that may hold doses: of two or more positive numbers, and not of a place or a time."""
    columns = [str(column) for column in screen.table.columns if str(column).startswith(PREFIX)]
    numbers = {column: _numbers(screen, column) for column in columns if not _is_place(column)}
    return [column for column, found in numbers.items() if len(np.unique(found[found > 0])) > 1]


def _fits(condition: Condition, screen: Screen) -> bool:
    try:
        return bool(condition.mask(screen.table).any())
    except ScreenError:  # the adapter's own condition need not be in another screen
        return False


def _column(term: Term, screen: Screen) -> str | None:
    return column_named(screen.table, term.column) if term.column else None


def _columns(condition: Condition, screen: Screen) -> list[str]:
    """The columns that a condition asks a value or a range of."""
    asked = (_column(term, screen) for term in condition.terms if term.operator != "!=")
    return list(dict.fromkeys(column for column in asked if column is not None))


def _numeric(condition: Condition, screen: Screen) -> list[str]:
    treated = condition.mask(screen.table)
    return [
        column
        for column in _columns(condition, screen)
        if not _is_place(column) and np.isfinite(_numbers(screen, column)[treated]).all()
    ]


def _is_place(column: str) -> bool:
    return column.removeprefix(PREFIX).casefold() in _PLACES


def _numbers(screen: Screen, column: str) -> NDArray[np.float64]:
    import pandas as pd

    return np.asarray(pd.to_numeric(screen.table[column], errors="coerce"), np.float64)
