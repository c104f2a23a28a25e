"""Plate effects: what differs from plate to plate though the cells are the same."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PlateEffect:
    """Changes of staining and imaging on one plate, each by channel.

    Parameters
    ----------
    gain
        Factor on the cells' light.
    background
        Factor on the background.
    focus
        Extra blur, standard deviation in px.
    """

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    focus: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return every parameter by name, ready for JSON."""
        return asdict(self)


def random_plate(seed: int) -> PlateEffect:
    """Draw a plate effect at random; the same seed gives the same one."""
    rng = np.random.default_rng([int(seed), 0x91A7E])
    gain = np.exp(rng.normal(0, 0.12, 3))
    background = np.exp(rng.normal(0, 0.25, 3))
    focus = np.abs(rng.normal(0, 0.45, 3))
    return PlateEffect(
        (float(gain[0]), float(gain[1]), float(gain[2])),
        (float(background[0]), float(background[1]), float(background[2])),
        (float(focus[0]), float(focus[1]), float(focus[2])),
    )


def well_effect(plate: PlateEffect, seed: int) -> PlateEffect:
    """Effect of one well: that of its plate, with a slightly different amount of stain in each channel."""
    stain = np.exp(np.random.default_rng([int(seed), 0x3E11]).normal(0, 0.04, 3))
    gain = np.asarray(plate.gain) * stain
    return replace(plate, gain=(float(gain[0]), float(gain[1]), float(gain[2])))
