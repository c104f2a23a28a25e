"""Figures with their intervals, one below the other on one axis, and the glyphs they share with the effects."""

from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from phenolens.widgets.evaluation.figures import NULL, REAL, TRANSLATED, Figure

# Told apart by shape as well: a diamond, an empty ring, a disc. All are seen on light and on dark.
COLOURS = {TRANSLATED: "#e0711f", NULL: "#8a95a1", REAL: "#3b93cf"}
_ROW = 19
_GAP = 8
_RADIUS = 4.0


class Intervals(QWidget):
    """Label, interval and number of each figure."""

    def __init__(self, figures: tuple[Figure, ...], scale: tuple[float, float]) -> None:
        super().__init__()
        self.figures = figures
        self._scale = scale
        self.setFixedHeight(_ROW * len(figures))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        said = "\n".join(f"{figure.label}: {figure.text}" for figure in figures)
        self.setToolTip(f"{said}\nIn brackets the 95 % interval.")
        self.setAccessibleName(said)

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink, sizes = self.palette().color(self.foregroundRole()), painter.fontMetrics()
        right = 3 + max(sizes.horizontalAdvance(figure.text) for figure in self.figures)
        left = 3 + max(sizes.horizontalAdvance(figure.label) for figure in self.figures)
        left = min(left, max(self.width() - right - 2 * _GAP - 40, 60))
        start, end = left + _GAP + _RADIUS, self.width() - right - _GAP - _RADIUS
        low, high = self._scale
        for number, figure in enumerate(self.figures):
            top = _ROW * number
            painter.setPen(ink)
            line = QRectF(0, top, left, _ROW)
            text = sizes.elidedText(figure.label, Qt.TextElideMode.ElideRight, left)
            painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
            line = QRectF(self.width() - right, top, right, _ROW)
            painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, figure.text)
            middle = top + _ROW / 2
            painter.setPen(QPen(faint(ink), 1))
            painter.drawLine(QPointF(start, middle), QPointF(end, middle))

            def across(value: float) -> float:
                return start + (end - start) * (value - low) / (high - low)

            ends = figure.interval and (across(figure.interval[0]), across(figure.interval[1]))
            draw_figure(painter, QPointF(across(figure.value), middle), ends, figure.kind)


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
        painter.drawEllipse(at, _RADIUS - 1, _RADIUS - 1)
        return
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    if kind == REAL:
        painter.drawEllipse(at, _RADIUS, _RADIUS)
    else:
        reach = 1.25 * _RADIUS
        corners = ((0, -reach), (reach, 0), (0, reach), (-reach, 0))
        painter.drawPolygon(QPolygonF([QPointF(at.x() + x, at.y() + y) for x, y in corners]))
