"""From a click to a translated cell: asks the device queue, and gives the session what comes back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, QTimer

from phenolens.runtime.progress import Progress
from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.state.session import Session, TranslatedCell
from phenolens.widgets.translation import jobs

if TYPE_CHECKING:
    from phenolens.translation.apply.cell_translation import CellTranslation

POSITIONS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_SETTLE_MS = 120


class Translating(QObject):
    """Runs translations of clicked cells; the latest click goes first.

    A cell is translated at the slider's strength, coarse and then fine. Further positions are computed behind it, so
    that the slider moves at once between them; where it comes to rest, that very strength is computed.

    Parameters
    ----------
    session, running
        What is translated, and what runs the work.
    ready
        Gives the translation of a cell that was made ahead of the click; None where there is none.
    """

    def __init__(
        self,
        parent: QObject,
        session: Session,
        running: Running,
        ready: "Callable[[TranslatedCell], CellTranslation | None]",
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._running = running
        self._ready = ready
        self._clicks = 0
        self._under_way: set[int] = set()
        self._moving: JobWorker | None = None
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLE_MS)
        self._settled.timeout.connect(self._move)
        session.strength_changed.connect(self._wait)
        session.field_changed.connect(self._wait)
        session.plane_changed.connect(self._wait)
        session.held_changed.connect(self._translate_anew)
        for signal in (session.translated_changed, session.field_changed, session.plane_changed):
            signal.connect(self.go_on)
        session.translated_changed.connect(self._wait)

    def translate(self, y: float, x: float) -> TranslatedCell | None:
        """Translate the cell at a pixel of the plane in view; a cell that was translated before is only selected."""
        session = self._session
        conditions = session.direction()
        if session.translator is None or session.field is None or session.image is None or conditions is None:
            show_info("Fine-tune or load an adapter first, then click a cell.")
            return None
        y, x, name = session.cell_at(y, x)
        if (known := session.here().get((y, x))) is not None:
            session.choose_cell(known)
            return known
        cell = TranslatedCell(session.field.key, y, x, name, conditions, position=session.position)
        if (made := self._ready(cell)) is not None:
            cell.translation = made
            session.add_cell(cell)
            session.choose_cell(cell)
            session.steps.did(f"translating {name}", added=[cell])
            self._go_on(cell)
            return cell
        self._start(cell)  # computes while the layers are made
        session.add_cell(cell)
        session.steps.did(f"translating {name}", added=[cell])
        session.choose_cell(cell)
        return cell

    def go_on(self) -> None:
        """Translate the cells of the plane in view that were clicked before and have no result yet."""
        if self._session.translator is not None and self._session.plane_id is not None:
            for cell in self._session.here().values():
                if cell.translation is None and id(cell) not in self._under_way:
                    self._start(cell)

    def _start(self, cell: TranslatedCell) -> None:
        session = self._session
        assert session.translator is not None
        self._clicks += 1
        self._under_way.add(id(cell))
        self._running.start(
            jobs.translate(session.translator, session.planes.reader(session.position), cell, session.strength or 1.0),
            f"Translating {cell.name}",
            device=session.translator_device,
            priority=INTERACTIVE + 1 + self._clicks,
            bar=False,
            progress=lambda now: self._arrived(cell, now.preview),
            done=lambda result: self._finished(cell, result),
            cancelled=lambda: self._forget_unfinished(cell),
            failed=lambda _: self._forget_unfinished(cell),
            finished=lambda: self._under_way.discard(id(cell)),
        )

    def _arrived(self, cell: TranslatedCell, translation: Any) -> None:
        if translation is not None and self._session.holds(cell):
            self._session.update_cell(cell, translation)

    def _finished(self, cell: TranslatedCell, translation: Any) -> None:
        if not self._session.holds(cell):
            return
        self._session.update_cell(cell, translation)
        self._go_on(cell)

    def _go_on(self, cell: TranslatedCell) -> None:
        """Compute further positions of the slider behind a cell that is there."""
        wanted = [place for place in POSITIONS if not cell.has(place)]
        self._start_moves([cell], wanted, INTERACTIVE - 1)
        self._settled.start()

    def _translate_anew(self) -> None:
        """Translate all cells again, from the inversions that are kept: another choice of channels is held."""
        cells = [cell for plane in self._session.translated.values() for cell in plane.values()]
        places = sorted({self._session.strength, *POSITIONS} - {0.0}, key=lambda place: place != self._session.strength)
        self._start_moves(sorted(cells, key=lambda cell: cell.plane != self._session.plane_id), places, INTERACTIVE)

    def _forget_unfinished(self, cell: TranslatedCell) -> None:
        if cell.translation is None and self._session.holds(cell):
            self._session.remove_cell(cell)
            self._session.steps.forget_cell(cell)

    def _wait(self, *_: float) -> None:
        self._settled.start()

    def _move(self) -> None:
        """Compute the slider's strength for the cells that lack it, the last clicked first."""
        if self._moving is not None:
            self._moving.quit()
            self._moving = None
        strength = self._session.strength
        cells = [cell for cell in reversed(self._session.here().values()) if not cell.has(strength)]
        if cells:
            self._moving = self._start_moves(cells, [strength], INTERACTIVE)

    def _start_moves(self, cells: list[TranslatedCell], strengths: list[float], priority: int) -> JobWorker | None:
        translator = self._session.translator
        if translator is None:
            return None

        def moved(now: Progress) -> None:
            if now.preview is not None:
                cell, translation = now.preview
                self._arrived(cell, translation)

        return self._running.start(
            jobs.move_cells(translator, cells, strengths),
            "Translating at another strength",
            device=self._session.translator_device,
            priority=priority,
            bar=False,
            progress=moved,
        )
