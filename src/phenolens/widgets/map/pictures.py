"""Fetches the pictures of rows in the background, and keeps those that were fetched."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.map.session import MapSession
from phenolens.widgets.map.thumbnails import picture, thumbnails
from phenolens.widgets.state.workplace import Workplace

_MOST = 4000


class MapPictures(QObject):
    """``came`` gives a row and its picture (h, w, 3): at once where it is known, else when it has been read."""

    came = Signal(int, object)

    def __init__(self, parent: QObject, place: Workplace, session: MapSession, running: Running) -> None:
        super().__init__(parent)
        self._place, self._session, self._running = place, session, running
        self._known: dict[int, NDArray[np.uint8]] = {}
        self._made_of: tuple[Any, Any, Any] = (None, None, None)
        self._size = 0
        self._worker: JobWorker | None = None

    def waiting(self) -> str:
        """What stands in the place of pictures: why there are none, or nothing where they are on their way."""
        main = self._place.session
        if main is None or main.screen is None:
            return "open its screen to see it"
        return "" if self._session.in_screen else "not in the open screen"

    def want(self, rows: list[int]) -> None:
        """Fetch the pictures of rows, of which earlier wishes no longer matter."""
        data, main = self._session.data, self._place.session
        if data is None or main is None or main.screen is None or main.intensity is None or not self._session.in_screen:
            return
        size = int(data.atlas.profiles.card.get("crop") or main.window_size())
        made_of = (data, main.screen, main.intensity)
        if size != self._size or any(old is not new for old, new in zip(self._made_of, made_of, strict=True)):
            self._made_of, self._size, self._known = made_of, size, {}
        known = self._known
        for row in rows:
            if row in known:
                self.came.emit(row, known[row])
        if self._worker is not None:
            self._worker.quit()
            self._worker = None
        keys = {field.key for field in main.screen.fields}
        missing = [
            (row, data.places.field(row), data.places.centre(row))
            for row in rows
            if row not in known and data.places.field(row) in keys
        ]
        if not missing:
            return
        shown = None
        if main.field is not None and main.image is not None:
            shown = main.field.key, main.planes.reader(main.image.position)

        def arrived(now: Any) -> None:
            if now.preview is not None and self._known is known:
                row, pixels = now.preview
                while len(known) >= _MOST:
                    known.pop(next(iter(known)))
                known[row] = pixels
                self.came.emit(row, pixels)

        self._worker = self._running.start(
            thumbnails(main.screen, main.intensity, missing, size, shown, main.colours),
            "Reading pictures of cells",
            priority=INTERACTIVE,
            bar=False,
            progress=arrived,
        )

    def of_crop(self, crop: NDArray[Any] | None) -> NDArray[np.uint8] | None:
        """The picture of pixels (C, h, w) in file units, at the same contrast."""
        main = self._place.session
        if crop is None or main is None or main.intensity is None:
            return None
        return picture(crop, main.intensity, main.colours)
