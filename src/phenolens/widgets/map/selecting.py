"""What can be made of cells on the map: a class, or a layer."""

from collections.abc import Callable

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QInputDialog, QMenu, QPushButton, QWidget

from phenolens.annotation.classes import CellClass
from phenolens.widgets.kit.style import SPACE, action

_ICON = 12


class ClassButton(QPushButton):
    """A button with a menu of the classes; ``chosen`` gives the name of one, or None for no class."""

    chosen = Signal(object)

    def __init__(self, text: str, tip: str, classes: Callable[[], tuple[CellClass, ...]]) -> None:
        super().__init__(text)
        self._classes = classes
        self._tip = tip
        self.setToolTip(tip)
        self.setStyleSheet("QPushButton { padding: 5px 10px; }")
        self.choices = QMenu(self)
        self.choices.aboutToShow.connect(self.fill)
        self.setMenu(self.choices)

    def allow(self, why_not: str) -> None:
        """Enable the button, or say in its tooltip why it is of no use."""
        self.setEnabled(not why_not)
        self.setToolTip(why_not or self._tip)

    def fill(self) -> None:
        """List the classes that there are now."""
        self.choices.clear()
        for one in self._classes():
            entry = self.choices.addAction(one.name)
            entry.setIcon(_swatch(one.colour))
            entry.triggered.connect(lambda _=False, name=one.name: self.chosen.emit(name))
        self.choices.addAction("no class", lambda: self.chosen.emit(None))
        self.choices.addSeparator()
        self.choices.addAction("new class…", self._ask)

    def _ask(self) -> None:
        name, given = QInputDialog.getText(self, "New class", "Name of the class")
        if given and name.strip():
            self.chosen.emit(name.strip())


class SelectionBox(QWidget):
    """Buttons under what is said of a selection; ``layer`` asks for a layer of it."""

    layer = Signal()

    def __init__(self, classes: Callable[[], tuple[CellClass, ...]]) -> None:
        super().__init__()
        self.to_class = ClassButton("Selection → class", "Give all selected cells a class, as one step", classes)
        self.to_layer = action("Selection → layer", "A layer of your own of the selected cells in the shown field")
        self.to_layer.clicked.connect(self.layer)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SPACE)
        line.addWidget(self.to_class, 1)
        line.addWidget(self.to_layer, 1)

    def show_for(self, selected: int, why_not: str) -> None:
        """Show the buttons for so many cells of the open screen; hide them where nothing is selected."""
        self.setVisible(selected >= 0)
        self.to_class.allow(why_not or ("" if selected else "None of the selected points is a cell of this screen."))
        self.to_layer.setEnabled(not why_not and selected > 0)


def _swatch(colour: str) -> QIcon:
    picture = QPixmap(_ICON, _ICON)
    picture.fill(QColor(colour))
    return QIcon(picture)
