"""How the channels of an export look in a viewer where none was open: one contrast for source and translated."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from phenolens.screens.colours import LESS_SHADES, MORE_SHADES, channel_colour
from phenolens.screens.images import FieldImage

if TYPE_CHECKING:
    from pandas import DataFrame

Looks = dict[str, list[dict[str, Any]]]


def plain_looks(image: FieldImage, low: Sequence[float], high: Sequence[float]) -> Looks:
    """Looks of the layers "source", "translated" and "difference" of a field, for `export_session`.

    Parameters
    ----------
    image
        The field.
    low, high
        Contrast limits a channel, those of the whole screen: never those of one image.
    """
    place = _place(image)
    looks: Looks = {"source": [], "translated": [], "difference": []}
    for index, name in enumerate(image.channel_names):
        colour = channel_colour(index)
        own = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        half = (high[index] - low[index]) / 2
        shades = {"colors": [[0.0, 0.0, 0.0, 1.0], [*own, 1.0]], "controls": [0.0, 1.0], "name": f"phenolens #{colour}"}
        signed = {
            "colors": [*LESS_SHADES, [0.0, 0.0, 0.0, 1.0], *MORE_SHADES],
            "controls": [0.0, 0.25, 0.5, 0.75, 1.0],
            "name": "phenolens difference",
        }
        for kind, title, colormap, limits in (
            ("source", name, shades, [low[index], high[index]]),
            ("translated", f"{name} · synthetic", shades, [low[index], high[index]]),
            ("difference", f"{name} · synthetic difference", signed, [-half, half]),
        ):
            about = {"made": True, "channel": name, "synthetic": kind != "source", "kind": kind}
            looks[kind].append({
                "name": title, "colormap": colormap, "contrast_limits": limits, "blending": "additive",
                "visible": kind == "source", "metadata": {"phenolens": about}, **place,
            })  # fmt: skip
    return looks


def labels_look(name: str, pixels: NDArray[Any], image: FieldImage, features: "DataFrame") -> dict[str, Any]:
    """The look of a label image (H, W) on the planes of a field, whose `features` lie in the table of its name."""
    columns = {("index" if column == "label" else str(column)): str(column) for column in features.columns}
    return {
        "kind": "labels", "name": name, "dtype": str(pixels.dtype), "shape": list(pixels.shape), **_place(image, "YX"),
        "metadata": {"phenolens": {"made": True, "synthetic": False, "kind": name}},
        "features": {
            "table": name, "columns": columns,
            "dtypes": {shown: str(features[stored].dtype) for shown, stored in columns.items()},
        },
    }  # fmt: skip


def _place(image: FieldImage, axes: str = "") -> dict[str, Any]:
    axes = axes or f"{image.stack_axes}YX"
    scales = [image.scale(axis) for axis in axes]
    return {
        "scale": [scale.step for scale in scales],
        "translate": [scale.start for scale in scales],
        "units": [scale.unit or "pixel" for scale in scales],
        "axis_labels": [axis.lower() for axis in axes],
    }
