"""What a session remembers of the map: its atlas, how it is coloured, and what is selected on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject

from phenolens.sessions.values import Kept, KeptFolder
from phenolens.widgets.map.session import CELL, MapSession
from phenolens.widgets.state.workplace import Remembers, Workplace

if TYPE_CHECKING:
    from phenolens.sessions.reading import SavedSession

_HEAD = "map"
_MOST_COPIED = 200_000  # rows of an atlas that a session holds itself


class MapMemory(QObject):
    """Has the map kept with the session of the main dock, and brings it back with that.

    Parameters
    ----------
    place, session
        Whose main dock, and which map.
    open_path
        Opens the folder of an atlas in the background.
    set_neighbours
        Sets how many neighbours are listed, and whether of other wells only.
    """

    def __init__(
        self,
        parent: QObject,
        place: Workplace,
        session: MapSession,
        open_path: Callable[[Path], None],
        set_neighbours: Callable[[int, bool], None],
    ) -> None:
        super().__init__(parent)
        self._place, self._session = place, session
        self._open_path, self._set_neighbours = open_path, set_neighbours
        self._memory: Remembers | None = None
        self._saved: SavedSession | None = None
        self._origin: Path | None = None
        self._own: Path | None = None
        session.data_changed.connect(self._loaded)
        session.places_changed.connect(self._moved)
        for signal in (
            session.data_changed, session.grouping_changed, session.selection_changed, session.marks_changed,
            session.contours_changed,
        ):  # fmt: skip
            signal.connect(self._touch)
        place.changed.connect(self._follow)
        place.restored.connect(self._restore)
        self._follow()

    def close(self) -> None:
        """Let go of the main dock; the map stays in its session."""
        self._place.changed.disconnect(self._follow)
        self._place.restored.disconnect(self._restore)
        if self._memory is not None:
            self._memory.drop(_HEAD)
            self._memory = None

    def opened(self, path: Path | None) -> None:
        """Tell where the map that comes next lies; None where it was made here, and lies nowhere."""
        self._origin = None if path is None or path == self._own else path.absolute()
        if path is None:
            self._saved = None  # it is not that of the session

    def _moved(self) -> None:
        """Keep a map whose points were moved here: it is no longer the one that was opened."""
        if self._session.data is not None and len(self._session.data.atlas) <= _MOST_COPIED:
            self._origin = self._own = None
        self._touch()

    def _follow(self) -> None:
        memory = self._place.memory
        if memory is not self._memory:
            self._memory = memory
            if memory is not None:
                memory.add(_HEAD, self._values)

    def _touch(self, *_: Any) -> None:
        if self._memory is not None:
            self._memory.touch(_HEAD)

    def _values(self) -> dict[str, Any]:
        if self._saved is not None:  # which is on its way
            return {key: value for key, value in self._saved.state.values.items() if key.startswith(_HEAD)}
        session, data = self._session, self._session.data
        if data is None:
            return {}
        atlas, facts = data.atlas, {"name": data.name}
        values: dict[str, Any] = {}
        if self._origin is not None or len(atlas) > _MOST_COPIED:
            values["map"] = {**facts, "path": None if self._origin is None else str(self._origin)}
        else:
            values["map"] = KeptFolder(
                of=atlas,
                stem="map",
                facts=facts,
                digest=lambda: f"{atlas.card} {len(atlas)} {hash_of(atlas.vectors)} {hash_of(atlas.coordinates)}",
                files=atlas.write_files,
            )
        cell = session.marks.get(CELL)
        values["map view"] = {
            "colour": None if session.grouping is None else session.grouping.title,
            "entries": sorted(int(code) for code in session.entries),
            "cell": None if cell is None or cell.row is None else int(cell.row),
            "neighbours": int(session.count),
            "other_wells": bool(session.other_wells),
            "contours": bool(session.contours),
        }
        lassoed = session.lassoed
        if lassoed is not None:
            values["map lasso"] = Kept(
                of=lassoed, stem="lasso", arrays=lambda: {"rows": np.flatnonzero(lassoed)}, packed=True
            )
        return values

    def _restore(self, saved: SavedSession) -> None:
        about = saved.value("map")
        if about is None:
            return
        own = saved.path_of(about)
        path = own if own is not None else Path(str(about.get("path")))
        self._saved = saved
        self._own = own
        self._open_path(path)

    def _loaded(self) -> None:
        saved, self._saved = self._saved, None
        session, data = self._session, self._session.data
        if saved is None or data is None:
            return
        view, size = saved.value("map view", default={}), len(data.atlas)
        count = view.get("neighbours")
        if isinstance(count, int) and 1 <= count <= 48:
            self._set_neighbours(count, view.get("other_wells") is True)
        if (title := view.get("colour")) in session.ways:
            session.colour_by(str(title))
        session.show_contours(view.get("contours") is True)
        names = 0 if session.grouping is None else len(session.grouping.names)
        entries = view.get("entries")
        for code in entries if isinstance(entries, list) else ():
            if isinstance(code, int) and 0 <= code < names:
                session.choose_entry(code, add=True)
        if (lasso := saved.value("map lasso")) is not None and (rows := _rows(saved, lasso, size)) is not None:
            mask = np.zeros(size, bool)
            mask[rows] = True
            session.select(mask)
        row = view.get("cell")
        if isinstance(row, int) and 0 <= row < size:
            session.focus(row)


def hash_of(array: Any) -> str:
    """SHA-256 of an array's bytes."""
    from hashlib import sha256

    return sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _rows(saved: SavedSession, value: dict[str, Any], size: int) -> NDArray[np.intp] | None:
    rows = (saved.arrays(value) or {}).get("rows")
    if rows is None or rows.ndim != 1 or rows.dtype.kind != "i" or not len(rows):
        return None
    if rows.min() < 0 or rows.max() >= size:
        return None
    return rows.astype(np.intp)
