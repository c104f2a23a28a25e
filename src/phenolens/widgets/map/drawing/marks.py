"""What is drawn over the points of the map: rings, stars and diamonds, and arrows from a cell to its synthetic kin."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from vispy.scene import Node
from vispy.scene.visuals import Line, Markers

from phenolens.widgets.kit.style import ACCENT_HOVER, AMBER
from phenolens.widgets.map.session import CELL, COMPOUND, DIRECT, SELECTION, TRANSLATED, Mark

# kind: symbol of vispy, the same as a letter, colour (empty: the theme's text), size in pixels
LOOKS = {
    CELL: ("ring", "◯", "", 19),
    TRANSLATED: ("star", "★", AMBER, 21),
    DIRECT: ("diamond", "◆", AMBER, 15),
    COMPOUND: ("diamond", "◆", ACCENT_HOVER, 17),
}
WORDS = {
    CELL: "this cell",
    TRANSLATED: "translated (synthetic)",
    DIRECT: "MICON's prediction of it",
    COMPOUND: "predicted for the SMILES",
}
_HEAD = 9  # pixels


class MapMarks:
    """Draws marks above the points; ``shown`` says where each is.

    Parameters
    ----------
    parent
        The scene of the points.
    """

    def __init__(self, parent: Node) -> None:
        self._shafts = Line(parent=parent, method="gl", connect="segments", antialias=False, width=2)
        self._near = Markers(parent=parent)
        self._marks = Markers(parent=parent)
        for order, visual in enumerate((self._shafts, self._near, self._marks), start=3):
            visual.order = order
            visual.set_gl_state("translucent", depth_test=False)
            visual.visible = False
        self.shown: dict[str, NDArray[np.float32]] = {}
        self.arrows: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []

    def draw(
        self, marks: Mapping[str, Mark], neighbours: NDArray[np.float32], text: str, behind: str, pixel: float
    ) -> None:
        """Draw `marks`, small rings at the `neighbours` (m, 2), and arrows.

        Parameters
        ----------
        text, behind
            The theme's colours of text and canvas.
        pixel
            Side of a screen pixel in units of the map, by which the heads of arrows are sized.
        """
        drawn = [mark for kind, mark in marks.items() if kind != SELECTION]
        self.shown = {mark.kind: mark.position for mark in drawn}
        self._near.visible = bool(len(neighbours))
        if len(neighbours):
            self._near.set_data(neighbours, size=9, face_color=(0, 0, 0, 0), edge_color=text, edge_width=1)
        self._marks.visible = bool(drawn)
        if drawn:
            self._marks.set_data(
                np.array([mark.position for mark in drawn], np.float32),
                size=np.array([LOOKS[mark.kind][3] for mark in drawn], np.float32),
                symbol=[LOOKS[mark.kind][0] for mark in drawn],
                face_color=[LOOKS[mark.kind][2] or text for mark in drawn],
                edge_color=behind,
                edge_width=1,
            )
        cell = self.shown.get(CELL)
        ends = [self.shown[kind] for kind in (TRANSLATED, DIRECT) if kind in self.shown]
        self.arrows = [(cell, end) for end in ends] if cell is not None else []
        self.scale(pixel)

    def scale(self, pixel: float) -> None:
        """Draw the arrows for another size of a screen pixel."""
        drawn = (_arrow(start, end, pixel) for start, end in self.arrows)
        lines = [line for line in drawn if line is not None]
        self._shafts.visible = bool(lines)
        if lines:
            self._shafts.set_data(np.concatenate(lines), color=AMBER, connect="segments")


def _arrow(start: NDArray[np.float32], end: NDArray[np.float32], pixel: float) -> NDArray[np.float32] | None:
    """(6, 2) ends of the shaft and of both sides of the head; None where there is no way to go."""
    way = np.asarray(end, float) - np.asarray(start, float)
    length = float(np.hypot(*way))
    if length < 14 * pixel:
        return None
    along = way / length
    across = np.array([-along[1], along[0]])
    first, tip = start + along * 10 * pixel, end - along * 9 * pixel
    back = tip - along * _HEAD * pixel
    side = across * 0.55 * _HEAD * pixel
    return np.array([first, tip, back + side, tip, back - side, tip], np.float32)
