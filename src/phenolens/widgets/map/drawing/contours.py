"""Lines on the map around the densest parts of its groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vispy.scene import Node
from vispy.scene.visuals import Line

from phenolens.widgets.kit.style import rgb

_WIDTH, _HALO = 1.5, 4.0  # pixels
_TO_TEXT = 0.45  # of the way from a group's colour, which its points have, to the theme's text


@dataclass(frozen=True, eq=False)
class Contour:
    """Lines of one colour and strength.

    Parameters
    ----------
    lines
        Each (k, 2) on the map.
    colour
        ``#rrggbb`` of the group.
    alpha
        0 to 1.
    """

    lines: Sequence[NDArray[np.float32]]
    colour: str
    alpha: float


class MapContours:
    """Draws lines above the points and below the marks, with a halo that sets them off from points of their colour.

    The canvas moves them with the points: they are made once, and not for each frame. ``drawn`` counts how often.

    Parameters
    ----------
    parent
        The scene of the points.
    """

    def __init__(self, parent: Node) -> None:
        self._halo = Line(parent=parent, method="gl", antialias=False, width=_HALO)
        self._lines = Line(parent=parent, method="gl", antialias=True, width=_WIDTH)
        for order, visual in enumerate((self._halo, self._lines), start=1):
            visual.order = order
            visual.set_gl_state("translucent", depth_test=False)
        self.shown: tuple[Contour, ...] = ()
        self.drawn = 0
        self.hide()

    def hide(self) -> None:
        """Draw nothing."""
        self.shown = ()
        self._halo.visible = self._lines.visible = False

    def draw(self, contours: Sequence[Contour], text: str, behind: str) -> None:
        """Draw other lines, on a canvas of the colour `behind` and towards the colour `text` of words."""
        lines = [(line, one) for one in contours for line in one.lines]
        if not lines:
            self.hide()
            return
        self.shown = tuple(contours)
        self.drawn += 1
        places = np.concatenate([line for line, _ in lines])
        joined = np.ones(len(places), bool)
        joined[np.cumsum([len(line) for line, _ in lines]) - 1] = False
        ink, paper = np.array(rgb(text)), np.array(rgb(behind))
        counts = [len(line) for line, _ in lines]
        own = [(*((1 - _TO_TEXT) * np.array(rgb(one.colour)) + _TO_TEXT * ink), one.alpha) for _, one in lines]
        around = [(*paper, one.alpha) for _, one in lines]
        for visual, colours in ((self._lines, own), (self._halo, around)):
            visual.set_data(places, color=np.repeat(np.array(colours, np.float32), counts, axis=0), connect=joined)
            visual.visible = True
