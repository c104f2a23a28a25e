"""A ring around one cell in the image, and the way of the camera to it."""

from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Points

from phenolens.widgets.kit.style import ACCENT_HOVER
from phenolens.widgets.layers.field_layers import like

_SMALLEST_PX = 70  # of the window around a cell on the screen


def look_at(viewer: Viewer, layer: Any, centre: tuple[float, float], size: float) -> None:
    """Centre the view on a pixel of `layer`; a window of `size` pixels around it is made large enough to be seen."""
    stack = (0,) * (layer.ndim - 2)
    corners = [layer.data_to_world((*stack, *np.add(centre, (away, 0))))[-2:] for away in (0, size)]
    side = float(np.linalg.norm(np.subtract(*corners)))
    camera = viewer.scene.camera
    camera.center = (0, *corners[0])
    if side * camera.zoom < _SMALLEST_PX:
        camera.zoom = 2 * _SMALLEST_PX / side


class Ring:
    """A Points layer of one point, made when it is first shown."""

    def __init__(self, viewer: Viewer, name: str) -> None:
        self._viewer, self._name = viewer, name
        self._layer: Points | None = None

    def show(self, centre: tuple[float, float], size: float, layer: Any) -> None:
        """Encircle a pixel of `layer`; `size` is the side of the window around a cell."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._layer.data = np.array([centre])
            self._layer.size = 0.6 * size
            self._layer.visible = True
            return
        active = self._viewer.layers.selection.active
        ring = Points(
            np.array([centre]),
            name=self._name,
            size=0.6 * size,
            face_color="transparent",
            border_color=ACCENT_HOVER,
            border_width=0.02,
            metadata={"phenolens": {"made": False, "synthetic": False, "kind": self._name}},
            **like(layer, 2),
        )
        self._layer = self._viewer.add_layer(ring)
        self._viewer.layers.selection.active = active

    def hide(self) -> None:
        """Show no ring."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._layer.visible = False
