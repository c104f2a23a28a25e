"""Dashed outlines of the cells whose class is suggested, until it is accepted."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Labels
from numpy.typing import NDArray

from phenolens.widgets.layers.cell_colours import CellColours, recolour

NAME = "suggested classes"
MOST_PIXELS = 16_000_000
"""Of a field whose outlines are dashed; in larger ones suggestions are told by pale outlines alone."""
_DASH = 4.0  # pixels along the outline
_CLEAR = np.zeros(4, np.float32)


class SuggestedLayer:
    """A Labels layer that holds dashes along the outlines of cells; only those of suggested cells are coloured.

    Parameters
    ----------
    viewer, place
        Where it is shown, and keyword arguments that place it on the shown field.
    """

    def __init__(self, viewer: Viewer, place: Callable[[], dict[str, Any]]) -> None:
        self._viewer, self._place = viewer, place
        self.layer: Labels | None = None
        self._base: NDArray[Any] | None = None

    def forget(self) -> None:
        """Show nothing: another screen is opened. The layer is its caller's to remove."""
        self.layer = self._base = None

    def show(self, labels: NDArray[Any], cells: NDArray[Any], colours: Mapping[int | None, Any], width: int) -> None:
        """Dash the outlines, `width` pixels wide, of those cells of a label image (H, W) that have one of `colours`.

        `cells` are the labels (n,) of all that are in it.
        """
        if self.layer is not None and self.layer not in self._viewer.layers:
            self.layer = None
        if not colours or labels.size > MOST_PIXELS:
            if self.layer is not None:
                self.layer.visible = False
            return
        if self.layer is None:
            self._add(dashes(labels, width))
        elif self._base is not labels:
            self.layer.data = dashes(labels, width)
        self._base = labels
        assert self.layer is not None
        recolour(self.layer, CellColours.of_cells(cells, {0: _CLEAR, None: _CLEAR, **colours}))
        if not self.layer.visible:  # napari draws a layer anew that is told so once more
            self.layer.visible = True

    def _add(self, drawn: NDArray[np.int32]) -> None:
        active = self._viewer.layers.selection.active
        made = {"phenolens": {"made": True, "synthetic": False, "kind": NAME}}
        layer = Labels(drawn, name=NAME, opacity=1.0, metadata=made, **self._place())
        layer.editable = False
        self.layer = layer
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = active


def dashes(labels: NDArray[Any], width: int) -> NDArray[np.int32]:
    """(H, W) label image of dashes along the outlines of a label image (H, W), `width` pixels wide within the cells."""
    outline = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        for axis in (0, 1):
            near, far = ([slice(None)] * 2 for _ in range(2))
            near[axis], far[axis] = slice(step, None), slice(None, -step)
            differs = labels[tuple(near)] != labels[tuple(far)]
            outline[tuple(near)] |= differs
            outline[tuple(far)] |= differs
    outline &= labels != 0
    y, x = np.nonzero(outline)
    drawn = np.zeros(labels.shape, np.int32)
    if not len(y):
        return drawn
    _, cell = np.unique(labels[y, x], return_inverse=True)
    count = np.bincount(cell)
    middle_y, middle_x = np.bincount(cell, y) / count, np.bincount(cell, x) / count
    away = np.hypot(y - middle_y[cell], x - middle_x[cell])
    radius = (np.bincount(cell, away) / count)[cell]
    # as many dashes as fit around, so that no long one is left where the angle begins anew
    pairs = np.maximum(np.round(np.pi * radius / _DASH), 2)
    turn = np.arctan2(y - middle_y[cell], x - middle_x[cell]) / (2 * np.pi)
    on = np.floor(2 * pairs * turn) % 2 == 0
    drawn[y[on], x[on]] = labels[y[on], x[on]]
    return drawn
