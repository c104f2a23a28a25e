"""A numbered part of the dock that folds away under its title."""

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from phenolens.widgets.kit.eliding import ElidedLabel
from phenolens.widgets.kit.pages import address, open_page
from phenolens.widgets.kit.style import ACCENT, MUTED, SPACE


class _Header(QWidget):
    clicked = Signal()

    def mouseReleaseEvent(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.pos()):
            self.clicked.emit()

    def keyPressEvent(self, event: Any) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return):
            self.clicked.emit()
        else:
            super().keyPressEvent(event)


class Section(QFrame):
    """Header with number, title and a summary of what has been done, above a panel.

    Parameters
    ----------
    number, title
        Shown in the header.
    panel
        The widget that folds away.
    page
        Page of the documentation that is about it, such as ``"annotation"``; none where empty.
    """

    def __init__(self, number: int | str, title: str, panel: QWidget, page: str = "") -> None:
        super().__init__()
        self.setObjectName("section")
        self.panel = panel
        self._number = number
        self._badge = QLabel(str(number))
        self._badge.setFixedSize(20, 20)
        self._badge.setAlignment(Qt.AlignmentFlag.AlignCenter)
        name = QLabel(title)
        name.setStyleSheet("font-weight: bold; background: transparent;")
        self._summary = ElidedLabel()
        self._summary.setStyleSheet(f"color: {MUTED}; background: transparent;")
        self._arrow = QLabel()
        self._arrow.setStyleSheet(f"color: {MUTED}; background: transparent;")
        self._header = _Header()
        self._header.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._header.setCursor(Qt.CursorShape.PointingHandCursor)
        self._header.clicked.connect(lambda: self.unfold(self.panel.isHidden()))
        row = QHBoxLayout(self._header)
        row.setContentsMargins(0, SPACE, 0, SPACE)
        row.setSpacing(SPACE + 2)
        row.addWidget(self._badge)
        row.addWidget(name)
        row.addStretch(1)
        row.addWidget(self._summary, 0)
        if page:
            self.docs = QToolButton()
            self.docs.setText("?")
            self.docs.setToolTip(f"Read about it: {address(page)}")
            self.docs.setStyleSheet("QToolButton { border: none; background: transparent; }")
            self.docs.clicked.connect(lambda _=False: open_page(page))
            row.addWidget(self.docs)
        row.addWidget(self._arrow)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(SPACE, 0, SPACE, 0)
        whole.setSpacing(0)
        whole.addWidget(self._header)
        whole.addWidget(panel)
        self.setStyleSheet("#section { border-top: 1px solid rgba(128, 128, 128, 70); }")
        self.mark("", done=False)
        self.unfold(True)

    @property
    def unfolded(self) -> bool:
        """Whether the panel is open."""
        return not self.panel.isHidden()

    def unfold(self, wide: bool = True) -> None:
        """Open or fold the panel."""
        self.panel.setVisible(wide)
        self._arrow.setText("▾" if wide else "▸")

    def mark(self, summary: str, done: bool) -> None:
        """Show what the section holds, and whether its work is done."""
        self._summary.setText(summary)
        self._badge.setText("✓" if done else str(self._number))
        fill = ACCENT if done else "rgba(128, 128, 128, 90)"
        self._badge.setStyleSheet(f"border-radius: 10px; background: {fill}; color: white; font-weight: bold;")
