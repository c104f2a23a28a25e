"""Keeps the dock's session, and brings an earlier one back."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from napari import Viewer
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, QTimer

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.sessions.box import SessionBox, find_last
from phenolens.widgets.sessions.memory import Memory
from phenolens.widgets.sessions.view import View
from phenolens.widgets.sessions.work import Work
from phenolens.widgets.state.session import Session
from phenolens.widgets.state.workplace import workplace
from phenolens.widgets.translation.restoring import (
    MissingScreen,
    Restored,
    chosen_cell,
    position_of,
    put_back,
    restore_session,
)

if TYPE_CHECKING:
    from phenolens.widgets.kit.section import Section
    from phenolens.widgets.layers.field_layers import FieldLayers
    from phenolens.widgets.layers.synthetic_layers import SyntheticLayers
    from phenolens.widgets.translation.finetune_panel import FinetunePanel
    from phenolens.widgets.translation.screen_panel import ScreenPanel
    from phenolens.widgets.translation.translate_panel import TranslatePanel
    from phenolens.widgets.translation.translating import Translating

_LOOK_MS = 2000
_PLUGIN, _MAP = "napari-phenolens", "Phenolens map"


class Dock(Protocol):
    """The parts of the main dock that a session is kept of, and put back into."""

    viewer: Viewer
    session: Session
    running: Running
    field_layers: "FieldLayers"
    synthetic: "SyntheticLayers"
    translating: "Translating"
    screen_panel: "ScreenPanel"
    finetune_panel: "FinetunePanel"
    translate_panel: "TranslatePanel"
    sections: "list[Section]"


class Sessions(QObject):
    """The sessions of one dock.

    Parameters
    ----------
    parent, dock
        Whose work is kept and brought back.
    """

    def __init__(self, parent: QObject, dock: Dock) -> None:
        super().__init__(parent)
        self._dock = dock
        self._viewer: Viewer = dock.viewer
        self._session: Session = dock.session
        self._running: Running = dock.running
        self._waiting: tuple[Path, Path | None] | None = None
        self.box = SessionBox()
        self.memory = Memory(self, self._session)
        self.work = Work(self.memory, self._session)
        self.view = View(self.memory, self._viewer, self._looks)
        self.memory.add("finetune", lambda: {"finetune": dock.finetune_panel.settings()})
        dock.finetune_panel.asked.connect(lambda: self.memory.touch("finetune"))
        self._session.leaving.connect(self.view.forget)
        self._session.devices_changed.connect(self._devices_known)
        self.memory.changed.connect(self._say_where)
        self.box.wanted.connect(self.take_up)
        self.box.moved.connect(self._move)
        self.box.located.connect(self.take_up)
        self._watch = QTimer(self)
        self._watch.setInterval(_LOOK_MS)
        self._watch.timeout.connect(self._say_problem)
        self._running.start(
            find_last(), "Looking for the last session", device=None, bar=False, tell=False, done=self.box.offer
        )

    def take_up(self, folder: str | Path, elsewhere: Path | None = None) -> None:
        """Bring a session back in the background, in place of what is open, and go on with it."""
        folder = Path(folder)
        if not self._session.devices:
            self._waiting = (folder, elsewhere)  # moments after the dock has opened
            return
        self.memory.flush()
        self.box.begin(folder.name)

        def failed(error: BaseException) -> None:
            if isinstance(error, MissingScreen):
                self.box.lost(folder, str(error))
            else:
                known = isinstance(error, PhenolensError)
                self.box.end([str(error) if known else f"The session could not be brought back ({error!r})."])

        self._running.start(
            self._job(folder, elsewhere),
            f"Bringing back {folder.name}",
            priority=INTERACTIVE,
            done=self._show,
            failed=failed,
            tell=False,
        )

    def close(self) -> None:
        """Save what is left, and let go of the viewer."""
        with suppress(RuntimeError):  # Qt has deleted the timer already where the dock is gone
            self._watch.stop()
        self.memory.end()
        self.view.detach()

    def _job(self, folder: Path, elsewhere: Path | None) -> Any:
        # the session that is open is written by this very program, which lets go of it first
        if self.memory.folder is not None and folder.resolve() == self.memory.folder.resolve():
            self.memory.end()
        return restore_session(folder, self._session.queue(), elsewhere)

    def _show(self, found: Restored) -> None:
        dock, saved = self._dock, found.saved
        # what could not be brought back stays in its folder, and what is done now goes into another
        folder = None
        self.memory.pause()
        try:
            title = saved.title
            origin = found.origin
            dock.screen_panel.show_screen(
                found.screen, found.intensity, title, origin.path, origin.pattern, show_field=False
            )
            conditions = saved.value("conditions", default={})
            dock.screen_panel.choose(*(str(conditions.get(name) or "")[:4096] for name in ("source", "target")))
            put_back(self._session, found)
            dock.screen_panel.show_read(*found.shown)
            if (position := position_of(saved)) is not None and self._session.image is not None:
                dock.field_layers.go_to(position)
            self._show_view(saved)
            self.view.show(saved.value("view"), saved.value("layers"), saved.value("active", str))
            self._session.pen.choose(chosen_cell(saved))
            if dock.finetune_panel.ask_again(saved.value("finetune", default={})):
                dock.sections[2].unfold()
            folder = found.folder if not found.problems else None
        finally:
            if folder is None and found.folder is not None:
                found.folder.close()
            self.memory.go_on(folder)
        dock.translating.go_on()
        if saved.value("map") is not None:
            self._viewer.window.add_plugin_dock_widget(_PLUGIN, _MAP)  # opened where it is not open yet
            workplace(self._viewer).restored.emit(saved)
        self.box.end(found.problems)

    def _looks(self) -> dict[str, Any]:
        layers = self._dock.synthetic
        return {"shown": {"view": layers.view, "channel": layers.difference_channel}}

    def _show_view(self, saved: Any) -> None:
        shown, panel = saved.value("shown", default={}), self._dock.translate_panel
        view, channel = shown.get("view"), shown.get("channel")
        if view not in ("original", "translated", "difference") or not self._session.in_field():
            return
        if isinstance(channel, int) and 0 <= channel < panel.channel.count():
            panel.channel.setCurrentIndex(channel)
        panel.show_view(view)

    def _devices_known(self) -> None:
        if self._waiting is not None:
            wanted, self._waiting = self._waiting, None
            self.take_up(*wanted)

    def _move(self, place: Path) -> None:
        try:
            self.memory.move(place)
        except PhenolensError as error:
            show_error(str(error))

    def _say_where(self) -> None:
        self.box.keep(self.memory.folder)
        if self.memory.folder is not None:
            self._watch.start()
        else:
            self._watch.stop()

    def _say_problem(self) -> None:
        if problem := self.memory.problem:
            self.box.problem.say(f"Your work cannot be saved: {problem}", "error")
        elif self.box.problem.text().startswith("Your work cannot be saved"):
            self.box.problem.say("")
