"""What fine-tuning is asked beside steps and seed: wells that are left out, and the choices that few need."""

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QSpinBox, QVBoxLayout, QWidget

from phenolens.runtime.choices.preferences import METHODS, preferences
from phenolens.translation.training.finetune_settings import FinetuneSettings
from phenolens.translation.training.wells_left_out import WellsLeftOut, leave_wells_out
from phenolens.widgets.choices.base_row import BaseRow
from phenolens.widgets.kit.folded import Folded
from phenolens.widgets.kit.style import SPACE, Form, Note
from phenolens.widgets.state.session import Session

_METHODS = {"lora": "LoRA", "svdiff": "SVDiff (singular values)", "full": "All weights of the UNet"}


class FinetuneChoices(QWidget):
    """Ticked by itself: some wells of either condition are left out, so that the result can be judged on them.

    ``changed`` is emitted where any of it is chosen otherwise.

    Parameters
    ----------
    session
        Whose screen and conditions.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.leave_out = QCheckBox("Leave out wells, to judge on them")
        self.leave_out.setChecked(True)
        self.leave_out.setToolTip(
            "Some wells of either condition are not trained on. The evaluation judges the adapter on them; of wells\n"
            "that it has seen, no answer could hold up."
        )
        self.wells = Note()
        self.method = QComboBox()
        for name in METHODS:
            self.method.addItem(_METHODS[name], name)
        self.method.setCurrentIndex(METHODS.index(preferences().method))
        self.batch = QSpinBox()
        self.batch.setRange(1, 1024)
        self.batch.setValue(FinetuneSettings.batch)
        self.base = BaseRow(session)
        inner = QWidget()
        form = Form()
        form.setContentsMargins(0, 0, 0, 0)
        form.row("Base", self.base)
        form.row("Method", self.method, tip="What is trained in the UNet")
        form.row("Batch", self.batch, tip="Crops to a step: fewer need less memory")
        inner.setLayout(form)
        self.advanced = Folded(inner, "Base, method and batch of the fine-tuning")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        for widget in (self.leave_out, self.wells, self.advanced):
            whole.addWidget(widget)
        self.leave_out.toggled.connect(self._chosen)
        self.method.activated.connect(self._chosen)
        self.batch.valueChanged.connect(self._chosen)
        session.base_changed.connect(self._chosen)
        for signal in (session.screen_changed, session.conditions_changed):
            signal.connect(self.refresh)
        self.refresh()

    @property
    def conditions(self) -> WellsLeftOut | None:
        """What is trained on; None where no conditions are chosen."""
        session = self._session
        if session.screen is None or session.source is None or session.target is None:
            return None
        if not self.leave_out.isChecked():
            return WellsLeftOut(session.source, session.target)
        return leave_wells_out(session.screen, session.source, session.target)

    def settings(self) -> dict[str, Any]:
        """Method and batch, as `FinetuneSettings` names them."""
        return {"method": self.method.currentData(), "batch": self.batch.value()}

    def ask_again(self, settings: dict[str, Any]) -> None:
        """Choose what `settings` of a session say; what they do not say stays."""
        if (at := self.method.findData(settings.get("method"))) >= 0:
            self.method.setCurrentIndex(at)
        if isinstance(batch := settings.get("batch"), int):
            self.batch.setValue(batch)
        if isinstance(leave := settings.get("leave_out"), bool):
            self.leave_out.setChecked(leave)

    def refresh(self) -> None:
        """Name the wells that are left out."""
        found = self.conditions
        if found is None:
            self.wells.say("")
        elif found.why_not or any(found.wells):
            self.wells.say(found.said)
        else:
            self.wells.say(found.said, "warning")

    def _chosen(self, _: object = None) -> None:
        self.refresh()
        self.changed.emit()
