"""A screen out of Image layers that are open already."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from phenolens.runtime.errors import ImageError
from phenolens.screens.axes import FIELDS, AxesGuess, guess_axes, misfit

if TYPE_CHECKING:
    from phenolens.screens.table import Screen

_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "meter": 1e6}


def axes_of_layers(layers: Sequence[Image]) -> AxesGuess:
    """What the axes of layers of one shape are; several layers are channels, so none of their axes is guessed as that.

    Raises
    ------
    ImageError
        No layer, layers of different shapes, or RGB layers.
    """
    if not layers:
        raise ImageError("There is no Image layer to use: open an image, or select its layers in the layer list.")
    names = ", ".join(layer.name for layer in layers)
    if len({layer.data.shape for layer in layers}) > 1:
        raise ImageError(f"The layers {names} have different shapes: select those that are channels of one image.")
    if any(layer.rgb for layer in layers):
        raise ImageError(f"The layers {names} hold colours: use one plain layer for each channel.")
    first = layers[0]
    guess = guess_axes(first.data.shape, first.axis_labels, [str(unit) for unit in first.units])
    if len(layers) > 1 and not guess.sure and "C" in guess.axes:
        leading = iter([letter for letter in "ZT" if letter not in guess.axes])
        return AxesGuess("".join(next(leading, FIELDS) if a == "C" else a for a in guess.axes), sure=False)
    return guess


def screen_from_layers(layers: Sequence[Image], axes: str) -> "tuple[Screen, list[Image]]":
    """A screen of layers that are channels of one image, or of one layer with an axis of channels.

    Parameters
    ----------
    axes
        Letters of the layers' axes, of ``TZCYX`` in any order with Y and X last, or ``S`` where each slice is a field
        of its own, numbered by ``Metadata_Index`` from 1.

    Returns
    -------
    The screen, and those of `layers` that go on showing its field: all of them, or none where their axes are not those
    in which a field is shown.

    Raises
    ------
    ImageError
        The layers or the axes cannot be used so.
    """
    from phenolens.screens.table import screen_from_arrays

    axes_of_layers(layers)  # refuses what does not fit together
    first = layers[0]
    names = ", ".join(layer.name for layer in layers)
    if reason := misfit(axes):
        raise ImageError(reason)
    if len(axes) != first.ndim:
        raise ImageError(f"The layers {names} have {first.ndim} axes, and {len(axes)} were named.")
    if "C" in axes and len(layers) > 1:
        raise ImageError(f"The layers {names} are channels already: select one of them, or say what their axis is.")
    size = _micrometres(first, -1)
    spacing = _micrometres(first, axes.index("Z")) if "Z" in axes else None
    pixels = _largest(layers[0]) if "C" in axes else _stacked(layers)
    order = axes if "C" in axes else f"C{axes}"
    inner = "".join(letter for letter in "TZ" if letter in order)
    wanted = (FIELDS if FIELDS in order else "") + f"C{inner}YX"
    pixels = pixels.transpose([order.index(letter) for letter in wanted])
    if FIELDS in wanted:
        channels = _channel_names(layers, pixels.shape[1])
        fields = {f"slice{index + 1:03d}": np.asarray(planes) for index, planes in enumerate(pixels)}
        metadata = {key: {"Metadata_Index": index + 1} for index, key in enumerate(fields)}
        return screen_from_arrays(fields, channels, metadata, size), []
    channels = _channel_names(layers, pixels.shape[0])
    screen = screen_from_arrays({"layers": pixels}, channels, None, size, wanted, spacing)
    shown = "C" not in axes and axes == f"{inner}YX"
    return screen, list(layers) if shown else []


def _channel_names(layers: Sequence[Image], count: int) -> list[str]:
    """The layers' own names, or numbers where one layer holds all channels."""
    if len(layers) == count:
        return [layer.name for layer in layers]
    return [f"Channel {number}" for number in range(1, count + 1)]


def _stacked(layers: Sequence[Image]) -> Any:
    """The pixels of all layers, channels first; not read yet where a layer reads its pixels when they are looked at."""
    largest = [_largest(layer) for layer in layers]
    if all(isinstance(pixels, np.ndarray) for pixels in largest):
        return np.stack(largest)
    import dask.array as da

    return da.stack([da.asarray(pixels) for pixels in largest])


def _largest(layer: Image) -> Any:
    """The pixels of a layer, those at full resolution where it has several levels."""
    pixels = layer.data[0] if layer.multiscale else layer.data
    return getattr(pixels, "lazy", pixels)


def _micrometres(layer: Image, axis: int) -> float | None:
    """Size of a pixel along an axis, where the layer's unit is one of length."""
    unit = _MICROMETRES.get(str(layer.units[axis]))
    return float(layer.scale[axis]) * unit if unit is not None else None
