"""By which measure of a cell, and along which column of doses, an evaluation compares populations."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from phenolens.widgets.kit.style import Form

if TYPE_CHECKING:
    from phenolens.screens.table import Screen
    from phenolens.translation.model.adapter import Adapter

_AUTOMATIC = "automatic"


class EvaluationMeasure(QWidget):
    """Two choices, each with one that is made automatically. ``changed`` is emitted when one is another."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.measures, self.doses = _Choice(), _Choice()
        self._form = Form()
        self._form.row(
            "Measure",
            self.measures,
            tip="The measure whose distribution and dose are compared with real cells.\n"
            "Automatic: the nuclear-to-cytoplasmic ratio of the channel that tells the conditions apart best",
        )
        self._form.row(
            "Dose",
            self.doses,
            tip="The column of doses, to ask at which one translated cells land.\n"
            "Automatic: the column of numbers in the condition of the treated cells",
        )
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addLayout(self._form)
        for choice in (self.measures, self.doses):
            choice.currentIndexChanged.connect(lambda _: self.changed.emit())
        self._form.show_row(self.doses, False)

    @property
    def measure(self) -> str | None:
        """Name of the measure; None where the evaluation chooses."""
        return self.measures.chosen

    @property
    def dose(self) -> str | None:
        """Name of the column; None where the evaluation chooses."""
        return self.doses.chosen

    def offer(self, adapter: "Adapter | None", screen: "Screen | None") -> None:
        """Offer what there is to measure with the adapter's channels, and the screen's columns of numbers."""
        from phenolens.evaluation.translations.dose_wells import dose_columns

        names = []
        if adapter is not None:
            from phenolens.evaluation.translations.features import feature_names  # imports torch, as the adapter has

            names = feature_names(adapter.channel_names)
        self.measures.offer(names)
        columns = [] if screen is None else dose_columns(screen)
        self.doses.offer(columns)
        self._form.show_row(self.doses, bool(columns))


class _Choice(QComboBox):
    def __init__(self) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.addItem(_AUTOMATIC)

    @property
    def chosen(self) -> str | None:
        return self.currentData()

    def offer(self, names: list[str]) -> None:
        """Offer these names; what was chosen stays where it is among them."""
        if names == [self.itemData(index) for index in range(1, self.count())]:
            return
        chosen = self.chosen
        self.blockSignals(True)
        self.clear()
        self.addItem(_AUTOMATIC)
        for name in names:
            self.addItem(name.removeprefix("Metadata_"), name)
        self.setCurrentIndex(max(self.findData(chosen), 0) if chosen else 0)
        self.blockSignals(False)
