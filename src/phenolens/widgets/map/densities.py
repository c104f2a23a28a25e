"""The toggle of the lines of density, which are computed once a map and a colouring, away from the window."""

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject

from phenolens.profiling.atlas.density import FEWEST, SHARES
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.map import jobs
from phenolens.widgets.map.colours import OTHER, Grouping
from phenolens.widgets.map.drawing.contours import Contour
from phenolens.widgets.map.session import MapData, MapSession
from phenolens.widgets.map.theme import MapTheme
from phenolens.widgets.map.view import MapView

if TYPE_CHECKING:
    from phenolens.profiling.atlas.density import DensityOutline

_ALPHAS = (1.0, 0.85, 0.6)  # of the lines of `SHARES`
_FEW = 4  # groups of which all lines are drawn
_MIDDLE = SHARES.index(0.5)
_NAMED = 6


class MapDensities(QObject):
    """Draws the lines of those groups that are shown, and says of which there are none.

    Parameters
    ----------
    session, running, view
        Which map, what runs the work, and where it is drawn.
    """

    def __init__(self, parent: QObject, session: MapSession, running: Running, view: MapView) -> None:
        super().__init__(parent)
        self._session, self._running, self._view = session, running, view
        self._theme = MapTheme()
        self._of: tuple[MapData, Grouping] | None = None
        self._outlines: dict[int, tuple[DensityOutline, ...]] = {}
        self._at_work = False
        self._button = view.tools.density_button
        self._button.clicked.connect(session.show_contours)
        for signal in (
            session.data_changed, session.places_changed, session.grouping_changed, session.contours_changed,
        ):  # fmt: skip
            signal.connect(self._refresh)
        session.selection_changed.connect(self._draw)
        self._refresh()

    def set_theme(self, theme: MapTheme) -> None:
        """Draw in the colours of a theme."""
        self._theme = theme
        self._draw()

    def _refresh(self) -> None:
        session, data, grouping = self._session, self._session.data, self._session.grouping
        with_lines = [] if data is None or grouping is None else outlined_groups(grouping)
        self._button.setEnabled(bool(with_lines))
        self._button.setChecked(session.contours and bool(with_lines))
        self._button.setToolTip("" if grouping is None else about_lines(grouping))
        self._draw()
        if data is not None and grouping is not None and session.contours and with_lines:
            self._compute(data, grouping, with_lines)

    def _compute(self, data: MapData, grouping: Grouping, groups: list[int]) -> None:
        if self._at_work or self._known(data, grouping):
            return
        self._at_work = True

        def done(found: "dict[int, tuple[DensityOutline, ...]]") -> None:
            self._of, self._outlines = (data, grouping), found

        def finished() -> None:
            self._at_work = False
            self._refresh()  # the map may have become another one meanwhile

        self._running.start(
            jobs.outline_groups(np.asarray(data.atlas.coordinates), grouping.codes, groups),
            "Lines of density",
            bar=False,
            done=done,
            failed=lambda _: done({}),  # it is not tried again
            finished=finished,
        )

    def _known(self, data: MapData | None, grouping: Grouping | None) -> bool:
        return self._of is not None and self._of[0] is data and self._of[1] is grouping

    def _draw(self) -> None:
        session, grouping = self._session, self._session.grouping
        contours: list[Contour] = []
        if session.contours and grouping is not None and self._known(session.data, grouping):
            shown = [code for code in self._outlines if not session.entries or code in session.entries]
            for code in shown:
                for number, outline in enumerate(self._outlines[code]):
                    if len(shown) <= _FEW or number == _MIDDLE:
                        contours.append(Contour(outline.lines, grouping.colours[code], _ALPHAS[number]))
        canvas = self._view.canvas
        canvas.contours.draw(contours, self._theme.text, self._theme.canvas)
        canvas.canvas.update()


def outlined_groups(grouping: Grouping) -> list[int]:
    """The groups that have enough points for lines, and a name: what is left over is no group."""
    return [
        code
        for code, (count, colour) in enumerate(zip(grouping.counts, grouping.colours, strict=True))
        if count >= FEWEST and colour != OTHER
    ]


def about_lines(grouping: Grouping) -> str:
    """What the lines are, and of which groups there are none."""
    there = outlined_groups(grouping)
    if not there:
        return f"No lines of density: no group has {FEWEST} points, and of fewer they would follow single points."
    words = [
        "Lines around the densest parts of each group: 20, 50 and 80 % of its points lie within.",
        f"Of more than {_FEW} groups the line of 50 % alone; click entries of the legend for all lines of those.",
    ]
    few = [
        f"{name} ({count})"
        for name, count, colour in zip(grouping.names, grouping.counts, grouping.colours, strict=True)
        if 0 < count < FEWEST and colour != OTHER
    ]
    if few:
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        words.append(f"None, with fewer than {FEWEST} points: {', '.join(few[:_NAMED])}{more}.")
    return "\n".join(words)
