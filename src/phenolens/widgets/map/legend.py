"""The legend of the map: a colour, a name and a count an entry; a click shows its points alone."""

from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QApplication, QListWidget, QListWidgetItem, QSizePolicy

from phenolens.widgets.map.colours import Grouping

_DOT = 12
_ROWS = 5


class MapLegend(QListWidget):
    """A list of groups; ``chosen`` gives the number of the clicked one and whether it is added to those chosen."""

    chosen = Signal(int, bool)

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Any, ...] = ()
        self.setToolTip("Click: show these points alone, or all again. With Ctrl or Shift: add or take away")
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setIconSize(QSize(_DOT, _DOT))
        self.setUniformItemSizes(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.itemClicked.connect(self._clicked)
        self.itemActivated.connect(self._clicked)

    def fill(self, grouping: Grouping, entries: frozenset[int]) -> None:
        """List the groups; those that are not among `entries` (where there are any) are dimmed."""
        if self._shown != (grouping.title, grouping.names, grouping.counts):
            self.clear()
            self._shown = (grouping.title, grouping.names, grouping.counts)
            for name, count in zip(grouping.names, grouping.counts, strict=True):
                item = QListWidgetItem(f"{name}  {count:,}")
                item.setToolTip(f"{name}: {count:,} points. Click to show them alone")
                self.addItem(item)
            height = max(self.sizeHintForRow(0), _DOT + 6)
            self.setFixedHeight(min(self.count(), _ROWS) * height + 2 * self.frameWidth() + 4)
        for code, colour in enumerate(grouping.colours):
            entry: Any = self.item(code)
            dimmed = bool(entries) and code not in entries
            alpha = grouping.alphas[code] if grouping.alphas else 1.0
            entry.setIcon(_dot(colour, 0.24 if dimmed else alpha))
            font = entry.font()
            font.setBold(code in entries)
            entry.setFont(font)

    def _clicked(self, item: QListWidgetItem) -> None:
        keys = QApplication.keyboardModifiers()
        more = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        self.chosen.emit(self.row(item), bool(keys & more))


def _dot(colour: str, alpha: float) -> QIcon:
    picture = QPixmap(2 * _DOT, 2 * _DOT)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    filled: Any = QColor(colour)
    filled.setAlpha(round(255 * alpha))
    painter.setBrush(filled)
    painter.setPen(QColor(100, 100, 100))  # greys are seen on the list's own grey
    painter.drawEllipse(3, 3, 2 * _DOT - 6, 2 * _DOT - 6)
    painter.end()
    return QIcon(picture)
