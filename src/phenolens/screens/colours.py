"""Channels as one picture in colour."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# The nucleus channel usually comes first: blue; the next ones in a pair that stays apart for colour-blind eyes.
_COLOURS = np.array(
    [
        [0.25, 0.45, 1.0], [1.0, 0.75, 0.2], [0.75, 0.25, 0.85], [0.2, 0.8, 0.5],
        [0.9, 0.35, 0.25], [0.4, 0.8, 0.95], [0.7, 0.7, 0.7], [0.95, 0.6, 0.75],
    ],
    np.float32,
)  # fmt: skip
# What is less goes from black through blue, what is more through orange; from one end of the scale to the other.
LESS_SHADES = [[0.486, 0.769, 1.0, 1.0], [0.122, 0.435, 0.816, 1.0]]
MORE_SHADES = [[0.851, 0.329, 0.118, 1.0], [1.0, 0.753, 0.541, 1.0]]
_LESS, _MORE = np.array([0.12, 0.55, 1.0], np.float32), np.array([1.0, 0.4, 0.1], np.float32)


def coloured(mapped: NDArray[np.float32], channel: int | None = None) -> NDArray[np.float32]:
    """Show a mapped crop (C, h, w), where -1 is dark and 1 bright, as RGB (h, w, 3); not clipped at 1.

    Parameters
    ----------
    channel
        The one to show in grey; all of them in colour where None.
    """
    light = np.clip((mapped + 1) / 2, 0, 1)
    if channel is not None:
        return np.repeat(light[channel][..., None], 3, axis=-1)
    return np.asarray(np.tensordot(light, np.resize(_COLOURS, (len(light), 3)), axes=(0, 0)), np.float32)


def channel_colour(channel: int) -> str:
    """Colour that `coloured` gives a channel by its place, as six hexadecimal digits."""
    return "".join(f"{round(255 * float(part)):02X}" for part in _COLOURS[channel % len(_COLOURS)])


def signed(change: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Show a mapped change (h, w) of one channel, -1 to 1, as RGB (h, w, 3): blue less, black none, orange more."""
    size = np.clip(np.abs(change), 0, 1)[..., None]
    return np.asarray(size * np.where(change[..., None] < 0, _LESS, _MORE), np.float32)
