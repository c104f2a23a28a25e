"""The page that a report is written on: one file of HTML, with its style inside and nothing from elsewhere."""

from collections.abc import Sequence
from html import escape

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


def html_notes(notes: Sequence[str]) -> str:
    """A list of plain sentences; nothing where there are none."""
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def verdict_class(good: bool | None) -> str:
    """The style of a verdict: ``yes``, ``no``, or ``none`` where there is no answer."""
    return "none" if good is None else "yes" if good else "no"
