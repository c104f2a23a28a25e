"""Reads the planes that the canvas asks for, behind the window."""

from napari import Viewer
from qtpy.QtCore import QObject

from phenolens.runtime.progress import Job, Progress
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.state.planes import Reading
from phenolens.widgets.state.session import Session


class PlaneReading(QObject):
    """Reads one plane after the other; of those asked for meanwhile, only the last is still wanted.

    Parameters
    ----------
    parent, viewer, session, running
        Whose planes are read, who says so, and what runs the job.
    """

    def __init__(self, parent: QObject, viewer: Viewer, session: Session, running: Running) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._running = viewer, session, running
        self._now: Reading | None = None
        self._next: Reading | None = None
        session.planes.asked.connect(self._ask)

    def _ask(self, wanted: Reading) -> None:
        self._next = wanted
        if self._now is None:
            self._start()

    def _start(self) -> None:
        now, self._now, self._next = self._next, self._next, None
        if now is None:
            return
        place = self._session.place(now.position)
        said = f"Reading the plane at {place}…"

        def over() -> None:
            self._now = None
            if self._viewer.status == said:
                self._viewer.status = "Ready"
            self._session.planes.answered(now.position)
            self._start()

        self._viewer.status = said
        # not on a device's queue: a slow file holds up no computation, and no computation a file
        self._running.start(_read(now), f"Reading the plane at {place}", device=None, bar=False, finished=over)


def _read(wanted: Reading) -> Job[None]:
    wanted.read()
    yield Progress(1, 1, "reading a plane")
