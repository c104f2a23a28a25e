"""A screen out of Image layers that are open already."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image

from phenolens.runtime.errors import ImageError

if TYPE_CHECKING:
    from phenolens.screens.table import Screen

_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "meter": 1e6}


def screen_from_layers(layers: Sequence[Image]) -> "tuple[Screen, list[Image]]":
    """A screen of which each layer is a channel, and the layers that show its field.

    Layers of two dimensions make one field, which they go on showing. Layers of three dimensions make one field a
    slice, numbered by ``Metadata_Index`` from 1; the slices are shown in layers of their own.

    Raises
    ------
    ImageError
        No layer, layers of different shapes, RGB layers, or layers of more than three dimensions.
    """
    from phenolens.screens.table import screen_from_arrays

    if not layers:
        raise ImageError("There is no Image layer to use: open an image, or select its layers in the layer list.")
    shapes = {layer.data.shape for layer in layers}
    names = ", ".join(layer.name for layer in layers)
    if len(shapes) > 1:
        raise ImageError(f"The layers {names} have different shapes: select those that are channels of one image.")
    if any(layer.rgb or layer.multiscale for layer in layers):
        raise ImageError(f"The layers {names} hold colours or a pyramid: use one plain layer for each channel.")
    channels = [layer.name for layer in layers]
    size = _pixel_size(layers[0])
    if layers[0].ndim == 2:
        data = np.stack([np.asarray(layer.data) for layer in layers])
        return screen_from_arrays({"layers": data}, channels, None, size), list(layers)
    if layers[0].ndim == 3:
        stack = np.stack([np.asarray(layer.data) for layer in layers], axis=1)
        fields = {f"slice{index + 1:03d}": planes for index, planes in enumerate(stack)}
        metadata = {key: {"Metadata_Index": index + 1} for index, key in enumerate(fields)}
        return screen_from_arrays(fields, channels, metadata, size), []
    raise ImageError(f"The layers {names} have {layers[0].ndim} dimensions: use images, or stacks of images.")


def _pixel_size(layer: Image) -> float | None:
    unit = _MICROMETRES.get(str(layer.units[-1]))
    return float(layer.scale[-1]) * unit if unit is not None else None
