"""What of a large field's difference is beyond the noise floor, worked out where one looks."""

from collections.abc import Hashable

import numpy as np

from phenolens.evaluation.noise.noise_floor import NoiseFloor
from phenolens.evaluation.noise.significance import masked, significant
from phenolens.screens.crops import Window
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.apply.large_composite import LargeComposite
from phenolens.translation.apply.tile_pyramid import TilePyramid, highest, means

_TRUNCATED = 4.0  # standard deviations at which the Gaussian of `local_change` ends


def significant_tiles(
    composite: LargeComposite,
    intensity: IntensityMap,
    floor: NoiseFloor,
    alpha: float,
    strength: float,
    *,
    difference: bool = False,
) -> TilePyramid:
    """What `significant` finds in a large field, uint8; or the difference there, float32.

    Parameters
    ----------
    composite
        The field with its translated cells, as they are now.
    intensity, floor, alpha, strength
        As `significant` takes them.
    difference
        Give the difference where it is significant, and zero elsewhere.
    """
    reach = int(_TRUNCATED * floor.width + 0.5) + 1
    plane = composite.plane

    def draw(rows: slice, columns: slice, _: frozenset[Hashable]) -> np.ndarray:
        tops = [max(span.start - reach, 0) for span in (rows, columns)]
        wide = tuple(
            slice(top, min(span.stop + reach, length))
            for span, top, length in zip((rows, columns), tops, plane.shape[-2:], strict=True)
        )
        change = composite.tiles.part(0, *wide)
        mask = significant(plane[(slice(None), *wide)], change, intensity, floor, alpha, strength)
        inner = tuple(slice(s.start - top, s.stop - top) for s, top in zip((rows, columns), tops, strict=True))
        found = masked(change, mask) if difference else mask.astype(np.uint8)
        return np.asarray(found[(slice(None), *inner)])

    tiles = TilePyramid(plane.shape, np.float32 if difference else np.uint8, draw, means if difference else highest)
    for cell, window in composite.windows.items():
        tiles.put(cell, Window(window.y - reach, window.x - reach, window.size + 2 * reach))
    return tiles
