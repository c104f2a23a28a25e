"""A row of small pictures with words under each; one of them may be marked, and each can be clicked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from phenolens.widgets.kit.style import ACCENT_HOVER, AMBER, MUTED

_GAP = 3
_EDGE = 2
_BAR = 4


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture and what is said of it.

    Parameters
    ----------
    picture
        (h, w, 3) uint8; None while there is none.
    words
        Lines under it.
    synthetic
        Whether its pixels were generated: such tiles have a dashed amber edge, those of real cells a solid grey one.
    tip
        What is said where the pointer rests on it.
    """

    picture: np.ndarray | None
    words: tuple[str, ...]
    synthetic: bool
    tip: str = ""


class TileRow(QWidget):
    """Tiles of one size side by side. ``clicked`` gives the place of the one that was clicked."""

    clicked = Signal(int)

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.tiles: list[Tile] = []
        self.marked: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(40 * count)

    def show_tiles(self, tiles: Sequence[Tile], marked: int | None = None) -> None:
        """Show other tiles."""
        self.tiles, self.marked = list(tiles), marked
        self.setAccessibleName("; ".join(" ".join(tile.words) for tile in tiles))
        self._fit()
        self.update()

    def mark(self, place: int | None) -> None:
        """Mark another tile."""
        if place != self.marked:
            self.marked = place
            self.update()

    def tile_rect(self, place: int) -> QRectF:
        """Where the picture at a place is drawn."""
        side = (self.width() - _GAP * (self._count - 1)) / self._count
        return QRectF(place * (side + _GAP), 0, side, side)

    def _font(self) -> QFont:
        font = QFont(self.font())
        font.setPointSizeF(max(font.pointSizeF() * 0.85, 6.5))
        return font

    def _line(self) -> int:
        return QFontMetrics(self._font()).height()

    def _fit(self) -> None:
        lines = max((len(tile.words) for tile in self.tiles), default=1)
        self.setFixedHeight(int(self.tile_rect(0).height()) + lines * self._line() + _BAR + 3)

    def resizeEvent(self, event: Any) -> None:
        self._fit()

    def _place(self, x: float) -> int | None:
        found = next(
            (i for i in range(len(self.tiles)) if self.tile_rect(i).left() <= x <= self.tile_rect(i).right()), -1
        )
        return None if found < 0 else found

    def mousePressEvent(self, event: Any) -> None:
        if (place := self._place(event.position().x())) is not None:
            self.clicked.emit(place)

    def event(self, event: Any) -> bool:
        if event.type() == QEvent.Type.ToolTip:
            place = self._place(event.pos().x())
            QToolTip.showText(event.globalPos(), self.tiles[place].tip if place is not None else "")
            return True
        return super().event(event)

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setFont(self._font())
        line, ink = self._line(), self.palette().color(self.foregroundRole())
        for place, tile in enumerate(self.tiles):
            at = self.tile_rect(place)
            if tile.picture is None:
                painter.fillRect(at, QColor(128, 128, 128, 40))
            else:
                pixels = np.ascontiguousarray(tile.picture)
                height, width = pixels.shape[:2]
                painter.drawImage(at, QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888))
            style = Qt.PenStyle.DashLine if tile.synthetic else Qt.PenStyle.SolidLine
            painter.setPen(QPen(QColor(AMBER if tile.synthetic else MUTED), _EDGE, style))
            painter.drawRect(at.adjusted(1, 1, -1, -1))
            if place == self.marked:
                painter.fillRect(QRectF(at.left(), at.bottom(), at.width(), _BAR), QColor(ACCENT_HOVER))
            painter.setPen(ink)
            for row, words in enumerate(tile.words):
                box = QRectF(at.left(), at.bottom() + _BAR + row * line, at.width(), line)
                short = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, int(at.width()))
                painter.drawText(box, Qt.AlignmentFlag.AlignHCenter, short)
