"""Placement of layers: every output lies exactly where its source lies."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari import Viewer
from napari.layers import Image, Labels, Layer
from napari.utils import Colormap

from phenolens.screens.large_images import by_levels
from phenolens.widgets.kit.channel_colours import SHOWN_AT_FIRST, image_colours
from phenolens.widgets.kit.style import rgb
from phenolens.widgets.layers.cells_layer import CellsLayer
from phenolens.widgets.layers.plane_stack import PlaneStack
from phenolens.widgets.layers.shown_levels import same_levels, shown_pixels
from phenolens.widgets.state.planes import in_memory
from phenolens.widgets.state.session import Session

if TYPE_CHECKING:
    from phenolens.screens.images import FieldImage
    from phenolens.screens.intensity import IntensityMap
    from phenolens.screens.table import Field, Screen


def take_away(viewer: Viewer, layers: Iterable[Layer]) -> None:
    """Remove those of `layers` that the viewer still has, at one go: napari collects garbage after each removal."""
    there = [layer for layer in layers if layer in viewer.layers]
    if there:
        with viewer.layers.batched_update():
            for layer in there:
                viewer.layers.remove(layer)


def like(layer: Layer, ndim: int | None = None) -> dict[str, Any]:
    """Keyword arguments that place a new layer exactly where `layer` lies.

    Parameters
    ----------
    ndim
        Dimensions of the new layer, the last ones of `layer`; all of them where None. A layer of fewer dimensions is
        shown with every plane of a stack.
    """
    first = 0 if ndim is None else layer.ndim - ndim
    upper = np.triu(np.ones((layer.ndim, layer.ndim), bool), 1)
    shear = np.zeros(upper.shape)
    shear[upper] = layer.shear
    linear = slice(first, None)
    return {
        "scale": layer.scale[first:],
        "translate": layer.translate[first:],
        "rotate": layer.rotate[linear, linear],
        "shear": shear[linear, linear][upper[linear, linear]],
        "affine": layer.affine.affine_matrix[linear, linear],
        "units": layer.units[first:],
        "axis_labels": layer.axis_labels[first:],
    }


_LONG = 12  # letters


def channel_colormap(name: str, colour: str) -> Colormap:
    """Black to `colour`; called as the channel, shortly: napari's list of colormaps is as wide as the longest name."""
    short = name if len(name) <= _LONG else f"{name[: _LONG - 1]}…"
    return Colormap([(0, 0, 0), rgb(colour)], name=f"phenolens {colour}", display_name=short)


def field_layer_data(
    screen: "Screen", intensity: "IntensityMap", field: "Field", image: "FieldImage"
) -> list[tuple[Any, dict[str, Any]]]:
    """Data and keyword arguments of an Image layer a channel.

    Contrast limits are the whole screen's; colours those that the image states, else those of the channels' names.
    """
    place = _place(image, screen.pixel_size)
    colours = image_colours(screen.channel_names, image)
    layers = []
    for index, (name, colour) in enumerate(zip(screen.channel_names, colours, strict=True)):
        how: dict[str, Any] = {
            "name": name,
            "colormap": channel_colormap(name, colour),
            "contrast_limits": (intensity.low[index], intensity.high[index]),
            "blending": "additive",
            "visible": index < SHOWN_AT_FIRST,
            "metadata": {"phenolens": {"made": True, "channel": name, "synthetic": False, "field": field.key}},
            "multiscale": by_levels(image),
            **place,
        }
        layers.append((shown_pixels(image, index), how))
    return layers


def _place(image: "FieldImage", pixel_size: tuple[float, float] | None) -> dict[str, Any]:
    """Scale, units and labels of a layer of the image's axes."""
    stack = image.stack_axes
    place: dict[str, Any] = {"axis_labels": (*stack.lower(), "y", "x")} if stack else {}
    spacing = image.z_spacing if "Z" in stack else None
    seconds = image.scale("T").seconds if "T" in stack else None
    if pixel_size is None and spacing is None and seconds is None:
        return place
    steps = {
        "T": (1.0, "pixel") if seconds is None else (float(seconds), "s"),
        "Z": (1.0, "pixel") if spacing is None else (float(spacing), "µm"),
    }
    scale, units = zip(*(steps[axis] for axis in stack), strict=True) if stack else ((), ())
    sides = (1.0, 1.0) if pixel_size is None else tuple(float(side) for side in np.broadcast_to(pixel_size, 2))
    unit = "pixel" if pixel_size is None else "µm"
    return place | {"scale": (*scale, *sides), "units": (*units, unit, unit)}


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
        self.cells = CellsLayer(
            viewer, session, place=lambda: like(self.channels[0], 2), below=lambda: self.channels[0]
        )
        session.screen_changed.connect(self._clear)
        session.field_changed.connect(self.show)
        session.planes.arrived.connect(self._draw)

    @property
    def labels(self) -> Labels | None:
        """The layer of the cells, where it was shown."""
        return self.cells.layer

    @property
    def brush(self) -> Labels | None:
        """The layer in which the cells are painted, where they are shown."""
        return self.cells.brush

    def adopt(self, layers: Sequence[Image]) -> None:
        """Use layers that are open already as the channels of the next screen's field."""
        self._adopted = list(layers)

    def _clear(self) -> None:
        shown = [*self.channels, *self.cells.layers]
        take_away(self._viewer, [layer for layer in shown if layer.metadata.get("phenolens", {}).get("made")])
        self.channels = list(self._adopted)
        self.cells.forget()
        self._adopted = []

    def show(self) -> None:
        """Put the session's field on the canvas."""
        field, image, screen = self._session.field, self._session.image, self._session.screen
        if field is None or image is None or screen is None:
            return
        first, ndim = not self.channels, len(image.stack_axes) + 2
        there = [layer for layer in self.channels if layer in self._viewer.layers]
        whole = len(there) == image.n_channels
        if whole and not all(layer.metadata.get("phenolens", {}).get("made") for layer in there):
            return  # layers of the user's own, which show the field already
        if not whole or there[0].ndim != ndim or there[0].multiscale != by_levels(image):
            # the first time, a channel's layer was deleted, or a stack comes after a single plane
            take_away(self._viewer, there)
            self.channels = self._handed_over(image) or self._add(field, image)
        else:
            for index, layer in enumerate(self.channels):
                layer.data = self._pixels(image, index)
        for layer in self.channels:
            layer.metadata["phenolens"] |= {"field": field.key, **field.metadata}
        self.cells.show()
        if first:
            self._viewer.reset_view()
            self.go_to(image.position)

    def _pixels(self, image: "FieldImage", channel: int) -> Any:
        """Pixels of a channel for its layer; of those in a file, what is read is read by a job."""
        planes = self._session.planes
        if in_memory(image) or by_levels(image):
            return shown_pixels(image, channel)

        def read(index: tuple[int, ...]) -> np.ndarray:
            return planes.reader(position(index), image)()[channel]

        def look(index: tuple[int, ...]) -> np.ndarray | None:
            # the canvas may ask once more for a field that is not shown any longer
            known = planes.known(position(index)) if self._session.image is image else None
            return None if known is None else known[channel]

        def position(index: tuple[int, ...]) -> tuple[int, int]:
            at = dict(zip(image.stack_axes, index, strict=True))
            return at.get("T", 0), at.get("Z", 0)

        lengths = tuple(image.length(axis) for axis in image.stack_axes)
        shape = (image.length("Y"), image.length("X"))
        return PlaneStack(lengths, shape, image.dtype.newbyteorder("="), read, look)

    def _draw(self, _: tuple[int, int]) -> None:
        """Draw a plane that has been read."""
        for layer in self.channels:
            if isinstance(layer.data, PlaneStack):
                layer.refresh(highlight=False, extent=False)

    @property
    def axes(self) -> str:
        """Letters of the layers' axes before Y and X, of ``TZ``."""
        image = self._session.image
        if image is None:
            return ""
        if not self.channels or self.channels[0].ndim == len(image.stack_axes) + 2:
            return image.stack_axes
        return "".join(axis for axis in "TZ" if axis in image.axes)  # the user's own may have axes of one plane

    def index(self, position: tuple[int, int]) -> tuple[int, ...]:
        """Where the plane at a time and depth (t, z) lies along these axes."""
        return tuple(at for axis, at in zip("TZ", position, strict=True) if axis in self.axes)

    def position(self, index: Sequence[float]) -> tuple[int, int]:
        """Time and depth (t, z) of the plane nearest to an index along these axes."""
        image, at = self._session.image, dict(zip(self.axes, index, strict=True))
        assert image is not None
        t, z = (int(np.clip(np.rint(at.get(axis, 0)), 0, image.length(axis) - 1)) for axis in "TZ")
        return t, z

    def go_to(self, position: tuple[int, int]) -> None:
        """Move the sliders to a plane."""
        index = self.index(position)
        if index:
            layer = self.channels[0]
            self._viewer.dims.set_point(range(len(index)), layer.data_to_world((*index, 0, 0))[: len(index)])

    def _add(self, field: "Field", image: "FieldImage") -> list[Image]:
        screen, intensity = self._session.screen, self._session.intensity
        assert screen is not None
        assert intensity is not None
        made = enumerate(field_layer_data(screen, intensity, field, image))
        layers = [Image(self._pixels(image, index), **how) for index, (_, how) in made]
        for layer in layers:
            self._viewer.add_layer(layer)
        return layers

    def _handed_over(self, image: "FieldImage") -> list[Image]:
        """Layers of this screen that napari has added as sample data."""
        names = self._session.screen.channel_names if self._session.screen is not None else ()
        made = [layer for layer in self._viewer.layers if layer.metadata.get("phenolens", {}).get("made")]
        found = [layer for name in names for layer in made if layer.metadata["phenolens"].get("channel") == name]
        if len(found) != image.n_channels or found[0].multiscale != by_levels(image):
            return []
        for index, layer in enumerate(found):
            pixels = self._pixels(image, index)
            if not (by_levels(image) and same_levels(layer.data, pixels)):
                layer.data = pixels
        return found
