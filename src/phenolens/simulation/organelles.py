"""The third channel: Golgi, puncta, a perinuclear network, or the membrane."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.simulation.canvas import Canvas
from phenolens.simulation.geometry import ANGLES, PHI, Cell, area, cell_rng, outline_of, patch_around
from phenolens.simulation.neurites import Neurites, somewhere_on
from phenolens.simulation.styles import Style
from phenolens.simulation.textures import PERIOD, grain
from phenolens.simulation.treatments import CellState


@dataclass(frozen=True)
class OrganelleTruth:
    """What is known of a cell's organelles: spread of the Golgi (px), number of puncta; NaN if not drawn."""

    golgi_spread: float = float("nan")
    puncta: float = float("nan")


def draw_organelles(
    canvas: Canvas, cell: Cell, style: Style, seed: int, state: CellState, neurites: Neurites | None
) -> OrganelleTruth:
    """Draw the organelles of a cell, and return what is known of them."""
    rng = cell_rng(seed, cell.index, 7)
    outline = outline_of(cell, state)
    _draw_haze(canvas, cell, style, outline, rng)
    if style.organelle == "golgi":
        return OrganelleTruth(golgi_spread=_draw_golgi(canvas, cell, style, outline, state, rng))
    if style.organelle == "puncta":
        return OrganelleTruth(puncta=_draw_puncta(canvas, cell, style, outline, state, neurites, rng))
    if style.organelle == "network":
        _draw_network(canvas, cell, style, outline, rng)
    return OrganelleTruth()


def _draw_haze(canvas: Canvas, cell: Cell, style: Style, outline: NDArray[Any], rng: np.random.Generator) -> None:
    origin = (int(rng.integers(PERIOD)), int(rng.integers(PERIOD)))
    ragged = np.exp(0.5 * np.cos(2 * PHI - rng.uniform(0, 6)) + 0.4 * np.cos(5 * PHI - rng.uniform(0, 6)))
    patch = patch_around(cell, outline.max(), canvas.shape)
    if patch is None:
        return
    out = np.minimum(patch.fraction(outline), 1)
    texture = grain(1.6, origin, patch.top, patch.left, *patch.radius.shape)
    light = np.float32(style.organelle_haze) * (1 - np.float32(style.cell_dome) * out**2) * (1 + 0.25 * texture)
    light *= 1 - 0.4 * patch.inside(cell.nucleus, 2.5)
    if style.organelle == "membrane":
        edge = (1 - out) * np.float32(np.sqrt(np.mean(outline**2)))
        light += (
            0.8
            * np.exp(-((edge / np.float32(1.3 + 0.04 * style.nucleus_radius)) ** 2))
            * (1 + 0.3 * texture)
            * ragged.astype(np.float32)[patch.direction]
        )
    if style.organelle == "network":
        ring = np.exp(-2.2 * np.maximum(out - 0.3, 0)) * (1 - patch.inside(cell.nucleus, 2.0))
        mesh = np.exp(-np.abs(grain(2.0, origin, patch.top, patch.left, *patch.radius.shape)) * 1.6)
        light += 0.7 * ring * mesh
    canvas.add(patch, cell.brightness[2] * patch.inside(outline, 1.5) * np.maximum(light, 0))


def _polar_places(
    turn: NDArray[Any], depth: NDArray[Any], cell: Cell, outline: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places in the cytoplasm: `turn` in radian, `depth` from the nucleus's edge (0) to the cell's (1)."""
    at = np.rint(turn * (ANGLES / (2 * np.pi))).astype(int) % ANGLES
    way = cell.nucleus[at] + depth * (outline[at] - cell.nucleus[at])
    return way * np.sin(turn), way * np.cos(turn)


def _draw_golgi(
    canvas: Canvas,
    cell: Cell,
    style: Style,
    outline: NDArray[Any],
    state: CellState,
    rng: np.random.Generator,
) -> float:
    stacks = int(np.clip(24 * style.organelle_count, 8, 60))
    side = rng.uniform(0, 2 * np.pi)
    # The ribbon winds beside the nucleus: depth waves as it turns.
    along = np.sort(rng.uniform(-1, 1, stacks))
    wave, phase = rng.uniform(2, 6), rng.uniform(0, 6)
    extent, loose = rng.uniform(0.35, 1.15), rng.uniform(0.02, 0.2)
    home_turn = side + extent * along + rng.normal(0, loose, stacks)
    gap = max(float(np.mean(outline - cell.nucleus)), 3.0)
    home_px = style.nucleus_radius * (0.16 + 0.22 * (1 + np.sin(wave * along + phase)) * rng.uniform(0.3, 1.2, stacks))
    home_depth = np.clip(home_px / gap, 0.05, 0.85)
    away_turn = side + np.pi * np.sign(along) * rng.uniform(0.02, 1.0, stacks)
    away_depth = 0.08 + 0.8 * rng.random(stacks) ** 0.8
    # Stacks leave one after the other, so a small dose already breaks the ribbon.
    start = rng.uniform(0, 0.45, stacks)
    way = np.clip((state.golgi_scatter - start) / (1 - start), 0, 1)
    way = np.where(state.golgi_scatter > 0, way, 0.0)
    turn = home_turn + way * (away_turn - home_turn)
    depth = home_depth + way * (away_depth - home_depth)
    y, x = _polar_places(turn, depth, cell, outline)
    light = rng.lognormal(-0.2, 0.6, stacks)
    # A stack is a short piece of ribbon while at home and a compact spot once away.
    tilt = home_turn + np.pi / 2 + rng.normal(0, 0.7, stacks)
    piece = np.linspace(-1, 1, 9) * (0.13 * style.nucleus_radius)
    length = (1 - 0.6 * way)[:, None] * piece
    py = y[:, None] + length * np.sin(tilt)[:, None]
    px = x[:, None] + length * np.cos(tilt)[:, None]
    weight = cell.brightness[2] * light[:, None] * np.full(9, 0.6) * (1 - 0.25 * way[:, None])
    canvas.points(cell.y + py, cell.x + px, weight)
    canvas.points(cell.y + py, cell.x + px, 0.5 * weight, width=1)
    mean_y, mean_x = np.average(y, weights=light), np.average(x, weights=light)
    return float(np.sqrt(np.average((y - mean_y) ** 2 + (x - mean_x) ** 2, weights=light)))


def _draw_puncta(
    canvas: Canvas,
    cell: Cell,
    style: Style,
    outline: NDArray[Any],
    state: CellState,
    neurites: Neurites | None,
    rng: np.random.Generator,
) -> float:
    usual = int(np.clip(30 * style.organelle_count * area(cell.outline) / 3000, 5, 120))
    extra = int(1.2 * usual) + 6
    total = usual + extra
    inward = rng.uniform(0.5, 2.0)
    y, x = _polar_places(rng.uniform(0, 2 * np.pi, total), rng.random(total) ** inward * 0.95, cell, outline)
    left = np.ones(total)
    if neurites is not None:
        on = rng.random(total) < 0.5
        ny, nx, share = somewhere_on(rng, neurites, total)
        y, x, left = np.where(on, ny, y), np.where(on, nx, x), np.where(on, share, 1.0)
    # The extra puncta appear one after the other as the dose rises.
    threshold = np.concatenate([np.full(usual, -1.0), rng.uniform(0, 0.9, extra)])
    shown = np.clip((state.puncta_gain - threshold) / 0.1, 0, 1)
    shown[:usual] = 1.0
    size = rng.random(total)
    light = rng.lognormal(0, 0.5, total) * (1 + 0.35 * state.puncta_gain) * shown * left
    thin = size < 0.65
    place_y, place_x = cell.y + y, cell.x + x
    canvas.points(place_y[thin], place_x[thin], 2.2 * cell.brightness[2] * light[thin])
    canvas.points(place_y[~thin], place_x[~thin], 6.0 * cell.brightness[2] * light[~thin], width=1)
    return float((shown * left > 0.5).sum())


def _draw_network(canvas: Canvas, cell: Cell, style: Style, outline: NDArray[Any], rng: np.random.Generator) -> None:
    worms = int(np.clip(45 * style.organelle_count * area(cell.outline) / 3000, 10, 120))
    turn = rng.uniform(0, 2 * np.pi, worms)
    depth = 0.9 * rng.random(worms) ** 1.6
    y, x = _polar_places(turn, depth, cell, outline)
    steps = np.arange(14)
    heading = turn + rng.normal(0, 0.9, worms)
    bend = heading[:, None] + np.cumsum(rng.normal(0, 0.22, (worms, 14)), axis=1)
    step = 0.055 * style.nucleus_radius
    wy = y[:, None] + step * np.cumsum(np.sin(bend), axis=1)
    wx = x[:, None] + step * np.cumsum(np.cos(bend), axis=1)
    light = rng.lognormal(0, 0.3, (worms, 1)) * (steps < rng.integers(5, 15, (worms, 1)))
    at = np.rint(np.arctan2(wy, wx) * (ANGLES / (2 * np.pi))).astype(int) % ANGLES
    light = light * np.clip((outline[at] - np.hypot(wy, wx)) / 2, 0, 1)
    canvas.points(cell.y + wy, cell.x + wx, 0.6 * cell.brightness[2] * light)
