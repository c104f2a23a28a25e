"""A screen out of Image layers that are open already."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from phenolens.runtime.errors import ImageError

if TYPE_CHECKING:
    from phenolens.screens.table import Screen

_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "meter": 1e6}
_LETTERS = {"t": "T", "time": "T", "z": "Z", "depth": "Z"}


def screen_from_layers(layers: Sequence[Image], slices: bool = False) -> "tuple[Screen, list[Image]]":
    """A screen of which each layer is a channel, and the layers that show its field.

    The layers go on showing their field, which is a stack or a series where they have three or four dimensions: of Z,
    of T and Z, or as their axes are called.

    Parameters
    ----------
    slices
        Whether layers of three dimensions are one field a slice instead, numbered by ``Metadata_Index`` from 1; the
        slices are shown in layers of their own.

    Raises
    ------
    ImageError
        No layer, layers of different shapes, RGB layers, or layers of more than four dimensions.
    """
    from phenolens.screens.table import screen_from_arrays

    if not layers:
        raise ImageError("There is no Image layer to use: open an image, or select its layers in the layer list.")
    first = layers[0]
    names = ", ".join(layer.name for layer in layers)
    if len({layer.data.shape for layer in layers}) > 1:
        raise ImageError(f"The layers {names} have different shapes: select those that are channels of one image.")
    if any(layer.rgb or layer.multiscale for layer in layers):
        raise ImageError(f"The layers {names} hold colours or a pyramid: use one plain layer for each channel.")
    channels = [layer.name for layer in layers]
    size = _micrometres(first, -1)
    if slices:
        if first.ndim != 3:
            raise ImageError(f"The layers {names} have {first.ndim} dimensions: slices are those of three.")
        stack = np.stack([np.asarray(layer.data) for layer in layers], axis=1)
        fields = {f"slice{index + 1:03d}": planes for index, planes in enumerate(stack)}
        metadata = {key: {"Metadata_Index": index + 1} for index, key in enumerate(fields)}
        return screen_from_arrays(fields, channels, metadata, size), []
    if first.ndim > 4:
        raise ImageError(f"The layers {names} have {first.ndim} dimensions: use images, stacks, or series of them.")
    axes = _stack_axes(first)
    spacing = _micrometres(first, axes.index("Z")) if "Z" in axes else None
    image = {"layers": _stacked(layers)}
    return screen_from_arrays(image, channels, None, size, f"C{axes}YX", spacing), list(layers)


def _stack_axes(layer: Image) -> str:
    """Letters of the axes before Y and X: as they are called where that says it, else T and Z, or Z."""
    known = "".join(_LETTERS.get(label.lower(), "?") for label in layer.axis_labels[:-2])
    if known == "ZT":
        raise ImageError(f"The layer {layer.name} has time below depth: bring its axes into the order t, z, y, x.")
    return known if known in ("T", "Z", "TZ") else ("", "Z", "TZ")[layer.ndim - 2]


def _stacked(layers: Sequence[Image]) -> Any:
    """The pixels of all layers, channels first; not read yet where a layer reads its pixels when they are looked at."""
    if all(isinstance(layer.data, np.ndarray) for layer in layers):
        return np.stack([layer.data for layer in layers])
    import dask.array as da

    return da.stack([da.asarray(layer.data) for layer in layers])


def _micrometres(layer: Image, axis: int) -> float | None:
    """Size of a pixel along an axis, where the layer's unit is one of length."""
    unit = _MICROMETRES.get(str(layer.units[axis]))
    return float(layer.scale[axis]) * unit if unit is not None else None
