"""The map itself: points that pan, zoom, and are picked with a click or a lasso."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import qtpy
from numpy.typing import NDArray
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget
from vispy.app import use_app
from vispy.scene import PanZoomCamera, SceneCanvas
from vispy.scene.visuals import Line

from phenolens.widgets.map.drawing.contours import MapContours
from phenolens.widgets.map.drawing.lasso import points_within
from phenolens.widgets.map.drawing.marks import MapMarks
from phenolens.widgets.map.drawing.points import MapPoints
from phenolens.widgets.map.session import Mark

_STILL_PX = 4
_REACH_PX = 14
_MARGIN = 0.08
# Points farther beyond the middle nine tenths than these are wide do not set the view.
_REACH = 1.0
_HEIGHT = 190


class MapCanvas(QWidget):
    """Draws points and marks.

    ``picked`` gives the point nearest to a click, ``lassoed`` which points (n,) lie within a drawn outline (none after
    a click in lasso mode).
    """

    picked = Signal(int)
    lassoed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._positions: NDArray[np.float32] = np.zeros((0, 2), np.float32)
        self._order: NDArray[np.intp] = np.zeros(0, np.intp)
        self._lasso_mode = False
        self._outline: list[tuple[float, float]] = []
        self._start: NDArray[np.float64] | None = None
        self._text, self._behind = "white", "black"
        app = use_app(qtpy.API_NAME.lower())
        self.canvas = SceneCanvas(keys=None, app=app, parent=self, size=(340, 300), bgcolor=self._behind)
        self.view = self.canvas.central_widget.add_view()
        self.view.camera = PanZoomCamera(aspect=1)
        self.points = MapPoints(self.canvas, self.view)
        self.contours = MapContours(self.view.scene)
        self.marks = MapMarks(self.view.scene)
        self._pencil = Line(parent=self.canvas.scene, method="gl", antialias=False, width=1.5)
        self._pencil.visible = False
        events = self.canvas.events
        events.mouse_press.connect(self._press)
        events.mouse_move.connect(self._move)
        events.mouse_release.connect(self._release)
        events.resize.connect(self._camera_moved)
        self.view.scene.transform.changed.connect(self._camera_moved)
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(0)
        self._settling.timeout.connect(self._follow_camera)
        native = self.canvas.native
        native.setMinimumHeight(_HEIGHT)
        native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(native)

    def set_theme(self, text: str, behind: str) -> None:
        """Draw on `behind`, and lines in `text`."""
        self._text, self._behind = text, behind
        self.canvas.bgcolor = behind

    def set_points(self, positions: NDArray[np.float32], order: NDArray[np.intp]) -> None:
        """Show other points (n, 2), drawn in `order` (n,); colours come with `colour`."""
        self._positions, self._order = np.asarray(positions, np.float32), order
        self.points.hide()
        self.reset_view()

    def colour(self, colours: NDArray[np.float32], shown: NDArray[np.bool_] | None = None) -> None:
        """Draw the points in `colours` (n, 4); those that are `shown` (n,) above the others."""
        order = self._order
        if shown is not None:
            above = shown[order]
            order = np.concatenate([order[~above], order[above]])
        self.points.draw(self._positions[order], colours[order], self.point_size)
        self.canvas.update()

    @property
    def point_size(self) -> float:
        """Side of a point in pixels: small where there are many."""
        return float(np.interp(np.log10(max(len(self._positions), 1)), [2, 3.5, 5, 6], [9, 6, 3.5, 2.2]))

    def draw_marks(self, marks: Mapping[str, Mark], neighbours: NDArray[np.intp]) -> None:
        """Draw marks, and rings around the points that are `neighbours` (rows)."""
        before = self.marks.shown
        self.marks.draw(marks, self._positions[neighbours], self._text, self._behind, self._pixel())
        new = [place for kind, place in self.marks.shown.items() if not np.array_equal(place, before.get(kind, ()))]
        if new:
            self._bring_in(np.array(new, np.float64))
        self.canvas.update()

    def reset_view(self) -> None:
        """Show all points but a few far ones."""
        if not len(self._positions):
            return
        low, high = extent(self._positions)
        self.view.camera.rect = (*low, *(high - low))

    def _bring_in(self, places: NDArray[np.float64]) -> None:
        """Widen the view where `places` (m, 2) lie outside it."""
        rect = self.view.camera.rect
        low, high = np.array([rect.left, rect.bottom]), np.array([rect.right, rect.top])
        outer = np.minimum(low, places.min(0)), np.maximum(high, places.max(0))
        if (outer[0] < low).any() or (outer[1] > high).any():
            margin = _MARGIN * (outer[1] - outer[0])
            low = np.where(outer[0] < low, outer[0] - margin, low)
            high = np.where(outer[1] > high, outer[1] + margin, high)
            self.view.camera.rect = (*low, *(high - low))

    @property
    def lasso_mode(self) -> bool:
        """Whether dragging draws an outline instead of panning."""
        return self._lasso_mode

    @lasso_mode.setter
    def lasso_mode(self, on: bool) -> None:
        self._lasso_mode = on
        self.view.camera.interactive = not on

    def screen_position(self, row: int) -> tuple[float, float]:
        """Where in the widget, in pixels, a point is drawn."""
        x, y = self.view.scene.transform.map(self._positions[row])[:2]
        return float(x), float(y)

    def nearest(self, x: float, y: float) -> int | None:
        """The point nearest to a pixel of the widget; None where none is within reach."""
        if not len(self._positions):
            return None
        place = self._on_map([(x, y)])[0].astype(np.float32)
        away = np.square(self._positions - place).sum(1)
        row = int(np.argmin(away))
        return row if np.sqrt(away[row]) <= _REACH_PX * self._pixel() else None

    def select_within(self, outline: Any) -> NDArray[np.bool_]:
        """(n,) points within an outline (m, 2) in pixels of the widget."""
        return points_within(self._positions, self._on_map(outline))

    def _on_map(self, pixels: Any) -> NDArray[np.float64]:
        return np.asarray(self.view.scene.transform.imap(np.asarray(pixels, float))[:, :2])

    def _pixel(self) -> float:
        """Side of a screen pixel in units of the map."""
        ends = self._on_map([(0, 0), (1, 0)])
        return float(np.abs(ends[1] - ends[0]).max())

    def _camera_moved(self, _: Any = None) -> None:
        self._settling.start()

    def _follow_camera(self) -> None:
        """Draw anew what depends on the camera, once for all of its changes since the last time."""
        self.points.moved()
        if self.marks.arrows:
            self.marks.scale(self._pixel())
        self.canvas.update()

    def _press(self, event: Any) -> None:
        if event.button != 1:
            return
        self._start = np.array(event.pos[:2], float)
        if self._lasso_mode:
            self._outline = [tuple(self._start)]

    def _move(self, event: Any) -> None:
        if not self._outline:
            return
        here = np.array(event.pos[:2], float)
        if np.abs(here - self._outline[-1]).max() >= 2:
            self._outline.append(tuple(here))
            self._pencil.set_data(np.array([*self._outline, self._outline[0]], np.float32), color=self._text)
            self._pencil.visible = True
            self.canvas.update()

    def _release(self, event: Any) -> None:
        if event.button != 1 or self._start is None:
            return
        still = np.abs(np.array(event.pos[:2], float) - self._start).max() <= _STILL_PX
        outline, self._outline, self._start = self._outline, [], None
        self._pencil.visible = False
        if outline and len(outline) > 2:
            self.lassoed.emit(self.select_within(outline))
        elif still and (row := self.nearest(*event.pos[:2])) is not None:
            self.picked.emit(row)
        elif still and self._lasso_mode:
            self.lassoed.emit(np.zeros(len(self._positions), bool))

    def close_canvas(self) -> None:
        """Give the drawing surface back."""
        self.canvas.close()


def extent(positions: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner (2,) of a view of points (n, 2), which a few far ones do not squeeze."""
    few, many = np.percentile(positions, [5, 95], axis=0)
    reach = _REACH * (many - few)
    low = np.maximum(positions.min(axis=0), few - reach)
    high = np.minimum(positions.max(axis=0), many + reach)
    span = np.maximum(high - low, 1e-6 + 1e-6 * np.abs([low, high]).max())
    return low - _MARGIN * span, high + _MARGIN * span
