"""An evaluation as files: report.json for machines, and report.html, which needs nothing but itself."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.profiling.evaluation import Evaluation
from phenolens.profiling.evaluation_parts import Part
from phenolens.profiling.report_plots import matching_plot, precision_plot, predictability_plot, unseen_plot
from phenolens.runtime.files import write_json, writing
from phenolens.runtime.report_page import html_notes, html_page, verdict_class

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST_ROWS = 500
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
    folder = Path(folder)
    write_json(folder / "report.json", evaluation.summary() | {"profiles": name})
    page = folder / "report.html"
    text = html_report(evaluation, name)
    with writing(page) as partial:
        partial.write_text(text, encoding="utf-8")
    return page


def html_report(evaluation: Evaluation, name: str = "") -> str:
    """Return the whole page, with its style and plots inside; all that comes from the user's files is escaped."""
    facts = evaluation.facts
    counts = "".join(
        f"<li><b>{facts[key]:,}</b>{label}</li>" for key, label in _FACTS if facts.get(key) not in (None, 0)
    )
    answers = "".join(
        f'<li class="{verdict_class(part.good)}"><strong>{escape(part.title)}</strong>{escape(part.verdict)}</li>'
        for part in evaluation.parts
    )
    sections = "\n".join(_section(part, facts) for part in evaluation.parts)
    body = f"""<ul class="facts">{counts}</ul>
<ul class="answers">{answers}</ul>
{html_notes(evaluation.notes)}
{sections}
<h2>How it was made</h2>
<p class="method">Seed {facts["seed"]}, up to {facts["permutations"]:,} permutations for each p-value (fewer where a
hundred did as well before), cosine similarity.
Versions and the hash of the file are in provenance.json, all figures in report.json.</p>"""
    return html_page(f"Evaluation of {name or 'profiles'}", "Evaluation of profiles", name, body)


def _section(part: Part, facts: dict[str, Any]) -> str:
    plot = table = ""
    if part.curves:
        plot = matching_plot(part.curves, facts["seed"])
    elif part.table is not None and "mAP" in part.table:
        plot = precision_plot(part.table, part.figures["false_discovery_rate"])
    elif part.key == "unseen_compounds" and part.table is not None:
        plot = unseen_plot(part.table)
    elif part.table is not None:
        plot = predictability_plot(part.table)
    if part.table is not None:
        table = _table(part.table, part.figures.get("false_discovery_rate"))
    return f"""<section>
<h2>{escape(part.title)}</h2>
<p class="verdict {verdict_class(part.good)}">{escape(part.verdict)}</p>
{f"<figure>{plot}</figure>" if plot else ""}
{table}
{html_notes(part.notes)}
<p class="method">{escape(_EXPLAINED[part.key])}</p>
</section>"""


def _table(table: DataFrame, false_discovery_rate: float | None) -> str:
    columns = [str(column) for column in table.columns]
    worded = [table[column].map(lambda value: isinstance(value, str)).any() for column in columns]
    head = "".join(
        f'<th scope="col"{" class=text" * bool(text)}>{escape(column)}</th>'
        for column, text in zip(columns, worded, strict=True)
    )
    body = []
    for row in table.head(_MOST_ROWS).to_dict("records"):
        cells = "".join(
            f"<td{' class=text' * bool(text)}>{escape(_value(column, row[column]))}</td>"
            for column, text in zip(columns, worded, strict=True)
        )
        found = false_discovery_rate is not None and row["q"] <= false_discovery_rate
        body.append(f"<tr{' class=found' * found}>{cells}</tr>")
    more = len(table) - _MOST_ROWS
    told = f'<p class="method">{more:,} more rows are in report.json.</p>' if more > 0 else ""
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>{told}'


def _value(column: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if not np.isfinite(value):
        return "–"
    if column in _SHARES:
        return f"{value:.1%}"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    return f"{value:.1e}" if column in ("p", "q") and value < 0.001 else f"{value:.3f}"
