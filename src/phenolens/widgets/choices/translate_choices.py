"""How cells are translated, for those who want it otherwise: solver, steps, guidance, noise and its seed."""

from dataclasses import replace
from typing import Any

from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QSpinBox, QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.translation.apply.settings import SHOWN_STEPS, TranslationSettings
from phenolens.widgets.kit.folded import Folded
from phenolens.widgets.kit.style import SPACE, Form, Note
from phenolens.widgets.state.session import Session
from phenolens.widgets.state.translating_anew import translate_otherwise

_SOLVERS = {"difference": "Difference of the conditions", "obelm": "O-BELM", "edict": "EDICT"}
MOST_STEPS = 200
_CHOSEN = ("solver", "guidance", "fine_noise", "renoise", "seed")
_OWN = -0.05  # below the least guidance there is: that which fine-tuning found


class TranslateChoices(QWidget):
    """Folded away; whatever is chosen otherwise translates all cells anew.

    Parameters
    ----------
    session
        Whose translator it sets.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.solver = QComboBox()
        for name, words in _SOLVERS.items():
            self.solver.addItem(words, name)
        self.steps = QSpinBox()
        self.steps.setRange(2, MOST_STEPS)
        self.guidance = _number(_OWN, 5.0)
        self.guidance.setSpecialValueText("as fine-tuning found")
        self.fine_noise, self.renoise = _number(0, 1), _number(0, 1)
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.note = Note()
        inner = QWidget()
        form = Form()
        form.setContentsMargins(0, 0, 0, 0)
        form.row("Solver", self.solver, tip="How the way between the conditions is computed")
        form.row("Steps", self.steps, tip="More are more exact, and slower")
        form.row("Guidance", self.guidance, tip="Weight of the difference of the conditions: how far a cell goes")
        form.row("Fine noise", self.fine_noise, tip="Share of the cell's own fine noise that is kept")
        form.row("Renoise", self.renoise, tip="Share of the noise levels that are drawn instead of inverted")
        form.row("Seed", self.seed, tip="Which noise is drawn; matters with renoise alone")
        whole = QVBoxLayout(inner)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        whole.addLayout(form)
        whole.addWidget(self.note)
        self.advanced = Folded(inner, "Solver, steps, guidance, noise and seed of translations")
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.advanced)
        self._boxes: tuple[Any, ...] = (self.steps, self.guidance, self.fine_noise, self.renoise, self.seed)
        self.solver.activated.connect(self._chosen)
        for box in self._boxes:
            box.setKeyboardTracking(False)
            box.valueChanged.connect(self._chosen)
        session.adapter_changed.connect(self.refresh)
        session.held_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show how the translator in use translates."""
        translator = self._session.translator
        # by the class where there is none yet: making settings would load torch
        how = TranslationSettings if translator is None else translator.settings
        self.setEnabled(translator is not None)
        guidance = _OWN if how.guidance is None else how.guidance
        self.solver.setCurrentIndex(max(self.solver.findData(how.solver), 0))
        steps = SHOWN_STEPS if translator is None else how.steps
        values = (steps, guidance, how.fine_noise, how.renoise, how.seed)
        for box, value in zip(self._boxes, values, strict=True):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)
        usual = all(getattr(how, name) == getattr(TranslationSettings, name) for name in _CHOSEN)
        usual = usual and steps >= SHOWN_STEPS
        self.note.say(
            "" if usual else "Otherwise than the noise floor and an evaluation were made: they say nothing of it.",
            "warning",
        )

    def _chosen(self, _: Any = None) -> None:
        translator = self._session.translator
        if translator is None:
            return
        guidance = self.guidance.value()
        try:
            how = replace(
                translator.settings,
                solver=self.solver.currentData(),
                steps=self.steps.value(),
                guidance=None if guidance < 0 else guidance,
                fine_noise=self.fine_noise.value(),
                renoise=self.renoise.value(),
                seed=self.seed.value(),
            )
        except PhenolensError as error:
            self.note.say(str(error), "error")
            return
        translate_otherwise(self._session, how)


def _number(low: float, high: float) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setSingleStep(0.05)
    box.setDecimals(2)
    return box
