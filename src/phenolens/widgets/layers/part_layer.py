"""A part of a large field as a layer of its own, for the brush: napari paints in no layer that has levels."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Labels
from napari.utils.transforms import Affine
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from phenolens.widgets.layers.cell_colours import CellColours, recolour

NAME = "cells here"
KIND = "cells of a part"
_MOST_SIDE = 2048  # pixels; what is painted is drawn and compared in a few hundredths of a second
_LEAST_SIDE = 512
_ROOM = 0.8  # of a part that the view takes up, so that not each small move asks for another
_SETTLE_MS = 200
_STEPS = 100


@dataclass(frozen=True, eq=False)
class Patch:
    """What a stroke changed.

    Parameters
    ----------
    corner
        Row and column of the field at which it begins.
    before, after
        (h, w) labels.
    """

    corner: tuple[int, int]
    before: NDArray[np.int32]
    after: NDArray[np.int32]

    @classmethod
    def between(cls, before: NDArray[Any], after: NDArray[Any], corner: tuple[int, int]) -> "Patch | None":
        """What differs between two versions of a part (h, w) that begins at `corner`; None where nothing does."""
        differ = before != after
        rows, columns = np.flatnonzero(differ.any(1)), np.flatnonzero(differ.any(0))
        if not len(rows):
            return None
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        at = (corner[0] + int(rows[0]), corner[1] + int(columns[0]))
        return cls(at, np.array(before[part], np.int32), np.array(after[part], np.int32))


class PartLayer:
    """A Labels layer of what is in view of a large field, and the strokes that were made in it.

    Parameters
    ----------
    viewer, place
        Where it is shown, and keyword arguments that place a layer on the whole field.
    stroke
        Called after each stroke, which is not counted yet: see `painted`.
    settle
        Called when the part is about to be another; counts what was painted, and returns the labels of the field.
    """

    def __init__(
        self,
        viewer: Viewer,
        place: Callable[[], dict[str, Any]],
        stroke: Callable[[], Any],
        settle: Callable[[], NDArray[Any] | None],
    ) -> None:
        self._viewer, self._place, self._stroke, self._settle = viewer, place, stroke, settle
        self.layer: Labels | None = None
        self.corner = (0, 0)
        self._noted: NDArray[np.int32] | None = None
        self._done: deque[Patch] = deque(maxlen=_STEPS)
        self._undone: list[Patch] = []
        self._soon = QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SETTLE_MS)
        self._soon.timeout.connect(self._follow)

    def open(self, of: Labels, labels: NDArray[Any], field: str) -> Labels:
        """Show the part in view of the labels (H, W) that the layer `of` shows by levels, looking as that does."""
        corner, side = self._in_view(labels)
        if self.layer is not None and self.layer in self._viewer.layers:
            self._move(labels, corner, side)
            return self.layer
        self._close()
        self.corner = corner
        drawn = np.array(_part(labels, corner, side), np.int32)
        made = {"phenolens": {"made": True, "synthetic": False, "kind": KIND, "field": field}}
        layer = Labels(drawn, name=NAME, opacity=of.opacity, metadata=made, **self._place() | self._translated())
        layer.contour = of.contour
        layer.events.paint.connect(self._painted)
        self.layer, self._noted = layer, drawn.copy()
        self._viewer.layers.insert(self._viewer.layers.index(of) + 1, layer)
        self._viewer.scene.camera.events.connect(self._moved)
        return layer

    def forget(self) -> None:
        """Take the layer away, and forget what was painted."""
        self._done.clear()
        self._undone.clear()
        self._close()

    def _close(self) -> None:
        self._soon.stop()
        layer, self.layer, self._noted = self.layer, None, None
        if layer is not None:
            layer.events.paint.disconnect(self._painted)
            self._viewer.scene.camera.events.disconnect(self._moved)
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def painted(self, labels: NDArray[Any]) -> Patch | None:
        """What was painted and is not part of the field's labels (H, W) yet; None where nothing was."""
        if self.layer is None:
            return None
        drawn = np.asarray(self.layer.data)
        return Patch.between(_part(labels, self.corner, drawn.shape), drawn, self.corner)

    def show(self, labels: NDArray[Any]) -> None:
        """Show the field's labels (H, W) as they are now."""
        if self.layer is None:
            return
        now = _part(labels, self.corner, self.layer.data.shape)
        self._noted = np.array(now, np.int32)
        if not np.array_equal(self.layer.data, now):
            self.layer.data[:] = now
            self.layer.refresh(extent=False)

    def dress(self, cells: NDArray[Any], colours: dict[int | None, Any], like: Labels) -> None:
        """Give the layer the colours of the `cells` (n,) of the field, and the outlines of another layer."""
        if self.layer is not None:
            recolour(self.layer, CellColours.of_cells(cells, colours))
            if (self.layer.contour, self.layer.opacity) != (like.contour, like.opacity):
                self.layer.contour, self.layer.opacity = like.contour, like.opacity

    def note(self, patch: Patch) -> None:
        """Remember a step, which `step` undoes."""
        self._done.append(patch)
        self._undone.clear()

    def step(self, undo: bool) -> Patch | None:
        """The step that is to be undone, or to be done again; None where there is none."""
        source, target = (self._done, self._undone) if undo else (self._undone, self._done)
        if not source:
            return None
        patch = source.pop()
        target.append(patch)
        return patch

    def _painted(self, _: Any = None) -> None:
        if self.layer is None or self._noted is None:
            return
        drawn = np.asarray(self.layer.data)
        patch = Patch.between(self._noted, drawn, self.corner)
        if patch is not None:
            self.note(patch)
            self._noted = drawn.copy()
            self._stroke()

    def _moved(self, _: Any = None) -> None:
        self._soon.start()

    def _follow(self) -> None:
        """Show another part, where one looks at what is outside of this one."""
        layer = self.layer
        if layer is None or layer not in self._viewer.layers or self._viewer.layers.selection.active != layer:
            return
        centre, seen = self._window(layer)
        low, high = centre - seen / 2, centre + seen / 2
        if (seen > _MOST_SIDE).any() or ((low >= 0) & (high <= layer.data.shape)).all():
            return
        labels = self._settle()
        if labels is not None:
            self._move(labels, *self._in_view(labels))

    def _move(self, labels: NDArray[Any], corner: tuple[int, int], side: tuple[int, int]) -> None:
        assert self.layer is not None
        if corner == self.corner and side == self.layer.data.shape:
            return
        self.corner = corner
        self.layer.data = np.array(_part(labels, corner, side), np.int32)
        self.layer.translate = self._translated()["translate"]
        self._noted = np.array(self.layer.data)

    def _window(self, layer: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Centre of the view in pixels of a layer, and how many of them it shows along each axis."""
        camera, ndim = self._viewer.scene.camera, self._viewer.dims.ndim
        world = np.array([*self._viewer.dims.point[: ndim - 2], *camera.center[-2:]])[-layer.ndim :]
        away = np.array(self._viewer.canvas.size) / camera.zoom
        centre = np.array(layer.world_to_data(world))
        ends = [
            np.abs(np.array(layer.world_to_data(world + step)) - centre) for step in ((away[0], 0.0), (0.0, away[1]))
        ]
        return centre, np.add(*ends)

    def _in_view(self, labels: NDArray[Any]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Corner and size of the part that is in view; one is brought nearer where that is too much."""
        whole = Labels(np.zeros((1, 1), np.int32), **self._place())
        centre, seen = self._window(whole)
        if (most := float(seen.max())) > _MOST_SIDE:
            nearer = most / (_ROOM * _MOST_SIDE)
            self._viewer.scene.camera.zoom *= nearer
            seen = seen / nearer
        side = np.minimum(np.clip(2 * seen, _LEAST_SIDE, _MOST_SIDE).astype(int), labels.shape)
        corner = np.clip(np.rint(centre - side / 2).astype(int), 0, np.array(labels.shape) - side)
        return (int(corner[0]), int(corner[1])), (int(side[0]), int(side[1]))

    def _translated(self) -> dict[str, Any]:
        """Where the part lies."""
        place = self._place()
        linear = {name: place[name] for name in ("scale", "translate", "rotate", "shear")}
        return {"translate": Affine(**linear)(np.array(self.corner, float))}


def _part(labels: NDArray[Any], corner: tuple[int, int], side: tuple[int, ...]) -> NDArray[Any]:
    return labels[corner[0] : corner[0] + side[0], corner[1] : corner[1] + side[1]]
