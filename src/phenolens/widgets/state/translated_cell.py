"""A cell that was clicked, and what became of it."""

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np

from phenolens.screens.crops import window_at
from phenolens.widgets.state.cell_lookup import cell_key_at, nearest_cell

if TYPE_CHECKING:
    from phenolens.screens.cells import Cells
    from phenolens.translation.apply.cell_translation import CellTranslation

Limit = Literal["cell", "crop"]
"""What of a crop is changed: the cell's own territory, or all of it."""

CellId = tuple[float, float]
PlaneId = tuple[str, int, int]
"""Key of a field, time and depth of one of its planes."""


@dataclasses.dataclass
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
    share
        Weights (size, size) of the cell's own territory, by which its difference is multiplied; None where the whole
        crop is changed.
    outline
        Vertices (n, 2) of the cell in pixels of the field; None where no label says where it ends.
    """

    field: str
    y: float
    x: float
    name: str
    conditions: tuple[str, str]
    translation: "CellTranslation | None" = None
    position: tuple[int, int] = (0, 0)
    share: np.ndarray | None = dataclasses.field(default=None, repr=False)
    outline: np.ndarray | None = dataclasses.field(default=None, repr=False)

    @property
    def id(self) -> CellId:
        """Its place in the plane, by which the viewer tells cells apart."""
        return (self.y, self.x)

    @property
    def plane(self) -> PlaneId:
        """The plane that it is a cell of."""
        return (self.field, *self.position)

    def difference(self, strength: float) -> np.ndarray | None:
        """Difference (C, size, size) at `strength`, or at the highest strength that was computed so far.

        Of what is changed: see `limit`.
        """
        if self.translation is None:
            return None
        whole = self.translation.difference_at(min(strength, max(self.translation.known)))
        return whole if self.share is None else whole * self.share

    @property
    def limit(self) -> Limit:
        """What of its crop is changed."""
        return "crop" if self.share is None else "cell"

    def limit_to(self, limit: Limit, cells: "Cells | None", size: int) -> None:
        """Change the cell alone, or its whole crop of `size` pixels; the crop, too, where no label says what it is."""
        from phenolens.translation.apply.territory import outline, territory

        self.share = self.outline = None
        labels = None if cells is None else cells.labels.get(self.field)
        if limit == "crop" or cells is None or labels is None:
            return
        known = nearest_cell(cells, self.field, self.y, self.x, 0.5)
        key = cell_key_at(cells, self.field, self.y, self.x, 0) if known is None else (self.field, int(known["label"]))
        if key is not None:
            near = window_at(self.y, self.x, size)
            self.share = territory(labels, key[1], near)
            self.outline = outline(labels, key[1], near)

    def has(self, strength: float) -> bool:
        """Whether the difference at `strength` was computed rather than interpolated."""
        return strength == 0 or (self.translation is not None and self.translation.computed(strength))
