"""What the axes of open layers are: asked where neither names nor units say it, and open to correction."""

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from phenolens.runtime.errors import ImageError
from phenolens.screens.axes import misfit
from phenolens.widgets.kit.axes_chips import AxesChips
from phenolens.widgets.kit.style import SPACE, Note, action
from phenolens.widgets.translation.open_layers import axes_of_layers, shape_of


class LayerAxes(QWidget):
    """Chips for the axes of layers; ``chosen`` gives the layers and the letters, ``refused`` an error."""

    chosen = Signal(list, str)
    refused = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._layers: list[Image] = []
        self._opened = ""
        self.question = Note()
        self.chips = AxesChips()
        self.chips.changed.connect(self._changed)
        self.use = action("Open with these axes", "Open the layers as a screen", accent=True)
        self.use.clicked.connect(self._use)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        for widget in (self.question, self.chips, self.use):
            whole.addWidget(widget)
        self.hide()

    def offer(self, layers: list[Image]) -> None:
        """Open layers whose axes are known, and ask about others first; the chips stay, to correct what was read."""
        try:
            guess = axes_of_layers(layers)
        except ImageError as error:
            self.hide()
            self.refused.emit(error)
            return
        self._layers, self._opened = layers, ""
        self.chips.offer(shape_of(layers[0]), guess.axes)
        self.setVisible(len(guess.axes) > 2)
        if guess.sure:
            self._use()
        else:
            self._changed(guess.axes)

    def _changed(self, axes: str) -> None:
        wrong = misfit(axes)
        name = self._layers[0].name
        asked = "" if self._opened else f"Neither names nor units say what the axes of {name} are. Correct the guess."
        meaning = "T time, Z depth, C channel, S each slice a field." if axes != self._opened else ""
        self.question.say(" ".join(filter(None, (wrong or asked, meaning))), "error" if wrong else "warning")
        self.use.setVisible(axes != self._opened)
        self.use.setEnabled(not wrong)

    def _use(self) -> None:
        self._opened = self.chips.axes
        self.question.say("")
        self.use.hide()
        self.chosen.emit(self._layers, self._opened)
