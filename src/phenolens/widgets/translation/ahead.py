"""Cells in view, translated while the device is idle, so that a click shows its picture at once."""

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from napari import Viewer
from qtpy.QtCore import QObject, QTimer

from phenolens.runtime.limits import AHEAD_MB
from phenolens.runtime.queue import IDLE, device_queue
from phenolens.screens.large_images import by_levels
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.state.session import CellId, PlaneId, Session, TranslatedCell
from phenolens.widgets.translation import jobs

if TYPE_CHECKING:
    from phenolens.translation.apply.cell_translation import CellTranslation

# Values of a plane, all channels together, that are read for nobody who asked.
_LARGEST = 2**25
_REST_MS = 300  # without a click, a move of the view or another job


class TranslatingAhead(QObject):
    """Translates cells before they are clicked, one at a time, those nearest to the pointer first.

    Nothing is done while a job goes on: one that starts ends what is under way, and in the queue of the device
    everything else goes before. What was translated is kept within a budget of memory, `AHEAD_MB`; cells that are out
    of view go first.

    Parameters
    ----------
    viewer, session
        Whose view is looked at, and of which screen.
    running
        The jobs that go first.
    field
        The layers of the shown field.
    """

    def __init__(self, parent: QObject, viewer: Viewer, session: Session, running: Running, field: FieldLayers) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._running, self._field = viewer, session, running, field
        self._ready: OrderedDict[tuple[PlaneId, CellId], CellTranslation] = OrderedDict()
        self._worker: JobWorker | None = None
        self._failed: set[tuple[PlaneId, CellId]] = set()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_REST_MS)
        self._soon.timeout.connect(self._next)
        running.began.connect(self.stop)
        running.ended.connect(self._wait)
        for signal in (session.adapter_changed, session.screen_changed, session.held_changed):
            signal.connect(self._forget)
        for signal in (session.field_changed, session.plane_changed, session.cells_changed):
            signal.connect(self._wait)
        self._over = False
        self._events = (viewer.scene.camera.events.center, viewer.scene.camera.events.zoom)
        for event in self._events:
            event.connect(self._wait)

    def detach(self) -> None:
        """Leave the viewer alone for good."""
        if not self._over:
            self._over = True
            for event in self._events:
                event.disconnect(self._wait)
        self.stop()

    def holds(self, cell: TranslatedCell) -> bool:
        """Whether the picture of a cell is ready."""
        return (cell.plane, cell.id) in self._ready

    @property
    def bytes(self) -> int:
        """Memory of all that is ready."""
        return sum(map(_bytes, self._ready.values()))

    def take(self, cell: TranslatedCell) -> "CellTranslation | None":
        """Hand over the translation of a cell, where it is ready."""
        made = self._ready.pop((cell.plane, cell.id), None)
        return made if made is not None and made.conditions == cell.conditions else None

    def stop(self) -> None:
        """End what is under way, at its next step."""
        if self._worker is not None:
            self._worker.quit()
            self._worker = None

    def _forget(self) -> None:
        """Give up all that was made with another adapter, or other channels held."""
        self.stop()
        self._ready.clear()
        self._failed.clear()
        self._wait()

    def _wait(self, *_: Any) -> None:
        self._soon.start()

    def _next(self) -> None:
        session = self._session
        if self._over or self._worker is not None or self._running.busy:
            return
        image = session.image
        if session.translator is None or image is None:
            return
        if not by_levels(image) and image.n_channels * math.prod(image.shape[-2:]) > _LARGEST:
            return
        wanted = self._wanted()
        cell = next((one for one in wanted if not self.holds(one)), None)
        if cell is None or not self._has_room([(one.plane, one.id) for one in wanted]):
            return
        key = (cell.plane, cell.id)
        job = jobs.translate(
            session.translator, session.planes.reader(session.position), cell, session.strength or 1.0, coarse=()
        )
        worker = JobWorker(
            lambda: device_queue(session.translator_device).run(job, priority=IDLE, name=f"{cell.name} ahead")
        )

        def arrived(translation: "CellTranslation") -> None:
            if worker is self._worker and translation is not None:
                self._ready[key] = translation

        def failed(_: Any) -> None:
            # Whoever clicks it gets the message.
            self._failed.add(key)

        def ended() -> None:
            if worker is self._worker and not self._over:
                self._worker = None
                self._next()

        worker.returned.connect(arrived)
        worker.refused.connect(failed)
        worker.errored.connect(failed)
        worker.finished.connect(ended)
        self._worker = worker
        worker.start()

    def _wanted(self) -> list[TranslatedCell]:
        """The cells in view that are not translated yet, those nearest to the pointer first."""
        session, direction = self._session, self._session.direction()
        if session.cells is None or session.field is None or direction is None or not self._field.channels:
            return []
        (low_y, low_x), (high_y, high_x), (y, x) = self._in_view()
        table = session.cells.table
        table = table[table["field"] == session.field.key]
        here = table[table["y"].between(low_y, high_y) & table["x"].between(low_x, high_x)]
        order = np.hypot(here["y"] - y, here["x"] - x).argsort()
        cells = (
            TranslatedCell(session.field.key, float(row.y), float(row.x), f"cell {int(row.label)}", direction,
                           position=session.position)
            for row in here.iloc[order].itertuples()
        )  # fmt: skip
        known = session.here()
        return [cell for cell in cells if cell.id not in known and (cell.plane, cell.id) not in self._failed]

    def _in_view(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Least and largest (y, x) of the view in pixels of the field, and the pointer, or the middle of the view."""
        viewer, layer = self._viewer, self._field.channels[0]
        camera = viewer.scene.camera
        half = np.array(viewer.canvas.size) / camera.zoom / 2
        middle = np.array(camera.center[-2:])
        sides = half * np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])
        rest = tuple(viewer.dims.point)[:-2]
        corners = np.array([layer.world_to_data((*rest, *(middle + side)))[-2:] for side in sides])
        pointer = viewer.cursor.position if viewer.mouse_over_canvas else (*rest, *middle)
        return corners.min(axis=0), corners.max(axis=0), np.array(layer.world_to_data(pointer)[-2:])

    def _has_room(self, wanted: list[tuple[PlaneId, CellId]]) -> bool:
        """Whether there is memory for one more cell, once those that nobody sees have made room."""
        budget = AHEAD_MB() * 2**20
        largest = max(map(_bytes, self._ready.values()), default=0)
        for key in [key for key in self._ready if key not in wanted]:
            if self.bytes + largest <= budget:
                break
            del self._ready[key]
        return self.bytes + largest <= budget


def _bytes(translation: "CellTranslation") -> int:
    """Memory of a translation and its trajectory."""
    path = translation.trajectory
    kept = () if path is None else (path.states, path.noises, path.coupled)
    arrays = (translation.difference, translation.crop, *kept)
    return sum(int(array.nbytes) for array in arrays if array is not None)
