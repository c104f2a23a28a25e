"""The axes of an image as chips, T Z C Y X, each with its length, that one can correct."""

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from phenolens.screens.axes import LETTERS
from phenolens.widgets.kit.style import SPACE

_WORDS = {"T": "T time", "Z": "Z depth", "C": "C channel", "S": "a field a slice"}


class AxesChips(QWidget):
    """A choice for each axis but the last two, which are Y and X; ``changed`` gives the letters."""

    changed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.chips: list[QComboBox] = []
        self._line = QHBoxLayout(self)
        self._line.setContentsMargins(0, 0, 0, 0)
        self._line.setSpacing(SPACE)

    def offer(self, shape: Sequence[int], axes: str) -> None:
        """Show the axes of an image of `shape` as `axes` says they are."""
        while (item := self._line.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        self.chips = []
        for length, letter in zip(shape[:-2], axes[:-2], strict=True):
            chip = QComboBox()
            for known in LETTERS:
                chip.addItem(f"{_WORDS[known]} · {length}", known)
            chip.setCurrentIndex(list(LETTERS).index(letter))
            chip.setToolTip(f"What the axis of length {length} is")
            chip.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            chip.setMinimumContentsLength(2)
            chip.activated.connect(lambda _: self.changed.emit(self.axes))
            self.chips.append(chip)
            self._line.addWidget(chip, 1)
        last = QLabel("Y X")
        last.setToolTip(f"{shape[-2]} by {shape[-1]} pixels")
        self._line.addWidget(last)

    @property
    def axes(self) -> str:
        """One letter an axis."""
        return "".join(chip.currentData() for chip in self.chips) + "YX"
