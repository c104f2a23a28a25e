"""The strip of strengths: one cell from what it is to what it would be, side by side."""

import numpy as np

from phenolens.screens.crops import changed
from phenolens.widgets.compare.tiles import Tile, TileRow
from phenolens.widgets.kit.channel_colours import composite
from phenolens.widgets.state.session import Session

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


class StrengthStrip(TileRow):
    """The chosen cell at `STRENGTHS`, at the screen's contrast; a click moves the slider there.

    Parameters
    ----------
    session
        Whose chosen cell is shown.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(len(STRENGTHS))
        self._session = session
        self.clicked.connect(lambda place: session.set_strength(STRENGTHS[place]))
        for signal in (session.current_changed, session.limit_changed, session.cells_changed):
            signal.connect(self.draw)
        session.cell_changed.connect(self._cell)
        session.strength_changed.connect(self._mark)
        self.draw()

    def _cell(self, cell: object) -> None:
        if cell is self._session.current:
            self.draw()

    def _mark(self, _: float = 0.0) -> None:
        self.mark(self._marked())

    def _marked(self) -> int | None:
        return STRENGTHS.index(self._session.strength) if self._session.strength in STRENGTHS else None

    def draw(self) -> None:
        """Draw the chosen cell anew; nothing where none is chosen."""
        cell, intensity = self._session.current, self._session.intensity
        self.setVisible(cell is not None and intensity is not None)
        if cell is None or intensity is None:
            self.show_tiles([])
            return
        low, high = np.array(intensity.low), np.array(intensity.high)
        colours = self._session.colours
        tiles = []
        for strength in STRENGTHS:
            known = cell.translation is not None and strength <= max(cell.translation.known)
            picture, said = None, "…"
            if cell.translation is not None and known:
                difference = cell.difference(strength)
                assert difference is not None
                pixels = changed(cell.translation.crop, difference)
                picture = composite(pixels.astype(np.float32), low, high, colours)
                said = f"{strength:.2f}" if cell.has(strength) else f"≈ {strength:.2f}"
            what = "synthetic" if strength else "REAL"
            tip = f"{cell.name} at strength {strength:.2f}: {'generated pixels' if strength else 'the image itself'}"
            tiles.append(Tile(picture, (said if strength else "0", what), bool(strength), tip))
        self.show_tiles(tiles, self._marked())
