"""The second channel as a diffuse reporter that is shared between cytoplasm and nucleus."""

import numpy as np

from phenolens.simulation.canvas import Canvas
from phenolens.simulation.geometry import Cell, area, cell_rng, outline_of, patch_around
from phenolens.simulation.nucleus import Nucleoli
from phenolens.simulation.styles import Style
from phenolens.simulation.textures import PERIOD, grain
from phenolens.simulation.treatments import CellState


def draw_reporter(canvas: Canvas, cell: Cell, style: Style, seed: int, state: CellState, nucleoli: Nucleoli) -> float:
    """Draw a reporter of constant total, and return its nuclear over cytoplasmic concentration."""
    rng = cell_rng(seed, cell.index, 4)
    outline = outline_of(cell, state)
    origin = (int(rng.integers(PERIOD)), int(rng.integers(PERIOD)))
    own = np.exp(0.18 * rng.standard_normal())
    nucleus_area = area(cell.nucleus)
    cytoplasm_area = max(area(cell.outline) - nucleus_area, 0.2 * nucleus_area)
    rest, moved = style.nuclear_ratio * own, style.nuclear_ratio_treated * own
    total = cytoplasm_area + rest * nucleus_area
    share_rest = rest * nucleus_area / (rest * nucleus_area + cytoplasm_area)
    share_moved = moved * nucleus_area / (moved * nucleus_area + cytoplasm_area)
    share = share_rest + state.translocation * (share_moved - share_rest)
    nuclear = 0.55 * share * total / nucleus_area
    cytoplasmic = 0.55 * (1 - share) * total / cytoplasm_area
    patch = patch_around(cell, outline.max(), canvas.shape)
    if patch is not None:
        size = patch.radius.shape
        out = np.minimum(patch.fraction(outline), 1)
        texture = grain(2.0, origin, patch.top, patch.left, *size)
        coarse = grain(6.0, origin, patch.top, patch.left, *size)
        dome = np.float32(style.cell_dome)
        cytoplasm = (1 - dome * out**1.5) * np.float32(1 / (1 - 0.6 * style.cell_dome))
        cytoplasm = cytoplasm * np.exp(np.float32(style.cytoplasm_texture) * (0.8 * texture + coarse))
        inner = patch.inside(cell.nucleus, 2.0)
        nucleoplasm = (1 - 0.5 * nucleoli.shade(patch)) * (1 + 0.05 * texture)
        light = np.float32(cytoplasmic) * cytoplasm * (1 - inner) + np.float32(nuclear) * nucleoplasm * inner
        canvas.add(patch, cell.brightness[1] * patch.inside(outline, 1.6) * light)
    return float(nuclear / cytoplasmic)
