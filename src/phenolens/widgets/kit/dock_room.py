"""Room for docks: a second one stands beside the first where the window is wide, else as a tab of it; never below it.

And room for the image: napari's own docks at the left keep to what they need where the window is narrow.
"""

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

_WIDE = 1400  # of a window that has room for two docks, the layers and the image


_NARROW = 1600  # of a window in which napari's docks at the left would leave the image less than half
_LEFT = 220


class ImageRoom(QObject):
    """Narrows napari's docks at the left once `dock` is first shown in a window that is not wide."""

    def __init__(self, dock: QWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._narrow)
        dock.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Wait until what napari does on showing a dock is done."""
        if event is not None and event.type() == QEvent.Type.Show:
            self._dock.removeEventFilter(self)
            self._soon.start(0)
        return False

    def _narrow(self) -> None:
        mine = _dock_of(self._dock)
        window = None if mine is None else mine.parent()
        if not isinstance(window, QMainWindow) or window.width() >= _NARROW:
            return
        area = Qt.DockWidgetArea.LeftDockWidgetArea
        left = [
            one
            for one in window.findChildren(QDockWidget)
            if one.isVisible() and not one.isFloating() and window.dockWidgetArea(one) == area
        ]
        if left:
            window.resizeDocks(left, [_LEFT] * len(left), Qt.Orientation.Horizontal)


class Beside(QObject):
    """Puts `new` beside the main dock once it is first shown: before that, napari has not placed it.

    Parameters
    ----------
    new
        What stands in the second dock; it owns this.
    main
        Gives what stands in the main dock; None where that is not open.
    """

    def __init__(self, new: QWidget, main: Callable[[], QWidget | None]) -> None:
        super().__init__(new)
        self._new, self._main = new, main
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._stand)
        new.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Wait until what napari does on showing a dock is done."""
        if event is not None and event.type() == QEvent.Type.Show:
            self._new.removeEventFilter(self)
            self._soon.start(0)
        return False

    def _stand(self) -> None:
        main = self._main()
        if main is not None:
            _stand_beside(self._new, main)


def _stand_beside(new: QWidget, old: QWidget) -> None:
    """Move the dock of `new` beside that of `old`, where napari has put the one below the other."""
    mine, other = _dock_of(new), _dock_of(old)
    if mine is None or other is None or mine.isFloating() or other.isFloating():
        return
    window = mine.parent()
    if not isinstance(window, QMainWindow) or window.dockWidgetArea(mine) != window.dockWidgetArea(other):
        return
    if window.width() >= _WIDE:
        window.splitDockWidget(other, mine, Qt.Orientation.Horizontal)
    else:
        window.tabifyDockWidget(other, mine)
        mine.raise_()


def _dock_of(widget: QWidget) -> QDockWidget | None:
    found: Any = widget
    while found is not None and not isinstance(found, QDockWidget):
        found = found.parent()
    return found
