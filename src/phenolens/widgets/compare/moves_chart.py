"""What changed, feature by feature: in the chosen cell, and in all translated cells with an interval."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from phenolens.widgets.kit.glyphs import TRANSLATED, draw_axis, draw_figure
from phenolens.widgets.kit.style import ACCENT_HOVER

_HEAD, _ROW, _FOOT = 20, 32, 34
_MARK = 9


@dataclass(frozen=True)
class Move:
    """The move of one feature, in spreads of real cells of a well; NaN where it is not known."""

    feature: str
    mean: float
    low: float
    high: float
    cell: float

    @property
    def text(self) -> str:
        """All of it in words."""
        said = f"{self.mean:+.2f}"
        if np.isfinite(self.low):
            said += f" ({self.low:+.2f} to {self.high:+.2f})"
        cell = f"\nthis cell: {self.cell:+.2f}" if np.isfinite(self.cell) else ""
        return f"{self.feature} (synthetic)\nall translated cells: {said}{cell}"


class MovesChart(QWidget):
    """A row a feature; colours are those of the theme."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: tuple[Move, ...] = ()
        self._several = False
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.show_moves((), False)

    def show_moves(self, moves: tuple[Move, ...], several: bool) -> None:
        """Draw other moves; `several` says that there are more cells than the chosen one."""
        self.moves, self._several = moves, several
        self.setFixedHeight(_HEAD + _ROW * len(moves) + _FOOT)
        self.setAccessibleName("\n\n".join(move.text for move in moves))
        self.setVisible(bool(moves))
        self.update()

    def event(self, event: Any) -> bool:
        if event.type() == QEvent.Type.ToolTip:
            row = (event.pos().y() - _HEAD) // _ROW
            QToolTip.showText(event.globalPos(), self.moves[row].text if 0 <= row < len(self.moves) else "")
            return True
        return super().event(event)

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(self.foregroundRole())
        room = QRectF(8, _HEAD, self.width() - 16, _ROW * len(self.moves))
        values = np.array([(move.mean, move.low, move.high, move.cell) for move in self.moves], float)
        values = values[np.isfinite(values)]
        low, high = 1.04 * min(values.min(initial=0.0), -0.1), 1.04 * max(values.max(initial=0.0), 0.1)

        self._legend(painter, ink)
        painter.setPen(ink)
        across = draw_axis(painter, room, low, high, "synthetic change, in spreads of real cells")
        for number, move in enumerate(self.moves):
            top = _HEAD + _ROW * number
            painter.setPen(ink)
            text = painter.fontMetrics().elidedText(move.feature, Qt.TextElideMode.ElideRight, self.width())
            painter.drawText(QRectF(0, top, self.width(), 17), Qt.AlignmentFlag.AlignVCenter, text)
            middle = top + 23
            if self._several:
                ends = (across(move.low), across(move.high)) if np.isfinite(move.low) else None
                draw_figure(painter, QPointF(across(move.mean), middle), ends, TRANSLATED)
            if np.isfinite(move.cell):
                self._draw_cell(painter, QPointF(across(move.cell), middle))

    def _draw_cell(self, painter: QPainter, at: QPointF) -> None:
        """An upright tick, which is seen over the interval of all cells."""
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ACCENT_HOVER))
        reach = _MARK / 2
        corners = ((-1.5, -reach), (1.5, -reach), (1.5, reach), (-1.5, reach))
        painter.drawPolygon(QPolygonF([QPointF(at.x() + x, at.y() + y) for x, y in corners]))

    def _legend(self, painter: QPainter, ink: Any) -> None:
        left = 8.0
        kinds: list[tuple[str, str | None]] = [("this cell", None)]
        if self._several:
            kinds.append(("all translated cells", TRANSLATED))
        for text, kind in kinds:
            if kind is None:
                self._draw_cell(painter, QPointF(left, 9))
            else:
                draw_figure(painter, QPointF(left, 9), None, kind)
            painter.setPen(ink)
            painter.drawText(QRectF(left + 10, 0, 200, 18), Qt.AlignmentFlag.AlignVCenter, text)
            left += 10 + painter.fontMetrics().horizontalAdvance(text) + 18
