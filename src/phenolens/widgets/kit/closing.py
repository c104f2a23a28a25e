"""What closing the window means while long work goes on: finish it, keep its checkpoint and stop, or stay."""

import weakref
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject, QThread, QTimer
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

FINISH, STOP, STAY = "finish", "stop", "stay"
_LOOK_MS = 200


class Closing(QObject):
    """Asks before the window of a dock closes while long work goes on.

    Parameters
    ----------
    dock
        In whose window.
    going_on
        What goes on, in words such as "Fine-tuning, step 240 of 900"; empty where nothing does.
    stop
        Ends all of it at the next step; what was learnt is kept.
    """

    def __init__(self, dock: QWidget, going_on: Callable[[], str], stop: Callable[[], Any]) -> None:
        super().__init__(dock)
        self._dock, self._going_on, self._stop = dock, going_on, stop
        self._held: weakref.ref[QWidget] | None = None  # napari's window is not to be kept alive
        self.waiting = False
        self._look = QTimer(self)
        self._look.setInterval(_LOOK_MS)
        self._look.timeout.connect(self._close_when_done)
        dock.installEventFilter(self)

    @property
    def _window(self) -> QWidget | None:
        return self._held() if self._held is not None else None

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Find the window once the dock is in one, and hold up its closing."""
        if event is None:
            return False
        if watched is self._dock and event.type() == QEvent.Type.Show:
            self._follow()
        elif (
            event.type() == QEvent.Type.Close
            and watched is self._window
            and _somebody_is_there(event)
            and (doing := self._going_on())
        ):
            event.ignore()
            if not self.waiting:
                self._answer(self.ask(doing))
            return True
        return False

    def ask(self, doing: str) -> str:
        """Ask what is to become of the work; return `FINISH`, `STOP` or `STAY`."""
        box = QMessageBox(self._window)
        box.setWindowTitle("Phenolens")
        box.setText(f"{doing} is going on.")
        box.setInformativeText(
            "It can be finished first: the window is put away, and closes by itself. Or it is stopped now, keeps "
            "what it has learnt, and is resumed another time."
        )
        finish = box.addButton("Finish in the background", QMessageBox.ButtonRole.AcceptRole)
        stop = box.addButton("Stop, keep the checkpoint", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stay)
        box.setEscapeButton(stay)
        box.exec()
        pressed = box.clickedButton()
        return FINISH if pressed is finish else STOP if pressed is stop else STAY

    def _follow(self) -> None:
        window: Any = self._dock
        while window is not None and not isinstance(window, QMainWindow):
            window = window.parent()
        if window is not None and window is not self._window:
            if self._window is not None:
                self._window.removeEventFilter(self)
            self._held = weakref.ref(window)
            window.installEventFilter(self)

    def _answer(self, answer: str) -> None:
        if answer == STAY or self._window is None:
            return
        self.waiting = True
        if answer == STOP:
            self._stop()
        else:
            self._window.showMinimized()
        self._look.start()

    def _close_when_done(self) -> None:
        if self._window is not None and not self._going_on():
            self._look.stop()
            self.waiting = False
            self._window.close()


def _somebody_is_there(closing: QEvent) -> bool:
    """Whether a person closes: by the window's frame, or by a menu or key, for which events must turn.

    A script that calls ``viewer.close()`` would wait for an answer for ever.
    """
    thread = QThread.currentThread()
    return closing.spontaneous() or (thread is not None and thread.loopLevel() > 0)
