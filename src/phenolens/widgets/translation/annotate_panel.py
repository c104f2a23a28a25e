"""Say what the cells are: classes with keys, a note on the chosen cell, and suggestions for the rest."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.widgets.kit.class_row import ClassRow
from phenolens.widgets.kit.style import SPACE, Form, Note, action, set_accent
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation.suggesting import Suggesting

if TYPE_CHECKING:
    from phenolens.annotation.changes import CellKey

_HINT = (
    "Point at a cell in the image and press the key of a class. 0 takes the class away, Ctrl+Z undoes. "
    "While you draw in a layer the keys are napari's."
)
_WELLS_LISTED = 6


class AnnotatePanel(QWidget):
    """Classes, the chosen cell, suggestions. ``wanted`` gives a cell (field, label) that is to be shown."""

    wanted = Signal(object)

    def __init__(self, session: Session, running: Running) -> None:
        super().__init__()
        self._session = session
        self._rows: list[ClassRow] = []
        self.hint = Note(_HINT)
        self.new_name = QLineEdit()
        self.new_name.setPlaceholderText("name of a new class")
        self.new_name.returnPressed.connect(self.add_class)
        self.add = action("Add class", "A class with the next free colour and key")
        self.add.clicked.connect(self.add_class)
        self.undo = action("↶", "")
        self.redo = action("↷", "")
        for button in (self.undo, self.redo):
            button.setFixedWidth(30)
        self.undo.clicked.connect(lambda: session.annotations.undo())
        self.redo.clicked.connect(lambda: session.annotations.redo())
        self.problem = Note()
        self.chosen = QLabel()
        self.chosen.setWordWrap(True)
        self.chosen.setTextFormat(Qt.TextFormat.PlainText)
        self.note = QLineEdit()
        self.note.setPlaceholderText("what you see in this cell")
        self.note.editingFinished.connect(self._write_note)
        self.suggest = action("Suggest the rest", "Suggest a class for each cell that has none, by what it looks like")
        self.suggest.clicked.connect(self._start_or_cancel)
        self.why, self.score = Note(), Note()
        self.suggesting = Suggesting(self, session, running, self.score.say, self.refresh)
        self.count = Note()
        self.next = action(
            "Next unsure (N)", "Go to the cell whose suggestion is least certain: the best one to annotate"
        )
        self.next.clicked.connect(self.show_next)
        self.accept_one = action("Accept this", "Make the suggestion for the chosen cell your own")
        self.accept_one.clicked.connect(self._accept_one)
        self.least = QDoubleSpinBox()
        self.least.setRange(0.0, 1.0)
        self.least.setSingleStep(0.05)
        self.least.setValue(0.9)
        self.least.setToolTip("Least probability of the suggestions that are accepted")
        self.least.valueChanged.connect(lambda _: self.refresh())
        self.accept = action(
            "Accept", "Make suggestions of at least this probability your own; one Ctrl+Z takes all back"
        )
        self.accept.clicked.connect(lambda: self.suggesting.accept(least=self.least.value()))
        self.accept_all = action("All", "Make all suggestions your own; one Ctrl+Z takes all back")
        self.accept_all.clicked.connect(lambda: self.suggesting.accept())
        self._classes = QVBoxLayout()
        self._lay_out()
        session.pen.changed.connect(self._changed)
        session.pen.history_changed.connect(self._history)
        session.pen.chosen_changed.connect(self._show_chosen)
        session.pen.embedded_changed.connect(self.refresh)
        session.screen_changed.connect(self._another_screen)
        session.cells_changed.connect(self.refresh)
        self._history()
        self._show_chosen()
        self.refresh()

    def _lay_out(self) -> None:
        self._classes.setSpacing(2)
        adding = _line((self.new_name, 1), (self.add, 0), (self.undo, 0), (self.redo, 0))
        form = Form()
        form.row("Note", self.note)
        self._of_cell = QWidget()
        of_cell = QVBoxLayout(self._of_cell)
        of_cell.setContentsMargins(0, 0, 0, 0)
        of_cell.setSpacing(SPACE)
        of_cell.addWidget(self.chosen)
        of_cell.addLayout(form)
        self._suggested = QWidget()
        suggested = QVBoxLayout(self._suggested)
        suggested.setContentsMargins(0, 0, 0, 0)
        suggested.setSpacing(SPACE)
        suggested.addWidget(self.count)
        suggested.addLayout(_line((self.next, 1), (self.accept_one, 1)))
        suggested.addLayout(_line((QLabel("At least"), 0), (self.least, 0), (self.accept, 1), (self.accept_all, 1)))
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        whole.addLayout(self._classes)
        whole.addLayout(adding)
        for widget in (self.problem, self.hint, self._of_cell, self.suggest, self.why, self.score, self._suggested):
            whole.addWidget(widget)

    @property
    def rows(self) -> list[ClassRow]:
        """The rows of the classes that there are, in their order."""
        return [row for row in self._rows if not row.isHidden()]

    def add_class(self) -> None:
        """Add a class of the name that was typed, or of one that says that it is to be renamed."""
        name = self.new_name.text().strip()
        if not name:
            taken = {one.name for one in self._session.annotations.classes}
            name = next(f"class {n}" for n in range(1, len(taken) + 2) if f"class {n}" not in taken)
        if self._try(lambda: self._session.annotations.add_class(name)):
            self.new_name.clear()

    def annotate(self, cell: "CellKey | None", number: int) -> None:
        """Give a cell the class of a key; 0 takes the class from it."""
        annotations = self._session.annotations
        found = annotations.with_shortcut(number) if number else None
        if cell is None or (number and found is None):
            return
        self._session.pen.choose(cell)
        annotations.annotate([cell], None if found is None else found.name)

    def show_next(self) -> None:
        """Ask for the cell whose suggestion is least certain to be shown."""
        if (cell := self.suggesting.next_unsure()) is not None:
            self._session.pen.choose(cell)
            self.wanted.emit(cell)

    def refresh(self) -> None:
        """Show what there is, and say what is missing."""
        annotations, suggesting = self._session.annotations, self.suggesting
        classes, counts = annotations.classes, annotations.counts()
        while len(self._rows) < len(classes):
            self._add_row()
        taken = {one.shortcut for one in classes if one.shortcut is not None}
        where = self._where() if classes else {}
        for row, one in zip(self._rows, classes, strict=False):
            row.show_class(one, counts[one.name], taken, where.get(one.number, ""))
            row.show()
        for row in self._rows[len(classes) :]:
            row.hide()
        self.hint.setVisible(bool(classes) and not annotations.cells)
        why = suggesting.why_not()
        there = bool(classes) and self._session.cells is not None
        self.suggest.setVisible(there)
        self.suggest.setText("Cancel" if suggesting.busy else "Suggest the rest")
        self.suggest.setEnabled(suggesting.busy or not why)
        set_accent(self.suggest, not why and annotations.suggested is None and not suggesting.busy)
        self.why.say(why if there else "" if classes else "Add a class, such as “mitotic”. It gets the key 1.")
        self.score.setVisible(bool(self.score.text()) and not why)
        self._show_suggested()

    def _show_suggested(self) -> None:
        annotations = self._session.annotations
        suggested = annotations.suggested
        left: Counter[str] = Counter()
        sure = 0
        if suggested is not None:
            # a cell that has a class keeps it: what is suggested for it says nothing any more
            has = [key for key, one in annotations.cells.items() if one.class_number is not None]
            at = suggested.index.rows_of(has)
            free = np.ones(len(suggested), bool)
            free[at[at >= 0]] = False
            counted = np.bincount(suggested.codes[free], minlength=len(suggested.names))
            left.update({name: count for name, count in zip(suggested.names, counted.tolist(), strict=True) if count})
            sure = int((suggested.probabilities[free] >= self.least.value()).sum())
        total = sum(left.values())
        self._suggested.setVisible(total > 0)
        parts = ", ".join(f"{name} {count:,}" for name, count in left.most_common())
        self.count.say(f"Suggested, in dashed outlines: {parts}." if total else "")
        self.accept.setText(f"Accept {sure:,}")
        self.accept.setEnabled(sure > 0)
        self.accept_all.setText(f"All {total:,}")
        self.next.setEnabled(self.suggesting.next_unsure() is not None)
        chosen = self._session.pen.chosen
        one = None if suggested is None or chosen is None else suggested.of(chosen)
        self.accept_one.setEnabled(one is not None and annotations.class_of(chosen) is None if chosen else False)

    def _add_row(self) -> None:
        row = ClassRow()
        annotations = lambda: self._session.annotations  # noqa: E731  another screen has others
        row.given.connect(self._give)
        row.renamed.connect(lambda name, new: self._try(lambda: annotations().rename_class(name, new)))
        row.recoloured.connect(lambda name, colour: self._try(lambda: annotations().recolour_class(name, colour)))
        row.keyed.connect(lambda name, key: self._try(lambda: annotations().set_shortcut(name, key or None)))
        row.deleted.connect(lambda name: self._try(lambda: annotations().delete_class(name)))
        self._rows.append(row)
        self._classes.addWidget(row)

    def _give(self, name: str) -> None:
        chosen = self._session.pen.chosen
        if chosen is None:
            self.problem.say("Click a cell in the image first; it gets the class then.", "warning")
            return
        self._try(lambda: self._session.annotations.annotate([chosen], name))

    def _where(self) -> dict[int, str]:
        """In how many fields and wells the cells of each class lie, by the number of the class."""
        screen = self._session.screen
        fields: dict[int, Counter[str]] = {}
        for (field, _), one in self._session.annotations.cells.items():
            if one.class_number is not None:
                fields.setdefault(one.class_number, Counter())[field] += 1
        known = {one.key: one.well for one in screen} if screen is not None else {}
        made = {}
        for number, counts in fields.items():
            wells: Counter[str] = Counter()
            for field, count in counts.items():
                wells[known.get(field, field)] += count
            listed = [f"{well}: {count:,}" for well, count in wells.most_common(_WELLS_LISTED)]
            more = f"\nand {len(wells) - _WELLS_LISTED} more" if len(wells) > _WELLS_LISTED else ""
            made[number] = (
                f"{sum(counts.values()):,} cells in {len(counts)} fields, {len(wells)} wells\n"
                + "\n".join(listed)
                + more
            )
        return made

    def _changed(self, keys: "tuple[CellKey, ...] | None") -> None:
        self.problem.say("")
        self.refresh()
        if keys is None or self._session.pen.chosen in keys:
            self._show_chosen()

    def _history(self) -> None:
        annotations = self._session.annotations
        for button, words, what, key in (
            (self.undo, annotations.undoable, "Undo", "Ctrl+Z"),
            (self.redo, annotations.redoable, "Redo", "Shift+Ctrl+Z"),
        ):
            button.setEnabled(bool(words))
            button.setToolTip(f"{what}: {words} ({key})" if words else f"Nothing to {what.lower()}")

    def _show_chosen(self) -> None:
        cell, annotations = self._session.pen.chosen, self._session.annotations
        self._of_cell.setVisible(cell is not None)
        if cell is None:
            return
        of_class = annotations.class_of(cell)
        suggested = None if annotations.suggested is None else annotations.suggested.of(cell)
        if of_class is not None:
            said = of_class.name
        elif suggested is not None:
            said = f"{suggested[0]}? ({suggested[1]:.0%})"
        else:
            said = "no class"
        self.chosen.setText(f"Cell {cell[1]} of {cell[0]}: {said}")
        self.chosen.setToolTip(self.chosen.text())
        if not self.note.hasFocus():
            self.note.setText(annotations.of(cell).note)
            self.note.setCursorPosition(0)
        self._show_suggested()

    def _write_note(self) -> None:
        cell = self._session.pen.chosen
        if cell is not None and self.note.text() != self._session.annotations.of(cell).note:
            self._session.annotations.set_note([cell], self.note.text())

    def _accept_one(self) -> None:
        if self._session.pen.chosen is not None:
            self.suggesting.accept([self._session.pen.chosen])

    def _start_or_cancel(self) -> None:
        if self.suggesting.busy:
            self.suggesting.cancel()
        else:
            self.suggesting.start()

    def _another_screen(self) -> None:
        self.problem.say("")
        self.refresh()

    def _try(self, change: Any) -> bool:
        """Make a change; say what is wrong with it where it is refused."""
        try:
            change()
        except PhenolensError as error:
            self.problem.say(str(error), "error")
            return False
        return True


def _line(*parts: tuple[QWidget, int]) -> QHBoxLayout:
    line = QHBoxLayout()
    line.setSpacing(SPACE)
    for widget, stretch in parts:
        line.addWidget(widget, stretch)
    return line
