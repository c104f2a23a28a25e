"""All cells of the plane in view, translated behind the clicks."""

from typing import Any

from qtpy.QtCore import QObject, Signal

from phenolens.runtime.progress import Progress
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.state.session import Session, TranslatedCell
from phenolens.widgets.state.translation_steps import Step
from phenolens.widgets.translation import jobs


class TranslatingAll(QObject):
    """Translates the known cells of the plane in view at the slider's strength; a click goes before the next few.

    What is done stays where it is cancelled, and starting again goes on with the rest.
    """

    changed = Signal()

    def __init__(self, parent: QObject, session: Session, running: Running) -> None:
        super().__init__(parent)
        self._session, self._running = session, running
        self._worker: JobWorker | None = None
        self._step: Step | None = None
        self.done = self.total = 0
        session.adapter_changed.connect(self.cancel)
        session.screen_changed.connect(self.cancel)
        session.held_changed.connect(self.cancel)

    @property
    def running(self) -> bool:
        """Whether cells are being translated."""
        return self._worker is not None

    def left(self) -> list[TranslatedCell]:
        """The known cells of the plane in view that are not translated yet."""
        session, direction = self._session, self._session.direction()
        if session.cells is None or session.field is None or direction is None:
            return []
        table, here = session.cells.table, session.here()
        cells = [
            TranslatedCell(session.field.key, float(cell.y), float(cell.x), f"cell {int(cell.label)}", direction,
                           position=session.position)
            for cell in table[table["field"] == session.field.key].itertuples()
        ]  # fmt: skip
        return [cell for cell in cells if cell.id not in here]

    def start(self) -> None:
        """Translate them."""
        session, cells = self._session, self.left()
        if self.running or session.translator is None or session.image is None or not cells:
            return
        self.done, self.total = 0, len(cells)
        self._step = session.steps.did(f"translating {len(cells)} cells")

        def ended() -> None:
            if self._worker is worker:
                self._worker = None
            self.changed.emit()

        worker = self._running.start(
            jobs.translate_cells(
                session.translator, session.planes.reader(session.position), cells, session.strength or 1.0
            ),
            f"Translating {len(cells)} cells",
            device=session.translator_device,
            progress=lambda now: self._arrived(worker, now),
            finished=ended,
        )
        self._worker = worker
        self.changed.emit()

    def cancel(self) -> None:
        """Stop before the next few cells."""
        if self._worker is not None:
            self._worker.quit()
            self._worker = None
            self.changed.emit()

    def _arrived(self, worker: Any, now: Progress) -> None:
        if worker is not self._worker or now.preview is None:
            return
        if self._step is None or not self._session.steps.stands(self._step):
            self.cancel()  # it was undone
            return
        cell, translation = now.preview
        self.done = now.step
        # It may have been clicked in the meantime.
        if cell.id not in self._session.translated.get(cell.plane, {}):
            cell.translation = translation
            self._session.add_cell(cell)
            self._step.added.append(cell)
        self.changed.emit()
