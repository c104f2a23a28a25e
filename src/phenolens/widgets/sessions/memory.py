"""Saves what the docks are doing, by itself, as one works: no more than a second is ever lost."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from phenolens.annotation.annotations import Annotations
from phenolens.sessions.autosave import Autosave
from phenolens.sessions.folder import SessionFolder
from phenolens.sessions.places import new_session_folder
from phenolens.widgets.state.session import Session

_LEAVING_S = 2.0
_SOON_MS = 150  # a change is handed over after this long at most, and written at once


@dataclass
class Part:
    """Something that is remembered: `gather` gives its values by key, and is called again once they are stale."""

    gather: Callable[[], dict[str, Any]]
    values: dict[str, Any] = field(default_factory=dict)
    stale: bool = True
    gone: bool = False


class Memory(QObject):
    """Watches its parts, and has the session's folder written on a thread of its own.

    A screen that is opened begins a session in a folder of its own, unless `go_on` says which it is to be.

    Parameters
    ----------
    session
        Whose screen it follows, and whose annotations it writes step by step.
    """

    changed = Signal()
    """Another session is being kept, or none."""

    def __init__(self, parent: QObject, session: Session) -> None:
        super().__init__(parent)
        self._session = session
        self._parts: dict[str, Part] = {}
        self._saving: Autosave | None = None
        self._annotations: Annotations | None = None
        self._said: list[dict[str, Any]] = []
        self._listening = True
        self._wrong = ""
        self.folder: Path | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self.hand_over)
        session.leaving.connect(lambda: self.end(_LEAVING_S))
        session.screen_changed.connect(self._begin)

    @property
    def problem(self) -> str:
        """Why the session cannot be saved at the moment; empty where it can."""
        return self._wrong or (self._saving.problem if self._saving is not None else "")

    def add(self, name: str, gather: Callable[[], dict[str, Any]], signals: Iterable[Any] = ()) -> None:
        """Remember a part, and look at it again after each of its `signals`."""
        self._parts[name] = Part(gather)
        for signal in signals:
            signal.connect(lambda *_: self.touch(name))
        self.touch(name)

    def drop(self, name: str) -> None:
        """Look at a part no more; what it said last stays remembered."""
        if name in self._parts:
            self._parts[name].gone = True

    def touch(self, name: str) -> None:
        """Save a part soon."""
        part = self._parts.get(name)
        if part is not None:
            part.stale = True
            self._save_soon()

    def hand_over(self) -> None:
        """Hand what is known now over to be written."""
        self._rest()
        if self._saving is None or not self._listening:
            return
        said, self._said = self._said, []
        self._saving.put(self._values(), said)

    def flush(self, seconds: float = 5.0) -> bool:
        """Save all at once and wait for it; return whether it was in time."""
        self.hand_over()
        return self._saving is None or self._saving.flush(seconds)

    def pause(self) -> None:
        """Listen to nothing: a session is being brought back, whose steps are in its folder already."""
        self.end()
        self._listening = False

    def go_on(self, folder: SessionFolder | None) -> None:
        """Keep the session in an open `folder` from now on; in a new one where None."""
        self._listening = True
        if self._session.screen is None:
            if folder is not None:
                folder.close()
            return
        self.end()
        self._start(folder)

    def move(self, place: Path) -> None:
        """Keep the session in another folder, with all that is in it; the one so far stays as it is.

        Raises
        ------
        OutputError
            The folder holds something else, or cannot be written.
        """
        folder = SessionFolder(place)
        self.end()
        self._start(folder, anew=True)

    def end(self, seconds: float = 10.0) -> None:
        """Save all, say that the session was ended as one wishes, and let go of its folder; wait for it so long."""
        saving, self._saving = self._saving, None
        self._rest()
        self._unfollow()
        if saving is None:
            return
        said, self._said = self._said, []
        saving.put({**self._values(), "closed": True}, said)
        saving.close(seconds)
        self.folder = None
        self.changed.emit()

    def _begin(self) -> None:
        self._parts = {name: part for name, part in self._parts.items() if not part.gone}
        for part in self._parts.values():
            part.stale = True
        if self._listening:
            self._start(None)

    def _start(self, folder: SessionFolder | None, anew: bool = False) -> None:
        annotations = self._session.annotations
        if folder is None:
            place = new_session_folder(self._session.screen_name)
            with suppress(OSError):  # the name is taken at once; whatever is wrong is said when it is written to
                place.mkdir(parents=True)
            self._said = annotations.history() if len(annotations) or annotations.classes else []
            self._saving = Autosave(lambda: SessionFolder(place))
        else:
            place = folder.folder
            self._said = annotations.history() if anew else []
            self._saving = Autosave(lambda: folder)
        self.folder = place
        self._annotations = annotations
        annotations.recorded.connect(self._record)
        self._soon.start()
        self.changed.emit()

    def _record(self, record: dict[str, Any]) -> None:
        self._said.append(record)
        self._save_soon()

    def _rest(self) -> None:
        with suppress(RuntimeError):  # Qt has deleted the timer already where the dock is gone
            self._soon.stop()

    def _save_soon(self) -> None:
        if self._saving is not None and self._listening and not self._soon.isActive():
            self._soon.start()

    def _unfollow(self) -> None:
        if self._annotations is not None:
            self._annotations.recorded.disconnect(self._record)
            self._annotations = None

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for part in self._parts.values():
            if part.stale and not part.gone:
                part.stale = False
                try:
                    part.values = part.gather()
                except RuntimeError:
                    pass  # the window is going: what was known of it counts
                except Exception as error:  # noqa: BLE001 - one part must not keep the others from being saved
                    self._wrong = repr(error)
            values |= part.values
        return values
