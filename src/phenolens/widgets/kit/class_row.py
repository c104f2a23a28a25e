"""One class of cells in a list: its colour, key, name and count, and what can be done with it."""

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QHBoxLayout, QLabel, QLineEdit, QMenu, QToolButton, QWidget

from phenolens.annotation.classes import SHORTCUTS, CellClass
from phenolens.widgets.kit.style import MUTED, SPACE

_SIDE = 22


class NameEdit(QLineEdit):
    """A name that is cut short in its middle while it is not being edited."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = ""

    def set_whole(self, name: str) -> None:
        """Show another name."""
        self.whole = name
        self._show()

    def _show(self) -> None:
        if self.hasFocus():
            self.setText(self.whole)
            return
        room = self.width() - 12  # of the frame and the margins within it
        self.setText(self.fontMetrics().elidedText(self.whole, Qt.TextElideMode.ElideMiddle, room))
        self.setCursorPosition(0)

    def focusInEvent(self, event: Any) -> None:
        super().focusInEvent(event)
        self._show()

    def focusOutEvent(self, event: Any) -> None:
        super().focusOutEvent(event)  # says first that the editing is over
        self._show()

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        if not self.hasFocus():
            self._show()


class ClassRow(QWidget):
    """A row a class. Signals give the name of the class, and what is wanted.

    ``given``: the chosen cell is to get the class; ``renamed``, ``recoloured``, ``keyed``: the new name, colour or key
    (0 for none); ``deleted``.
    """

    given = Signal(str)
    renamed = Signal(str, str)
    recoloured = Signal(str, str)
    keyed = Signal(str, int)
    deleted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.swatch, self.key, self.more = QToolButton(), QToolButton(), QToolButton()
        for button in (self.swatch, self.key, self.more):
            button.setFixedSize(_SIDE, _SIDE)
        self.swatch.setToolTip("Colour of this class")
        self.swatch.clicked.connect(self._ask_colour)
        self.key.clicked.connect(lambda: self.given.emit(self.name))
        self.edit = NameEdit()
        self.edit.setFrame(False)
        self.edit.setStyleSheet("QLineEdit { background: transparent; } QLineEdit:focus { background: palette(base); }")
        self.edit.editingFinished.connect(self._rename)
        self.count = QLabel()
        self.count.setStyleSheet(f"color: {MUTED}; background: transparent;")
        self.count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.more.setText("⋯")
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.more.setToolTip("Rename, recolour, another key, or delete this class")
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.more.setMenu(self.menu)
        self._taken: set[int] = set()
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SPACE)
        for widget in (self.swatch, self.key):
            line.addWidget(widget)
        line.addWidget(self.edit, 1)
        line.addWidget(self.count)
        line.addWidget(self.more)

    def show_class(self, one: CellClass, count: int, taken: set[int], where: str) -> None:
        """Show a class that `count` cells have; `taken` are the keys of all classes, `where` says where they lie."""
        self._taken = taken
        if one.name != self.name or not self.edit.hasFocus():
            self.name = one.name
            self.edit.set_whole(one.name)
        self.swatch.setStyleSheet(
            f"QToolButton {{ background: {one.colour}; border: 1px solid rgba(128, 128, 128, 160);"
            " border-radius: 3px; }"
        )
        self._colour = one.colour
        self.key.setText(str(one.shortcut) if one.shortcut is not None else "–")
        pressed = f"Press {one.shortcut} on the image, or click here" if one.shortcut is not None else "Click here"
        self.key.setToolTip(f"{pressed}: the cell gets the class {one.name}")
        self.count.setText(f"{count:,}")
        tip = f"{one.name}\n{where}" if where else f"{one.name}\nno cell yet"
        for widget in (self.edit, self.count):
            widget.setToolTip(tip)

    def _rename(self) -> None:
        new = self.edit.text().strip()
        changed = self.edit.isModified() and new != self.name
        self.edit.setModified(False)
        if changed:
            self.renamed.emit(self.name, new)
            self.edit.set_whole(self.name)  # where the new one was refused it is what it was
        self.edit.clearFocus()

    def _ask_colour(self) -> None:
        found = QColorDialog.getColor(QColor(self._colour), self, f"Colour of {self.name}")
        if found.isValid():
            self.recoloured.emit(self.name, found.name())

    def _fill_menu(self) -> None:
        menu: Any = self.menu
        menu.clear()
        menu.addAction("Give the chosen cell this class", lambda: self.given.emit(self.name))
        menu.addAction("Rename", self._begin_name)
        menu.addAction("Colour…", self._ask_colour)
        keys = menu.addMenu("Key")
        for number in SHORTCUTS:
            keys.addAction(str(number), lambda number=number: self.keyed.emit(self.name, number)).setEnabled(
                number not in self._taken
            )
        keys.addAction("none", lambda: self.keyed.emit(self.name, 0))
        menu.addSeparator()
        menu.addAction("Delete; its cells have no class then", lambda: self.deleted.emit(self.name))

    def _begin_name(self) -> None:
        self.edit.setFocus()
        self.edit.selectAll()
