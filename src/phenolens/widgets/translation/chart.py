"""The loss of a running fine-tuning, drawn as it comes."""

import math
from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from phenolens.widgets.kit.style import ACCENT_HOVER, MUTED

_SMOOTH = 0.9


class LossCurve(QWidget):
    """Loss against step: every value as a faint line, its running mean as a strong one.

    Both axes are linear; the upper end of the loss axis is the 98th percentile, so that one bad batch does not flatten
    the rest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(96)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Loss of the fine-tuning: faint, each step; strong, the running mean. Lower is better.")
        self._total = 0
        self.points: list[tuple[int, float]] = []
        self._means: list[float] = []

    def clear(self, total: int) -> None:
        """Start an empty curve for `total` steps."""
        self._total = total
        self.points, self._means = [], []
        self.update()

    def add(self, step: int, loss: float) -> None:
        """Append the loss of a step; values that are no number are left out."""
        if not math.isfinite(loss) or (self.points and step <= self.points[-1][0]):
            return
        self.points.append((step, loss))
        self._means.append(_SMOOTH * self._means[-1] + (1 - _SMOOTH) * loss if self._means else loss)
        self.update()

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() * 0.85, 6.5))
        painter.setFont(font)
        room = QRectF(34, 6, self.width() - 40, self.height() - 24)
        painter.setPen(QPen(QColor(128, 128, 128, 90), 1))
        painter.drawLine(room.bottomLeft(), room.bottomRight())
        painter.drawLine(room.bottomLeft(), room.topLeft())
        painter.setPen(QColor(MUTED))
        if len(self.points) < 2:
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter, "the loss appears here")
            return
        losses = sorted(loss for _, loss in self.points)
        low, high = losses[0], losses[min(len(losses) - 1, int(0.98 * len(losses)))]
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
        last = max(self._total, self.points[-1][0])
        first = self.points[0][0]

        def place(step: int, loss: float) -> QPointF:
            across = (step - first) / max(last - first, 1)
            up = min(max((loss - low) / (high - low), 0.0), 1.0)
            return QPointF(room.left() + across * room.width(), room.bottom() - up * room.height())

        right = Qt.AlignmentFlag.AlignRight
        painter.drawText(QRectF(0, room.top() - 6, 30, 14), right, f"{high:.2g}")
        painter.drawText(QRectF(0, room.bottom() - 8, 30, 14), right, f"{low:.2g}")
        below = QRectF(room.left(), room.bottom() + 2, room.width(), 14)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "loss")
        painter.drawText(below, right, f"step {last}")
        painter.setPen(QPen(QColor(128, 128, 128, 130), 1))
        painter.drawPolyline(QPolygonF([place(*point) for point in self.points]))
        painter.setPen(QPen(QColor(ACCENT_HOVER), 2))
        steps = (step for step, _ in self.points)
        painter.drawPolyline(QPolygonF([place(step, mean) for step, mean in zip(steps, self._means, strict=True)]))
