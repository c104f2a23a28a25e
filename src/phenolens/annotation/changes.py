"""Changes of annotations: what was and what is, so that each can be undone, repeated and written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from phenolens.annotation.classes import CellClass
from phenolens.runtime.errors import AnnotationError

CellKey = tuple[str, int]
"""Key of a field, and the cell's label in it: what tells one cell of a screen from all others."""

Value = str | int | float | bool


@dataclass(frozen=True)
class CellAnnotation:
    """What the user says of one cell.

    Parameters
    ----------
    class_number
        Number of its class, or None.
    note
        Free text, or "".
    own
        Values of the user's own columns, by their names.
    accepted
        Whether its class was suggested before it was accepted.
    """

    class_number: int | None = None
    note: str = ""
    own: Mapping[str, Value] = field(default_factory=dict)
    accepted: bool = False

    def __bool__(self) -> bool:
        return self.class_number is not None or bool(self.note) or bool(self.own)


NOTHING = CellAnnotation()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One step that can be undone.

    Parameters
    ----------
    words
        What was done, for a menu: "class of 3 cells".
    cells
        Annotation before and after, of each cell that changes.
    classes
        Class before and after (None where there is none), by number, of each class that changes.
    """

    words: str
    cells: Mapping[CellKey, tuple[CellAnnotation, CellAnnotation]] = field(default_factory=dict)
    classes: Mapping[int, tuple[CellClass | None, CellClass | None]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.cells) or bool(self.classes)

    def reverse(self) -> Change:
        """Return the change that undoes this one."""
        return Change(
            words=self.words,
            cells=_reversed(self.cells),
            classes={number: (after, before) for number, (before, after) in self.classes.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the change as plain lists and mappings; cells that change alike are written together."""
        alike: dict[str, tuple[CellAnnotation, CellAnnotation, dict[str, list[int]]]] = {}
        known: dict[int, dict[str, list[int]]] = {}  # by pair, for many cells share one
        for (key, label), pair in self.cells.items():
            fields = known.get(id(pair))
            if fields is None:
                fields = known[id(pair)] = alike.setdefault(repr(pair), (*pair, {}))[2]
            fields.setdefault(key, []).append(label)
        return {
            "words": self.words,
            "cells": [[_plain(before), _plain(after), fields] for before, after, fields in alike.values()],
            "classes": [[number, _class(before), _class(after)] for number, (before, after) in self.classes.items()],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Change:
        """Read what `to_json` made.

        Raises
        ------
        AnnotationError
            It is something else.
        """
        try:
            cells: dict[CellKey, tuple[CellAnnotation, CellAnnotation]] = {}
            for before, after, fields in plain["cells"]:
                pair = (_annotation(before), _annotation(after))
                cells |= {(str(key), int(label)): pair for key, labels in fields.items() for label in labels}
            classes = {int(number): (_class_of(old), _class_of(new)) for number, old, new in plain["classes"]}
            return cls(words=str(plain["words"]), cells=cells, classes=classes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AnnotationError(f"This is no change of annotations ({error!r}): the file was altered.") from error


def _reversed(
    cells: Mapping[CellKey, tuple[CellAnnotation, CellAnnotation]],
) -> dict[CellKey, tuple[CellAnnotation, CellAnnotation]]:
    """`cells` with what was and what is exchanged; cells that shared a pair share one again."""
    turned: dict[int, tuple[CellAnnotation, CellAnnotation]] = {}
    return {key: turned.setdefault(id(pair), (pair[1], pair[0])) for key, pair in cells.items()}


def count(cells: Iterable[Any]) -> str:
    """Return "1 cell" or "3 cells"."""
    number = len(list(cells))
    return f"{number:,} cell{'s' * (number != 1)}"


def _plain(one: CellAnnotation) -> list[Any]:
    return [one.class_number, one.note, dict(one.own), *[True] * one.accepted]


def _annotation(plain: Any) -> CellAnnotation:
    number, note, own, *accepted = plain
    return CellAnnotation(None if number is None else int(number), str(note), dict(own), accepted == [True])


def _class(one: CellClass | None) -> list[Any] | None:
    return None if one is None else [one.name, one.colour, one.shortcut, one.number]


def _class_of(plain: Any) -> CellClass | None:
    if plain is None:
        return None
    name, colour, shortcut, number = plain
    return CellClass(number=int(number), name=str(name), colour=str(colour), shortcut=shortcut)
