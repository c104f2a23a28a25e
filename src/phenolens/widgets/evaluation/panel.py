"""Judging an adapter in the background: how many cells, where the report goes, start, cancel and resume."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_path
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from phenolens.runtime.progress import Progress
from phenolens.widgets.evaluation import jobs
from phenolens.widgets.evaluation.choice import EvaluationChoice
from phenolens.widgets.evaluation.measure import EvaluationMeasure
from phenolens.widgets.kit.job_box import JobBox
from phenolens.widgets.kit.style import SPACE, Form, Note, action, set_accent
from phenolens.widgets.kit.workers import Running

if TYPE_CHECKING:
    from phenolens.evaluation.reports.saved_report import SavedEvaluation

_CELLS = 100


class EvaluationPanel(QWidget):
    """What to judge, and the run of it. ``evaluated`` is emitted with the report that was written."""

    evaluated = Signal(object)

    def __init__(self, running: Running) -> None:
        super().__init__()
        self._began = ("", 0, 0.0)
        self.choice = EvaluationChoice(running)
        self.most = QSpinBox()
        self.most.setRange(8, 10_000)
        self.most.setSingleStep(10)
        self.most.setValue(_CELLS)
        self.most.setToolTip(
            "About how many cells of each condition are judged, of those that the Phenolens dock has found.\n"
            "Where it has found none, they are found as for the fine-tuning"
        )
        self.by = EvaluationMeasure()
        self.memorisation = QCheckBox("Ask if it memorises")
        self.memorisation.setToolTip(
            "Fine-tune twice more, on halves of the training cells, to see whether its cells are new; this takes long"
        )
        self.out = QLineEdit()
        self.out.setToolTip("Folder of the report")
        self.browse = QToolButton()
        self.browse.setText("…")
        self.browse.setToolTip("Choose the folder that the report's folder is made in")
        self.browse.clicked.connect(self._browse)
        self.replaced = Note()
        self.start = action("Evaluate", "Judge the adapter; you can go on working meanwhile", accent=True)
        self.start.clicked.connect(self.begin)
        self.cancel = action("Cancel", "Stop at the next step and keep the cells that are translated")
        self.job = JobBox(running, self.start, self.cancel, self._asked, self.refresh)
        self.cancel.clicked.connect(self.job.stop)
        self._lay_out()
        self._suggested = ""
        self.choice.changed.connect(self._changed)
        self.out.textChanged.connect(lambda _: self.refresh())
        self.most.valueChanged.connect(lambda _: self.refresh())
        self.memorisation.toggled.connect(lambda _: self.refresh())
        self.by.changed.connect(self.refresh)
        self._changed()

    def _lay_out(self) -> None:
        form = Form()
        form.row("Cells", self.most)
        form.row("", self.memorisation)
        form.row("Report", self.out, self.browse)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        whole.addWidget(self.choice)
        whole.addWidget(self.by)
        whole.addLayout(form)
        whole.addWidget(self.replaced)
        whole.addWidget(self.job)

    def refresh(self) -> None:
        """Enable what is usable, and say in a sentence why the rest is not."""
        choice, busy = self.choice, self.job.busy
        self.job.why.say("" if busy else choice.why)
        self.start.setEnabled(not busy and not choice.why and choice.wells.held_out is not None)
        self.start.setText("Resume" if self.job.resumable else "Evaluate")
        self.cancel.setEnabled(busy)
        choice.lock(busy)
        for widget in (self.by, self.most, self.memorisation, self.out, self.browse):
            widget.setEnabled(not busy)
        there = not busy and self.out.text() and (self._folder() / "report.json").is_file()
        self.replaced.say("There is an evaluation in that folder, which will be replaced." if there else "", "warning")

    def begin(self) -> None:
        """Evaluate with what is chosen, or go on from the run that was cancelled."""
        choice, session, out = self.choice, self.choice.session, self._folder()
        assert choice.adapter is not None
        assert session is not None
        assert session.screen is not None
        adapter_name = choice.adapter.folder.name if choice.adapter.folder is not None else "an adapter"
        job = jobs.evaluate(
            choice.adapter,
            session.screen,
            out,
            name=f"{adapter_name} on {session.screen_name}",
            cells=session.cells,
            source=choice.source.condition(session.screen)[0],
            target=choice.target.condition(session.screen)[0],
            unseen=choice.unseen.isChecked(),
            most=self.most.value(),
            held=choice.held,
            measure=self.by.measure,
            dose=self.by.dose,
            memorisation=self.memorisation.isChecked(),
            device=session.device,
        )

        def done(evaluation: "SavedEvaluation") -> None:
            self.job.state.say(f"Done. The report is in {out}.")
            set_accent(self.start, False)
            self._suggest()
            self.evaluated.emit(evaluation)

        self.job.run(job, "Evaluating", session.queue(), progress=self._progress, done=done)

    def _asked(self) -> tuple[Any, ...]:
        """All that an unfinished run depends on: resuming is offered while none of it has changed."""
        choice, session = self.choice, self.choice.session
        return (
            id(choice.adapter),
            id(session and session.screen),
            id(session and session.cells),
            choice.held,
            choice.source.expression(),
            choice.target.expression(),
            choice.unseen.isChecked(),
            self.by.measure,
            self.by.dose,
            self.most.value(),
            self.memorisation.isChecked(),
            self.out.text(),
        )

    def _progress(self, now: Progress) -> None:
        self.job.show_progress(now, f"{now.message}…{self._left(now)}")

    def _left(self, now: Progress) -> str:
        """How long this part of the work will go on, once that shows."""
        message, first, began = self._began
        if now.message != message or now.step < first:
            self._began = now.message, now.step, time.monotonic()
            return ""
        seconds = time.monotonic() - began
        if now.step == first or seconds < 5:
            return ""
        left = seconds * (now.total - now.step) / (now.step - first)
        return f" about {left / 60:.0f} min left" if left > 90 else f" about {left:.0f} s left"

    def _changed(self) -> None:
        """Another adapter or screen: other measures, and another folder unless a person has named one."""
        session = self.choice.session
        self.by.offer(self.choice.adapter, session.screen if session is not None else None)
        if not self.job.busy and self.out.text() in ("", self._suggested):
            self._suggest()
        self.refresh()

    def _suggest(self) -> None:
        """Name a folder that is not there yet, so that no evaluation replaces another unasked."""
        adapter, session = self.choice.adapter, self.choice.session
        parts = [adapter.folder.name] if adapter is not None and adapter.folder is not None else []
        parts += [session.screen_name] if session is not None and session.screen_name else []
        name = " on ".join(dict.fromkeys(parts)) or "evaluation"
        folder = user_data_path("napari-phenolens") / "evaluations"
        names = (name if number == 1 else f"{name} {number}" for number in range(1, 10_000))
        self._suggested = str(folder / next(one for one in names if not (folder / one).exists()))
        self.out.setText(self._suggested)

    def _folder(self) -> Path:
        return Path(self.out.text().strip()).expanduser()

    def _browse(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Where to make the report's folder"):
            self.out.setText(str(Path(chosen) / Path(self._suggested).name))
