"""How strongly to guide, so that strength 1 lands where the treated cells are."""

from collections.abc import Sequence

import numpy as np
import torch

from phenolens.runtime.progress import Job
from phenolens.translation.model.base import Base
from phenolens.translation.solvers import difference, invert
from phenolens.translation.training.discriminative import fit_progress

USUAL = 1.5
_LEAST, _MORE = 0.75, (1.25, USUAL, 2.0)
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

    def reached(weight: float) -> Job[float]:
        """How far of the way, where 1 is all."""
        delta = yield from difference(base.noise_at, trajectory, one, other, (1.0,), weight, mask)
        change = base.decode_change(latents, delta, moving)[0].cpu().numpy()
        return progress((cells + change)[:, free])

    known = [(1.0, (yield from reached(1.0)))]
    if known[0][1] > 1:
        known.insert(0, (_LEAST, (yield from reached(_LEAST))))
    else:
        for weight in _MORE:
            known.append((weight, (yield from reached(weight))))
            if known[-1][1] > 1:
                break
    (low, before), (high, after) = known[-2:]
    if before > 1:
        return low
    if after <= 1:
        return USUAL
    return float(np.interp(1.0, [before, after], [low, high]))
