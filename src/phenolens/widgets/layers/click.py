"""The click-a-cell tool."""

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from napari import Viewer
from napari.utils.notifications import show_info

from phenolens.widgets.state.workplace import ShownField

_STILL_PX = 5


class ClickTool:
    """While it is on, a left click on the canvas picks a pixel of the shown field; dragging still pans.

    Parameters
    ----------
    viewer
        Whose canvas is clicked.
    field
        The shown field, in whose pixels the click is given.
    picked
        Called with y and x.
    """

    def __init__(self, viewer: Viewer, field: ShownField, picked: Callable[[float, float], Any]) -> None:
        self._viewer = viewer
        self._field = field
        self._picked = picked
        self.on = False
        viewer.mouse_drag_callbacks.append(self._press)

    def detach(self) -> None:
        """Leave the viewer alone for good."""
        self.on = False
        if self._press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._press)

    def _press(self, viewer: Viewer, event: Any) -> Generator[None, None, None]:
        if not self.on or event.button != 1 or event.modifiers:
            return
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            if np.abs(np.array(event.pos) - start).max() > _STILL_PX:
                return
            yield
        if viewer.dims.ndisplay == 2:
            self.pick(event.position)
        else:
            show_info("Cells are clicked in the 2-D view: go back to it with the button below the list of layers.")

    def pick(self, position: tuple[float, ...]) -> None:
        """Pick the pixel at a position in the viewer's world; positions outside the field are ignored."""
        if not self._field.channels:
            return
        layer = self._field.channels[0]
        y, x = layer.world_to_data(position)[-2:]
        height, width = layer.data.shape[-2:]
        if -0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5:
            self._picked(float(y), float(x))
