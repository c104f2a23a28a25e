"""Choosing a condition: the distinct values of the screen's columns with their counts, or a typed expression."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from phenolens.runtime.errors import PhenolensError

if TYPE_CHECKING:
    from phenolens.screens.conditions import Condition
    from phenolens.screens.table import Screen

_COLUMNS = ("Role", "Compound", "Treatment", "Genotype", "Condition")
_CONTROLS = ("negative control", "negcon", "control", "dmso", "untreated", "vehicle", "wild type", "wt")
_TARGETS = ("positive control", "poscon", "treated", "trt")
_MOST_VALUES = 60


def offered(screen: "Screen") -> list[tuple[str, str, int]]:
    """Column, value and number of fields of each condition that a screen's table suggests.

    Roles and compounds come first; a table without such columns offers each ``Metadata_`` column that has a few values.
    """
    table = screen.table
    columns = [f"Metadata_{name}" for name in _COLUMNS if f"Metadata_{name}" in table]
    if not columns:
        columns = [
            name for name in table if str(name).startswith("Metadata_") and 2 <= table[name].nunique() <= _MOST_VALUES
        ]
    found = []
    for column in columns:
        counts = table[column].dropna().astype(str).value_counts()
        found += [(column, value, int(count)) for value, count in counts.items() if value][:_MOST_VALUES]
    return found


def likely(offers: list[tuple[str, str, int]], words: tuple[str, ...]) -> int | None:
    """Index of the offer that is one of `words`, the earlier words first."""
    for word in words:
        for index, (_, value, _) in enumerate(offers):
            if value.lower() == word:
                return index
    return None


class ConditionBox(QComboBox):
    """Editable combo box of conditions.

    ``chosen`` is emitted when a person has chosen or typed one.
    """

    chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.setToolTip(
            "Choose a value of the table, or type an expression:\n"
            "wortmannin\nMetadata_Compound=wortmannin,Metadata_DoseRank>=8"
        )
        self.lineEdit().setPlaceholderText("choose, or type column=value")
        self.activated.connect(lambda _: self.chosen.emit())
        self.lineEdit().editingFinished.connect(self._typed)
        self._last = ""

    def fill(self, offers: list[tuple[str, str, int]], choose: int | None) -> None:
        """Offer conditions and choose one of them, or none."""
        self.clear()
        for index, (column, value, count) in enumerate(offers):
            if index and offers[index - 1][0] != column:
                self.insertSeparator(self.count())
            name = column.removeprefix("Metadata_").lower()
            self.addItem(f"{value} ({count})", f"{column}={value}")
            self.setItemData(self.count() - 1, f"{name} = {value}: {count} fields", 3)
        wanted = None if choose is None else "{}={}".format(*offers[choose][:2])
        self.setCurrentIndex(-1 if wanted is None else self.findData(wanted))
        if wanted is None:
            self.setEditText("")
        self.lineEdit().setCursorPosition(0)  # else of a long name the end is seen
        self._last = self.expression()

    def choose(self, expression: str) -> None:
        """Choose the offer of an expression, or write it as if it were typed."""
        index = self.findData(expression)
        self.setCurrentIndex(index)
        if index < 0:
            self.setEditText(expression)
        self.lineEdit().setCursorPosition(0)
        self._last = self.expression()

    def expression(self) -> str:
        """What was chosen or typed, as a condition's expression."""
        index = self.findText(self.currentText())
        data = self.itemData(index) if index >= 0 else None
        return str(data) if data else self.currentText().strip()

    def condition(self, screen: "Screen | None") -> "tuple[Condition | None, int, str]":
        """The condition, its number of fields, and why it cannot be used (empty where it can)."""
        from phenolens.screens.conditions import Condition

        if screen is None or not self.expression():
            return None, 0, ""
        try:
            condition = Condition.parse(self.expression())
            mask: Any = condition.mask(screen.table)
        except PhenolensError as error:
            return None, 0, str(error)
        return condition, int(mask.sum()), ""

    def _typed(self) -> None:
        if self.expression() != self._last:
            self._last = self.expression()
            self.chosen.emit()


def control_of(offers: list[tuple[str, str, int]]) -> int | None:
    """Index of the offer that looks like the control."""
    return likely(offers, _CONTROLS)


def target_of(offers: list[tuple[str, str, int]]) -> int | None:
    """Index of the offer that looks like the treated condition; the first that is no control where none says so."""
    found = likely(offers, _TARGETS)
    if found is not None:
        return found
    return next((i for i, (_, value, _) in enumerate(offers) if value.lower() not in _CONTROLS), None)


def short_condition(condition: str) -> str:
    """A condition for people: the values without the columns' names, and without the wells that it leaves out."""
    parts = []
    terms = condition.split(",")
    for term in [one for one in terms if not one.removeprefix("Metadata_").startswith("Well!=")] or terms:
        column, sign, value = term.partition("=")
        parts.append(value if sign and column[-1:] not in "<>!" else term.removeprefix("Metadata_"))
    return ", ".join(parts)
