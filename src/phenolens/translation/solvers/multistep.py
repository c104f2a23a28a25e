"""A two-step predictor-corrector for the probability-flow equation, in the variable in which it is smoothest.

With theta = arctan(s), x = alpha y follows dx/dtheta = v, v = alpha eps - sigma x0. As a function of log s, v is
nearly straight between levels, where eps is not: so v is taken as a straight line there, and integrated against
dtheta exactly.
"""

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
        alpha, sigma = alpha_sigma_at(s)
        v = alpha * noise - sigma * (self._predicted - s * noise)
        if self._before is None:
            x = alpha * self._predicted
            ahead = float(np.arctan(onward) - np.arctan(s)) * v
        else:
            s_before, x_before, v_before = self._before
            old, new = line_weights(s_before, s, s_before, s)
            x = x_before + old * v_before + new * v
            old, new = line_weights(s_before, s, s, onward)
            ahead = old * v_before + new * v
        self._before = s, x, v
        self._predicted = (x + ahead) / alpha_sigma_at(onward)[0]
        return self._predicted


def line_weights(one: float, other: float, start: float, end: float) -> tuple[float, float]:
    """Weights of the values at the levels `one` and `other`, whose straight line in log s is integrated d arctan(s).

    Parameters
    ----------
    start, end
        The levels between which it is integrated.
    """
    middle, half = np.log(start * end) / 2, np.log(end / start) / 2
    log_s = middle + half * _NODES
    # d arctan(s) = s / (1 + s**2) d log s
    measure = half * _WEIGHTS / (2 * np.cosh(log_s))
    share = (log_s - np.log(one)) / np.log(other / one)
    return float(((1 - share) * measure).sum()), float((share * measure).sum())
