"""What is translated in the planes of the shown field, drawn when a plane is looked at."""

from collections.abc import Hashable

import numpy as np

from phenolens.screens.crops import Window
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.large_composite import LargeComposite, composite_of
from phenolens.widgets.state.planes import Position
from phenolens.widgets.state.session import Session, TranslatedCell

_KEPT = 8  # planes that stay drawn: a field of many may be larger than the memory


class TranslatedPlanes:
    """The planes of a session's field with their cells translated at the session's strength."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._drawn: dict[Position, tuple[Composite | LargeComposite, float]] = {}

    def forget(self) -> None:
        """Draw all anew: another field is shown, or other cells are."""
        self._drawn = {}

    def at(self, position: Position, read: bool = False) -> Composite | LargeComposite | None:
        """The plane at a time and depth (t, z); None where nothing is translated in it, or while it is being read.

        Parameters
        ----------
        read
            Wait for the file where need be: for saving, never for drawing.
        """
        session = self._session
        assert session.field is not None
        cells = session.translated.get((session.field.key, *position))
        composite, strength = self._drawn.pop(position, (None, None))
        if composite is None:
            if not cells:
                return None
            plane = session.planes.reader(position)() if read else session.planes.known(position)
            if plane is None:
                return None
            composite = composite_of(plane)
        if strength != session.strength:
            self._put(composite, list(cells.values()) if cells else [])
        self._drawn[position] = (composite, session.strength)  # the last one looked at is kept the longest
        while len(self._drawn) > _KEPT:
            del self._drawn[next(iter(self._drawn))]
        return composite

    def update(self, cell: TranslatedCell) -> None:
        """Draw a cell of the shown field that has changed or is gone, where its plane is drawn."""
        if cell.position not in self._drawn:
            return
        composite, _ = self._drawn[cell.position]
        composite.drop(cell.id)
        if self._session.holds(cell):
            self._put(composite, [cell])

    def _put(self, composite: Composite | LargeComposite, cells: list[TranslatedCell]) -> None:
        found: dict[Hashable, tuple[Window, np.ndarray]] = {}
        for cell in cells:
            difference = cell.difference(self._session.strength)
            if difference is not None and cell.translation is not None:
                found[cell.id] = (cell.translation.window, difference)
        if found:
            composite.put_all(found)
