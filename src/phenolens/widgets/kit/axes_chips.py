"""The axes of an image as chips, T Z C Y X, each with its length, that one can correct."""

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QSizePolicy, QWidget

from phenolens.screens.axes import FIELDS, LETTERS
from phenolens.widgets.kit.style import SPACE

_NARROWEST = 72  # pixels: a letter, a number of three digits, and the arrow
_IN_A_LINE = 3


class AxesChips(QWidget):
    """A choice of a letter for each axis; ``changed`` gives the letters."""

    changed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.chips: list[QComboBox] = []
        self._lines = QGridLayout(self)
        self._lines.setContentsMargins(0, 0, 0, 0)
        self._lines.setSpacing(SPACE)

    def offer(self, shape: Sequence[int], axes: str) -> None:
        """Show the axes of an image of `shape` as `axes` says they are."""
        while (item := self._lines.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        self.chips = []
        in_line = len(axes) if len(axes) <= _IN_A_LINE else (len(axes) + 1) // 2
        for place, (length, letter) in enumerate(zip(shape, axes, strict=True)):
            chip = QComboBox()
            for known, word in LETTERS.items():
                chip.addItem(f"{known} · {length}", known)
                about = "each slice is a field of its own" if known == FIELDS else word
                chip.setItemData(chip.count() - 1, f"{known}: {about}", Qt.ItemDataRole.ToolTipRole)
            chip.setCurrentIndex(list(LETTERS).index(letter))
            chip.setToolTip(f"What the axis of length {length} is")
            chip.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            chip.setMinimumContentsLength(3)
            chip.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # all of a line are alike
            chip.setMinimumWidth(_NARROWEST)
            chip.activated.connect(lambda _: self.changed.emit(self.axes))
            self.chips.append(chip)
            self._lines.addWidget(chip, *divmod(place, in_line))

    @property
    def axes(self) -> str:
        """One letter an axis."""
        return "".join(chip.currentData() for chip in self.chips)
