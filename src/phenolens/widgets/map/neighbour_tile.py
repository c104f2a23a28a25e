"""One neighbour: its picture, its structure, and what is known of it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QByteArray, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QSizePolicy, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.widgets.kit.style import ACCENT, AMBER
from phenolens.widgets.map.theme import MapTheme

PICTURE = 68
_PAD = 4
_LINES = 3
_ASPECT = 1.3  # of a drawn structure, width to height


@dataclass(frozen=True)
class TileContent:
    """What a tile says; ``row`` is None for what cannot be travelled to."""

    row: int | None
    lines: tuple[str, ...]
    smiles: str = ""
    synthetic: bool = False
    tip: str = ""


class NeighbourTile(QWidget):
    """A picture beside a structure, above up to three lines of text; ``chosen`` gives its row when it is clicked."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.content = TileContent(None, ())
        self.picture: NDArray[np.uint8] | None = None
        self.theme = MapTheme()
        self._image: QImage | None = None
        self._waiting = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)

    def sizeHint(self) -> QSize:
        lines = min(max(len(self.content.lines), 1), _LINES)
        return QSize(150, PICTURE + 3 * _PAD + lines * self.fontMetrics().height())

    def show_content(self, content: TileContent, theme: MapTheme, waiting: str) -> None:
        """Show another neighbour; `waiting` stands in the place of its picture until `show_picture`."""
        self.content, self.theme, self._waiting = content, theme, waiting
        self.picture = self._image = None
        self.setToolTip(content.tip)
        self.setAccessibleName(", ".join(content.lines))
        travels = content.row is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if travels else Qt.CursorShape.ArrowCursor)
        self.setFixedHeight(self.sizeHint().height())
        self.update()

    def show_picture(self, picture: NDArray[np.uint8]) -> None:
        """Show the pixels (h, w, 3)."""
        self.picture = np.ascontiguousarray(picture)
        height, width = self.picture.shape[:2]
        self._image = QImage(self.picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self.update()

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.content.row is not None and (self.underMouse() or self.hasFocus()):
            painter.setPen(QPen(QColor(ACCENT), 1.5))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 4, 4)
        box = QRectF(_PAD, _PAD, PICTURE, PICTURE)
        self._draw_picture(painter, box)
        left = box.right() + _PAD
        if self.content.smiles:
            self._draw_structure(painter, QRectF(left, _PAD, max(self.width() - left - _PAD, 0), PICTURE))
        height, metrics = self.fontMetrics().height(), self.fontMetrics()
        for number, line in enumerate(self.content.lines[:_LINES]):
            painter.setPen(QColor(self.theme.text if number == 0 else self.theme.quiet))
            if self.content.synthetic and number == 0:
                painter.setPen(QColor(AMBER))
            room = QRectF(_PAD, PICTURE + 2 * _PAD + number * height, self.width() - 2 * _PAD, height)
            painter.drawText(
                room,
                Qt.AlignmentFlag.AlignVCenter,
                metrics.elidedText(line, Qt.TextElideMode.ElideMiddle, int(room.width())),
            )

    def _draw_picture(self, painter: QPainter, box: QRectF) -> None:
        if self._image is not None:
            painter.drawImage(box, self._image)
        else:
            painter.fillRect(box, QColor(128, 128, 128, 45))
            painter.setPen(QColor(self.theme.quiet))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._waiting)
        if self.content.synthetic:
            painter.setPen(QPen(QColor(AMBER), 2))
            painter.drawRect(box)

    def _draw_structure(self, painter: QPainter, room: QRectF) -> None:
        drawn = structure(self.content.smiles, self.theme.text, self.theme.background)
        if drawn is None or room.width() < PICTURE / 2:
            return
        width = min(room.width(), room.height() * _ASPECT)
        place = QRectF(0, 0, width, width / _ASPECT)
        place.moveCenter(room.center())
        painter.save()
        QSvgRenderer(QByteArray(drawn)).render(painter, place)
        painter.restore()

    def mouseReleaseEvent(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.pos()):
            self._choose()

    def keyPressEvent(self, event: Any) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return):
            self._choose()
        else:
            super().keyPressEvent(event)

    def _choose(self) -> None:
        if self.content.row is not None:
            self.chosen.emit(self.content.row)


@lru_cache(maxsize=512)
def structure(smiles: str, text: str, behind: str) -> bytes | None:
    """A structure as SVG in the colours of the theme; None for text that is no molecule."""
    from phenolens.profiling.molecules.drawing import structure_svg

    try:
        drawn = structure_svg(smiles, (round(100 * _ASPECT), 100), text, behind)
    except PhenolensError:
        return None
    return drawn.encode()
