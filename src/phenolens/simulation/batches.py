"""Batch effects: what differs from one day's work to the next, in the cells, their staining and their imaging."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from phenolens.simulation.plates import PlateEffect, random_plate
from phenolens.simulation.styles import Style


@dataclass(frozen=True)
class Batch:
    """One batch.

    Parameters
    ----------
    style
        Look of its cells: how well each structure took the stain, how large cells and nuclei are.
    plate
        Gain, background and focus that all of its plates share.
    density
        Factor on the number of cells.
    """

    style: Style
    plate: PlateEffect
    density: float

    def to_dict(self) -> dict[str, Any]:
        """Return every parameter by name, ready for JSON."""
        return asdict(self)


def random_batch(style: Style, strength: float, seed: int) -> Batch:
    """Draw a batch at random.

    Parameters
    ----------
    style
        Look of the cells where no batch effect is.
    strength
        0 for none, 1 for strong ones: brightness then changes by a third, background by two, and focus by 0.8 px.
    seed
        The same seed gives the same batch.
    """
    rng = np.random.default_rng([int(seed), 0xBA7C4])
    gain, background = np.exp(strength * rng.normal(0, 0.35, 3)), np.exp(strength * rng.normal(0, 0.7, 3))
    focus = np.minimum(strength * np.abs(rng.normal(0, 0.8, 3)), 2.0)
    stain = np.exp(strength * rng.normal(0, 1, 6) * (0.3, 0.4, 0.3, 0.6, 0.2, 0.2))
    size = np.exp(strength * rng.normal(0, 1, 2) * (0.05, 0.08))
    density = float(np.exp(strength * np.clip(rng.normal(0, 0.25), -0.5, 0.5)))
    glow = float(np.exp(strength * rng.normal(0, 0.4)))
    return Batch(
        style=replace(
            style,
            filament_strength=style.filament_strength * float(stain[0]),
            diffuse_strength=style.diffuse_strength * float(stain[1]),
            rim_strength=style.rim_strength * float(stain[2]),
            organelle_haze=style.organelle_haze * float(stain[3]),
            chromatin_contrast=style.chromatin_contrast * float(stain[4]),
            cytoplasm_texture=style.cytoplasm_texture * float(stain[5]),
            nucleus_radius=style.nucleus_radius * float(size[0]),
            cell_ratio=max(style.cell_ratio * float(size[1]), 1.3),
            glow=min(style.glow * glow, 0.6),
        ),
        plate=_effect(gain, background, focus),
        density=density,
    )


def plate_of(batch: Batch, strength: float, seed: int) -> PlateEffect:
    """Draw a plate of a batch: what the batch has, and a little of its own."""
    own = random_plate(seed)
    share = 0.5 * strength
    gain = np.asarray(batch.plate.gain) * np.asarray(own.gain) ** share
    background = np.asarray(batch.plate.background) * np.asarray(own.background) ** share
    return _effect(gain, background, np.hypot(batch.plate.focus, share * np.asarray(own.focus)))


def _effect(gain: Any, background: Any, focus: Any) -> PlateEffect:
    first, second, third = ((float(part[0]), float(part[1]), float(part[2])) for part in (gain, background, focus))
    return PlateEffect(first, second, third)
