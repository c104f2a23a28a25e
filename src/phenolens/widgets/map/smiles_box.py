"""Type a structure, see where its predicted phenotype lies, and how far the prediction can be trusted."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QByteArray, Signal
from qtpy.QtSvgWidgets import QSvgWidget
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from phenolens.widgets.kit.style import SPACE, Form, Note, action
from phenolens.widgets.map.neighbour_tile import structure
from phenolens.widgets.map.theme import MapTheme

if TYPE_CHECKING:
    from phenolens.profiling.atlas.structure_search import Applicability, Prediction


class SmilesBox(QWidget):
    """A line for a SMILES and one for a dose; ``asked`` gives both, ``cleared`` that the mark is to go."""

    asked = Signal(str, object)
    cleared = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._theme = MapTheme()
        self._smiles = ""
        self.smiles = QLineEdit()
        self.smiles.setPlaceholderText("SMILES, such as CC(=O)Oc1ccccc1C(=O)O")
        self.smiles.setToolTip("Structure of a compound, which need not be in the screen")
        self.smiles.returnPressed.connect(self._ask)
        self.dose = QLineEdit()
        self.dose.setPlaceholderText("not given")
        self.dose.setToolTip("Dose in the unit of the encoder's training screen (usually µM); empty: not given")
        self.dose.returnPressed.connect(self._ask)
        self.place = action("Place on the map", "Predict what the compound does to the controls of this map")
        self.place.clicked.connect(self._ask)
        self.clear = action("Clear", "Take the prediction off the map")
        self.clear.clicked.connect(self._clear)
        self.clear.setEnabled(False)
        self.drawing = QSvgWidget()
        self.drawing.setFixedSize(104, 80)
        self.trust = Note()
        self.trust.setToolTip(
            "Tanimoto similarity of the fingerprint to the most similar training compound: "
            "near above 0.6, some 0.3 to 0.6, far below 0.3"
        )
        self.state = Note()
        form = Form()
        form.row("Structure", self.smiles)
        form.row("Dose", self.dose)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE)
        buttons.addWidget(self.place, 1)
        buttons.addWidget(self.clear)
        found = QHBoxLayout()
        found.setSpacing(SPACE)
        found.addWidget(self.drawing)
        found.addWidget(self.trust, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        whole.addLayout(form)
        whole.addLayout(buttons)
        whole.addWidget(self.state)
        whole.addLayout(found)
        self.drawing.hide()

    def allow(self, why_not: str) -> None:
        """Enable the box, or say why it is of no use."""
        for widget in (self.smiles, self.dose, self.place):
            widget.setEnabled(not why_not)
        self.state.say(why_not)

    def set_theme(self, theme: MapTheme) -> None:
        """Draw the structure in the colours of a theme."""
        self._theme = theme
        self._draw()

    def begin(self) -> None:
        """Say that a prediction is on its way."""
        self.state.say("Predicting…")

    def show_prediction(self, prediction: "Prediction") -> None:
        """Show the structure that was placed, and how much the encoder knows of its like."""
        self._smiles = prediction.smiles
        self._draw()
        self.state.say("")
        self.clear.setEnabled(True)
        self.trust.say(*trust(prediction.applicability))

    def refuse(self, reason: str) -> None:
        """Say what is wrong; what is typed and what is on the map stay."""
        self.state.say(reason, "error")

    def forget(self) -> None:
        """Show no prediction."""
        self._smiles = ""
        self.drawing.hide()
        self.trust.say("")
        self.clear.setEnabled(False)

    def _ask(self) -> None:
        text = self.dose.text().strip().replace(",", ".")
        dose: float | None = None
        if text:
            try:
                dose = float(text)
            except ValueError:
                dose = -1.0
            if not 0 < dose < 1e9:
                self.refuse(f"The dose {text!r} is no number above 0: correct it, or leave it empty.")
                return
        self.asked.emit(self.smiles.text(), dose)

    def _clear(self) -> None:
        self.forget()
        self.state.say("")
        self.cleared.emit()

    def _draw(self) -> None:
        drawn: Any = structure(self._smiles, self._theme.text, self._theme.background) if self._smiles else None
        self.drawing.setVisible(drawn is not None)
        if drawn is not None:
            self.drawing.load(QByteArray(drawn))


def trust(known: "Applicability") -> tuple[str, str]:
    """What the greatest similarity to a training compound means: a sentence, and how it is to be shown."""
    of = f"{known.similarity:.2f} to {known.compound}" if known.compound else f"{known.similarity:.2f}"
    if known.level == "near":
        return f"Near: the training held a compound much like it (similarity {of}).", "quiet"
    if known.level == "some":
        return f"Some support: the most similar training compound is only somewhat like it ({of}).", "warning"
    return f"Far: nothing like it was in the training ({of}). Take this as a guess.", "warning"
