"""What removed layers hold on the graphics card is deleted in the canvas's own context."""

from typing import Any

from napari import Viewer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow, QWidget


class CanvasContext:
    """Makes the OpenGL context of the viewer's canvas the current one before napari deletes what a layer held there.

    napari sends the deletions as soon as a layer is removed, whichever context is current: often the one that Qt puts
    the window together in. Mesa then takes a shader away from the canvas when it next has time, and where only one
    layer is drawn from then on, the process ends.

    Parameters
    ----------
    viewer
        Whose canvas it is.
    dock
        A widget in the viewer's window.
    """

    def __init__(self, viewer: Viewer, dock: QWidget) -> None:
        self._dock = dock
        self._removing = viewer.layers.events.removing
        self._removing.connect(self._make_current)

    def detach(self) -> None:
        """Leave the viewer alone."""
        self._removing.disconnect(self._make_current)

    def _make_current(self, _: Any = None) -> None:
        widget: QWidget | None = self._dock
        while widget is not None and not isinstance(widget, QMainWindow):
            widget = widget.parentWidget()
        middle = None if widget is None else widget.centralWidget()
        canvas = None if middle is None else middle.findChild(QOpenGLWidget)
        if canvas is not None and canvas.isValid():
            canvas.makeCurrent()
