"""Colours of channels, the same on the canvas and in thumbnails; safe for colour-blind eyes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from phenolens.screens.images import FieldImage

NUCLEUS = "#4db5ff"
OTHERS = ("#3ddc6e", "#e04fd8", "#ffb347", "#d9d9d9")

_PICTURE = {"red": "#ff0000", "green": "#00ff00", "blue": "#0000ff"}

_NUCLEAR_WORDS = ("dna", "dapi", "hoechst", "nuc", "draq")


def is_nuclear(name: str) -> bool:
    """Whether a channel's name says that it shows nuclei."""
    return any(word in name.lower() for word in _NUCLEAR_WORDS)


def channel_colours(names: Sequence[str], nucleus: int | None = None) -> list[str]:
    """A colour per channel: light blue for nuclei, then green, magenta, orange and grey for the others.

    The channels of a picture in colour have their own.
    """
    if tuple(names) == tuple(_PICTURE):
        return list(_PICTURE.values())
    if nucleus is None:
        nucleus = next((i for i, name in enumerate(names) if is_nuclear(name)), None)
    rest = [i for i in range(len(names)) if i != nucleus]
    colours = {i: OTHERS[min(place, len(OTHERS) - 1)] for place, i in enumerate(rest)}
    return [NUCLEUS if i == nucleus else colours[i] for i in range(len(names))]


def image_colours(names: Sequence[str], image: "FieldImage | None") -> list[str]:
    """Colours of an image's channels: those that its file states, else by the channels' names."""
    named = channel_colours(names)
    stated = () if image is None else image.details.displays
    if len(stated) != len(named):
        return named
    return [f"#{one.colour.lower()}" if one.colour else name for one, name in zip(stated, named, strict=True)]


def composite(channels: np.ndarray, low: np.ndarray, high: np.ndarray, colours: Sequence[str]) -> np.ndarray:
    """Add channels (C, H, W) up to an RGB picture (H, W, 3) uint8, each from its `low` to its `high` (C,)."""
    from phenolens.widgets.kit.style import rgb

    span = np.maximum(high - low, 1e-6)[:, None, None]
    light = np.clip((channels - low[:, None, None]) / span, 0, 1)
    picture = np.einsum("chw,ck->hwk", light, np.array([rgb(colour) for colour in colours]))
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)
