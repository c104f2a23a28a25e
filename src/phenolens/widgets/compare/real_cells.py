"""Under the slider: the real cells that stand nearest to the translated one between control and treated."""

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.screens.crops import changed
from phenolens.widgets.compare import jobs
from phenolens.widgets.compare.tiles import Tile, TileRow
from phenolens.widgets.kit.channel_colours import composite
from phenolens.widgets.kit.conditions_box import short_condition
from phenolens.widgets.kit.style import SPACE, Note, action
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.state.session import Session, TranslatedCell

if TYPE_CHECKING:
    from phenolens.evaluation.translations.along_axis import RealCells

COUNT = 5
_SETTLE_MS = 150
_TELLS_APART = 0.6  # balanced accuracy below which a place on the axis means little


class RealCellsBox(QWidget):
    """A button that looks for real cells, and the nearest ones to where the slider stands.

    Parameters
    ----------
    session, running
        Whose chosen cell and slider are followed, and what runs the work.
    """

    def __init__(self, session: Session, running: Running) -> None:
        super().__init__()
        self._session, self._running = session, running
        self._real: RealCells | None = None
        self._between: tuple[str, str] | None = None
        self._places: dict[float, float] = {}
        self._worker: JobWorker | None = None
        self.button = action(
            "Real cells at this strength",
            "Shows the real cells, from control to treated, that a classifier puts nearest to the translated cell at\n"
            "the slider's strength. The classifier has seen no cell of the wells that it places.",
        )
        self.button.setCheckable(True)
        self.button.clicked.connect(self._turn)
        self.row = TileRow(COUNT)
        self.row.clicked.connect(self._go)
        self.note = Note()
        self._shown: list[int] = []
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        for widget in (self.button, self.row, self.note):
            whole.addWidget(widget)
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLE_MS)
        self._settled.timeout.connect(self._place)
        for signal in (session.screen_changed, session.adapter_changed, session.cells_changed):
            signal.connect(self._forget)
        for signal in (session.current_changed, session.limit_changed):
            signal.connect(self._another)
        session.cell_changed.connect(self._cell)
        session.strength_changed.connect(lambda _: self._draw())
        self._draw()

    def _turn(self, on: bool) -> None:
        if on:
            self._wait()
        else:
            self._stop()
            self.note.say("")
            self._draw()

    def _cell(self, cell: TranslatedCell) -> None:
        self.button.setEnabled(self._session.current is not None)
        if cell is self._session.current:
            self._wait()

    def _another(self) -> None:
        """Another cell is chosen, or other pixels of it are changed: its place is not known any longer."""
        self._places = {}
        self._wait()

    def _wait(self) -> None:
        self.button.setEnabled(self._session.current is not None)
        self._draw()
        if self.button.isChecked():
            self._settled.start()

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.quit()
            self._worker = None

    def _forget(self) -> None:
        self._stop()
        self._real, self._between, self._places = None, None, {}
        self.note.say("")
        self._wait()

    def _place(self) -> None:
        """Find the real cells where they are not known, and then the place of the chosen cell among them."""
        session, cell = self._session, self._session.current
        if not self.button.isChecked() or cell is None or cell.translation is None or session.adapter is None:
            return
        if session.screen is None or session.cells is None:
            self.note.say("Find the cells first: real cells are shown of those.", "warning")
            return
        self._stop()
        if self._real is None or self._between != cell.conditions:
            screen, between = session.screen_of_cells() or session.screen, cell.conditions
            self.note.say("Looking for real cells…")
            job = jobs.real_cells(screen, session.cells, between, session.adapter)
            self._start(job, "Looking for real cells", lambda real: self._found(real, between))
            return
        crops = {}
        for strength in cell.translation.known:
            difference = cell.difference(strength)
            assert difference is not None
            crops[strength] = changed(cell.translation.crop, difference)
        well = session.screen[cell.field].well
        self._start(jobs.places(self._real, crops, well, session.adapter), "Placing the cell", self._placed)

    def _start(self, job: Any, name: str, done: Any) -> None:
        def over() -> None:
            if self._worker is worker:
                self._worker = None

        def failed(error: BaseException) -> None:
            known = isinstance(error, PhenolensError)
            said = str(error) if known else "Real cells could not be found; the notification has the details."
            self.note.say(said, "error")

        worker = self._running.start(
            job, name, device=None, bar=False, done=done, failed=failed, finished=over,
            progress=lambda now: self.note.say(f"{now.message} {now.step}/{now.total}…") if now.total else None,
        )  # fmt: skip
        self._worker = worker

    def _found(self, real: "RealCells", between: tuple[str, str]) -> None:
        self._real, self._between = real, between
        self._place()

    def _placed(self, places: dict[float, float]) -> None:
        real = self._real
        if real is None:
            return
        self._places = places
        right = real.axis.accuracy
        said = f"Placed by a classifier of other wells, right for {100 * right:.0f} % of real cells (chance is 50 %)."
        if right < _TELLS_APART:
            self.note.say(f"{said} It hardly tells the conditions apart: these places mean little.", "warning")
        else:
            self.note.say(said)
        self._draw()

    def _draw(self) -> None:
        """Show the cells nearest to the slider's strength; nothing where the place is not known."""
        session, real, intensity = self._session, self._real, self._session.intensity
        cell = session.current
        wanted = self.button.isChecked() and cell is not None and real is not None and bool(self._places)
        self.row.setVisible(wanted)
        if not wanted or cell is None or real is None or intensity is None or session.screen is None:
            self.row.show_tiles([])
            self._shown = []
            return
        strengths = sorted(self._places)
        at = float(np.interp(session.strength, strengths, [self._places[strength] for strength in strengths]))
        rows = real.axis.nearest(at, COUNT, but=real.row_of(cell.field, cell.y, cell.x)).tolist()
        low, high = np.array(intensity.low), np.array(intensity.high)
        colours = session.colours
        tiles = []
        for row in rows:
            name = short_condition(cell.conditions[int(real.axis.treated[row])])
            well = str(real.axis.wells[row])
            picture = composite(real.crops[row].astype(np.float32), low, high, colours)
            tip = (
                f"A real cell of {name}, well {well}, field {real.table['field'].iloc[row]}.\n"
                f"Log-odds of being treated {real.axis.positions[row]:.1f}; the translated cell {at:.1f}.\n"
                "Click to show its field."
            )
            tiles.append(Tile(picture, ("REAL", name, well), False, tip))
        self._shown = rows
        self.row.show_tiles(tiles)

    def _go(self, place: int) -> None:
        """Show the field of a real cell."""
        if self._real is not None and place < len(self._shown):
            self._session.ask_for_field(str(self._real.table["field"].iloc[self._shown[place]]))
