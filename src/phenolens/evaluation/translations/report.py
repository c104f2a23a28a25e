"""An evaluation of translations as files: report.json for machines, report.html to read, cells.parquet."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from phenolens.evaluation.reports.parts import Part
from phenolens.evaluation.reports.report_page import (
    html_answers,
    html_facts,
    html_notes,
    html_page,
    html_section,
    html_table,
    write_report_files,
)
from phenolens.evaluation.reports.saved_report import PAGE
from phenolens.evaluation.translations.evaluation import TranslationEvaluation, evaluate_translation
from phenolens.evaluation.translations.pictures import cells_picture
from phenolens.evaluation.translations.report_plots import (
    distribution_plot,
    doses_plot,
    effects_plot,
    flips_plot,
    memorisation_plot,
    slider_plot,
)
from phenolens.runtime.files import writing
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import EVALUATION
from phenolens.runtime.outputs import check_output, writing_output
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import write_provenance
from phenolens.screens.fingerprints import screen_fingerprint
from phenolens.screens.table import Screen
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.model.adapter import Adapter

_EXPLAINED = {
    "flips": (
        "Linear discriminant analysis on intensity, texture, radial distribution and channel correlation of whole "
        "crops. Wells take turns in being judged, and a classifier never learns from a well that it judges. "
        "Intervals (95 %) are by bootstrap over wells. For the p-value whole wells exchange their labels before "
        "the classifier learns, and the rise of the log-odds from source to translated cells is compared. The "
        "flip rate holds up where the classifier's balanced accuracy is at least 0.6, the rate exceeds the upper "
        "bound of the control cells' and its lower bound exceeds the control cells' rate, p is at most 0.05 "
        "(where the wells allow it), and it is at least half of that of real treated cells."
    ),
    "slider": ("Spearman's rank correlation of strength and log-odds, cell by cell; it holds up from 0.9."),
    "identity": (
        "Structural similarity of the autoencoder's reconstruction of the source, before and after the change is "
        "added; intersection over union of the nucleus, outlined anew in both. It holds up where both are above "
        "those of a real treated cell in the place of the translated one."
    ),
    "changes": (
        "Effects are differences of the means of wells, in units of the spread of control cells within wells. "
        "Real effects are tested by Student's t over wells. Translated ones are tested against what an adapter "
        "would learn from as many wells of two conditions that do not differ. Both at a false discovery rate of 5 "
        "% (Benjamini-Hochberg). Sizes hold up with a slope (through the origin) of 0.8 to 1.2 and a correlation "
        "of at least 0.9."
    ),
    "kernel": (
        "Unbiased squared maximum mean discrepancy with a Gaussian kernel (bandwidth: the median distance) on the "
        "features that the classifier sees, always between sets of as many cells of as many wells; 0 on average where "
        "two sets are drawn from the same cells. It holds up where translated cells are closer than source cells in "
        "95 % of the draws."
    ),
    "distribution": (
        "Largest difference of the two cumulative distributions. It holds up up to 0.2, or up to what halves of "
        "the real treated wells differ by, where translated cells are no farther than source cells."
    ),
    "doses": (
        "The measure of translated cells beside that of real cells of each dose, in wells that the adapter was not "
        "fine-tuned on, and of the control cells they were made from. Intervals (95 %) are by bootstrap over wells, "
        "where there are at least two. A dose is told from the closest one where it is farther in 97.5 % of the draws. "
        "It holds up where the closest is a dose of the adapter's condition and control cells are told from it."
    ),
    "memorisation": (
        "Two adapters, each of one half of the training cells, should make the same picture of the same cell; a "
        "model that memorises returns its own training images."
    ),
}


@dataclass(frozen=True, eq=False)
class TranslationReport(TranslationEvaluation):
    """An evaluation of an adapter that can be written as files.

    Parameters
    ----------
    name
        What was evaluated, for the heading.
    provenance
        What else is written into ``provenance.json``: the adapter's hash and the fields.

    Examples
    --------
    >>> import phenolens as ph
    >>> report = ph.evaluate("adapter", "screen", unseen=True, most=8, steps=2)
    >>> [part.key for part in report.parts][:3]
    ['flips', 'slider', 'identity']
    >>> report.save("evaluation").name
    'report.html'
    """

    name: str = field(default="", kw_only=True)
    provenance: dict[str, Any] = field(default_factory=dict, kw_only=True)

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write ``report.html``, ``report.json``, ``cells.parquet`` and ``provenance.json`` into `folder`, or nothing.

        An evaluation that is there already is replaced, with `overwrite` any output of phenolens. Returns the page,
        ``report.html``.

        Raises
        ------
        OutputError
            The folder cannot be written to, or holds something else than an evaluation.
        """
        out = Path(folder)
        with writing_output(out, EVALUATION, overwrite) as new:
            write_evaluation(self, new, name=self.name)
            write_provenance(new, command="evaluate", synthetic=True, **self.provenance, **self.facts)
        return out / PAGE

    def _repr_html_(self) -> str:
        source, target = (escape(one) for one in self.facts["conditions"])
        seen = "" if self.facts["held_out"] else " Judged on wells that the adapter was fine-tuned on."
        about = (
            f"{self.facts['control_cells']} translated control cells (synthetic) beside "
            f"{self.facts['treated_cells']} real treated cells, strength 1.{seen}"
        )
        return f"<div><b>Is the translation from {source} to {target} right?</b><div>{about}</div></div>" + (
            super()._repr_html_()
        )


def report_on_adapter(
    adapter: Adapter,
    screen: Screen,
    kept: Path,
    how: TranslationSettings | None = None,
    *,
    name: str = "",
    **settings: Any,
) -> Job[TranslationReport]:
    """Judge `adapter` on `screen`; arguments as `evaluate_translation` takes them."""
    found = yield from evaluate_translation(adapter, screen, kept, how, **settings)
    inputs = {"inputs": [one.key for one in screen], "inputs_sha256": screen_fingerprint(screen, None)}
    provenance = {"adapter": adapter.sha256(), **inputs}
    return TranslationReport(
        found.facts, found.parts, found.notes, shown=found.shown, adapter=adapter, name=name, provenance=provenance
    )


@one_at_a_time()
def evaluate_adapter(
    adapter: Adapter,
    screen: Screen,
    out: Path,
    how: TranslationSettings | None = None,
    *,
    name: str = "",
    overwrite: bool = False,
    **settings: Any,
) -> Job[TranslationReport]:
    """Judge `adapter` on `screen` and write the report to the folder `out`, whole or not at all.

    An earlier evaluation in it is replaced. Until the end, translated cells are kept in ``<out>.partial``; the same
    call goes on from there.

    Parameters
    ----------
    how
        As `evaluate_translation` takes its ``settings``.
    name
        What is evaluated, for the heading.
    overwrite
        Replace any earlier output of phenolens in `out`.
    settings
        Further arguments of `evaluate_translation`, which says what goes wrong.

    Raises
    ------
    OutputError
        `out` cannot be written, or holds something else.
    """
    out = check_output(out, EVALUATION, overwrite)
    result = yield from report_on_adapter(adapter, screen, kept_beside(out), how, name=name, **settings)
    yield Progress(0, 0, "Writing the report")
    result.save(out, overwrite)
    return result


def kept_beside(out: Path) -> Path:
    """Folder in which what is finished is kept while the evaluation `out` is made."""
    return out.with_name(out.name + ".partial")


def write_evaluation(evaluation: TranslationEvaluation, folder: Path, *, name: str = "") -> Path:
    """Write ``report.json``, ``report.html`` and ``cells.parquet`` into `folder`, each whole or not at all.

    Parameters
    ----------
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
    with writing(folder / "cells.parquet") as partial:
        evaluation.shown.table.to_parquet(partial)
    return write_report_files(folder, evaluation.summary() | {"evaluated": name}, html_report(evaluation, name))


def html_report(evaluation: TranslationEvaluation, name: str = "") -> str:
    """Return the whole page; all that comes from the user's files is escaped."""
    facts = evaluation.facts
    counts = (
        (facts["control_cells"], "translated control cells"),
        (len(facts["control_wells"]), "control wells"),
        (facts["treated_cells"], "real treated cells"),
        (len(facts["treated_wells"]), "treated wells"),
    )
    sections = "\n".join(
        html_section(part, _plot(part, evaluation), _table(part), _EXPLAINED.get(part.key, part.explained))
        for part in evaluation.parts
    )
    source, target = (escape(condition) for condition in facts["conditions"])
    body = f"""<p>From <b>{source}</b> to <b>{target}</b>{
        "" if facts["held_out"] else ", judged on wells that the adapter was fine-tuned on"
    }.</p>
{html_facts(counts)}
{html_answers(evaluation.parts)}
{html_notes(evaluation.notes)}
<h2>Cells</h2>
<figure>{cells_picture(evaluation.shown, evaluation.adapter.intensity)}</figure>
<p class="method">All tiles have one contrast, that of the adapter's intensity map. Rows go from the translation that
looks least treated to the classifier to the one that looks most, evenly spaced; none was chosen by hand. Translated
cells are synthetic. The real treated cells are other cells, most alike by the features that the classifier sees.</p>
{sections}
<h2>How it was made</h2>
<p class="method">Strength 1, {facts["steps"]} steps of the solver {facts["solver"]}, guidance
{facts["guidance"]:.2f}, {facts["fine_noise"]:.0%} of the fine noise, seed {facts["seed"]}; held channels:
{escape(", ".join(facts["held"]) or "none")}. What was measured of each cell is in cells.parquet, all figures are in
report.json, versions and hashes in provenance.json.</p>"""
    return html_page(f"Evaluation of {name or 'an adapter'}", "Is the translation right?", name, body)


def _plot(part: Part, evaluation: TranslationEvaluation) -> str:
    shown = evaluation.shown
    if part.key == "flips" and shown.flips is not None:
        return flips_plot(shown.flips)
    if part.key == "slider" and shown.flips is not None:
        return slider_plot(shown.flips, shown.strengths)
    if part.key == "changes" and shown.changes is not None:
        return effects_plot(shown.changes)
    if part.key == "distribution" and shown.distributions is not None:
        return distribution_plot(shown.distributions)
    if part.key == "doses" and shown.doses is not None:
        return doses_plot(shown.doses, evaluation.facts["dose_column"])
    if part.key == "memorisation" and shown.memorisation is not None:
        return memorisation_plot(shown.memorisation)
    return ""


def _table(part: Part) -> str:
    return "" if part.table is None else html_table(part.table, _number, _stands_out)


def _stands_out(row: dict[str, Any]) -> bool:
    return row.get("called") == "both" or row.get("the adapter's") == "yes"


def _number(column: str, value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
