"""Pictures of cells for the lists beside the map: all at the screen's one contrast, never one of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ImageError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.crops import cut, resample, window_at
from phenolens.screens.large_images import Plane, plane_of
from phenolens.widgets.kit.channel_colours import composite

if TYPE_CHECKING:
    from phenolens.screens.intensity import IntensityMap
    from phenolens.screens.table import Screen

_WHOLE = 128  # side in pixels of the picture of a whole field

Wanted = tuple[int, str, tuple[float, float] | None]


def picture(pixels: NDArray[Any], intensity: IntensityMap, colours: Sequence[str]) -> NDArray[np.uint8]:
    """(h, w, 3) of pixels (C, h, w) in file units, from the screen's lowest to its highest intensity a channel."""
    low, high = np.array(intensity.low), np.array(intensity.high)
    return composite(np.asarray(pixels, np.float32), low, high, colours)


def thumbnails(
    screen: Screen,
    intensity: IntensityMap,
    wanted: Sequence[Wanted],
    size: int,
    shown: tuple[str, Callable[[], Plane]] | None,
    colours: Sequence[str],
) -> Job[None]:
    """Make pictures; each comes as the preview (row, picture), field by field.

    Parameters
    ----------
    wanted
        Row, key of its field, and its centre; None for a picture of the whole field.
    size
        Side in pixels of the square around a cell.
    shown
        Key of the field that is shown, and what gives its pixels, which need not be read again.
    colours
        One a channel.
    """
    done = 0
    for key in dict.fromkeys(field for _, field, _ in wanted):
        try:
            plane = shown[1]() if shown is not None and shown[0] == key else plane_of(screen[key].image())
        except ImageError:
            continue  # the neighbour stays in the list, without a picture
        for row, field, centre in wanted:
            if field != key:
                continue
            done += 1
            yield Progress(
                done, len(wanted), key, preview=(row, picture(_part(plane, centre, size), intensity, colours))
            )


def _part(plane: Plane, centre: tuple[float, float] | None, size: int) -> NDArray[Any]:
    if centre is not None:
        return cut(plane, window_at(*centre, size))
    height, width = plane.shape[-2:]
    side = min(height, width)
    square = cut(plane, window_at((height - 1) / 2, (width - 1) / 2, side))
    return resample(square, _WHOLE) if side > _WHOLE else square
