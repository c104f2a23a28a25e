"""Room for docks: a second one stands beside the first where the image keeps half of the window, else as a tab of it.

And room for the image: napari's own docks at the left keep to what they need where the window is narrow.
"""

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

_NARROW = 1600  # of a window in which napari's docks at the left and a usual one of ours leave the image less than half
_LEFT = 220
_USUAL, _NARROWEST = 350, 292  # of our docks; napari's own need 320 at least


class OnceShown(QObject):
    """Does something once `widget`, which owns this, is first shown, and napari has done what it does on that.

    Parameters
    ----------
    then
        What is done.
    """

    def __init__(self, widget: QWidget, then: Callable[[], None]) -> None:
        super().__init__(widget)
        self._widget = widget
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(then)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Wait for the first showing."""
        if event is not None and event.type() == QEvent.Type.Show:
            self._widget.removeEventFilter(self)
            self._soon.start(0)
        return False


def keep_room_for_the_image(dock: QWidget, title: str) -> None:
    """Give `dock` the usual width, or where the window is not wide the least, once it is first shown.

    There, napari's docks at the left are narrowed as well.

    Parameters
    ----------
    dock
        What stands in the dock.
    title
        What its tab says: three of napari's long titles are not told apart in one dock.
    """

    def make_room() -> None:
        share_room(dock)
        _call(dock, title)

    dock.setMinimumWidth(_NARROWEST)
    OnceShown(dock, make_room)


def stand_beside(new: QWidget, main: Callable[[], QWidget | None], title: str) -> None:
    """Put `new` beside the main dock once it is first shown: before that, napari has not placed it.

    Where there is no main dock, it gets the room that that would get.

    Parameters
    ----------
    new
        What stands in the second dock.
    main
        Gives what stands in the main dock; None where that is not open.
    title
        What its tab says.
    """

    def stand() -> None:
        _call(new, title)
        if (old := main()) is not None:
            _stand_beside(new, old)
        else:
            share_room(new)

    new.setMinimumWidth(_NARROWEST)
    OnceShown(new, stand)


def share_room(dock: QWidget) -> None:
    """Set how wide `dock` is, and where its window is not wide, narrow napari's docks at the left."""
    mine = _dock_of(dock)
    window = None if mine is None else mine.parent()
    if mine is None or mine.isFloating() or not isinstance(window, QMainWindow):
        return
    narrow = window.width() < _NARROW
    window.resizeDocks([mine], [_NARROWEST if narrow else _USUAL], Qt.Orientation.Horizontal)
    if not narrow:
        return
    area = Qt.DockWidgetArea.LeftDockWidgetArea
    left = [
        one
        for one in window.findChildren(QDockWidget)
        if one.isVisible() and not one.isFloating() and window.dockWidgetArea(one) == area
    ]
    if left:
        window.resizeDocks(left, [_LEFT] * len(left), Qt.Orientation.Horizontal)


def _stand_beside(new: QWidget, old: QWidget) -> None:
    """Move the dock of `new` beside that of `old`, where napari has put the one below the other."""
    mine, other = _dock_of(new), _dock_of(old)
    if mine is None or other is None or mine.isFloating() or other.isFloating():
        return
    window = mine.parent()
    if not isinstance(window, QMainWindow) or window.dockWidgetArea(mine) != window.dockWidgetArea(other):
        return
    image, layout = window.centralWidget(), window.layout()
    if layout is not None:
        layout.activate()  # another dock may have come at the same moment
    left = (0 if image is None else image.width()) - max(mine.width(), mine.minimumSizeHint().width())
    if 2 * left >= window.width():
        window.splitDockWidget(other, mine, Qt.Orientation.Horizontal)
    else:
        window.tabifyDockWidget(other, mine)
        mine.raise_()


def _call(dock: QWidget, title: str) -> None:
    mine = _dock_of(dock)
    if mine is not None:
        mine.setWindowTitle(title)  # napari has a name of its own, by which it knows the dock


def _dock_of(widget: QWidget) -> QDockWidget | None:
    found: Any = widget
    while found is not None and not isinstance(found, QDockWidget):
        found = found.parent()
    return found
