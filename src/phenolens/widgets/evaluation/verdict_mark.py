"""Whether an answer holds up, as a mark that is told by its shape and its word, and only then by its colour."""

from typing import Any

from qtpy.QtCore import QLineF, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QWidget

# A disc with a tick, a square with a cross, an empty ring with a question mark.
WORDS = {True: "holds up", False: "does not hold up", None: "cannot be said"}
COLOURS = {True: "#009e73", False: "#d55e00", None: "#8a95a1"}
_SIZE = 20


class VerdictMark(QWidget):
    """The mark of one verdict: True, False, or None where nothing can be said."""

    def __init__(self, good: bool | None) -> None:
        super().__init__()
        self.good = good
        self.setFixedSize(_SIZE, _SIZE)
        self.setToolTip(WORDS[good].capitalize())
        self.setAccessibleName(WORDS[good])

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        draw_mark(painter, QRectF(self.rect()), self.good)


def draw_mark(painter: QPainter, room: QRectF, good: bool | None) -> None:
    """Draw a mark into a square."""
    colour, side = QColor(COLOURS[good]), room.width()
    inner = room.adjusted(0.08 * side, 0.08 * side, -0.08 * side, -0.08 * side)
    painter.save()
    painter.setPen(Qt.PenStyle.NoPen if good is not None else QPen(colour, 0.09 * side))
    painter.setBrush(colour if good is not None else Qt.BrushStyle.NoBrush)
    if good is False:
        painter.drawRoundedRect(inner, 0.12 * side, 0.12 * side)
    else:
        painter.drawEllipse(inner)

    def at(x: float, y: float) -> QPointF:
        return QPointF(room.left() + x * side, room.top() + y * side)

    white = QPen(QColor("white"), 0.12 * side, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap)
    if good is None:
        font = painter.font()
        font.setPixelSize(int(0.62 * side))
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(colour)
        painter.drawText(room, Qt.AlignmentFlag.AlignCenter, "?")
    elif good:
        painter.setPen(white)
        painter.drawLines(QLineF(at(0.29, 0.53), at(0.44, 0.68)), QLineF(at(0.44, 0.68), at(0.72, 0.35)))
    else:
        painter.setPen(white)
        painter.drawLines(QLineF(at(0.32, 0.32), at(0.68, 0.68)), QLineF(at(0.68, 0.32), at(0.32, 0.68)))
    painter.restore()
