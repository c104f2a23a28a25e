"""A report as files: figures for machines, and one page of HTML with its style inside and nothing from elsewhere."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.evaluation.reports.parts import Part
from phenolens.runtime.files import write_json, writing

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST_ROWS = 500

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
figure img { display: block; max-width: 100%; height: auto; }
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


def write_report_files(folder: Path, figures: dict[str, Any], page: str) -> Path:
    """Write ``report.json`` and ``report.html`` into `folder`, each whole or not at all, and return the latter.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    write_json(folder / "report.json", figures)
    file = folder / "report.html"
    with writing(file) as partial:
        partial.write_text(page, encoding="utf-8")
    return file


def html_page(title: str, heading: str, source: str, body: str) -> str:
    """Put a whole page together.

    Parameters
    ----------
    title, heading, source
        Plain text, which is escaped: of the window, above the page, and what was judged.
    body
        HTML. Pictures in it are data of its own; the page loads nothing.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_CSS}</style>
</head>
<body>
<h1>{escape(heading)}</h1>
<p class="from">{escape(source)}</p>
{body}
</body>
</html>
"""


def html_facts(counts: Iterable[tuple[int, str]]) -> str:
    """Counts with their words, such as 12 wells."""
    return f'<ul class="facts">{"".join(f"<li><b>{count:,}</b>{label}</li>" for count, label in counts)}</ul>'


def html_answers(parts: Iterable[Part]) -> str:
    """All answers, one below the other."""
    answers = "".join(
        f'<li class="{_style(part)}"><strong>{escape(part.title)}</strong>{escape(part.verdict)}</li>' for part in parts
    )
    return f'<ul class="answers">{answers}</ul>'


def html_section(part: Part, plot: str, table: str, explained: str) -> str:
    """One answer at length.

    Parameters
    ----------
    plot, table
        HTML, or nothing.
    explained
        How it was measured, as plain text.
    """
    return f"""<section>
<h2>{escape(part.title)}</h2>
<p class="verdict {_style(part)}">{escape(part.verdict)}</p>
{f"<figure>{plot}</figure>" if plot else ""}
{table}
{html_notes(part.notes)}
<p class="method">{escape(explained)}</p>
</section>"""


def html_table(
    table: "DataFrame", number: Callable[[str, float], str], found: Callable[[dict[Any, Any]], bool] | None = None
) -> str:
    """The first rows of a table; a column that holds words is set to the left.

    Parameters
    ----------
    number
        Writes a finite number of a column.
    found
        Which rows stand out; none where None.
    """
    columns = [str(column) for column in table.columns]
    styles = [" class=text" * any(isinstance(value, str) for value in table[name]) for name in columns]
    head = "".join(f'<th scope="col"{style}>{escape(name)}</th>' for name, style in zip(columns, styles, strict=True))
    body = []
    for row in table.head(_MOST_ROWS).to_dict("records"):
        cells = "".join(
            f"<td{style}>{escape(_text(name, row[name], number))}</td>"
            for name, style in zip(columns, styles, strict=True)
        )
        body.append(f"<tr{' class=found' * (found is not None and found(row))}>{cells}</tr>")
    more = len(table) - _MOST_ROWS
    hint = f'<p class="method">{more:,} more rows are in report.json.</p>' if more > 0 else ""
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>{hint}'


def html_notes(notes: Sequence[str]) -> str:
    """A list of plain sentences; nothing where there are none."""
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _style(part: Part) -> str:
    return "none" if part.good is None else "yes" if part.good else "no"


def _text(column: str, value: Any, number: Callable[[str, float], str]) -> str:
    if isinstance(value, str):
        return value
    return number(column, value) if np.isfinite(value) else "–"
