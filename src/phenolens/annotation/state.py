"""What is said of the cells of a screen at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from phenolens.annotation.changes import NOTHING, CellAnnotation, CellKey, Change
from phenolens.annotation.classes import CellClass
from phenolens.runtime.errors import AnnotationError

if TYPE_CHECKING:
    from phenolens.annotation.suggested import Suggested


class AnnotationState:
    """Classes, annotations and suggestions, to be read; `Annotations` changes them."""

    def __init__(self) -> None:
        self._cells: dict[CellKey, CellAnnotation] = {}
        self._classes: dict[int, CellClass] = {}
        self._suggested: Suggested | None = None

    def __len__(self) -> int:
        """How many cells have a class, a note or a value in an own column."""
        return len(self._cells)

    @property
    def classes(self) -> tuple[CellClass, ...]:
        """The classes, by shortcut, then by name."""
        return tuple(sorted(self._classes.values(), key=lambda one: one.order))

    @property
    def cells(self) -> Mapping[CellKey, CellAnnotation]:
        """What is said of each cell that has an annotation; not to be changed."""
        return self._cells

    @property
    def own_columns(self) -> tuple[str, ...]:
        """Names of the user's own columns, in alphabetical order."""
        return tuple(sorted({name for one in self._cells.values() for name in one.own}))

    @property
    def suggested(self) -> Suggested | None:
        """What the annotated cells suggest for the others; None before anything was suggested."""
        return self._suggested

    def named(self, name: str) -> CellClass:
        """Return the class called `name`.

        Raises
        ------
        AnnotationError
            There is none; the message names those there are.
        """
        found = next((one for one in self._classes.values() if one.name == name), None)
        if found is None:
            known = ", ".join(one.name for one in self.classes) or "none yet"
            raise AnnotationError(f"There is no class {name!r}: add it first. Classes: {known}.")
        return found

    def with_shortcut(self, key: int) -> CellClass | None:
        """Return the class that the key 1 to 9 stands for, or None."""
        return next((one for one in self._classes.values() if one.shortcut == key), None)

    def of(self, cell: CellKey) -> CellAnnotation:
        """Return what is said of a cell; an empty annotation where nothing is."""
        return self._cells.get(cell, NOTHING)

    def class_of(self, cell: CellKey) -> CellClass | None:
        """Return the class that the user gave a cell, or None; a suggestion is not one."""
        number = self.of(cell).class_number
        return None if number is None else self._classes[number]

    def counts(self) -> dict[str, int]:
        """Return how many cells each class has, by its name, in the order of `classes`."""
        counted = dict.fromkeys((one.name for one in self.classes), 0)
        for one in self._cells.values():
            if one.class_number is not None:
                counted[self._classes[one.class_number].name] += 1
        return counted

    def same_as(self, other: AnnotationState) -> bool:
        """Whether both have the same classes (name, colour, key), and say and suggest the same of the same cells."""
        return self._said() == other._said() and self._suggested == other._suggested

    def _said(self) -> tuple[Any, Any]:
        names = {number: one.name for number, one in self._classes.items()}
        classes = {(one.name, one.colour, one.shortcut) for one in self._classes.values()}
        cells = {
            key: (None if one.class_number is None else names[one.class_number], one.note, dict(one.own))
            for key, one in self._cells.items()
        }
        return classes, cells

    def _put(self, change: Change) -> None:
        """Make the state what it is after `change`."""
        for number, (_, after) in change.classes.items():
            if after is None:
                self._classes.pop(number, None)
            else:
                self._classes[number] = after
        for cell, (_, said) in change.cells.items():
            if said:
                self._cells[cell] = said
            else:
                self._cells.pop(cell, None)
        new = {old.name: now.name for old, now in change.classes.values() if old is not None and now is not None}
        if self._suggested is not None and any(old != name for old, name in new.items()):
            self._suggested = replace(self._suggested, names=tuple(new.get(n, n) for n in self._suggested.names))
