"""An evaluation as files: report.json for machines, and report.html, which needs nothing but itself."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.profiling.evaluation import Evaluation
from phenolens.profiling.evaluation_parts import Part
from phenolens.profiling.report_plots import matching_plot, precision_plot, predictability_plot
from phenolens.runtime.files import write_json, writing

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST_ROWS = 500
_SHARES = {"top 1", "top 10", "low", "high", "chance", "chance of top 10", "share", "most frequent"}
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
}
_CSS = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 54rem; padding: 2rem 1.5rem 4rem; background: #fff; color: #1d2733;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .4rem; padding-top: .9rem; border-top: 1px solid #dde3e9; }
.from { color: #5b6875; margin: 0 0 1.4rem; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .4rem 1.8rem; margin: 0 0 1.2rem; padding: 0; list-style: none; }
.facts b { font-size: 1.15rem; margin-right: .3rem; }
.answers { margin: 0; padding: 0; list-style: none; }
.answers li, .verdict { border-left: 4px solid #8a95a1; padding: .35rem .8rem; margin: .5rem 0; background: #f6f8fa; }
.answers li.yes, .verdict.yes { border-color: #009e73; }
.answers li.no, .verdict.no { border-color: #d55e00; }
.answers strong { display: block; }
.notes { color: #45525f; font-size: .9rem; padding-left: 1.2rem; }
.method { color: #45525f; font-size: .9rem; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .22rem .5rem; border-bottom: 1px solid #e6eaee; }
th { border-bottom: 2px solid #aeb8c2; font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { overflow-wrap: anywhere; }
tr.found td:first-child { font-weight: 600; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, tr, .verdict, .answers li { break-inside: avoid; }
  h2 { break-after: avoid; }
  thead { display: table-header-group; }
  .answers li, .verdict, figure { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


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
        f'<li class="{_class(part)}"><strong>{escape(part.title)}</strong>{escape(part.verdict)}</li>'
        for part in evaluation.parts
    )
    sections = "\n".join(_section(part, facts) for part in evaluation.parts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation of {escape(name or "profiles")}</title>
<style>{_CSS}</style>
</head>
<body>
<h1>Evaluation of profiles</h1>
<p class="from">{escape(name)}</p>
<ul class="facts">{counts}</ul>
<ul class="answers">{answers}</ul>
{_notes(evaluation.notes)}
{sections}
<h2>How it was made</h2>
<p class="method">Seed {facts["seed"]}, up to {facts["permutations"]:,} permutations for each p-value (fewer where a
hundred did as well before), cosine similarity.
Versions and the hash of the file are in provenance.json, all figures in report.json.</p>
</body>
</html>
"""


def _section(part: Part, facts: dict[str, Any]) -> str:
    plot = table = ""
    if part.curves:
        plot = matching_plot(part.curves, facts["seed"])
    elif part.table is not None and "mAP" in part.table:
        plot = precision_plot(part.table, part.figures["false_discovery_rate"])
    elif part.table is not None:
        plot = predictability_plot(part.table)
    if part.table is not None:
        table = _table(part.table, part.figures.get("false_discovery_rate"))
    return f"""<section>
<h2>{escape(part.title)}</h2>
<p class="verdict {_class(part)}">{escape(part.verdict)}</p>
{f"<figure>{plot}</figure>" if plot else ""}
{table}
{_notes(part.notes)}
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


def _notes(notes: tuple[str, ...]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _class(part: Part) -> str:
    return "none" if part.good is None else "yes" if part.good else "no"
