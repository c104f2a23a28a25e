"""The second channel as cytoskeleton: actin with cortical rim and stress fibres, or microtubules."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.simulation.canvas import Canvas
from phenolens.simulation.geometry import ANGLES, PHI, Cell, area, cell_rng, outline_of, patch_around
from phenolens.simulation.nucleus import spots_inside
from phenolens.simulation.styles import Style
from phenolens.simulation.textures import PERIOD, grain
from phenolens.simulation.treatments import CellState

AGGREGATES = 7


def draw_cytoskeleton(canvas: Canvas, cell: Cell, style: Style, seed: int, state: CellState) -> float:
    """Draw actin or microtubules of a cell, and return the light in its filaments."""
    rng = cell_rng(seed, cell.index, 3)
    outline = outline_of(cell, state)
    left = 1 - state.filament_loss
    brightness = cell.brightness[1]
    origin = (int(rng.integers(PERIOD)), int(rng.integers(PERIOD)))
    ruffle = np.exp(0.8 * np.cos(PHI - rng.uniform(0, 2 * np.pi)) + 0.5 * np.cos(3 * PHI - rng.uniform(0, 2 * np.pi)))
    # The same stuff in a smaller, thicker cell is brighter, and part of the filaments dissolves into it.
    thicker = min(area(cell.outline) / area(outline), 2.5)
    diffuse = style.diffuse_strength * (0.45 + 0.55 * thicker) + 0.12 * state.filament_loss
    patch = patch_around(cell, outline.max(), canvas.shape)
    if patch is not None:
        out = patch.fraction(outline)
        inside = patch.inside(outline, 1.5)
        texture = grain(2.2, origin, patch.top, patch.left, *patch.radius.shape)
        light = np.float32(diffuse) * (1 - np.float32(style.cell_dome) * np.minimum(out, 1) ** 1.5)
        light *= 1 + np.float32(style.cytoplasm_texture) * texture
        if style.second == "tubulin":
            light *= 1 - 0.35 * patch.inside(cell.nucleus, 3.0)
        else:
            edge = np.minimum((1 - out) * np.float32(np.sqrt(np.mean(outline**2))), 50)
            rim = np.exp(-((edge / np.float32(0.09 * style.nucleus_radius + 0.9)) ** 2))
            light += np.float32(0.7 * style.rim_strength * left**1.5) * rim * ruffle.astype(np.float32)[patch.direction]
        canvas.add(patch, brightness * inside * np.maximum(light, 0))
    if style.second == "tubulin":
        y, x, light = _microtubules(rng, cell, outline, style, state.bundling)
    else:
        y, x, light = _stress_fibres(rng, cell, outline, style, state.bundling)
    # Fibres go one after the other, each along its whole length.
    order = rng.random((len(y), 1))
    keep = np.clip((left - 0.9 * order) / 0.1, 0, 1) * np.sqrt(left)
    light = light * keep * style.filament_strength
    canvas.points(cell.y + y, cell.x + x, brightness * light * (1 - 0.5 * state.bundling))
    if state.bundling:
        canvas.points(cell.y + y, cell.x + x, brightness * light * 0.5 * state.bundling, width=1)
    spots = spots_inside(rng, outline, AGGREGATES, 0.9)
    glow = state.filament_loss * rng.uniform(2, 14, AGGREGATES) * style.filament_strength
    if state.filament_loss:
        canvas.points(cell.y + spots[:, 0], cell.x + spots[:, 1], brightness * glow, width=1)
    return float(light.sum())


def _microtubules(
    rng: np.random.Generator, cell: Cell, outline: NDArray[Any], style: Style, bundling: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    count = max(int(85 * style.filament_density * np.sqrt(area(cell.outline)) / 60), 10)
    size = np.sqrt(np.mean(cell.outline**2))
    steps = int(1.6 * size)
    # One organising centre at the nucleus's edge; some filaments start anywhere around the nucleus instead.
    side = int(rng.integers(ANGLES))
    start = np.where(rng.random(count) < style.microtubules_centred, side, rng.integers(0, ANGLES, count))
    start_way = np.where(start == side, 0.9, rng.uniform(0.7, 1.5, count)) * cell.nucleus[start]
    end = (start + np.rint(rng.normal(0, 110, count)).astype(int)) % ANGLES
    spread = rng.random(count) < 0.5
    end = np.where(spread, rng.integers(0, ANGLES, count), end)
    end_share = rng.uniform(0.65, 0.99, count)
    bend = 0.14 * size * rng.standard_normal((2, count))
    if bundling:
        start, end = (_gathered(turn, cell.axis, bundling) for turn in (start, end))
        bend = bend * (1 - 0.8 * bundling)
    end_way = outline[end] * end_share
    first = np.stack([start_way * np.sin(PHI[start]), start_way * np.cos(PHI[start])])
    last = np.stack([end_way * np.sin(PHI[end]), end_way * np.cos(PHI[end])])
    middle = 0.5 * (first + last) + bend
    t = np.linspace(0, 1, steps)
    curve = first[..., None] * (1 - t) ** 2 + 2 * middle[..., None] * t * (1 - t) + last[..., None] * t**2
    wave = rng.uniform(0, 2 * np.pi, (2, count, 1)) + t * rng.uniform(4, 11, (2, count, 1))
    curve = curve + 0.025 * size * np.sin(wave) * np.sin(np.pi * t)
    y, x = curve
    light = np.full(y.shape, 0.6) * rng.uniform(0.5, 1.2, (count, 1))
    light *= _within(y, x, outline) * (1 - 0.45 * _within(y, x, cell.nucleus))
    return y, x, light


def _gathered(turn: NDArray[Any], axis: float, bundling: float) -> NDArray[Any]:
    """Directions (index into an outline) drawn towards the nearest of five bundles."""
    apart = ANGLES / 5
    first = axis * (ANGLES / (2 * np.pi))
    bundle = first + apart * np.rint((turn - first) / apart)
    gathered: NDArray[Any] = np.rint(turn + 0.9 * bundling * (bundle - turn)).astype(int) % ANGLES
    return gathered


def _stress_fibres(
    rng: np.random.Generator, cell: Cell, outline: NDArray[Any], style: Style, bundling: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    count = max(int(26 * style.filament_density * np.sqrt(area(cell.outline)) / 60), 6)
    size = np.sqrt(np.mean(cell.outline**2))
    steps = int(1.8 * size)
    turn = (
        cell.axis + rng.normal(0, 0.13, (count, 1)) + (rng.random((count, 1)) < 0.15) * rng.normal(0, 0.7, (count, 1))
    )
    offset = rng.uniform(-0.95, 0.95, (count, 1)) * size
    length = rng.uniform(0.25, 1.15, (count, 1)) * size
    shift = rng.uniform(-0.4, 0.4, (count, 1)) * size
    t = np.linspace(-1, 1, steps)
    bow = 0.05 * size * rng.normal(0, 1, (count, 1))
    if bundling:
        apart = 0.42 * size
        offset = offset + 0.94 * bundling * (apart * np.rint(offset / apart) - offset)
        turn = turn + 0.9 * bundling * (cell.axis - turn)
        bow = bow * (1 - 0.7 * bundling)
    along = shift + length * t
    across = offset + bow * (1 - t**2)
    y = along * np.sin(turn) + across * np.cos(turn)
    x = along * np.cos(turn) - across * np.sin(turn)
    light = rng.gamma(2.0, 0.45, (count, 1)) * (1 - t**4) * (1 + 0.25 * np.sin(along * 0.9))
    return y, x, light * _within(y, x, outline)


def _within(y: NDArray[Any], x: NDArray[Any], outline: NDArray[Any]) -> NDArray[Any]:
    direction = np.rint(np.arctan2(y, x) * (ANGLES / (2 * np.pi))).astype(int) % ANGLES
    inside: NDArray[Any] = np.clip((outline[direction] - np.hypot(y, x)) / 2, 0, 1)
    return inside
