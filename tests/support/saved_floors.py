"""A noise floor for tests of what is shown against it."""

from typing import Any

import numpy as np

from phenolens.evaluation.noise.noise_floor import NoiseFloor


def floor_of(session: Any, low: float = 0.001) -> NoiseFloor:
    """A floor of the session's adapter in which control cells hardly change."""
    names = session.adapter.channel_names
    maxima = low * np.random.default_rng(0).uniform(1, 2, (3, 39, len(names)))
    guidance = session.translator.guidance
    return NoiseFloor((0.5, 1.0, 1.5), maxima, np.zeros(39, int), np.full(39, "w"), names, (), guidance, 1.0)
