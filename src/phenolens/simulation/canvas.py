"""A sheet of light on which cells draw one channel."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from phenolens.simulation.geometry import Patch

WIDTHS = (0.7, 1.8)
"""Standard deviations (px) of a thin and of a thick stroke."""


@dataclass
class Canvas:
    """Light of one channel: smooth patches, and strokes made of many points.

    Parameters
    ----------
    shape
        Height and width (px).
    """

    shape: tuple[int, int]
    smooth: NDArray[Any] = field(init=False)
    _points: dict[int, list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]] = field(init=False)

    def __post_init__(self) -> None:
        self.smooth = np.zeros(self.shape, np.float32)
        self._points = {0: [], 1: []}

    def add(self, patch: Patch, light: NDArray[Any]) -> None:
        """Add `light` (h, w) where `patch` lies."""
        self.smooth[patch.rows, patch.columns] += light

    def points(self, y: NDArray[Any], x: NDArray[Any], light: NDArray[Any], width: int = 0) -> None:
        """Add `light` at points (y, x) in field px, as spots of standard deviation ``WIDTHS[width]``."""
        y, x, light = np.broadcast_arrays(y, x, light)
        self._points[width].append((y.ravel(), x.ravel(), light.ravel()))

    def render(self) -> NDArray[Any]:
        """Return the light of patches and points together, float32 (H, W)."""
        image = self.smooth.copy()
        for width, strokes in self._points.items():
            if strokes:
                y, x, light = (np.concatenate(part) for part in zip(*strokes, strict=True))
                image += gaussian_filter(self._splat(y, x, light), WIDTHS[width], mode="constant", truncate=3.5)
        return image

    def _splat(self, y: NDArray[Any], x: NDArray[Any], light: NDArray[Any]) -> NDArray[Any]:
        # One ring of pixels around the field takes what falls just outside it.
        height, width = self.shape[0] + 2, self.shape[1] + 2
        near = (y > -1) & (x > -1) & (y < self.shape[0]) & (x < self.shape[1])
        y, x, light = y[near] + 1, x[near] + 1, light[near]
        row, column = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
        down, right = y - row, x - column
        at = row * width + column
        total = np.zeros(height * width)
        for step, share in (
            (0, (1 - down) * (1 - right)),
            (1, (1 - down) * right),
            (width, down * (1 - right)),
            (width + 1, down * right),
        ):
            total += np.bincount(at + step, light * share, minlength=height * width)[: height * width]
        return total.reshape(height, width)[1:-1, 1:-1].astype(np.float32)


def scatter_debris(sheets: list[Canvas], mean: float, seed: int) -> None:
    """Add specks and blurred floating cells, about `mean` in 512 x 512 px, that no treatment touches."""
    rng = np.random.default_rng([int(seed), 0xDEB415])
    height, width = sheets[0].shape
    for _ in range(int(rng.poisson(mean * height * width / 512**2))):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        size = rng.uniform(1.0, 2.5) if rng.random() < 0.6 else rng.uniform(6, 20)
        light = rng.dirichlet((0.7, 0.7, 0.7)) * (rng.uniform(0.5, 2) if size < 3 else rng.uniform(0.1, 0.5))
        top, left = max(int(y - 4 * size), 0), max(int(x - 4 * size), 0)
        rows = np.arange(top, min(int(y + 4 * size) + 1, height))
        columns = np.arange(left, min(int(x + 4 * size) + 1, width))
        spot = np.exp(-0.5 * ((rows - y) / size) ** 2)[:, None] * np.exp(-0.5 * ((columns - x) / size) ** 2)
        for sheet, share in zip(sheets, light, strict=True):
            sheet.smooth[top : top + len(rows), left : left + len(columns)] += (share * spot).astype(np.float32)
