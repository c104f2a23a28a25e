"""How the channels of an export look in a viewer where none was open: one contrast for source and translated."""

from collections.abc import Sequence
from typing import Any

from phenolens.screens.colours import LESS_SHADES, MORE_SHADES, channel_colour
from phenolens.screens.images import FieldImage

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


def _place(image: FieldImage) -> dict[str, Any]:
    axes = (*image.stack_axes, "Y", "X")
    scales = [image.scale(axis) for axis in axes]
    return {
        "scale": [scale.step for scale in scales],
        "translate": [scale.start for scale in scales],
        "units": [scale.unit or "pixel" for scale in scales],
        "axis_labels": [axis.lower() for axis in axes],
    }
