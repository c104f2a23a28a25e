"""Room for a second dock: beside the first one where the window is wide, else as a tab of it; never below it."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

_WIDE = 1400  # of a window that has room for two docks, the layers and the image


def stand_beside(new: QWidget, old: QWidget) -> None:
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
