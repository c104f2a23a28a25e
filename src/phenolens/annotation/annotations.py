"""The annotations of a screen: a class, a note and own columns for each cell, with undo, without Qt."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from phenolens.annotation.changes import NOTHING, CellAnnotation, CellKey, Change, Value, count
from phenolens.annotation.classes import (
    CellClass,
    checked_colour,
    checked_name,
    checked_shortcut,
    free_colour,
    free_shortcut,
    printable,
)
from phenolens.annotation.columns import checked_column, checked_value
from phenolens.annotation.state import AnnotationState
from phenolens.runtime.errors import AnnotationError

if TYPE_CHECKING:
    from phenolens.annotation.suggested import Suggested

_STEPS = 200


class Annotations(AnnotationState):
    """Classes and notes of the cells of one screen.

    A cell is named by the key of its field and its label, as in `Cells`, profiles and exports. Every change goes
    through a method, which emits the signal that is named after what changed, and can be undone; `recorded` emits what
    a journal needs to make the same change again. Suggestions are kept apart, and are no annotations until they are
    accepted.

    Parameters
    ----------
    steps
        How many changes can be undone.

    Examples
    --------
    >>> annotations = Annotations()
    >>> mitotic = annotations.add_class("mitotic")
    >>> annotations.annotate([("plate1_A01_1", 7)], "mitotic")
    >>> annotations.class_of(("plate1_A01_1", 7)).name
    'mitotic'
    >>> annotations.undo()
    'class of 1 cell'
    >>> len(annotations)
    0
    """

    cells_changed = Signal(object)
    """The keys of the cells whose class, note or own columns changed."""
    classes_changed = Signal()
    suggestions_changed = Signal()
    history_changed = Signal()
    recorded = Signal(object)
    """A record of what was just done, in a form that JSON has; see `repeat`."""

    def __init__(self, steps: int = _STEPS) -> None:
        super().__init__()
        self._next_number = 1
        self._done: deque[Change] = deque(maxlen=steps)
        self._undone: list[Change] = []

    # classes

    def add_class(self, name: str, colour: str | None = None, shortcut: int | None = None) -> CellClass:
        """Add a class; the next free colour and key are its own where none is given.

        Raises
        ------
        AnnotationError
            The name, colour or key is taken or not usable.
        """
        known = self._classes.values()
        key = free_shortcut(known) if shortcut is None else checked_shortcut(shortcut, known)
        made = CellClass(
            number=self._next_number,
            name=checked_name(name, known),
            colour=free_colour(known) if colour is None else checked_colour(colour),
            shortcut=key,
        )
        self._do(Change(words=f"class {made.name}", classes={made.number: (None, made)}))
        return made

    def rename_class(self, name: str, new: str) -> None:
        """Call a class otherwise; its cells stay its own."""
        old = self.named(name)
        self._replace(old, replace(old, name=checked_name(new, self._others(old))), f"name of {name}")

    def recolour_class(self, name: str, colour: str) -> None:
        """Give a class another colour, written as ``#rrggbb``."""
        old = self.named(name)
        self._replace(old, replace(old, colour=checked_colour(colour)), f"colour of {name}")

    def set_shortcut(self, name: str, shortcut: int | None) -> None:
        """Give a class another key of 1 to 9, or none."""
        old = self.named(name)
        self._replace(old, replace(old, shortcut=checked_shortcut(shortcut, self._others(old))), f"key of {name}")

    def delete_class(self, name: str) -> None:
        """Delete a class; its cells have no class then, and keep their notes. One step to undo."""
        old = self.named(name)
        cells = {key: one for key, one in self._cells.items() if one.class_number == old.number}
        self._do(
            Change(
                words=f"deleting {name}",
                cells={key: (one, replace(one, class_number=None, accepted=False)) for key, one in cells.items()},
                classes={old.number: (old, None)},
            )
        )

    # cells

    def annotate(self, cells: Iterable[CellKey], name: str | None) -> None:
        """Give cells the class called `name`, or no class where None; notes stay.

        Raises
        ------
        AnnotationError
            There is no such class.
        """
        number = None if name is None else self.named(name).number
        self._edit(cells, "class of {}", lambda one: replace(one, class_number=number, accepted=False))

    def set_note(self, cells: Iterable[CellKey], note: str) -> None:
        """Write a note on cells in place of what was there; "" takes it away."""
        clean = printable(note)
        self._edit(cells, "note on {}", lambda one: replace(one, note=clean))

    def set_value(self, cells: Iterable[CellKey], column: str, value: Value | None) -> None:
        """Set an own column of cells; None, "" or a value that is not a number (NaN) takes it away.

        Raises
        ------
        AnnotationError
            The name is empty or one of this program's own columns, or the value is neither text nor a number.
        """
        name, clean = checked_column(column), checked_value(value)

        def edit(one: CellAnnotation) -> CellAnnotation:
            others = {known: kept for known, kept in one.own.items() if known != name}
            return replace(one, own=others if clean is None else others | {name: clean})

        self._edit(cells, f"{name} of {{}}", edit)

    def set_values(self, values: Mapping[CellKey, Mapping[str, Value | None]]) -> None:
        """Set own columns of many cells in one step; columns that are not named stay.

        Parameters
        ----------
        values
            By cell and column; None, "" or a value that is not a number (NaN) takes one away.

        Raises
        ------
        AnnotationError
            As `set_value`.
        """
        wanted: dict[CellKey, CellAnnotation] = {}
        for (field, label), columns in values.items():
            cell = (str(field), int(label))
            one = self.of(cell)
            clean = {checked_column(name): checked_value(value) for name, value in columns.items()}
            own = {name: value for name, value in {**one.own, **clean}.items() if value is not None}
            wanted[cell] = replace(one, own=own)
        self._change_to(wanted, f"columns of {count(wanted)}")

    def clear(self, cells: Iterable[CellKey]) -> None:
        """Take class, note and own columns from cells."""
        self._edit(cells, "clearing {}", lambda _: NOTHING)

    def follow(self, field: str, labels: Mapping[int, int | None]) -> None:
        """Follow cells of a field whose labels have changed: a cell that is gone takes its annotation along.

        A cell is its label, so that one whose outline was corrected needs no word here. What was said of a deleted cell
        comes back with `undo` alone.

        Parameters
        ----------
        labels
            New label by old label; None for a cell that was deleted. Labels that are not named stay.

        Raises
        ------
        AnnotationError
            Two cells would have one label.
        """
        here = {label: one for (key, label), one in self._cells.items() if key == field}
        moved: dict[int, CellAnnotation] = {}
        for old, one in here.items():
            new = labels.get(old, old)
            if new is None:
                continue
            if new in moved:
                raise AnnotationError(f"Two cells of field {field} would have the label {new}: give each its own.")
            moved[new] = one
        gone = [old for old in here if labels.get(old, old) is None]
        words = f"deleting {count(gone)}" if gone else f"labels of {count(here)}"
        self._change_to({(field, label): moved.get(label, NOTHING) for label in {*here, *moved}}, words)

    # suggestions

    def suggest(self, suggested: Suggested | None) -> None:
        """Keep suggestions in place of earlier ones, or forget them where None; annotations stay as they are."""
        self._suggested = suggested
        self.suggestions_changed.emit()

    def accept(self, cells: Iterable[CellKey] | None = None, least: float = 0.0) -> int:
        """Make suggestions the user's own, in one step; cells that have a class keep it.

        Parameters
        ----------
        cells
            Which cells; all with a suggestion where None.
        least
            Smallest probability of a suggestion that is accepted.

        Returns
        -------
        int
            How many cells got a class.
        """
        if self._suggested is None:
            return 0
        by_name = {one.name: one.number for one in self._classes.values()}
        # one object for all cells of a class that nothing else is said of: there may be a million
        bare = {name: CellAnnotation(number, accepted=True) for name, number in by_name.items()}
        wanted: dict[CellKey, CellAnnotation] = {}
        for cell, name, _ in self._suggested.rows(cells, least):
            one = self.of(cell)
            if one.class_number is None and name in by_name:
                wanted[cell] = replace(one, class_number=by_name[name], accepted=True) if one else bare[name]
        self._change_to(wanted, f"accepting {count(wanted)}")
        return len(wanted)

    # undo

    @property
    def undoable(self) -> str:
        """What `undo` would undo, in words; "" where there is nothing."""
        return self._done[-1].words if self._done else ""

    @property
    def redoable(self) -> str:
        """What `redo` would do again, in words; "" where there is nothing."""
        return self._undone[-1].words if self._undone else ""

    def undo(self) -> str:
        """Undo the last change, and return what it was in words; "" where there is none."""
        if not self._done:
            return ""
        change = self._done.pop()
        self._undone.append(change)
        self._apply(change.reverse(), {"undo": change.words})
        return change.words

    def redo(self) -> str:
        """Make the last undone change again, and return what it was in words; "" where there is none."""
        if not self._undone:
            return ""
        change = self._undone.pop()
        self._done.append(change)
        self._apply(change, {"redo": change.words})
        return change.words

    def forget_steps(self) -> None:
        """Let nothing be undone that was done before, as after opening a file."""
        self._done.clear()
        self._undone.clear()
        self.history_changed.emit()

    # records

    def record(self) -> dict[str, Any]:
        """Return all classes and annotations as one record, which `repeat` brings to empty annotations."""
        cells = {key: (NOTHING, one) for key, one in self._cells.items()}
        classes: dict[int, tuple[CellClass | None, CellClass | None]]
        classes = {number: (None, one) for number, one in sorted(self._classes.items())}
        whole = Change(words="opening", cells=cells, classes=classes)
        return {"start": whole.to_json(), "next_number": self._next_number}

    def history(self) -> list[dict[str, Any]]:
        """Return records that `repeat` brings to empty annotations with the steps that can be undone and redone."""
        past = Annotations(len(self._done) + len(self._undone))
        past._cells, past._classes = dict(self._cells), dict(self._classes)
        past._next_number = self._next_number
        for change in reversed(self._done):
            past._put(change.reverse())
        changes = [*self._done, *reversed(self._undone)]
        return [
            past.record(),
            *({"change": change.to_json()} for change in changes),
            *({"undo": change.words} for change in self._undone),
        ]

    def repeat(self, record: Mapping[str, Any]) -> None:
        """Do again what `recorded` emitted or `record` returned, the steps of undo included.

        Raises
        ------
        AnnotationError
            It is no such record, or does not fit what is there.
        """
        if "start" in record:
            self._cells, self._classes, self._suggested = {}, {}, None
            self.forget_steps()
            self._apply(Change.from_json(record["start"]), None)
            self._next_number = max(int(record.get("next_number", 1)), self._next_number)
        elif "change" in record:
            self._do(Change.from_json(record["change"]))
        elif "undo" in record and self._done:
            self.undo()
        elif "redo" in record and self._undone:
            self.redo()
        elif not {"undo", "redo"} & set(record):
            raise AnnotationError(f"This is no record of annotations: {str(dict(record))[:60]}.")

    def _others(self, one: CellClass) -> list[CellClass]:
        return [other for other in self._classes.values() if other.number != one.number]

    def _replace(self, old: CellClass, new: CellClass, words: str) -> None:
        if new != old:
            self._do(Change(words=words, classes={old.number: (old, new)}))

    def _edit(self, cells: Iterable[CellKey], words: str, edit: Any) -> None:
        wanted = dict.fromkeys((str(field), int(label)) for field, label in cells)
        # one object for all cells that become alike: a lasso may hold a hundred thousand
        made: dict[int, CellAnnotation] = {}
        known = {cell: self.of(cell) for cell in wanted}
        for one in known.values():
            if id(one) not in made:
                made[id(one)] = edit(one)
        self._change_to({cell: made[id(one)] for cell, one in known.items()}, words.format(count(wanted)))

    def _change_to(self, wanted: Mapping[CellKey, CellAnnotation], words: str) -> None:
        # cells that change alike share one pair, which is compared once; None where nothing changes
        pairs: dict[tuple[int, int], tuple[CellAnnotation, CellAnnotation] | None] = {}
        changed: dict[CellKey, tuple[CellAnnotation, CellAnnotation]] = {}
        for cell, new in wanted.items():
            old = self._cells.get(cell, NOTHING)
            at = (id(old), id(new))
            if at not in pairs:
                pairs[at] = (old, new) if new != old else None
            if (pair := pairs[at]) is not None:
                changed[cell] = pair
        self._do(Change(words=words, cells=changed))

    def _do(self, change: Change) -> None:
        if not change:
            return
        self._done.append(change)
        self._undone.clear()
        self._apply(change, {"change": change})

    def _apply(self, change: Change, record: dict[str, Any] | None) -> None:
        self._put(change)
        self._next_number = max(self._next_number, *(number + 1 for number in change.classes), 1)
        if record is not None and len(self.recorded):
            made = record.get("change")
            self.recorded.emit({"change": made.to_json()} if isinstance(made, Change) else record)
        if change.classes:
            self.classes_changed.emit()
        if change.cells:
            self.cells_changed.emit(tuple(change.cells))
        self.history_changed.emit()
