"""Classes that cells are sorted into: their names, colours and shortcut keys."""

from collections.abc import Iterable
from dataclasses import dataclass

from phenolens.runtime.errors import AnnotationError

COLOURS = ("#e69f00", "#cc79a7", "#009e73", "#d55e00", "#f0e442", "#56b4e9", "#0072b2", "#9d1476", "#76ebb1")
"""Colours of the first nine classes: Okabe and Ito's, which all eyes tell apart, and two more.

Blue is late, for nuclei are shown in it.
"""

SHORTCUTS = range(1, 10)
_LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True)
class CellClass:
    """A class of cells.

    Parameters
    ----------
    number
        What identifies it for good, whatever it is called; never given to another class.
    name
        As the user wrote it.
    colour
        ``#rrggbb``, lower case.
    shortcut
        The key, 1 to 9, that gives a cell this class; None where it has none.
    """

    number: int
    name: str
    colour: str
    shortcut: int | None = None

    @property
    def order(self) -> tuple[int, str, int]:
        """Place in lists: by shortcut, then by name."""
        return (self.shortcut or len(SHORTCUTS) + 1, self.name, self.number)


def checked_name(name: str, others: Iterable[CellClass]) -> str:
    """Return `name` without spaces around it.

    Raises
    ------
    AnnotationError
        It is empty, longer than 80 characters or has a line break, or one of `others` is called so (in any case).
    """
    stripped = printable(name).strip()
    if not stripped:
        raise AnnotationError("A class needs a name: type one.")
    if len(stripped) > _LONGEST_NAME or len(stripped.splitlines()) > 1:
        raise AnnotationError(f"The name of a class is one line of at most {_LONGEST_NAME} characters: shorten it.")
    if any(other.name.casefold() == stripped.casefold() for other in others):
        raise AnnotationError(f"There is a class {stripped!r} already: choose another name.")
    return stripped


def checked_colour(colour: str) -> str:
    """Return `colour` in lower case.

    Raises
    ------
    AnnotationError
        It is not written as ``#rrggbb``.
    """
    digits = colour.strip().lower().removeprefix("#")
    if len(digits) != 6 or set(digits) - set("0123456789abcdef"):
        raise AnnotationError(f"{colour!r} is no colour: write it as #rrggbb, such as {COLOURS[0]}.")
    return f"#{digits}"


def checked_shortcut(shortcut: int | None, others: Iterable[CellClass]) -> int | None:
    """Return `shortcut`.

    Raises
    ------
    AnnotationError
        It is none of the keys 1 to 9, or one of `others` has it.
    """
    if shortcut is None:
        return None
    if shortcut not in SHORTCUTS:
        raise AnnotationError(f"Classes have the keys 1 to 9, and {shortcut} is none of them.")
    owner = next((other.name for other in others if other.shortcut == shortcut), None)
    if owner is not None:
        raise AnnotationError(f"The key {shortcut} belongs to the class {owner!r}: choose a free one.")
    return int(shortcut)


def free_shortcut(classes: Iterable[CellClass]) -> int | None:
    """Return the first key that no class has, or None where all nine are taken."""
    taken = {one.shortcut for one in classes}
    return next((key for key in SHORTCUTS if key not in taken), None)


def free_colour(classes: Iterable[CellClass]) -> str:
    """Return the colour that the fewest classes have, the first such in `COLOURS`."""
    used = [one.colour for one in classes]
    return min(COLOURS, key=used.count)


def printable(text: str) -> str:
    """Return `text` as files can hold it: what is no character at all (half of a surrogate pair) becomes "?"."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
