"""A two-step predictor-corrector for the probability-flow equation, in the variable in which it is smoothest.

With theta = arctan(s), x = alpha y follows dx/dtheta = v, v = alpha eps - sigma x0. As a function of log s, v is
nearly straight between levels, where eps is not: so v is taken as a straight line there, and integrated against
dtheta exactly.
"""

from collections.abc import Sequence

import numpy as np
import torch

from phenolens.translation.solvers.schedule import alpha_sigma_at

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


class PredictorCorrector:
    """Steps a state through levels of noise, either way, with one evaluation of the network a level.

    The network answers at the predicted state of a level. That answer first corrects the step that led there
    (trapezoid), then predicts the next one (two-step Adams-Bashforth). The corrected state is not evaluated again.
    The equation is linear in state and noise together, so differences of both are stepped in the same way.

    Parameters
    ----------
    y
        (n, c, h, w) scaled latents, or their difference, at the first level.
    """

    def __init__(self, y: torch.Tensor) -> None:
        self._predicted = y
        # The level before, the corrected x there, and v.
        self._before: tuple[float, torch.Tensor, torch.Tensor] | None = None

    def step(self, noise: torch.Tensor, s: float, onward: float) -> torch.Tensor:
        """The predicted state at the level `onward`, from the `noise` that the network answered with at `s`."""
        alpha, v = alpha_sigma_at(s)[0], velocity(self._predicted, noise, s)
        if self._before is None:
            x = alpha * self._predicted
            ahead = float(np.arctan(onward) - np.arctan(s)) * v
        else:
            s_before, x_before, v_before = self._before
            old, new = weights((s_before, s), s_before, s)
            x = x_before + old * v_before + new * v
            old, new = weights((s_before, s), s, onward)
            ahead = old * v_before + new * v
        self._before = s, x, v
        self._predicted = (x + ahead) / alpha_sigma_at(onward)[0]
        return self._predicted


def velocity(y: torch.Tensor, noise: torch.Tensor, s: float) -> torch.Tensor:
    """v = dx / dtheta of a scaled state y (or a difference of two) whose predicted noise at `s` is `noise`."""
    alpha, sigma = alpha_sigma_at(s)
    return alpha * noise - sigma * (y - s * noise)


def weights(levels: Sequence[float] | np.ndarray, start: float, end: float) -> list[float]:
    """Weights of the values at `levels`, whose polynomial in log s is integrated d arctan(s) from `start` to `end`."""
    middle, half = np.log(start * end) / 2, np.log(end / start) / 2
    log_s, known = middle + half * _NODES, np.log(levels)
    # d arctan(s) = s / (1 + s**2) d log s
    measure = half * _WEIGHTS / (2 * np.cosh(log_s))
    found = []
    for i, one in enumerate(known):
        others = np.delete(known, i)
        share = np.prod((log_s[:, None] - others) / (one - others), axis=1)
        found.append(float((share * measure).sum()))
    return found


def integral(v: Sequence[torch.Tensor], levels: np.ndarray, start: float, end: float) -> torch.Tensor:
    """What x changes from `start` to `end` where v is a polynomial in log s through its values at `levels`."""
    return torch.stack([c * one for c, one in zip(weights(levels, start, end), v, strict=True)]).sum(dim=0)
