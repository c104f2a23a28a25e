"""An evaluation that was written before: ``report.json`` read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phenolens.evaluation.reports.parts import Evaluation, Part
from phenolens.runtime.contents import mistaken
from phenolens.runtime.errors import ReportError
from phenolens.runtime.json_files import read_json

REPORT = "report.json"
PAGE = "report.html"

# Columns of words, and all columns that a table of an answer must have at least.
_WORDS = {"changes": ("feature", "called"), "doses": ("dose", "the adapter's")}
_COLUMNS = {
    "changes": (*_WORDS["changes"], "real", "real low", "real high", "translated", "translated low", "translated high"),
    "doses": (*_WORDS["doses"], "distance", "distance, low", "distance, high"),
}


@dataclass(frozen=True, eq=False)
class SavedEvaluation(Evaluation):
    """Facts, answers and notes as `TranslationEvaluation` has them, without what its plots are drawn from.

    Parameters
    ----------
    file
        The ``report.json`` that it was read from.
    name
        What was evaluated.
    """

    file: Path = field(kw_only=True)
    name: str = field(kw_only=True)

    @property
    def page(self) -> Path | None:
        """The page to read that lies beside it, or None where there is none."""
        page = self.file.with_name(PAGE)
        return page if page.is_file() else None


def read_report(path: Path) -> SavedEvaluation:
    """Read the report that `evaluate_adapter` wrote.

    Parameters
    ----------
    path
        Its ``report.json``, or the folder with it.

    Raises
    ------
    ReportError
        There is none, it is broken, or it is a report on something else.
    """
    file = path / REPORT if path.is_dir() else path
    try:
        found = read_json(file)
    except FileNotFoundError as error:
        if reason := mistaken(path, "evaluation"):
            raise ReportError(reason) from error
        raise ReportError(f"There is no report {file}: choose a report.json that an evaluation wrote.") from error
    except OSError as error:
        raise ReportError(f"The report {file} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise ReportError(f"The report {file} is broken: choose another, or make the evaluation again.") from error
    if isinstance(found, dict) and "profiles" in found:
        raise ReportError(f"{file} is a report on profiles: choose one on an adapter, or open {PAGE} beside it.")
    try:
        return SavedEvaluation(
            _facts(found["facts"]),
            tuple(_part(key, part) for key, part in _typed(found["parts"], dict).items()),
            tuple(_typed(note, str) for note in found["notes"]),
            file=file,
            name=_typed(found["evaluated"], str),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ReportError(
            f"{file} is no report on an adapter, or not a whole one: choose a report.json that an evaluation wrote."
        ) from error


def _facts(found: Any) -> dict[str, Any]:
    facts: dict[str, Any] = _typed(found, dict)
    source, target = facts["conditions"]
    for text in (source, target, *facts["control_wells"], *facts["treated_wells"]):
        _typed(text, str)
    _typed(facts["held_out"], bool)
    for name in ("control_cells", "treated_cells"):
        _typed(facts[name], int)
    return facts


def _part(key: str, found: Any) -> Part:
    import pandas as pd

    good = found["good"]
    if good is not None:
        _typed(good, bool)
    figures: dict[str, Any] = _typed(found["figures"], dict)
    for figure in figures.values():
        if isinstance(figure, Mapping):
            for number in figure.values():
                _typed(number, (int, float, type(None)))
    table = None
    if found["table"] is not None:
        table = pd.DataFrame(found["table"])
        for name in _COLUMNS.get(key, ()):
            if name in _WORDS[key]:
                for word in table[name]:
                    _typed(word, str)
            else:
                table[name] = pd.to_numeric(table[name]).astype(float)
    notes = tuple(_typed(note, str) for note in found["notes"])
    title, verdict = (_typed(found[name], str) for name in ("title", "verdict"))
    return Part(key, title, verdict, good, figures, table, notes=notes)


def _typed(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not of {kind}")
    return value
