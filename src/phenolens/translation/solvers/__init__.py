"""Inversion of an image into noise, and its translation under another condition.

In y = x / alpha and s = sigma / alpha the probability-flow ODE is dy/ds = eps(alpha y, s; c)
(Song et al., 2021, arXiv 2011.13456, in the variables of Karras et al., 2022, arXiv 2206.00364).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from phenolens.runtime.progress import Job
from phenolens.translation.solvers import difference_ode, edict, obelm
from phenolens.translation.solvers.ddim import stock_ddim
from phenolens.translation.solvers.difference_ode import difference, invert
from phenolens.translation.solvers.fine_noise import fine_part
from phenolens.translation.solvers.trajectory import NOTHING_DRAWN, NoiseModel, Renoise, Trajectory

__all__ = [
    "NOTHING_DRAWN",
    "SOLVERS",
    "WITH_TRAJECTORY",
    "NoiseModel",
    "Renoise",
    "Solver",
    "Trajectory",
    "difference",
    "fine_part",
    "invert",
    "stock_ddim",
]


@dataclass(frozen=True)
class Solver:
    """A solver whose inversion leaves a trajectory, from which any strength can be made.

    Parameters
    ----------
    invert
        Latents to noise under their own condition; arguments as of `invert`.
    translate
        The change that another condition makes; arguments as of `difference`.
    regenerate
        The latents again from the noise end alone, without what the inversion passed on its way.
    exact
        Whether `regenerate` undoes `invert` up to rounding.
    """

    invert: Callable[..., Job[Trajectory]]
    translate: Callable[..., Job[torch.Tensor]]
    regenerate: Callable[[NoiseModel, Trajectory, torch.Tensor], Job[torch.Tensor]]
    exact: bool


WITH_TRAJECTORY = {
    "difference": Solver(invert, difference, difference_ode.regenerate, exact=False),
    "obelm": Solver(obelm.invert, obelm.translate, obelm.regenerate, exact=True),
    "edict": Solver(edict.invert, edict.translate, edict.regenerate, exact=True),
}
SOLVERS = (*WITH_TRAJECTORY, "ddim")
