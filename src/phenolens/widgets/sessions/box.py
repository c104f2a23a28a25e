"""The line at the top of the dock: take up where one stopped, and where the work is kept."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QToolButton, QVBoxLayout, QWidget

from phenolens.runtime.checkpoints import Checkpoints
from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.progress import Job, Progress
from phenolens.sessions.places import last_sessions
from phenolens.sessions.reading import SavedSession, read_session
from phenolens.translation.training.finetune_settings import checkpoint_of
from phenolens.widgets.kit.eliding import ElidedButton
from phenolens.widgets.kit.style import SPACE, Note, action

_LISTED = 8


class SessionBox(QWidget):
    """Offers the last session while nothing is open, and says where the present one is kept.

    ``wanted`` gives the folder of a session to bring back, ``moved`` the folder that this one is to be kept in, and
    ``located`` the session and where its screen lies now.
    """

    wanted = Signal(object)
    moved = Signal(object)
    located = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._last: SavedSession | None = None
        self._lost: Path | None = None
        self._kept = False
        self.take_up = ElidedButton()
        self.take_up.setStyleSheet("QPushButton { padding: 5px 10px; }")
        self.take_up.setToolTip("Bring back your last work as you left it")
        self.take_up.clicked.connect(self._ask_for_last)
        self.more = QToolButton()
        self.more.setText("Session")
        self.more.setStyleSheet("QToolButton { padding-right: 16px; }")  # the arrow's room
        self.more.setToolTip("Sessions: your work, saved by itself while you do it")
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self)
        self.menu.aboutToShow.connect(self._fill)
        self.more.setMenu(self.menu)
        self.locate = action("Choose the screen…", "Show where the screen of this session lies now")
        self.locate.clicked.connect(self._ask_screen)
        self.about = Note()
        self.problem = Note()
        self._line = line = QHBoxLayout()
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SPACE)
        line.addWidget(self.take_up, 1)
        line.addWidget(self.about, 1)
        line.addWidget(self.more)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(SPACE + 2, SPACE, SPACE + 2, SPACE)
        whole.setSpacing(SPACE)
        whole.addLayout(line)
        whole.addWidget(self.problem)
        whole.addWidget(self.locate)
        self.locate.hide()
        self.offer(None)

    def add(self, button: QWidget) -> None:
        """Put a further button at the end of the line."""
        self._line.addWidget(button)

    def _ask_for_last(self) -> None:
        if self._last is not None:
            self.wanted.emit(self._last.folder)

    def offer(self, saved: SavedSession | None) -> None:
        """Offer to take up a session; nothing is offered once a screen is open."""
        self._last = saved
        self.take_up.setVisible(saved is not None and not self._kept)
        if saved is not None:
            self.take_up.setText(f"Go on with {saved.title}")
            what = ", ".join(part for part in (saved.contents(), _unfinished(saved)) if part)
            self.take_up.setToolTip(
                f"Take up where you stopped: {saved.title}{', with ' + what if what else ''}; saved {_ago(saved.saved)}"
                + ("" if saved.closed else ". It was not closed; what you did is there all the same")
                + "."
            )
        self._about()

    def keep(self, folder: Path | None) -> None:
        """Say where the present session is kept; None where nothing is open."""
        self._kept = folder is not None
        self.take_up.setVisible(self._last is not None and not self._kept)
        self._about()
        self.about.setToolTip("" if folder is None else f"Kept in {folder}")
        if folder is not None:
            self.locate.hide()

    def begin(self, name: str) -> None:
        """A session is being brought back."""
        self.take_up.setEnabled(False)
        self.more.setEnabled(False)
        self.locate.hide()
        self.problem.say(f"Bringing back {name}…")

    def end(self, problems: list[str]) -> None:
        """It was brought back, or could not be; `problems` say what is missing."""
        self.take_up.setEnabled(True)
        self.more.setEnabled(True)
        self.problem.say("\n".join(problems), "warning" if problems else "quiet")

    def lost(self, folder: Path, why: str) -> None:
        """The screen of a session is not where it was: ask for it."""
        self.end([why])
        self._lost = folder
        self.locate.show()

    def _about(self) -> None:
        self.about.say("Saved as you work." if self._kept else "" if self._last else "Your work is saved as you do it.")

    def _fill(self) -> None:
        self.menu.clear()
        self.menu.addAction("Open a session…", self._ask_session)
        keep = self.menu.addAction("Save session as…", self._ask_place)
        keep.setEnabled(self._kept)
        recent = [one for one in map(_read, last_sessions(_LISTED)) if one is not None]
        if recent:
            self.menu.addSeparator()
        for saved in recent:
            what = saved.contents()
            title = f"{saved.title}, {_ago(saved.saved)}{': ' + what if what else ''}".replace("&", "&&")
            self.menu.addAction(title, _later(self.wanted.emit, saved.folder))

    def _ask_session(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a session")
        if path:
            self.wanted.emit(Path(path))

    def _ask_place(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Keep this session in a new or empty folder")
        if path:
            self.moved.emit(Path(path))

    def _ask_screen(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "The folder of the screen of this session")
        if path and self._lost is not None:
            self.located.emit(self._lost, Path(path))


def find_last() -> Job[SavedSession | None]:
    """The last session in which something was opened; a job, since it may be long."""
    yield Progress(0, 0, "looking for the last session")
    for folder in last_sessions():
        saved = _read(folder)
        if saved is not None and saved.value("screen", default={}).get("path"):
            return saved
    return None


def _unfinished(saved: SavedSession) -> str:
    """A fine-tuning that can be resumed, in words; empty where there is none."""
    out = saved.value("finetune", default={}).get("out")
    if not isinstance(out, str) or not out:
        return ""
    about = Checkpoints(checkpoint_of(Path(out))).about()
    return "" if about is None else f"a fine-tuning to resume at {about.reached}"


def _read(folder: Path) -> SavedSession | None:
    try:
        return read_session(folder)
    except PhenolensError:
        return None


def _later(call: Callable[[Any], Any], value: Any) -> Callable[[], None]:
    def run() -> None:
        call(value)

    return run


def _ago(at: float) -> str:
    if not at:
        return "some time ago"
    seconds = max(time.time() - at, 0)
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' * (count != 1)} ago"
    return "moments ago"
