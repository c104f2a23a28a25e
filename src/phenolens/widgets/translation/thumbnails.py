"""The preview strip: the same four cells before and after, at one contrast."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter
from qtpy.QtWidgets import QSizePolicy, QWidget

from phenolens.widgets.kit.channel_colours import composite
from phenolens.widgets.kit.style import AMBER, MUTED

_GAP = 3
_LABEL = 15


class PreviewStrip(QWidget):
    """Source cells in the upper row, the same cells translated in the lower one.

    The contrast is set by the first preview's source cells and kept for all that follow, in both rows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("The same four cells: real above, translated below. One contrast for all of them.")
        self._limits: tuple[np.ndarray, np.ndarray] | None = None
        self.rows: list[list[np.ndarray]] = []
        self.clear()

    def clear(self) -> None:
        """Forget the pictures and their contrast."""
        self._limits = None
        self.rows = []
        self.setVisible(False)

    def show_preview(self, preview: Any, colours: Sequence[str]) -> None:
        """Show a preview with ``source`` and ``translated`` (cells, C, h, w), in a colour a channel."""
        if self._limits is None:
            flat = np.moveaxis(preview.source, 1, 0).reshape(preview.source.shape[1], -1)
            self._limits = np.percentile(flat, 1, axis=1), np.percentile(flat, 99.7, axis=1)
        self.rows = [
            [composite(cell, *self._limits, colours) for cell in cells]
            for cells in (preview.source, preview.translated)
        ]
        self.setVisible(True)
        self._fit()
        self.update()

    def _tile(self) -> float:
        columns = max(len(self.rows[0]), 1) if self.rows else 4
        return (self.width() - _GAP * (columns - 1)) / columns

    def _fit(self) -> None:
        self.setFixedHeight(int(2 * (self._tile() + _LABEL) + _GAP))

    def resizeEvent(self, event: Any) -> None:
        self._fit()

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() * 0.85, 6.5))
        painter.setFont(font)
        tile, top = self._tile(), 0.0
        for row, label, colour in zip(self.rows, ("real", "translated (synthetic)"), (MUTED, AMBER), strict=False):
            painter.setPen(QColor(colour))
            painter.drawText(QRectF(0, top, self.width(), _LABEL), Qt.AlignmentFlag.AlignLeft, label)
            top += _LABEL
            for column, picture in enumerate(row):
                pixels = np.ascontiguousarray(picture)
                height, width = pixels.shape[:2]
                image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
                painter.drawImage(QRectF(column * (tile + _GAP), top, tile, tile), image)
            top += tile + _GAP
