"""Names of columns in tables of annotations, and what a user's own column may be called and hold."""

import math
from typing import Any

import numpy as np

from phenolens.annotation.changes import Value
from phenolens.annotation.classes import printable
from phenolens.runtime.errors import AnnotationError

PREFIX = "Metadata_"
FIELD, LABEL = "Metadata_Field", "Metadata_Label"
CLASS, COLOUR, SHORTCUT = "Metadata_Class", "Metadata_ClassColour", "Metadata_ClassShortcut"
NOTE = "Metadata_Note"
SUGGESTED, PROBABILITY = "Metadata_SuggestedClass", "Metadata_SuggestedProbability"
COLUMNS = (FIELD, LABEL, CLASS, COLOUR, SHORTCUT, NOTE, SUGGESTED, PROBABILITY)

# What tables of cells say already: an own column of that name would hide it.
_TAKEN = frozenset(name.removeprefix(PREFIX).casefold() for name in COLUMNS) | {"x", "y", "area", "cell", "synthetic"}
_LARGEST = 2**63


def is_taken(name: str) -> bool:
    """Whether a column of that name, with or without ``Metadata_``, is this program's own."""
    return name.removeprefix(PREFIX).strip().casefold() in _TAKEN


def checked_column(name: str) -> str:
    """Return the name of an own column without ``Metadata_`` before it.

    Raises
    ------
    AnnotationError
        It is empty, has a line break, or is a column of this program.
    """
    short = printable(name).strip()
    while short.startswith(PREFIX):
        short = short.removeprefix(PREFIX).strip()
    if not short or len(short.splitlines()) > 1:
        raise AnnotationError("A column needs a name of one line: type one.")
    if is_taken(short):
        raise AnnotationError(f"{short!r} is a column of this program: choose another name.")
    return short


def checked_value(value: Any) -> Value | None:
    """Return a value as text, truth value, whole or real number; None where it says nothing.

    Raises
    ------
    AnnotationError
        It is something else, such as a list, or a whole number of more than 64 bits.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        return value
    raise AnnotationError(f"An own column holds text or numbers, and {str(value)[:40]!r} is neither.")
