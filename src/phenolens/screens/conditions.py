"""Conditions in words: which fields belong together, such as ``Metadata_Role=negative control``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

PREFIX = "Metadata_"
# Where a bare name is looked for, in this order.
_NAME_COLUMNS = ("Compound", "Treatment", "Perturbation", "Genotype", "Condition", "Role", "Folder")
_DOSE_COLUMNS = ("Concentration", "Dose")
_TERM = re.compile(r"^\s*([^\W\d][\w .()/µ-]*?)\s*(>=|<=|!=|==|=|>|<)\s*(.*?)\s*$", re.DOTALL)
_SHOWN = 12


@dataclass(frozen=True)
class Term:
    """One requirement: `column` (empty for a bare name), `operator` and `value`."""

    column: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.column}{self.operator}{self.value}" if self.column else self.value


@dataclass(frozen=True)
class Condition:
    """A set of fields that share what all its `terms` say; wherever one is taken, its text is taken too.

    Parameters
    ----------
    terms
        Each a column, an operator (``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``) and a value.

    Raises
    ------
    ScreenError
        By `parse`, where the text is empty or a term has no value.

    Examples
    --------
    >>> import phenolens as ph
    >>> condition = ph.Condition.parse("Compound=translocation,Concentration>=0.5")
    >>> condition.text
    'Compound=translocation,Concentration>=0.5'
    >>> [field.metadata["Metadata_Well"] for field in ph.read_screen("screen").select(condition)]
    ['A02', 'A04', 'A06']
    """

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition from text.

        Parameters
        ----------
        text
            The name of a compound (or of a genotype, a role...), or terms joined by commas, each a column,
            one of ``=``, ``!=``, ``>=``, ``<=``, ``>``, ``<`` and a value. The column may be written without
            ``Metadata_``. A comma followed by no such term belongs to the value:
            ``Compound=2,4-dinitrophenol`` is one term.

        Raises
        ------
        ScreenError
            The text is empty, or a term has no value.
        """
        terms: list[Term] = []
        for number, piece in enumerate(text.split(",")):
            matched = _TERM.match(piece)
            if matched:
                column, operator, value = matched.groups()
                terms.append(Term(column, "=" if operator == "==" else operator, _unquoted(value)))
            elif number == 0:
                terms.append(Term("", "=", piece.strip()))
            else:
                last = terms[-1]
                terms[-1] = Term(last.column, last.operator, f"{last.value},{piece.rstrip()}")
        terms = [Term(term.column, term.operator, _unquoted(term.value)) for term in terms]
        if any(not term.value for term in terms):
            raise ScreenError(
                f"The condition {text!r} has no value; write a compound's name, or for example "
                '"Metadata_Role=negative control".'
            )
        return cls(tuple(terms))

    @property
    def text(self) -> str:
        """The condition as text that `parse` reads back."""
        return ",".join(str(term) for term in self.terms)

    def __str__(self) -> str:
        return self.text

    def without_exclusions(self, column: str) -> Condition:
        """The condition without the terms that leave out values of `column` (``Well!=B02``), if any other is left."""
        names = {column.casefold(), (PREFIX + column).casefold()}
        kept = tuple(term for term in self.terms if term.operator != "!=" or term.column.casefold() not in names)
        return Condition(kept) if kept else self

    def mask(self, table: DataFrame) -> NDArray[np.bool_]:
        """Return which rows of `table` the condition holds for.

        Raises
        ------
        ScreenError
            A column is missing, a column of text is compared by size, or no row fits; the message names what
            there is.
        """
        kept = np.ones(len(table), bool)
        for term in self.terms:
            fits = _fits(term, table)
            if not fits.any():
                raise ScreenError(_none_fits(term, table))
            kept &= fits
        if not kept.any():
            raise ScreenError(f"No field fits all of {self.text!r}: each term fits some, but never the same ones.")
        return kept


def conditions_of(table: DataFrame) -> list[str]:
    """List condition texts worth offering: the values of the columns that split `table` into groups."""
    found: list[str] = []
    for name in ("Role", *_NAME_COLUMNS):
        column = PREFIX + name
        if column in table.columns:
            values = _values(table[column])
            if 2 <= len(values) <= 200:
                found += [f"{column}={value}" for value in values]
    return list(dict.fromkeys(found))


def other_conditions(table: DataFrame, control: Condition, by: Sequence[str] = ()) -> list[Condition]:
    """List the conditions of `table` beside its control: each compound, or each of its concentrations.

    Parameters
    ----------
    control
        Rows that it holds for are left out.
    by
        Columns whose values make a condition. Where there are none, the column of compounds (or of treatments,
        genotypes...), and that of concentrations where one of the compounds has several.

    Raises
    ------
    ScreenError
        There is no such column, no other condition, or a name that cannot be written as a condition.
    """
    rest = table[~control.mask(table)]
    if by:
        columns = [column_named(table, name) for name in by]
    else:
        named = [column_named(table, term.column) for term in control.terms if term.column]
        names = [PREFIX + name for name in _NAME_COLUMNS if PREFIX + name in table.columns] + named
        if not names:
            raise ScreenError("The table has no column of compounds, such as Metadata_Compound: name one with by.")
        # a column that says the same of all others, such as their role, does not tell them apart
        split = [name for name in names if len(rest[name].dropna().unique()) > 1]
        columns = (split or names)[:1]
        for dose in (PREFIX + name for name in _DOSE_COLUMNS):
            if dose in table.columns and (rest.groupby(columns[0])[dose].nunique() > 1).any():
                columns.append(dose)
                break
    found = []
    for values, _ in rest.groupby(columns):
        terms = [Term(column, "=", _written(value)) for column, value in zip(columns, values, strict=True)]
        condition = Condition(tuple(terms))
        if not all(term.value for term in terms) or Condition.parse(condition.text) != condition:
            raise ScreenError(f"The name {condition.text!r} cannot be written as a condition: rename it in the table.")
        found.append(condition)
    if not found:
        raise ScreenError(f"No field is of another condition than {control.text!r} and has a name in {columns[0]}.")
    return found


def column_named(table: DataFrame, name: str) -> str:
    """Return the column of `table` called `name`, with or without ``Metadata_``, in any case.

    Raises
    ------
    ScreenError
        There is none; the message names the columns there are.
    """
    columns = [str(column) for column in table.columns]
    for wanted in (name, PREFIX + name):
        if wanted in columns:
            return wanted
    folded = {column.casefold(): column for column in reversed(columns)}
    for wanted in (name, PREFIX + name):
        if wanted.casefold() in folded:
            return folded[wanted.casefold()]
    offered = [column for column in columns if column.startswith(PREFIX)] or columns
    raise ScreenError(f"There is no column {name!r} in the table{_hint(name, offered)} Columns: {_listed(offered)}.")


def _fits(term: Term, table: DataFrame) -> NDArray[np.bool_]:
    import pandas as pd

    if not term.column:
        present = [PREFIX + name for name in _NAME_COLUMNS if PREFIX + name in table.columns]
        if not present:
            raise ScreenError(
                f"The table has no column to look up {term.value!r} in (such as Metadata_Compound); "
                f"write column=value. Columns: {_listed(map(str, table.columns))}."
            )
        masks = [_equal(table[column], term.value) for column in present]
        return next((mask for mask in masks if mask.any()), masks[0])
    series = table[column_named(table, term.column)]
    if term.operator == "=":
        return _equal(series, term.value)
    if term.operator == "!=":
        return ~_equal(series, term.value)
    number = _number(term.value)
    values = pd.to_numeric(series, errors="coerce").to_numpy(float)
    if number is None or np.isnan(values).all():
        what = f"{term.value!r} is not a number" if number is None else f"{series.name} holds text"
        raise ScreenError(f"{term} cannot be compared by size: {what}.")
    with np.errstate(invalid="ignore"):
        compared = {
            ">=": values >= number,
            "<=": values <= number,
            ">": values > number,
            "<": values < number,
        }
    return np.asarray(compared[term.operator], bool)


def _equal(series: Series, value: str) -> NDArray[np.bool_]:
    import pandas as pd

    number = _number(value)
    if number is not None and pd.api.types.is_numeric_dtype(series.dtype):
        return np.asarray(np.isclose(series.to_numpy(float), number, rtol=1e-9, atol=0), bool)
    text = series.astype("string").str.strip().fillna("")
    exact = np.asarray(text == value, bool)
    return exact if exact.any() else np.asarray(text.str.casefold() == value.casefold(), bool)


def _none_fits(term: Term, table: DataFrame) -> str:
    names = [term.column] if term.column else [name for name in _NAME_COLUMNS if PREFIX + name in table.columns]
    column = column_named(table, names[0])
    values = _values(table[column])
    return f"No field fits {str(term)!r}{_hint(term.value, values)} {column} holds: {_listed(values)}."


def _hint(name: str, offered: list[str]) -> str:
    bare = {value.removeprefix(PREFIX).casefold(): value for value in offered}
    near = difflib.get_close_matches(name.removeprefix(PREFIX).casefold(), list(bare), n=1)
    return f"; did you mean {bare[near[0]]!r}?" if near else "."


def _values(series: Series) -> list[str]:
    return [str(value) for value in sorted(series.dropna().unique().tolist(), key=lambda v: (isinstance(v, str), v))]


def _written(value: object) -> str:
    """A value of a table as a condition has it."""
    return f"{value:.12g}" if isinstance(value, float) else str(value).strip()


def _listed(values: Iterable[str]) -> str:
    values = list(values)
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text
