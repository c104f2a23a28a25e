"""An evaluation in the dock: what holds up, what does not, and what cannot be said, a row a question."""

from typing import TYPE_CHECKING

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from phenolens.widgets.evaluation.effects_chart import EffectsChart, effects_of
from phenolens.widgets.evaluation.figures import figures_of, scale_of
from phenolens.widgets.evaluation.intervals import Intervals
from phenolens.widgets.evaluation.verdict_mark import COLOURS, WORDS, VerdictMark
from phenolens.widgets.kit.conditions_box import short_condition
from phenolens.widgets.kit.style import SPACE, Note, action, caution, sentence

if TYPE_CHECKING:
    from phenolens.evaluation.reports.parts import Part
    from phenolens.evaluation.reports.saved_report import SavedEvaluation

_WRONG_SIZES = "Does not hold up: do not read the sizes below as the effect of the treatment."
_UNTESTED = "The sizes below were not tested: they may be chance."
_SEEN = "The sizes below are of wells that the adapter has seen, and say nothing about new ones."
_NONE_YET = "No evaluation yet. Make one above, or open one that was made before."


class EvaluationAnswers(QWidget):
    """Shows one evaluation, and opens its report. ``asked`` asks for another report to be chosen."""

    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.evaluation: SavedEvaluation | None = None
        self.rows: dict[str, AnswerRow] = {}
        self.page = action("Open the report", "The whole report with its pictures, in your browser")
        self.page.clicked.connect(self._open_page)
        self.folder = action("Show in folder", "The folder with the report, its figures and a row for each cell")
        self.folder.clicked.connect(self._open_folder)
        self.open_button = action("Open…", "Show a report.json that was made before")
        self.open_button.clicked.connect(self.asked)
        self.state = Note()
        self.about = sentence(_NONE_YET)
        self.summary = sentence("")
        self.summary.setStyleSheet("font-weight: bold; background: transparent;")
        self.warning = caution("")
        self._list = QVBoxLayout()
        self._list.setSpacing(SPACE)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE)
        buttons.addWidget(self.folder, 1)
        buttons.addWidget(self.open_button)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        whole.addWidget(self.about)
        whole.addWidget(self.summary)
        whole.addWidget(self.warning)
        whole.addWidget(self.page)  # in a line of its own: three do not fit beside one another in a narrow window
        whole.addLayout(buttons)
        whole.addWidget(self.state)
        whole.addLayout(self._list)
        for widget in (self.summary, self.warning, self.page, self.folder):
            widget.hide()

    def show_evaluation(self, evaluation: "SavedEvaluation") -> None:
        """Show an evaluation in the place of the one before."""
        self.evaluation = evaluation
        for row in self.rows.values():
            self._list.removeWidget(row)
            row.deleteLater()
        self.rows = {part.key: AnswerRow(part) for part in evaluation.parts}
        for row in self.rows.values():
            self._list.addWidget(row)
        self.about.setText(describe(evaluation))
        self.about.setToolTip(f"{evaluation.name}\n{evaluation.file}")
        self.summary.setText(summarise(evaluation))
        self.warning.setText("\n".join(evaluation.notes))
        self.warning.setVisible(bool(evaluation.notes))
        self.state.say("")
        for widget in (self.summary, self.page, self.folder):
            widget.show()
        there = evaluation.page is not None
        self.page.setEnabled(there)
        self.page.setToolTip(
            "The whole report with its pictures, in your browser" if there else "There is no report.html beside it"
        )

    def _open_page(self) -> None:
        if self.evaluation is not None and self.evaluation.page is not None:
            self._open(QUrl.fromLocalFile(str(self.evaluation.page.resolve())))

    def _open_folder(self) -> None:
        if self.evaluation is not None:
            self._open(QUrl.fromLocalFile(str(self.evaluation.file.resolve().parent)))

    def _open(self, what: QUrl) -> None:
        opened = QDesktopServices.openUrl(what)
        self.state.say("" if opened else f"No program was found to open {what.toLocalFile()}.", "warning")


class AnswerRow(QFrame):
    """Mark, question, figures and verdict of one answer."""

    def __init__(self, part: "Part") -> None:
        super().__init__()
        self.part = part
        self.mark = VerdictMark(part.good)
        self.word = QLabel(WORDS[part.good])
        title = sentence(part.title)
        title.setStyleSheet("font-weight: bold; background: transparent;")
        self.verdict = sentence(part.verdict)
        head = QHBoxLayout()
        head.setSpacing(SPACE)
        head.addWidget(self.mark)
        head.addWidget(title, 1)
        head.addWidget(self.word)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(SPACE + 2, SPACE, SPACE, SPACE)
        whole.setSpacing(SPACE)
        whole.addLayout(head)
        figures = figures_of(part)
        self.intervals = Intervals(figures, scale_of(part, figures)) if figures else None
        if self.intervals is not None:
            whole.addWidget(self.intervals)
        whole.addWidget(self.verdict)
        for note in part.notes:
            whole.addWidget(sentence(f"– {note}"))
        self.chart: EffectsChart | None = None
        if part.key == "changes" and part.table is not None and len(part.table):
            if part.good is False:
                whole.addWidget(caution(_WRONG_SIZES))
            elif part.good is None:
                tested = not (part.table["called"] == "not tested").all()
                whole.addWidget(caution(_SEEN if tested else _UNTESTED))
            self.chart = EffectsChart(effects_of(part.table))
            whole.addWidget(self.chart)
        self.setObjectName("answer")
        self.setStyleSheet(
            f"#answer {{ border: 0; border-left: 4px solid {COLOURS[part.good]};"
            " background: rgba(128, 128, 128, 28); }"
            "#answer > QLabel { background: transparent; padding: 0; margin: 0; }"
        )


def describe(evaluation: "SavedEvaluation") -> str:
    """What was judged, in a sentence or two."""
    facts = evaluation.facts
    source, target = map(short_condition, facts["conditions"])
    wells = [len(facts[name]) for name in ("control_wells", "treated_wells")]
    seen = "that the adapter has not seen" if facts["held_out"] else "that the adapter was fine-tuned on"
    return (
        f"{source} → {target}. Judged on {facts['control_cells']:,} control cells of {_wells(wells[0])} and "
        f"{facts['treated_cells']:,} real treated cells of {_wells(wells[1])} {seen}."
    )


def summarise(evaluation: "SavedEvaluation") -> str:
    """How many answers hold up, and which do not."""
    good, bad, open_ = ([part for part in evaluation.parts if part.good is kind] for kind in (True, False, None))
    said = [f"{len(good)} of {len(evaluation.parts)} answers hold up."]
    for parts, words in ((bad, "Does not hold up"), (open_, "Cannot be said")):
        if parts:
            said.append(f"{words}: {', '.join(part.title.lower() for part in parts)}.")
    return " ".join(said)


def _wells(count: int) -> str:
    return f"{count} well{'s' * (count != 1)}"
