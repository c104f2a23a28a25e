"""An evaluation as files: report.json for machines, and report.html, which needs nothing but itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from phenolens.evaluation.profiles.report_plots import matching_plot, precision_plot, predictability_plot, unseen_plot
from phenolens.evaluation.reports.parts import Evaluation, Part
from phenolens.evaluation.reports.report_page import (
    html_answers,
    html_facts,
    html_notes,
    html_page,
    html_section,
    html_table,
    write_report_files,
)
from phenolens.runtime.output_kinds import PROFILE_EVALUATION
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.provenance import write_provenance

_SHARES = {"top 1", "top 10", "low", "high", "chance", "chance of top 10", "share", "most frequent", "right mechanism"}
_FACTS = (
    ("evaluated", "wells"),
    ("compounds", "compounds"),
    ("mechanisms", "mechanisms"),
    ("controls", "control wells"),
    ("plates", "plates"),
    ("batches", "batches"),
    ("sources", "sources"),
    ("dimension", "dimensions"),
)
_EXPLAINED = {
    "replicate_matching": "For each treated well, candidates are the treated wells from elsewhere: what shares its "
    "plate, batch or source is barred altogether. The figure is how often the nearest (or one of the ten nearest) is "
    "of the same compound. Chance is exact for the candidates at hand; intervals (95 %) are by bootstrap over "
    "compounds.",
    "mechanism_matching": "As above, but candidates are of another compound, and a match shares the mechanism. Only "
    "wells with a mechanism take part.",
    "batch_predictability": "The nearest wells vote on where a well comes from. They are of another compound, and "
    "where a batch has several plates, from another plate; controls are asked by themselves. Lower is better: at "
    "chance, nothing of the origin is left that neighbours would show.",
    "activity": "Average precision is 1 where a compound's wells all lie nearer to one another than to the negatives. "
    "The p-value exchanges its wells with the negatives of the same plate; q is the p-value adjusted for the false "
    "discovery rate (Benjamini-Hochberg). Controls in places of their own, such as the rim of the plate, differ from "
    "treated wells for that alone.",
    "consistency": "The same for compounds of one mechanism against those of others; the p-value exchanges mechanisms "
    "among compounds.",
    "unseen_compounds": "Compounds are left out, one at a time or all of a Murcko scaffold together. The effect of "
    "each is predicted from its structure and the effects of the others. It is right where the most similar "
    "effect among those is of the same mechanism. An effect is the mean change from the controls of the plates, over "
    "all doses. Intervals (95 %) are by bootstrap over what was left out together.",
}


@dataclass(frozen=True, eq=False)
class ProfileReport(Evaluation):
    """An evaluation of profiles that can be written as files.

    Parameters
    ----------
    name
        What was evaluated, for the heading.

    Examples
    --------
    >>> import phenolens as ph
    >>> report = ph.evaluate_profiles(ph.embed("screen", cells="whole"), permutations=19, name="six wells")
    >>> report.part("replicate_matching").title
    'Replicates: is the nearest well elsewhere of the same compound?'
    >>> report.save("evaluation_of_profiles").name
    'report.html'
    """

    name: str = field(default="", kw_only=True)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``report.html``, ``report.json`` and ``provenance.json`` into `folder`, whole or not at all.

        An evaluation that is there already is replaced. Returns the page, ``report.html``.

        Raises
        ------
        OutputError
            The folder cannot be written to, or holds something else than an evaluation.
        """
        out = Path(folder)
        with writing_output(out, PROFILE_EVALUATION) as new:
            write_report(self, new, name=self.name)
            write_provenance(
                new,
                command="micon evaluate",
                seed=self.facts["seed"],
                permutations=self.facts["permutations"],
                card=self.facts["card"],
            )
        return out / "report.html"

    def _repr_html_(self) -> str:
        counts = ", ".join(f"{self.facts[key]:,} {label}" for key, label in _FACTS if self.facts.get(key))
        return f"<div><b>What the profiles are good for</b><div>{counts}</div></div>{super()._repr_html_()}"


def write_report(evaluation: Evaluation, folder: str | os.PathLike[str], *, name: str = "") -> Path:
    """Write ``report.json`` and ``report.html`` into `folder`, each whole or not at all.

    Parameters
    ----------
    evaluation
        From `evaluate_profiles`.
    folder
        Made where it is not there.
    name
        What was evaluated, for the heading.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    return write_report_files(Path(folder), evaluation.summary() | {"profiles": name}, html_report(evaluation, name))


def html_report(evaluation: Evaluation, name: str = "") -> str:
    """Return the whole page, with its style and plots inside; all that comes from the user's files is escaped."""
    facts = evaluation.facts
    counts = [(facts[key], label) for key, label in _FACTS if facts.get(key) not in (None, 0)]
    sections = "\n".join(
        html_section(part, _plot(part, facts), _table(part), _EXPLAINED.get(part.key, part.explained))
        for part in evaluation.parts
    )
    body = f"""{html_facts(counts)}
{html_answers(evaluation.parts)}
{html_notes(evaluation.notes)}
{sections}
<h2>How it was made</h2>
<p class="method">Seed {facts["seed"]}, up to {facts["permutations"]:,} permutations for each p-value (fewer where a
hundred did as well before), cosine similarity.
Versions and the hash of the file are in provenance.json, all figures in report.json.</p>"""
    return html_page(f"Evaluation of {name or 'profiles'}", "Evaluation of profiles", name, body)


def _plot(part: Part, facts: dict[str, Any]) -> str:
    if part.curves:
        return matching_plot(part.curves, facts["seed"])
    if part.table is None:
        return ""
    if "mAP" in part.table:
        return precision_plot(part.table, part.figures["false_discovery_rate"])
    return unseen_plot(part.table) if part.key == "unseen_compounds" else predictability_plot(part.table)


def _table(part: Part) -> str:
    if part.table is None:
        return ""
    rate = part.figures.get("false_discovery_rate")
    return html_table(part.table, _number, None if rate is None else lambda row: bool(row["q"] <= rate))


def _number(column: str, value: float) -> str:
    if column in _SHARES:
        return f"{value:.1%}"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    return f"{value:.1e}" if column in ("p", "q") and value < 0.001 else f"{value:.3f}"
