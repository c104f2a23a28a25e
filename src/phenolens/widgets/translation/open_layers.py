"""A screen out of Image layers that are open already."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from phenolens.runtime.errors import ImageError
from phenolens.screens.axes import FIELDS, AxesGuess, guess_axes, misfit
from phenolens.screens.image_details import AxisScale

if TYPE_CHECKING:
    from phenolens.screens.table import Screen

_COLOURS = ("red", "green", "blue")


def axes_of_layers(layers: Sequence[Image]) -> AxesGuess:
    """What the axes of layers of one shape are; several layers are channels, so none of their axes is guessed as that.

    Nor is an axis of a layer of colours, which are its channels; their own axis has no letter.

    Raises
    ------
    ImageError
        No layer, layers of different shapes, or several of which one holds colours.
    """
    if not layers:
        raise ImageError("There is no Image layer to use: open an image, or select its layers in the layer list.")
    names = ", ".join(layer.name for layer in layers)
    if len({shape_of(layer) for layer in layers}) > 1:
        raise ImageError(f"The layers {names} have different shapes: select those that are channels of one image.")
    if len(layers) > 1 and any(layer.rgb for layer in layers):
        raise ImageError(f"One of the layers {names} holds colours: select it alone, or plain layers, one a channel.")
    first = layers[0]
    guess = guess_axes(shape_of(first), first.axis_labels, [str(unit) for unit in first.units])
    if (len(layers) > 1 or first.rgb) and not guess.sure and "C" in guess.axes:
        leading = iter([letter for letter in "ZT" if letter not in guess.axes])
        return AxesGuess("".join(next(leading, FIELDS) if a == "C" else a for a in guess.axes), sure=False)
    return guess


def shape_of(layer: Image) -> tuple[int, ...]:
    """Lengths of a layer's axes, without that of the colours."""
    return tuple(int(length) for length in _pixels(layer).shape[: layer.ndim])


def screen_from_layers(layers: Sequence[Image], axes: str) -> "tuple[Screen, list[Image]]":
    """A screen of layers that are channels of one image, or of one layer with an axis of channels or with colours.

    Parameters
    ----------
    axes
        Letters of the layers' axes, of ``TZCYX`` in any order, or ``S`` where each slice is a field of its own,
        numbered by ``Metadata_Index`` from 1.

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
    if "C" in axes and (len(layers) > 1 or first.rgb):
        raise ImageError(f"The layers {names} are channels already: select one of them, or say what their axis is.")
    steps = {letter: AxisScale(float(first.scale[n]), str(first.units[n])) for n, letter in enumerate(axes)}
    sides = steps["Y"].micrometres, steps["X"].micrometres
    size = (sides[0], sides[1]) if sides[0] is not None and sides[1] is not None else None
    spacing = steps["Z"].micrometres if "Z" in steps else None
    seconds = steps["T"].seconds if "T" in steps else None
    pixels, order = (_largest(first), axes) if "C" in axes else (_stacked(layers), f"C{axes}")
    inner = "".join(letter for letter in "TZ" if letter in order)
    wanted = (FIELDS if FIELDS in order else "") + f"C{inner}YX"
    pixels = pixels.transpose([order.index(letter) for letter in wanted])
    channels = _channel_names(layers, pixels.shape[wanted.index("C")])
    if FIELDS in wanted:
        fields = {f"slice{index + 1:03d}": np.asarray(planes) for index, planes in enumerate(pixels)}
        metadata = {key: {"Metadata_Index": index + 1} for index, key in enumerate(fields)}
        return screen_from_arrays(fields, channels, metadata, size), []
    screen = screen_from_arrays({"layers": pixels}, channels, None, size, wanted, spacing, seconds)
    shown = axes == f"{inner}YX" and not any(layer.rgb or layer.multiscale for layer in layers)
    return screen, list(layers) if shown else []


def _pixels(layer: Image) -> Any:
    """All pixels of a layer, the largest level of a pyramid."""
    pixels = layer.data[0] if layer.multiscale else layer.data
    return getattr(pixels, "lazy", pixels)


def _channel_names(layers: Sequence[Image], count: int) -> list[str]:
    """The layers' own names, those of the colours, or numbers where one layer holds all channels."""
    if layers[0].rgb:
        return list(_COLOURS)
    if len(layers) == count:
        return [layer.name for layer in layers]
    return [f"Channel {number}" for number in range(1, count + 1)]


def _stacked(layers: Sequence[Image]) -> Any:
    """The pixels of all layers, channels first; not read yet where a layer reads its pixels when they are looked at."""
    data = [_largest(layer) for layer in layers]
    if layers[0].rgb:
        return data[0][..., : len(_COLOURS)].transpose([data[0].ndim - 1, *range(data[0].ndim - 1)])
    if all(isinstance(pixels, np.ndarray) for pixels in data):
        return np.stack(data)
    import dask.array as da

    return da.stack([da.asarray(pixels) for pixels in data])


def _largest(layer: Image) -> Any:
    """The same as it lies in the file, without the blocks that are kept in memory for looking at."""
    pixels = _pixels(layer)
    return getattr(pixels, "lazy", pixels)
