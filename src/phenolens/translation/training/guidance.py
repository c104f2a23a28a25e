"""How strongly to guide, so that strength 1 lands where the treated cells are."""

from collections.abc import Sequence

import numpy as np
import torch

from phenolens.runtime.progress import Job
from phenolens.translation.model.base import Base
from phenolens.translation.solvers import difference, invert
from phenolens.translation.training.discriminative import fit_progress

USUAL = 1.5
_TRIED = (0.75, 1.0, 1.25, USUAL, 2.0)
_CELLS = 16
_STEPS = 12


def calibrate_guidance(
    base: Base, source: np.ndarray, target: np.ndarray, tokens: torch.Tensor, moving: Sequence[bool]
) -> Job[float]:
    """Weight of the condition difference at which translated control cells look as treated as treated cells do.

    A few control cells are translated with several weights. Taken is the weight, between those tried, at which the
    mean features of the channels that are translated have come all the way to the real treated cells. A weak model
    needs more, a strong one about 1; where twice is not enough, the usual weight is taken.

    Parameters
    ----------
    base
        The base with its fine-tuned weights.
    source, target
        (n, C, crop, crop) float32 mapped crops.
    tokens
        (3, d) float32: the token of the data set, of the source and of the target.
    moving
        For each channel whether it is translated.
    """
    free = np.flatnonzero(moving)
    if not len(free):
        return USUAL
    cells = source[:_CELLS]
    progress = fit_progress(cells[:, free], target[:, free])
    latents = base.encode(torch.from_numpy(cells))
    one, other = tokens[[0, 1]].to(base.device), tokens[[0, 2]].to(base.device)
    trajectory = yield from invert(
        base.noise_at, latents, one.expand(len(cells), *one.shape), base.schedule.grid(_STEPS)
    )
    mask = base.latent_mask(moving)
    delta = yield from difference(base.noise_at, trajectory, one, other, _TRIED, 1.0, mask)
    changes = base.decode_change(latents, delta, moving).cpu().numpy()
    reached = [progress((cells + change)[:, free]) for change in changes]
    first = next((i for i, value in enumerate(reached) if value > 1), None)
    if first is None:
        return USUAL
    if first == 0:
        return _TRIED[0]
    return float(np.interp(1.0, reached[first - 1 : first + 1], _TRIED[first - 1 : first + 1]))
