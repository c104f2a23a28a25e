"""The points of the map on the canvas: vispy's markers, or for very many points a picture of them.

A software renderer needs more than a second for a million markers and a picture takes a tenth of one, so that it pans
and zooms on any machine.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from vispy.scene import SceneCanvas, ViewBox
from vispy.scene.visuals import Image, Markers
from vispy.visuals.transforms import STTransform

MOST_MARKERS = 60_000
_FAINTEST = 50  # alpha of 255 in a picture, where faint points do not add up


class MapPoints:
    """Draws points of one size in the order they are given in.

    Parameters
    ----------
    canvas, view
        The canvas, and the view box whose camera moves over the points.
    """

    def __init__(self, canvas: SceneCanvas, view: ViewBox) -> None:
        self._canvas, self._view = canvas, view
        self._markers = Markers(parent=view.scene)
        self._markers.set_gl_state("translucent", depth_test=False)
        self._picture = Image(np.zeros((1, 1, 4), np.uint8), parent=canvas.scene, method="subdivide")
        self._picture.order = -1
        self._picture.set_gl_state("translucent", depth_test=False)
        self._picture.transform = STTransform()
        self._places: NDArray[np.float32] = np.zeros((0, 2), np.float32)
        self._size = 1.0
        self.colours: NDArray[np.uint8] = np.zeros((0, 4), np.uint8)
        self.hide()

    def hide(self) -> None:
        """Draw nothing."""
        self._markers.visible = self._picture.visible = False

    def draw(self, places: NDArray[np.float32], colours: NDArray[np.float32], size: float) -> None:
        """Draw points.

        Parameters
        ----------
        places
            (n, 2) on the map.
        colours
            (n, 4) red, green, blue and alpha from 0 to 1.
        size
            Diameter in pixels.
        """
        self.colours = np.rint(colours * 255).astype(np.uint8)
        many = len(places) > MOST_MARKERS
        self._markers.visible, self._picture.visible = not many and len(places) > 0, many
        if many:
            self._places, self._size = places, size
            self.colours[:, 3] = np.maximum(self.colours[:, 3], _FAINTEST)
            self.moved()
        elif len(places):
            self._markers.set_data(places, size=size, edge_width=0, face_color=colours)

    def moved(self) -> None:
        """Draw the picture anew, if there is one, because the camera or the canvas has changed."""
        if not self._picture.visible:
            return
        ratio = float(self._canvas.pixel_scale)
        width, height = (max(round(side * ratio), 1) for side in self._canvas.size)
        ends = self._view.scene.transform.map(np.array([[0.0, 0.0], [1.0, 1.0]]))[:, :2] * ratio
        drawn = rasterise(self._places, self.colours, ends[0], ends[1] - ends[0], (height, width), self._size * ratio)
        self._picture.set_data(drawn)
        self._picture.transform.scale = (1 / ratio, 1 / ratio)


def rasterise(
    places: NDArray[np.float32],
    colours: NDArray[np.uint8],
    offset: NDArray[Any],
    scale: NDArray[Any],
    shape: tuple[int, int],
    size: float,
) -> NDArray[np.uint8]:
    """Paint points as squares into a transparent picture; of those on one pixel the last is seen.

    Parameters
    ----------
    places
        (n, 2) x and y, which `scale` (2,) and then `offset` (2,) take to pixels.
    colours
        (n, 4) red, green, blue and alpha.
    shape
        Height and width.
    size
        Side of a square in pixels.

    Returns
    -------
    (height, width, 4) uint8
    """
    height, width = shape
    side = max(round(size), 1)
    x = places[:, 0] * np.float32(scale[0]) + np.float32(offset[0] - (side - 1) / 2)
    y = places[:, 1] * np.float32(scale[1]) + np.float32(offset[1] - (side - 1) / 2)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if not inside.all():
        x, y, colours = x[inside], y[inside], colours[inside]
    painted = np.zeros((height, width), np.uint32)
    flat = y.astype(np.int32) * np.int32(width) + x.astype(np.int32)
    painted.ravel()[flat] = np.ascontiguousarray(colours).view(np.uint32).ravel()
    grown = painted.copy()
    for down in range(side):
        for right in range(side):
            there = grown[down:, right:]
            np.copyto(there, painted[: height - down, : width - right], where=there == 0)
    return grown.view(np.uint8).reshape(height, width, 4)
