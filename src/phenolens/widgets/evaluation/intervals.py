"""Figures with their intervals, one below the other on one axis."""

from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from phenolens.widgets.evaluation.figures import Figure
from phenolens.widgets.kit.glyphs import RADIUS, draw_figure, faint

_ROW = 19
_GAP = 8


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
        start, end = left + _GAP + RADIUS, self.width() - right - _GAP - RADIUS
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
