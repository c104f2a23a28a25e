"""The second channel as a neuronal marker: somata, and branched neurites that taper."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.simulation.canvas import Canvas
from phenolens.simulation.geometry import ANGLES, Cell, cell_rng, outline_of, patch_around
from phenolens.simulation.styles import Style
from phenolens.simulation.textures import PERIOD, grain
from phenolens.simulation.treatments import CellState


@dataclass(frozen=True)
class Neurites:
    """Points of all neurites of a cell, one px apart, relative to its centre.

    Parameters
    ----------
    y, x
        Places (px).
    light
        Brightness of each point, 0 where a treatment has taken the neurite away.
    thickness
        From 0 (thin) to 1 (thick).
    """

    y: NDArray[Any]
    x: NDArray[Any]
    light: NDArray[Any]
    thickness: NDArray[Any]

    @property
    def length(self) -> float:
        """Length that is left (px)."""
        return float((self.light > 0.05).sum())


def _walk(rng: np.random.Generator, y: float, x: float, heading: float, length: int) -> tuple[NDArray[Any], ...]:
    turns = np.cumsum(rng.normal(0, 0.055, length)) + 0.25 * np.sin(
        np.arange(length) / rng.uniform(12, 30) + rng.uniform(0, 6)
    )
    angle = heading + turns - turns[0]
    return y + np.cumsum(np.sin(angle)), x + np.cumsum(np.cos(angle)), angle


def grow_neurites(cell: Cell, style: Style, seed: int, state: CellState) -> Neurites:
    """Grow the neurites of a cell: side branches are the first to go, and all get thinner and shorter."""
    rng = cell_rng(seed, cell.index, 5)
    mean = style.neurite_length * style.nucleus_radius
    parts: list[tuple[NDArray[Any], ...]] = []
    heading = rng.uniform(0, 2 * np.pi)
    count = 1 + int(min(rng.poisson(max(style.neurite_count - 1, 0)), 7))
    for primary in range(count):
        heading += 2 * np.pi / count * rng.uniform(0.7, 1.3)
        length = int(np.clip(mean * rng.lognormal(-0.2, 0.5) * (1.5 if primary == 0 else 0.8), 12, 420))
        start = cell.outline[int(heading / (2 * np.pi) * ANGLES) % ANGLES] * 0.75
        y, x, angle = _walk(rng, start * np.sin(heading), start * np.cos(heading), heading, length)
        trunk = rng.uniform(0.55, 1.0)
        parts.append(_branch(rng, y, x, state, fragility=rng.uniform(0.35, 0.6), trunk=trunk, order=0))
        for _ in range(int(rng.poisson(0.013 * length))):
            at = int(rng.integers(length // 5, length))
            away = angle[at] + rng.choice((-1, 1)) * rng.uniform(0.5, 1.2)
            branch_length = int(max(length * rng.uniform(0.15, 0.6), 8))
            by, bx, _ = _walk(rng, y[at], x[at], away, branch_length)
            fragility = rng.uniform(0.8, 1.4)
            # A branch whose stem has been lost is lost as well.
            stem = at / length
            parts.append(_branch(rng, by, bx, state, fragility + stem, 0.55 * trunk, 1))
    y, x, light, thickness = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Neurites(y, x, light, thickness)


def _branch(
    rng: np.random.Generator,
    y: NDArray[Any],
    x: NDArray[Any],
    state: CellState,
    fragility: float,
    trunk: float,
    order: int,
) -> tuple[NDArray[Any], ...]:
    along = np.linspace(0, 1, len(y))
    beads = 1 + 0.35 * np.sin(np.arange(len(y)) / rng.uniform(1.5, 5) + rng.uniform(0, 6))
    taper = trunk * (1 - 0.65 * along)
    limit = 1 - fragility * state.neurite_loss
    left = np.clip((limit - along) / 0.08, 0, 1) if state.neurite_loss else 1.0
    thinner = 1 - 0.65 * state.neurite_loss
    light = 2.6 * taper * beads * left * (1 - 0.35 * state.neurite_loss)
    return y, x, light, np.clip((1.1 if order == 0 else 0.4) * taper * thinner, 0, 1)


def draw_neurites(canvas: Canvas, cell: Cell, style: Style, seed: int, state: CellState) -> Neurites:
    """Draw the soma and the neurites of a cell, and return its neurites."""
    rng = cell_rng(seed, cell.index, 6)
    outline = outline_of(cell, state)
    origin = (int(rng.integers(PERIOD)), int(rng.integers(PERIOD)))
    neurites = grow_neurites(cell, style, seed, state)
    brightness = cell.brightness[1]
    patch = patch_around(cell, outline.max(), canvas.shape)
    if patch is not None:
        texture = grain(1.8, origin, patch.top, patch.left, *patch.radius.shape)
        out = np.minimum(patch.fraction(outline), 1)
        soma = (1.0 - 0.55 * out) * np.exp(np.float32(0.7 * style.cytoplasm_texture) * texture)
        soma *= 1 - 0.45 * patch.inside(cell.nucleus, 2.5)
        canvas.add(patch, brightness * patch.inside(outline, 3.0) * soma)
    thin = neurites.light * (1 - neurites.thickness) * style.filament_strength
    # A thick stroke spreads the light of a point over a wider line, and a thick neurite holds more of it.
    thick = 1.9 * neurites.light * neurites.thickness * style.filament_strength
    canvas.points(cell.y + neurites.y, cell.x + neurites.x, brightness * thin)
    canvas.points(cell.y + neurites.y, cell.x + neurites.x, brightness * thick, width=1)
    return neurites


def somewhere_on(rng: np.random.Generator, neurites: Neurites, count: int) -> tuple[NDArray[Any], ...]:
    """Draw `count` places on the neurites as they once grew, and the share of light left there (0 to 1)."""
    at = rng.integers(0, len(neurites.y), count)
    wander = rng.normal(0, 0.8, (2, count))
    return neurites.y[at] + wander[0], neurites.x[at] + wander[1], np.clip(neurites.light[at] / 0.3, 0, 1)
