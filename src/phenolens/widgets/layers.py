"""Placement of layers: every output lies exactly where its source lies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari import Viewer
from napari.layers import Image, Labels, Layer
from napari.utils import Colormap, DirectLabelColormap

from phenolens.widgets.channels import channel_colours
from phenolens.widgets.session import Session
from phenolens.widgets.style import rgb

if TYPE_CHECKING:
    from phenolens.screens.intensity import IntensityMap
    from phenolens.screens.table import Field, Screen


_OUTLINES = DirectLabelColormap(color_dict={0: "transparent", None: "#f2e9b8"})


def like(layer: Layer) -> dict[str, Any]:
    """Keyword arguments that place a new layer of the same dimensions exactly where `layer` lies."""
    return {
        "scale": layer.scale,
        "translate": layer.translate,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def channel_colormap(name: str, colour: str) -> Colormap:
    """Black to `colour`."""
    return Colormap([(0, 0, 0), rgb(colour)], name=f"phenolens {colour}", display_name=name)


def field_layer_data(
    screen: "Screen", intensity: "IntensityMap", field: "Field", plane: np.ndarray
) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Data and keyword arguments of an Image layer a channel; contrast limits are the whole screen's."""
    place: dict[str, Any] = {}
    if screen.pixel_size is not None:
        place = {"scale": tuple(float(side) for side in np.broadcast_to(screen.pixel_size, 2)), "units": ("µm", "µm")}
    layers = []
    for index, (name, colour) in enumerate(
        zip(screen.channel_names, channel_colours(screen.channel_names), strict=True)
    ):
        how: dict[str, Any] = {
            "name": name,
            "colormap": channel_colormap(name, colour),
            "contrast_limits": (intensity.low[index], intensity.high[index]),
            "blending": "additive",
            "metadata": {"phenolens": {"made": True, "channel": name, "synthetic": False, "field": field.key}},
            **place,
        }
        layers.append((plane[index], how))
    return layers


class FieldLayers:
    """The shown field: an Image layer a channel, and the labels of its cells.

    Layers are changed in place when another field is shown, so that what the user set on them stays. Contrast limits
    are those of the whole screen, never of the single image.
    """

    def __init__(self, viewer: Viewer, session: Session) -> None:
        self._viewer = viewer
        self._session = session
        self._adopted: list[Image] = []
        self.channels: list[Image] = []
        self.labels: Labels | None = None
        session.screen_changed.connect(self._clear)
        session.field_changed.connect(self.show)
        session.cells_changed.connect(self._show_labels)

    def adopt(self, layers: Sequence[Image]) -> None:
        """Use layers that are open already as the channels of the next screen's field."""
        self._adopted = list(layers)

    def _clear(self) -> None:
        for layer in [*self.channels, *([self.labels] if self.labels is not None else [])]:
            if layer in self._viewer.layers and layer.metadata.get("phenolens", {}).get("made"):
                self._viewer.layers.remove(layer)
        self.channels, self.labels = list(self._adopted), None
        self._adopted = []

    def show(self) -> None:
        """Put the session's field on the canvas."""
        field, plane, screen = self._session.field, self._session.plane, self._session.screen
        if field is None or plane is None or screen is None:
            return
        first = not self.channels
        there = [layer for layer in self.channels if layer in self._viewer.layers]
        if len(there) == len(plane) and not all(layer.metadata.get("phenolens", {}).get("made") for layer in there):
            return  # layers of the user's own, which show the field already
        if len(there) < len(plane):
            # the first time, or a channel's layer was deleted
            for layer in there:
                self._viewer.layers.remove(layer)
            self.channels = self._handed_over(plane) or self._add(field, plane)
        else:
            for layer, channel in zip(self.channels, plane, strict=True):
                layer.data = channel
        for layer in self.channels:
            layer.metadata["phenolens"] |= {"field": field.key, **field.metadata}
        self._show_labels()
        if first:
            self._viewer.reset_view()

    def _add(self, field: "Field", plane: np.ndarray) -> list[Image]:
        screen, intensity = self._session.screen, self._session.intensity
        assert screen is not None
        assert intensity is not None
        layers = [Image(data, **how) for data, how in field_layer_data(screen, intensity, field, plane)]
        for layer in layers:
            self._viewer.add_layer(layer)
        return layers

    def _handed_over(self, plane: np.ndarray) -> list[Image]:
        """Layers of this screen that napari has added as sample data."""
        names = self._session.screen.channel_names if self._session.screen is not None else ()
        made = [layer for layer in self._viewer.layers if layer.metadata.get("phenolens", {}).get("made")]
        found = [layer for name in names for layer in made if layer.metadata["phenolens"].get("channel") == name]
        if len(found) != len(plane):
            return []
        for layer, channel in zip(found, plane, strict=True):
            layer.data = channel
        return found

    def _show_labels(self) -> None:
        field = self._session.field
        labels = self._session.labels.get(field.key) if field is not None else None
        if self.labels is not None and self.labels not in self._viewer.layers:
            self.labels = None
        if labels is None:
            if self.labels is not None:
                self.labels.visible = False
            return
        if self.labels is not None:
            self.labels.data = labels
            self.labels.visible = True
            return
        made = {"phenolens": {"made": True, "synthetic": False}}
        layer = Labels(labels, name="cells", colormap=_OUTLINES, metadata=made, **like(self.channels[0]))
        layer.contour = 1
        self.labels = self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = self.channels[0]
