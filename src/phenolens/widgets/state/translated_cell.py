"""A clicked cell, and what came of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from phenolens.translation.apply.cell_translation import CellTranslation

CellId = tuple[float, float]
PlaneId = tuple[str, int, int]
"""Key of a field, time and depth of one of its planes."""


@dataclass
class TranslatedCell:
    """A clicked cell of a field.

    Parameters
    ----------
    field
        Key of its field.
    y, x
        Centre in pixels of the field.
    name
        What the viewer calls it.
    conditions
        Source and target by name.
    translation
        The best result so far; ``None`` until the first arrives.
    position
        Time and depth (t, z) of its plane.
    """

    field: str
    y: float
    x: float
    name: str
    conditions: tuple[str, str]
    translation: "CellTranslation | None" = None
    position: tuple[int, int] = (0, 0)

    @property
    def id(self) -> CellId:
        """Its place in the plane, by which the viewer tells cells apart."""
        return (self.y, self.x)

    @property
    def plane(self) -> PlaneId:
        """The plane that it is a cell of."""
        return (self.field, *self.position)

    def difference(self, strength: float) -> np.ndarray | None:
        """Difference (C, size, size) at `strength`, or at the highest strength that was computed so far."""
        if self.translation is None:
            return None
        return self.translation.difference_at(min(strength, max(self.translation.known)))

    def has(self, strength: float) -> bool:
        """Whether the difference at `strength` was computed rather than interpolated."""
        return strength == 0 or (self.translation is not None and self.translation.computed(strength))
