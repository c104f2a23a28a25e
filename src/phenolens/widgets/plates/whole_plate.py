"""The whole screen, translated by a run of its own that goes on when the viewer is closed."""

from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from phenolens.runtime.choices.known_runs import forget_run, known_runs, remember_run
from phenolens.runtime.engines.run_file import LOG, Run, last_said, read_run, start_run, stop_run
from phenolens.runtime.errors import PhenolensError
from phenolens.widgets.kit.durations import duration
from phenolens.widgets.kit.style import ACCENT, SPACE, Form, Note, action, set_accent
from phenolens.widgets.plates.command import cells_of, command_of, what_is_missing
from phenolens.widgets.state.session import Session

_LOOK_MS = 500
_ENDED = {
    "interrupted": "Stopped; what was finished is kept. Starting again goes on with the rest.",
    "lost": "The run was ended from outside; what was finished is kept. Starting again goes on with the rest.",
}


class WholePlate(QWidget):
    """Folder, format and start; how far the run is; cancel, and the folder when it is done.

    Parameters
    ----------
    session
        What is open, and how it is translated.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._run: Run | None = None
        self.out = QLineEdit()
        self.out.setToolTip("Folder for the translated fields; a run that was stopped there goes on")
        self.out.textChanged.connect(self.refresh)
        self.browse = action("…", "Choose a folder")
        self.browse.clicked.connect(self._choose)
        self.format = QComboBox()
        self.format.addItem("OME-TIFF files", "tiff")
        self.format.addItem("OME-Zarr plates", "zarr")
        self.format.setToolTip("A file for each result, or plates of the same wells with outlines and measurements")
        self.wells = QSpinBox()
        self.wells.setRange(0, 9999)
        self.wells.setSpecialValueText("all")
        self.wells.setToolTip("Try some wells first; the rest is done when you start again with all")
        self.workers = QSpinBox()
        self.workers.setRange(1, 64)
        self.workers.setToolTip("Processes that share the fields")
        self.start = action("Translate the whole plate", "Start a run that goes on when the viewer is closed")
        self.start.clicked.connect(self.begin)
        self.cancel = action("Cancel", "Stop the run; what is finished is kept")
        self.cancel.clicked.connect(self.stop)
        self.why, self.state = Note(), Note()
        self.bar = QProgressBar()
        self.bar.setStyleSheet(f"QProgressBar::chunk {{ background: {ACCENT}; }}")
        self.open = action("Open the folder", "Show what the run wrote")
        self.open.clicked.connect(self.show_folder)
        self._look = QTimer(self)
        self._look.setInterval(_LOOK_MS)
        self._look.timeout.connect(self.follow)
        self._lay_out()
        for signal in (session.screen_changed, session.adapter_changed, session.cells_changed):
            signal.connect(self.refresh)
        session.screen_changed.connect(self._suggest)
        self._find_again()
        self.refresh()

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self._run is not None and self._run.state == "running"

    def _lay_out(self) -> None:
        form = Form()
        form.row("Folder", self.out, self.browse)
        form.row("Write", self.format)
        form.row("Wells", self.wells)
        form.row("Processes", self.workers)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE)
        buttons.addWidget(self.start, 1)
        buttons.addWidget(self.cancel)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        whole.addWidget(Note("All fields of the screen, with the adapter and the choices above. You may close napari."))
        whole.addLayout(form)
        whole.addLayout(buttons)
        for widget in (self.why, self.bar, self.state, self.open):
            whole.addWidget(widget)
        self.bar.hide()
        self.open.hide()

    def refresh(self, *_: Any) -> None:
        """Enable what is usable, and say in a sentence why the rest is not."""
        why = what_is_missing(self._session)
        if not why and not self.out.text().strip():
            why = "Choose a folder."
        own = self._session.cells is not None and cells_of(self._session) is None
        hint = "Cells that you drew or corrected are not used: the run finds them as the adapter was trained."
        self.why.say("" if self.busy else why or (hint if own else ""), "warning" if own and not why else "quiet")
        self.start.setEnabled(not why and not self.busy)
        set_accent(self.start, not why)
        self.cancel.setEnabled(self.busy)
        for widget in (self.out, self.browse, self.format, self.wells, self.workers):
            widget.setEnabled(not self.busy)

    def begin(self) -> None:
        """Start the run, and follow it."""
        out = Path(self.out.text().strip()).expanduser().absolute()
        arguments = command_of(
            self._session, out, file_format=str(self.format.currentData()), workers=self.workers.value(),
            wells=self.wells.value(),
        )  # fmt: skip
        try:
            run = start_run(out, arguments)
        except PhenolensError as error:
            self.state.say(str(error), "error")
            return
        remember_run(out)
        self._take(run)

    def stop(self) -> None:
        """Ask the run to end."""
        if self._run is None:
            return
        if not stop_run(self._run):
            self.state.say("The run is on another computer: stop it there.", "warning")
            return
        self.cancel.setEnabled(False)
        self.state.say("Stopping…")

    def show_folder(self) -> None:
        """Open the output folder."""
        if self._run is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._run.folder)))

    def follow(self) -> None:
        """Look at how far the run is."""
        run = None if self._run is None else read_run(self._run.folder)
        if run is None:
            self._look.stop()
            return
        self._take(run)

    def _take(self, run: Run) -> None:
        self._run = run
        self.bar.setVisible(self.busy)
        self.open.setVisible(run.state == "done")
        if self.busy:
            self.bar.setRange(0, run.total)
            self.bar.setValue(run.step)
            if self.cancel.isEnabled() or not self._look.isActive():
                self.state.say(_far(run))
            if not self._look.isActive():
                self._look.start()
                self.refresh()
            return
        self._look.stop()
        forget_run(run.folder)
        self.refresh()
        if run.state == "done":
            self.state.say(run.text + _failed(run), "warning" if run.failed else "quiet")
        elif run.state in _ENDED:
            self.state.say(_ENDED[run.state], "warning")
        else:
            said = run.text or last_said(run.folder)
            self.state.say(f"{said} The whole log is {run.folder / LOG}.", "error")

    def _find_again(self) -> None:
        """Follow the run that goes on since the viewer was last open, or say how it ended."""
        for folder in known_runs():
            run = read_run(folder)
            if run is not None:
                self.out.setText(str(folder))
                self._take(run)
                return

    def _suggest(self) -> None:
        origin = self._session.origin
        if origin is not None and not self.busy and not self.out.text().strip() and Path(origin.path).exists():
            place = Path(origin.path)
            self.out.setText(str(place.with_name(f"{place.stem}-translated")))

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the translated fields", self.out.text())
        if chosen:
            self.out.setText(chosen)


def _far(run: Run) -> str:
    """How far a run is, in words."""
    if not run.total:
        return f"{run.message or 'Starting'}…"
    left = "" if run.left is None else f" About {duration(max(run.left, 1))} left."
    return f"{run.step:,} of {run.total:,} fields. {run.message}.{left}"


def _failed(run: Run) -> str:
    if not run.failed:
        return "."
    return f"; {run.failed} field{'s' * (run.failed != 1)} could not be done, see {LOG}."
