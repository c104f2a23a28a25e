"""What has no row gets its place on the map: translated cells, and what the encoder predicts for compounds."""

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from phenolens.profiling.atlas.structure_search import Prediction, predict_compound
from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.screens.crops import window_at
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.map import jobs
from phenolens.widgets.map.comparison import TargetCompound, compare, cosine_distance
from phenolens.widgets.map.session import CELL, COMPOUND, DIRECT, TRANSLATED, MapSession
from phenolens.widgets.state.session import Session, TranslatedCell
from phenolens.widgets.state.workplace import Workplace

_SETTLE_MS = 100


class MapPredicting(QObject):
    """Embeds the last translated cell anew whenever it changes, and asks the encoder for its prediction.

    ``compared`` gives a sentence (empty for none) and how it is to be shown; `predict` is answered by ``placed`` or
    ``refused``.
    """

    compared = Signal(str, str)
    placed = Signal(object)
    refused = Signal(str)

    def __init__(
        self,
        parent: QObject,
        place: Workplace,
        session: MapSession,
        running: Running,
        row_of_cell: Callable[[float, float], int | None],
    ) -> None:
        super().__init__(parent)
        self._place, self._session, self._running, self._row_of_cell = place, session, running, row_of_cell
        self._followed: Session | None = None
        self._cell: TranslatedCell | None = None
        self._worker: JobWorker | None = None
        self._targets: dict[str, TargetCompound | None] = {}
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLE_MS)
        self._settled.timeout.connect(self._embed)
        place.changed.connect(self.follow)
        session.data_changed.connect(self._another_map)
        session.encoder_changed.connect(self._another_encoder)
        session.marks_changed.connect(self._marked)
        self.follow()

    def follow(self) -> None:
        """Listen to the main dock that is open now."""
        self.let_go()
        if (session := self._place.session) is not None:
            self._followed = session
            session.cell_changed.connect(self._changed)
            session.translated_changed.connect(self._left)
            session.strength_changed.connect(self._moved)
            session.field_changed.connect(self._notice)
            session.plane_changed.connect(self._notice)

    def let_go(self) -> None:
        """Listen to no dock."""
        self._settled.stop()
        self._cell = None
        if self._followed is not None:
            self._followed.cell_changed.disconnect(self._changed)
            self._followed.translated_changed.disconnect(self._left)
            self._followed.strength_changed.disconnect(self._moved)
            self._followed.field_changed.disconnect(self._notice)
            self._followed.plane_changed.disconnect(self._notice)
            self._followed = None

    def close(self) -> None:
        """Let go of the viewer for good."""
        self._place.changed.disconnect(self.follow)
        self.let_go()

    def predict(self, smiles: str, dose: float | None) -> None:
        """Place a compound's prediction for the controls of the map; answered by ``placed`` or ``refused``."""
        session = self._session
        if session.data is None or session.encoder is None:
            return

        def done(prediction: Prediction) -> None:
            about = smiles if dose is None else f"{smiles} at {dose:g}"
            session.place(COMPOUND, f"predicted: {about}", prediction.vector, smiles=smiles)
            self.placed.emit(prediction)

        def failed(error: BaseException) -> None:
            known = isinstance(error, PhenolensError)
            self.refused.emit(str(error) if known else "The prediction failed; the notification has the details.")

        self._start(self._prediction(smiles, dose), "Predicting a compound", done, failed)

    def _prediction(self, smiles: str, dose: float | None, rows: Any = None) -> Any:
        data, encoder = self._session.data, self._session.encoder
        assert data is not None
        assert encoder is not None
        return predict_compound(data.atlas, encoder, smiles, dose=dose, rows=rows)

    def _start(self, job: Any, name: str, done: Any, failed: Any = None) -> JobWorker:
        data, encoder = self._session.data, self._session.encoder

        def current(result: Any) -> None:
            if self._session.data is data and self._session.encoder is encoder:
                done(result)

        # a refusal is said where it was asked for
        return self._running.start(
            job, name, priority=INTERACTIVE, bar=False, tell=failed is None, done=current, failed=failed
        )

    def _another_map(self) -> None:
        self._targets.clear()
        self._cell = None

    def _another_encoder(self) -> None:
        self._session.remove(TRANSLATED, DIRECT, COMPOUND)
        self._settled.start()

    def _changed(self, cell: TranslatedCell) -> None:
        main = self._followed
        if main is None or self._session.data is None or main.field is None or cell.field != main.field.key:
            return
        if main.here().get(cell.id) is not cell:
            if cell is self._cell:
                self._cell = None
                self._session.remove(TRANSLATED, DIRECT)
            return
        row, marked = self._row_of_cell(cell.y, cell.x), self._session.marks.get(CELL)
        if row is not None and (marked is None or marked.row != row):
            self._session.focus(row)
        self._notice()
        if cell is self._cell and cell.translation is not None:
            self._settled.start()

    def _left(self) -> None:
        """Several cells came or went: the one that is followed may be among them."""
        if self._cell is not None:
            self._changed(self._cell)

    def _notice(self) -> None:
        """Follow the cell that is marked, if it is one of those translated in the shown field."""
        mark, main = self._session.marks.get(CELL), self._followed
        found = None
        if mark is not None and main is not None:
            here = main.here().values()
            found = next((cell for cell in here if self._row_of_cell(cell.y, cell.x) == mark.row), None)
        if found is not self._cell:
            self._cell = found
            if found is not None and found.translation is not None:
                self._settled.start()

    def _marked(self) -> None:
        self._notice()
        self._compare()

    def _moved(self, _: float) -> None:
        if self._cell is not None:
            self._settled.start()

    def _embed(self) -> None:
        """Embed the current cell as it looks at the slider's strength."""
        cell, main, data, encoder = self._cell, self._followed, self._session.data, self._session.encoder
        if cell is None or main is None or data is None or encoder is None or main.intensity is None:
            return
        row, difference = self._row_of_cell(cell.y, cell.x), cell.difference(main.strength)
        marked = self._session.marks.get(CELL)
        if row is None or marked is None or marked.row != row or difference is None or cell.translation is None:
            return
        if main.image is None or main.field is None or main.field.key != cell.field:
            return
        strength, atlas = main.strength, data.atlas
        size = int(atlas.profiles.card.get("crop") or main.window_size())

        def done(result: Any) -> None:
            if self._cell is cell:
                self._session.place(TRANSLATED, f"synthetic, strength {strength:.2f}", *result)
                if DIRECT not in self._session.marks:
                    self._predict_directly(cell, row)

        if self._worker is not None:
            self._worker.quit()
        job = jobs.embed_translated(
            encoder,
            atlas,
            row,
            plane=main.planes.reader(cell.position),
            window=cell.translation.window,
            difference=difference,
            wanted=window_at(cell.y, cell.x, size),
            shown=main.intensity,
        )
        self._worker = self._start(job, "Embedding the translated cell", done)

    def _target(self, condition: str) -> TargetCompound | None:
        assert self._session.data is not None
        if condition not in self._targets:
            self._targets[condition] = TargetCompound.find(self._session.data.atlas, condition)
        return self._targets[condition]

    def _predict_directly(self, cell: TranslatedCell, row: int) -> None:
        if not self._session.knows_compounds:
            return
        target = self._target(cell.conditions[1])
        if target is None:
            return

        def done(prediction: Prediction) -> None:
            if self._cell is cell:
                self._session.place(DIRECT, f"predicted: {target.name}", prediction.vector, smiles=target.smiles)

        self._start(self._prediction(target.smiles, target.dose, np.array([row])), "Predicting the compound", done)

    def _compare(self) -> None:
        marks, cell = self._session.marks, self._cell
        target = self._target(cell.conditions[1]) if cell is not None and self._session.data is not None else None
        if target is None or TRANSLATED not in marks or DIRECT not in marks or self._session.data is None:
            self.compared.emit("", "quiet")
            return
        distance = cosine_distance(marks[TRANSLATED].vector, marks[DIRECT].vector)
        self.compared.emit(*compare(distance, target, self._session.data.atlas.profiles.level))
