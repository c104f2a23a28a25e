"""What a session remembers of the viewer: camera, sliders, and how the layers look."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Layer

from phenolens.widgets.layers.appearance import KINDS, appearance, restored
from phenolens.widgets.sessions.memory import Memory

_EVENTS = ("visible", "opacity", "contrast_limits", "gamma", "colormap", "blending", "interpolation2d", "contour")
_LOOKS = ("visible", "opacity", "blending", "colormap", "contrast_limits", "gamma", "interpolation2d", "contour")
_FAR = 1e9


class View:
    """Tells a `Memory` how the viewer stands, and brings that back.

    Parameters
    ----------
    memory, viewer
        Who remembers, and what.
    more
        Gives what else is remembered whenever the look of a layer changes.
    """

    def __init__(self, memory: Memory, viewer: Viewer, more: Callable[[], dict[str, Any]] = dict) -> None:
        # plugins get the viewer behind a proxy, and with it each time other ones of its layers
        self._memory, self._viewer = memory, getattr(viewer, "__wrapped__", viewer)
        self._more, self._gone = more, False
        self._looks: dict[str, dict[str, Any]] = {}
        self._followed: dict[int, Layer] = {}
        memory.add("view", self._where)
        memory.add("layers", self._layers)
        viewer = self._viewer
        viewer.scene.camera.events.connect(self._moved)
        viewer.dims.events.connect(self._moved)
        viewer.layers.events.inserted.connect(self._follow)
        viewer.layers.events.removed.connect(self._follow)
        viewer.layers.selection.events.active.connect(self._changed)
        self._follow()

    def detach(self) -> None:
        """Leave the viewer alone for good."""
        if self._gone:
            return
        self._gone = True
        self._viewer.scene.camera.events.disconnect(self._moved)
        self._viewer.dims.events.disconnect(self._moved)
        self._viewer.layers.events.inserted.disconnect(self._follow)
        self._viewer.layers.events.removed.disconnect(self._follow)
        self._viewer.layers.selection.events.active.disconnect(self._changed)
        for layer in self._followed.values():
            self._unfollow(layer)
        self._followed = {}

    def forget(self) -> None:
        """Another screen is opened: its layers look as they are shown, whatever those of the last were called."""
        self._looks = {}

    def _moved(self, _: Any = None) -> None:
        self._memory.touch("view")

    def _changed(self, _: Any = None) -> None:
        self._memory.touch("layers")

    def _follow(self, _: Any = None) -> None:
        there = {id(layer): layer for layer in self._viewer.layers}
        for name, layer in there.items():
            if name not in self._followed:
                for event in _EVENTS:
                    if event in layer.events.emitters:
                        layer.events.emitters[event].connect(self._changed)
        for name, layer in self._followed.items():
            if name not in there:
                self._unfollow(layer)
        self._followed = there
        self._changed()

    def _unfollow(self, layer: Layer) -> None:
        for event in _EVENTS:
            if event in layer.events.emitters:
                layer.events.emitters[event].disconnect(self._changed)

    def _where(self) -> dict[str, Any]:
        camera, dims = self._viewer.scene.camera, self._viewer.dims
        return {
            "view": {
                "center": [float(at) for at in camera.center],
                "zoom": float(camera.zoom),
                "angles": [float(at) for at in camera.angles],
                "ndisplay": int(dims.ndisplay),
                "point": [float(at) for at in dims.point],
                "order": [int(at) for at in dims.order],
            }
        }

    def _layers(self) -> dict[str, Any]:
        """How our layers look; those that are taken away meanwhile are remembered as they were."""
        for layer in self._viewer.layers:
            kind = type(layer).__name__.lower()
            if not isinstance(layer.metadata.get("phenolens"), Mapping) or kind not in KINDS:
                continue
            # the colours of labels follow the classes, and there may be as many of them as cells
            names = (name for name in _LOOKS if not (kind == "labels" and name == "colormap"))
            look = appearance({name: getattr(layer, name) for name in names if hasattr(layer, name)}, kind)
            if kind == "labels":
                look["contour"] = int(layer.contour)
            self._looks[layer.name] = {"kind": kind, **look}
        active = self._viewer.layers.selection.active
        return {"layers": dict(self._looks), "active": None if active is None else active.name, **self._more()}

    def show(self, view: Mapping[str, Any] | None, looks: Mapping[str, Any] | None, active: object) -> None:
        """Bring back what was remembered, as far as it fits what is there."""
        for layer in self._viewer.layers:
            look = (looks or {}).get(layer.name)
            if isinstance(layer.metadata.get("phenolens"), Mapping) and isinstance(look, Mapping):
                _dress(layer, look)
        if isinstance(active, str) and active in self._viewer.layers:
            self._viewer.layers.selection.active = self._viewer.layers[active]
        if view is None:
            return
        camera, dims = self._viewer.scene.camera, self._viewer.dims
        if view.get("ndisplay") in (2, 3):
            dims.ndisplay = view["ndisplay"]
        order = view.get("order")
        if isinstance(order, list) and sorted(map(str, order)) == sorted(map(str, range(dims.ndim))):
            dims.order = tuple(order)
        if len(point := _numbers(view.get("point"))) == dims.ndim:
            dims.point = point
        if len(center := _numbers(view.get("center"))) == 3:
            camera.center = center
        if len(angles := _numbers(view.get("angles"))) == 3:
            camera.angles = angles
        zoom = _numbers([view.get("zoom")])
        if zoom and 1e-6 < zoom[0] < 1e6:
            camera.zoom = zoom[0]


def _dress(layer: Layer, look: Mapping[str, Any]) -> None:
    kind = str(look.get("kind"))
    if kind not in KINDS:
        return
    with suppress(ValueError, TypeError, KeyError, AttributeError, IndexError):
        for name, value in restored({key: look[key] for key in _LOOKS if key in look}, kind).items():
            with suppress(ValueError, TypeError, AttributeError):
                setattr(layer, name, value)
        if kind == "labels" and "contour" in look:
            layer.contour = int(look["contour"])  # type: ignore[attr-defined]


def _numbers(values: object) -> Sequence[float]:
    if not isinstance(values, list):
        return ()
    known = [one for one in values if isinstance(one, (int, float)) and not isinstance(one, bool)]
    fine = len(known) == len(values) and np.all(np.abs(known) < _FAR)
    return tuple(float(one) for one in known) if fine else ()
