"""Images from noise alone, under a condition: what a model makes where there is no cell to start from."""

import numpy as np
import torch

from phenolens.runtime.progress import Job, Progress
from phenolens.translation.solvers import NoiseModel


@torch.no_grad()
def generate(noise: NoiseModel, start: torch.Tensor, tokens: torch.Tensor, grid: np.ndarray) -> Job[torch.Tensor]:
    """Integrate the probability-flow ODE from noise to a clean image.

    The scheme is DPM-Solver++(2M) (Lu et al., 2022, arXiv 2211.01095): exact where the predicted clean image stays the
    same over a step, and of second order in log s. One evaluation a step, and one for what is left at the clean end.

    Parameters
    ----------
    start
        (n, c, h, w) noise of variance 1; the same noise gives the same image.
    tokens
        (n, K, d) condition of each image.
    grid
        (N + 1,) values of s = sigma / alpha, from clean to noise.

    Returns
    -------
    (n, c, h, w) float32 clean latents.
    """
    steps = len(grid) - 1
    y = start.float() * float(grid[-1])
    before = None
    for i in range(steps, 0, -1):
        clean = y - float(grid[i]) * noise(y, grid[i], tokens)
        toward = clean
        if before is not None:
            ratio = np.log(grid[i] / grid[i - 1]) / (2 * np.log(grid[i + 1] / grid[i]))
            toward = (1 + ratio) * clean - ratio * before
        kept = float(grid[i - 1] / grid[i])
        y = kept * y + (1 - kept) * toward
        before = clean
        yield Progress(steps - i + 1, steps + 1, "Generating")
    y = y - float(grid[0]) * noise(y, grid[0], tokens)
    yield Progress(steps + 1, steps + 1, "Generating")
    return y
