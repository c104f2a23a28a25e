"""How figures are drawn in all charts: what is real, what was generated and what is a null look alike everywhere."""

from collections.abc import Callable

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF

TRANSLATED, NULL, REAL = "translated", "null", "real"
# Told apart by shape as well: a diamond, an empty ring, a disc. All are seen on light and on dark.
COLOURS = {TRANSLATED: "#e0711f", NULL: "#8a95a1", REAL: "#3b93cf"}
RADIUS = 4.0


def faint(ink: QColor) -> QColor:
    """The colour of lines that only guide the eye."""
    return QColor(ink.red(), ink.green(), ink.blue(), 60)


def draw_figure(painter: QPainter, at: QPointF, ends: tuple[float, float] | None, kind: str) -> None:
    """Draw the glyph of a kind of figure, and its interval from one place across to another."""
    colour = QColor(COLOURS[kind])
    if ends is not None:
        painter.setPen(QPen(colour, 2))
        painter.drawLine(QPointF(ends[0], at.y()), QPointF(ends[1], at.y()))
    if kind == NULL:
        painter.setPen(QPen(colour, 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(at, RADIUS - 1, RADIUS - 1)
        return
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    if kind == REAL:
        painter.drawEllipse(at, RADIUS, RADIUS)
    else:
        reach = 1.25 * RADIUS
        corners = ((0, -reach), (reach, 0), (0, reach), (-reach, 0))
        painter.drawPolygon(QPolygonF([QPointF(at.x() + x, at.y() + y) for x, y in corners]))


def ticks(low: float, high: float) -> list[float]:
    """Round places between the ends, zero among them, four at most on each side."""
    fine = max(-low, high) / 4
    whole = 10.0 ** np.floor(np.log10(fine))
    step = next(whole * part for part in (1, 2, 5, 10) if whole * part >= fine)
    return [float(n * step) for n in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def draw_axis(painter: QPainter, room: QRectF, low: float, high: float, caption: str) -> Callable[[float], float]:
    """Draw lines at `ticks` through `room`, their numbers and a caption below it; return what places a value."""
    ink = painter.pen().color()

    def across(value: float) -> float:
        return room.left() + room.width() * (value - low) / (high - low)

    for place in ticks(low, high):
        painter.setPen(QPen(faint(ink), 1, Qt.PenStyle.DashLine if place else Qt.PenStyle.SolidLine))
        painter.drawLine(QPointF(across(place), room.top() + 4), QPointF(across(place), room.bottom() + 2))
        painter.setPen(ink)
        below = QRectF(across(place) - 30, room.bottom() + 2, 60, 15)
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, f"{place:g}")
    beside = QRectF(0, room.bottom() + 17, room.left() + room.width() + room.left(), 16)
    painter.drawText(beside, Qt.AlignmentFlag.AlignHCenter, caption)
    return across
