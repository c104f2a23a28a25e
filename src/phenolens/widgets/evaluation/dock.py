"""The third dock: is the translation of an adapter right?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QFrame, QScrollArea, QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.evaluation import jobs
from phenolens.widgets.evaluation.answers import EvaluationAnswers
from phenolens.widgets.evaluation.panel import EvaluationPanel
from phenolens.widgets.kit.dock_room import stand_beside
from phenolens.widgets.kit.section import Section
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.state.workplace import workplace

if TYPE_CHECKING:
    from phenolens.evaluation.reports.saved_report import SavedEvaluation

WIDGET = "Phenolens evaluation"
_FILES = "Reports (*.json);;All files (*)"


class EvaluationDock(QWidget):
    """Judge the adapter in use on the open screen, or look at a report that was made before.

    Parameters
    ----------
    napari_viewer
        The viewer that the dock is in; napari hands it over.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.place = workplace(napari_viewer)
        self.running = Running(self)
        self.panel = EvaluationPanel(self.running)
        self.answers = EvaluationAnswers()
        self.sections = (
            Section(1, "Judge an adapter", self.panel, "evaluation"),
            Section(2, "Is it right?", self.answers, "evaluation"),
        )
        self._open = True
        self._lay_out()
        stand_beside(self, lambda: self.place.dock, "Evaluation")
        self.panel.evaluated.connect(self._evaluated)
        self.answers.asked.connect(self._ask)
        self.place.changed.connect(self._main_changed)
        self.destroyed.connect(lambda: self._let_go())
        self._main_changed()

    def _lay_out(self) -> None:
        column = QWidget()
        stack = QVBoxLayout(column)
        stack.setContentsMargins(0, 0, 0, 0)
        stack.setSpacing(0)
        for section in self.sections:
            stack.addWidget(section)
        stack.addStretch()
        self.area = QScrollArea()
        self.area.setWidget(column)
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.area)

    def open_report(self, path: str | Path) -> None:
        """Show the report of a file or its folder; the one that is shown stays until it is read."""

        def failed(error: BaseException) -> None:
            known = isinstance(error, PhenolensError)
            text = str(error) if known else "The report could not be read; the notification has the details."
            self.answers.state.say(text, "error")

        self.running.start(
            jobs.open_report(Path(path)),
            "Opening a report",
            priority=INTERACTIVE,
            bar=False,
            done=self.show_evaluation,
            failed=failed,
        )

    def show_evaluation(self, evaluation: "SavedEvaluation") -> None:
        """Show what was found, and fold away what the next one would be made with, unless it is being made."""
        self.answers.show_evaluation(evaluation)
        held = sum(part.good is True for part in evaluation.parts)
        # never as done: the tick of a finished step would be read as the answer
        self.sections[1].mark(f"{held} of {len(evaluation.parts)} hold up", done=False)
        self.sections[1].unfold()
        self.sections[0].unfold(self.panel.job.busy)

    def _evaluated(self, evaluation: "SavedEvaluation") -> None:
        self.show_evaluation(evaluation)
        self.sections[0].unfold(False)

    def _ask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a report", "", _FILES)
        if path:
            self.open_report(path)

    def _main_changed(self) -> None:
        self.panel.choice.follow(self.place.session)

    def _let_go(self) -> None:
        """Let go of the main dock; also called when Qt has deleted this dock already."""
        if self._open:
            self._open = False
            self.running.stop()
            self.place.changed.disconnect(self._main_changed)
            self.panel.choice.let_go()

    def closeEvent(self, event: Any) -> None:
        """Stop what is going on and let go of the main dock."""
        self._let_go()
        super().closeEvent(event)


def open_evaluation(viewer: Viewer) -> EvaluationDock:
    """The viewer's evaluation dock, opened where it is not open yet."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-phenolens", WIDGET)
    return dock
