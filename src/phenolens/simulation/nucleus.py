"""The nucleus: DNA with chromatin, nucleoli and chromocentres."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.simulation.canvas import Canvas
from phenolens.simulation.geometry import ANGLES, Cell, Patch, cell_rng, patch_around
from phenolens.simulation.styles import Style
from phenolens.simulation.textures import PERIOD, grain
from phenolens.simulation.treatments import CellState


def spots_inside(rng: np.random.Generator, radii: NDArray[Any], count: int, limit: float) -> NDArray[Any]:
    """Places (count, 2) inside an outline, at most `limit` of the way out, relative to the centre."""
    turn = rng.integers(0, ANGLES, count)
    way = limit * np.sqrt(rng.random(count)) * radii[turn]
    angle = turn * (2 * np.pi / ANGLES)
    return np.stack([way * np.sin(angle), way * np.cos(angle)], axis=1)


@dataclass(frozen=True)
class Nucleoli:
    """Nucleoli of a cell: places (n, 2) and sizes (n,) in px relative to its centre."""

    places: NDArray[Any]
    sizes: NDArray[Any]

    def shade(self, patch: Patch) -> NDArray[Any] | float:
        """Sum of the nucleoli as soft spots of height 1."""
        total: NDArray[Any] | float = 0.0
        for (y, x), size in zip(self.places, self.sizes, strict=True):
            total = total + patch.blob(float(y), float(x), float(size))
        return np.minimum(total, 1.0)


def nucleoli_of(cell: Cell, style: Style, seed: int) -> Nucleoli:
    """Nucleoli of a cell, the same in every channel."""
    rng = cell_rng(seed, cell.index, 1)
    count = int(min(rng.poisson(style.nucleoli), 6))
    scale = np.sqrt(np.mean(cell.nucleus**2))
    return Nucleoli(spots_inside(rng, cell.nucleus, count, 0.65), scale * rng.uniform(0.09, 0.2, count))


def draw_nucleus(
    canvas: Canvas, cell: Cell, style: Style, seed: int, nucleoli: Nucleoli, state: CellState, spread: float
) -> None:
    """Draw the DNA of a cell in its state, whose nucleus is `spread` times as large as it was born."""
    rng = cell_rng(seed, cell.index, 2)
    origin = (int(rng.integers(PERIOD)), int(rng.integers(PERIOD)))
    centres = spots_inside(rng, cell.nucleus, int(min(rng.poisson(style.chromocentres), 20)), 0.85)
    sizes = rng.uniform(0.05, 0.11, len(centres)) * style.nucleus_radius
    patch = patch_around(cell, cell.nucleus.max() + 2, canvas.shape)
    if patch is None:
        return
    inside = patch.inside(cell.nucleus, 1.4)
    if cell.mitotic:
        ragged = grain(2.0, origin, patch.top, patch.left, *patch.radius.shape)
        canvas.add(patch, np.float32(1.4 * cell.brightness[0]) * inside * (1 + 0.1 * ragged))
        return
    out = patch.fraction(cell.nucleus)
    light = (
        1 - np.float32(style.nucleus_dome) * out**2 + np.float32(style.nucleus_rim) * np.exp(-(((1 - out) / 0.12) ** 2))
    )
    size = patch.radius.shape
    texture = grain(style.chromatin_scale, origin, patch.top, patch.left, *size)
    coarse = grain(2.5 * style.chromatin_scale, origin, patch.top, patch.left, *size)
    light *= np.exp(np.float32(style.chromatin_contrast) * (0.7 * texture + 0.5 * coarse))
    light *= 1 - 0.55 * nucleoli.shade(patch)
    for (y, x), spot in zip(centres, sizes, strict=True):
        light += 0.9 * patch.blob(float(y), float(x), max(float(spot), 0.7))
    if state.chromatin_clumping:
        light = _clumped(light, inside, out, patch, origin, style, state.chromatin_clumping)
    if spread != 1:
        # A larger nucleus is also a flatter one: its DNA fills more pixels, each of them with less.
        light = light * np.float32(spread**-0.8)
    canvas.add(patch, 0.75 * cell.brightness[0] * inside * light)


def _clumped(
    light: NDArray[Any],
    inside: NDArray[Any],
    out: NDArray[Any],
    patch: Patch,
    origin: tuple[int, int],
    style: Style,
    amount: float,
) -> NDArray[Any]:
    """Gather the light of the DNA in clumps and at the rim, as much of it as there was."""
    scale = 0.19 * style.nucleus_radius
    # Cut from another place than the chromatin's own texture, or clumps would sit where that is bright.
    elsewhere = ((origin[0] + PERIOD // 2) % PERIOD, (origin[1] + PERIOD // 3) % PERIOD)
    clumps = grain(scale, elsewhere, patch.top, patch.left, *patch.radius.shape)
    rim = np.exp(-(((1 - out) / 0.16) ** 2))
    gathered = light * np.exp(np.float32(0.55 * amount) * clumps) * (1 + np.float32(0.5 * amount) * rim)
    kept: NDArray[Any] = gathered * (np.sum(inside * light) / max(np.sum(inside * gathered), 1e-6))
    return kept
