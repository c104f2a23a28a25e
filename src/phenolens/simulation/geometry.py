"""Places and outlines of cells; an outline is a radius in each of `ANGLES` directions from the centre."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from phenolens.simulation.styles import Style
from phenolens.simulation.textures import REACH
from phenolens.simulation.treatments import CellState

ANGLES = 512
PHI: NDArray[Any] = np.arange(ANGLES) * (2 * np.pi / ANGLES)
_COS, _SIN = np.cos(PHI), np.sin(PHI)


@dataclass(frozen=True)
class Cell:
    """One cell as it was born, before any treatment.

    Parameters
    ----------
    index
        Its number in the field, from 0; its label is one more.
    y, x
        Centre of the nucleus (whole px, may lie outside the field).
    nucleus, outline
        Radii of nucleus and cell (px) by direction, float64 (ANGLES,).
    axis
        Direction of the long axis (radian).
    brightness
        Factor on each channel.
    mitotic
        Whether its DNA is condensed.
    response, survival
        Strength of its response to a treatment (0 to 1), and its chance number for survival (0 to 1).
    """

    index: int
    y: int
    x: int
    nucleus: NDArray[Any]
    outline: NDArray[Any]
    axis: float
    brightness: tuple[float, float, float]
    mitotic: bool
    response: float
    survival: float


def cell_rng(seed: int, index: int, topic: int) -> np.random.Generator:
    """Random generator of one topic of one cell, the same whatever else is drawn."""
    return np.random.default_rng([int(seed), int(index), int(topic), 0xCE11])


def area(radii: NDArray[Any]) -> float:
    """Area inside an outline (px²)."""
    return float(0.5 * np.sum(radii**2) * (2 * np.pi / ANGLES))


def roundness(radii: NDArray[Any]) -> float:
    """4 pi area over squared perimeter of an outline: 1 for a disc."""
    y, x = radii * _SIN, radii * _COS
    perimeter = np.hypot(np.diff(y, append=y[0]), np.diff(x, append=x[0])).sum()
    return float(4 * np.pi * area(radii) / perimeter**2)


def _smooth_outline(
    rng: np.random.Generator,
    radius: float,
    elongation: float,
    irregularity: float,
    axis: float,
    falling: float,
) -> NDArray[Any]:
    ratio = 1 + elongation
    a, b = radius * np.sqrt(ratio), radius / np.sqrt(ratio)
    turned = PHI - axis
    ellipse = a * b / np.hypot(b * np.cos(turned), a * np.sin(turned))
    m = np.arange(1, 9)
    size = irregularity * rng.standard_normal(8) / m**falling
    size[0] *= 0.7
    phase = rng.uniform(0, 2 * np.pi, 8)
    bumps = (size[:, None] * np.cos(m[:, None] * PHI + phase[:, None])).sum(0)
    outline: NDArray[Any] = ellipse * np.exp(bumps)
    return outline


def _protrusions(rng: np.random.Generator, mean: float, radius: float) -> NDArray[Any]:
    count = int(rng.poisson(mean))
    angle = rng.uniform(0, 2 * np.pi, max(count, 1))
    width = rng.uniform(0.08, 0.3, max(count, 1))
    size = radius * rng.uniform(0.15, 1.0, max(count, 1)) * (count > 0)
    away = np.angle(np.exp(1j * (PHI - angle[:, None])))
    out: NDArray[Any] = (size[:, None] * np.exp(-0.5 * (away / width[:, None]) ** 2)).sum(0)
    return out


def cell_count(style: Style, shape: tuple[int, int]) -> int:
    """Count the cells that a field of `shape` usually has in this style."""
    territory = np.pi * (style.nucleus_radius * style.cell_ratio) ** 2
    count = style.confluence * shape[0] * shape[1] / territory
    densest = 160 * shape[0] * shape[1] / 512**2
    return max(1, round(min(count, densest)))


def _reach(radii: NDArray[Any], style: Style) -> NDArray[Any]:
    """Largest distance from its centre at which a nucleus of a given mean radius may lie."""
    reach: NDArray[Any] = 1.08 * np.sqrt(1 + style.nucleus_elongation) * radii
    return reach


def place(style: Style, seed: int, shape: tuple[int, int], n_cells: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Choose whole-pixel places (n, 2) and nucleus radii (n,), so that no nuclei overlap.

    Cells are also placed in a margin around the field, so that the field's border cuts through cells. The
    first `n_cells` that fit have their centre inside the field.
    """
    rng = np.random.default_rng([int(seed), 0x97ACE])
    margin = 1.2 * style.nucleus_radius * style.cell_ratio
    height, width = shape
    outer = round(n_cells * ((height + 2 * margin) * (width + 2 * margin) / (height * width) - 1))
    total = n_cells + outer
    radii = style.nucleus_radius * np.exp(style.nucleus_spread * rng.standard_normal(2 * total))
    radii = np.clip(radii, 0.6 * style.nucleus_radius, 1.7 * style.nucleus_radius)
    reach = _reach(radii, style)
    centres = np.empty((total, 2))
    kept: list[int] = []
    inside = 0
    for candidate in range(2 * total):
        n = len(kept)
        want_inside = candidate < 2 * n_cells
        if (want_inside and inside == n_cells) or n == total:
            continue
        for _ in range(20):
            if n and rng.random() < style.clustering:
                mother = int(rng.integers(n))
                gap = (reach[kept[mother]] + reach[candidate]) * rng.uniform(1.0, max(1.4, 0.8 * style.cell_ratio))
                turn = rng.uniform(0, 2 * np.pi)
                point = np.rint(centres[mother] + gap * np.array([np.sin(turn), np.cos(turn)]))
            else:
                point = np.rint(rng.uniform((-margin, -margin), (height + margin, width + margin)))
            within = bool(0 <= point[0] < height and 0 <= point[1] < width)
            beyond = min(point) < -margin or point[0] > height + margin or point[1] > width + margin
            if beyond or within != want_inside:
                continue
            if n:
                distance = np.hypot(*(centres[:n] - point).T)
                if np.any(distance < reach[kept] + reach[candidate]):
                    continue
            centres[n] = point
            kept.append(candidate)
            inside += within
            break
    return centres[: len(kept)].astype(int), radii[kept]


def make_cells(style: Style, seed: int, shape: tuple[int, int], n_cells: int | None = None) -> list[Cell]:
    """Draw the cells of a field: the same seed and style always give the same ones."""
    centres, radii = place(style, seed, shape, cell_count(style, shape) if n_cells is None else int(n_cells))
    cells = []
    for index, ((y, x), radius) in enumerate(zip(centres, radii, strict=True)):
        rng = cell_rng(seed, index, 0)
        axis = rng.uniform(0, 2 * np.pi)
        stretch = style.nucleus_elongation * rng.uniform(0.3, 1.0)
        nucleus = _smooth_outline(rng, radius, stretch, 2 * style.nucleus_irregularity, axis, 1.6)
        nucleus = np.minimum(nucleus, _reach(radius, style))
        size = radius * style.cell_ratio * np.exp(0.15 * rng.standard_normal())
        long = style.cell_elongation * rng.uniform(0.2, 1.3)
        outline = _smooth_outline(rng, size, long, style.cell_irregularity, axis + 0.3 * rng.standard_normal(), 0.7)
        outline = outline + _protrusions(rng, style.protrusions, size)
        mitotic = bool(rng.random() < style.mitotic)
        if mitotic:
            outline = 0.85 * size + 0.08 * (outline - size)
            nucleus = _smooth_outline(rng, 0.6 * radius, 1.3, 0.06, axis, 0.7)
            nucleus = np.minimum(nucleus, _reach(radius, style))
        wobble = 1 + 0.06 * np.cos(PHI[None] * [[5], [9], [14]] + rng.uniform(0, 2 * np.pi, (3, 1))).sum(0)
        outline = _bounded(outline, nucleus, centres, index, rng.uniform(0.95, 1.12) * wobble)
        overall = rng.standard_normal()
        spread = np.asarray(style.brightness_spread)
        brightness = np.exp(spread * (0.6 * overall + 0.8 * rng.standard_normal(3)) - spread**2 / 2)
        cells.append(
            Cell(
                index=index,
                y=int(y),
                x=int(x),
                nucleus=nucleus,
                outline=outline,
                axis=float(axis),
                brightness=(float(brightness[0]), float(brightness[1]), float(brightness[2])),
                mitotic=mitotic,
                response=float(1 - style.response_spread * rng.beta(1.2, 3.0)),
                survival=float(rng.random()),
            )
        )
    return cells


def _bounded(
    outline: NDArray[Any], nucleus: NDArray[Any], centres: NDArray[Any], index: int, overlap: NDArray[Any]
) -> NDArray[Any]:
    """Cut an outline at the lines halfway to the neighbours, and keep it around its nucleus."""
    away = np.delete(centres, index, axis=0) - centres[index]
    squared = (away**2).sum(1)
    away = away[squared < (2.2 * outline.max()) ** 2]
    if len(away):
        along = away[:, :1] * _SIN + away[:, 1:] * _COS
        with np.errstate(divide="ignore"):
            half = np.where(along > 0, 0.5 * overlap * (away**2).sum(1)[:, None] / along, np.inf)
        outline = np.minimum(outline, half.min(0))
    outline = gaussian_filter1d(outline, ANGLES / 120, mode="wrap")
    bounded: NDArray[Any] = np.minimum(np.maximum(outline, 1.15 * nucleus + 1.5), REACH - 4)
    return bounded


def _stretch(axis: float, elongation: float) -> NDArray[Any]:
    """Radii of an ellipse of the unit circle's area, long along `axis`."""
    ratio = np.sqrt(1 + elongation)
    stretched: NDArray[Any] = 1 / np.hypot(np.cos(PHI - axis) / ratio, np.sin(PHI - axis) * ratio)
    return stretched


def with_nucleus_in(cell: Cell, state: CellState) -> Cell:
    """Cell whose nucleus has the size and shape of a state; the same object where the state leaves it alone."""
    nucleus = cell.nucleus
    if state.nuclear_swelling:
        nucleus = nucleus * (1 + 0.22 * state.nuclear_swelling)
    if state.elongation:
        nucleus = nucleus * _stretch(cell.axis, 0.3 * state.elongation)
    return cell if nucleus is cell.nucleus else replace(cell, nucleus=nucleus)


def outline_of(cell: Cell, state: CellState) -> NDArray[Any]:
    """Outline of a cell in its state: rounded, shrunken, retracted or stretched cells keep their nucleus inside."""
    outline = cell.outline
    if state.rounding:
        disc = max(0.62 * np.sqrt(area(outline) / np.pi), 1.2 * np.sqrt(area(cell.nucleus) / np.pi))
        # Even a rounded cell keeps something of its own shape.
        own = gaussian_filter1d(outline, ANGLES / 12, mode="wrap")
        rest = disc * (1 + 0.2 * (own / own.mean() - 1))
        outline = outline + state.rounding * (rest - outline)
    if state.retraction:
        outline = outline * (1 - 0.04 * state.retraction)
    if state.elongation:
        outline = np.minimum(outline * _stretch(cell.axis, 1.3 * state.elongation), REACH - 4)
    if outline is not cell.outline or state.nuclear_swelling:
        outline = np.maximum(outline, 1.12 * cell.nucleus + 1.0)
    return outline


@lru_cache(maxsize=1)
def _polar() -> tuple[NDArray[Any], NDArray[Any]]:
    y, x = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]
    radius = np.hypot(y, x).astype(np.float32)
    direction = np.rint(np.arctan2(y, x) * (ANGLES / (2 * np.pi))).astype(np.int32) % ANGLES
    return radius, direction.astype(np.int16)


@dataclass(frozen=True)
class Patch:
    """The part of the field around a cell's centre, in the cell's polar coordinates.

    Parameters
    ----------
    rows, columns
        Where the patch lies in the field.
    top, left
        Its first row and column relative to the cell's centre.
    radius
        Distance from the centre (px), float32 (h, w).
    direction
        Index into an outline, int16 (h, w).
    """

    rows: slice
    columns: slice
    top: int
    left: int
    radius: NDArray[Any]
    direction: NDArray[Any]

    def inside(self, outline: NDArray[Any], softness: float = 1.0) -> NDArray[Any]:
        """How far each pixel is inside an outline: 1 inside, 0 outside, a ramp of `softness` px between."""
        limit = outline.astype(np.float32)[self.direction]
        share: NDArray[Any] = np.clip((limit - self.radius) / np.float32(softness) + np.float32(0.5), 0, 1)
        return share

    def fraction(self, outline: NDArray[Any]) -> NDArray[Any]:
        """Distance from the centre as a fraction of the outline's radius in that direction."""
        out: NDArray[Any] = self.radius * (1 / outline).astype(np.float32)[self.direction]
        return out

    def blob(self, y: float, x: float, size: float) -> NDArray[Any]:
        """Gaussian spot of height 1 at (y, x) relative to the cell's centre."""
        rows = np.exp(-0.5 * ((np.arange(self.top, self.top + self.radius.shape[0]) - y) / size) ** 2)
        columns = np.exp(-0.5 * ((np.arange(self.left, self.left + self.radius.shape[1]) - x) / size) ** 2)
        return (rows[:, None] * columns).astype(np.float32)


def patch_around(cell: Cell, reach: float, shape: tuple[int, int]) -> Patch | None:
    """Patch of the field within `reach` px of a cell's centre; None where that lies outside the field."""
    half = min(int(np.ceil(reach)) + 2, REACH)
    top, bottom = max(cell.y - half, 0), min(cell.y + half + 1, shape[0])
    left, right = max(cell.x - half, 0), min(cell.x + half + 1, shape[1])
    if top >= bottom or left >= right:
        return None
    radius, direction = _polar()
    rows = slice(top - cell.y + REACH, bottom - cell.y + REACH)
    columns = slice(left - cell.x + REACH, right - cell.x + REACH)
    return Patch(
        slice(top, bottom),
        slice(left, right),
        top - cell.y,
        left - cell.x,
        radius[rows, columns],
        direction[rows, columns],
    )
