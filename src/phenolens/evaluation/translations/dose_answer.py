"""In words: at which dose translated cells land, and whether that is the adapter's own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phenolens.evaluation.reports.parts import Part, not_measured
from phenolens.evaluation.translations.answers import bounds, in_words
from phenolens.evaluation.translations.dose_wells import DoseWells
from phenolens.evaluation.translations.doses import DoseDistances, Level
from phenolens.screens.conditions import PREFIX

if TYPE_CHECKING:
    from pandas import DataFrame


def dose_answer(found: DoseDistances | None, wells: DoseWells) -> Part:
    """The dose that translated cells are closest to."""
    title = "Dose"
    if wells.column is None:
        why = "the conditions tell no column of doses; where the table has one, name it with --dose"
        return not_measured("doses", title, why)
    column = wells.column.removeprefix(PREFIX)
    if found is None:
        why = f"fewer than two values of {column} have cells in wells that the adapter was not fine-tuned on"
        return not_measured("doses", title, why)
    closest, own = found.closest, _listed([f"{dose:g}" for dose in wells.own])
    where = (
        "the control cells they were made from" if closest.dose is None else f"real cells of {column} {closest.dose:g}"
    )
    verdict = (
        f"By {found.measure}, translated cells are closest to {where} (Kolmogorov-Smirnov distance "
        f"{in_words(closest.distance)}), "
    )
    mine = [level for level in found.levels if level.own]
    near = [level for level in found.alike if level.own]
    others = [level for level in found.alike if not level.own]
    good: bool | None
    if closest.own:
        good = True
        verdict += "the adapter's own." if len(wells.own) == 1 else f"one of the adapter's own ({own})."
        others = list(found.alike)
    elif not mine:
        good = None
        verdict += f"and no new well is of the adapter's own ({own})."
    elif near:
        good = None
        verdict += f"which these wells do not tell from the adapter's own {_listed([_dose(level) for level in near])}."
    else:
        good = False
        nearest = min(mine, key=lambda level: level.distance[0])
        verdict += f"not to the adapter's own ({own}), {in_words(nearest.distance)} away at the nearest."
    if others:
        subject = "Nor do they" if good is None and near else "These wells do not"
        verdict += f" {subject} distinguish it from {_listed([_dose(level) for level in others])}."
    if any(level.dose is None for level in found.alike):
        good = None
        verdict += " So this measure does not tell."
    figures = {
        "column": wells.column,
        "measure": found.measure,
        "own": list(wells.own),
        "closest": closest.dose,
        "distance": bounds(closest.distance),
        "not_told_apart": [level.dose for level in found.alike],
        "translated_median": bounds(found.translated),
    }
    return Part("doses", title, verdict, good, figures, _table(found), notes=_notes(found))


def _dose(level: Level) -> str:
    return "control cells" if level.dose is None else f"{level.dose:g}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _table(found: DoseDistances) -> "DataFrame":
    import pandas as pd

    rows = []
    for level in found.levels:
        row: dict[str, object] = {"dose": "control" if level.dose is None else f"{level.dose:g}"}
        row |= {"the adapter's": "yes" if level.own else "", "wells": level.wells, "cells": level.cells}
        for name, value in (("median", level.median), ("distance", level.distance)):
            row |= {name: value[0], f"{name}, low": value[1], f"{name}, high": value[2]}
        rows.append(row)
    return pd.DataFrame(rows)


def _notes(found: DoseDistances) -> tuple[str, ...]:
    if all(level.wells > 1 for level in found.levels):
        return ()
    return (
        "Where there is one well, it is compared by its cells alone: what is peculiar to the well counts as its dose.",
    )
