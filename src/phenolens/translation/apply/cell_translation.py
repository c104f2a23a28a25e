"""A cell under another condition: the strengths that were computed, and what lies between them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from phenolens.runtime.errors import ModelError
from phenolens.screens.crops import Window, feather, paste, resample
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.apply.inverted_noise import InvertedNoise, inverted_noise
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.solvers import Trajectory


@dataclass(frozen=True, kw_only=True)
class CellTranslation:
    """A cell under another condition, at one or more strengths.

    Parameters
    ----------
    window
        Place of the crop in its field.
    settings
        How it was translated, nothing left open; its S strengths are those of `difference`.
    difference
        (S, C, size, size) float32, translated minus source in the field's intensity units, fading to
        zero at the crop's edge. Zero exactly at strength 0.
    conditions
        Names of the source and the target condition.
    trajectory
        The inverted latents, from which `Translator.move` makes further strengths; None for solvers without one.
    crop
        (C, size, size) the raw crop, in the field's dtype.
    evaluations
        How often the network saw the cell: for its inversion, and for all strengths.
    """

    window: Window
    settings: TranslationSettings
    difference: np.ndarray
    conditions: tuple[str, str]
    crop: np.ndarray
    trajectory: Trajectory | None = None
    evaluations: int = 0

    @property
    def strengths(self) -> tuple[float, ...]:
        """The S slider positions that were computed: 0 is the cell itself, 1 the target condition."""
        return self.settings.strengths

    @property
    def steps(self) -> int:
        """Solver steps behind it."""
        return self.settings.steps

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the channels that were left as they are."""
        return self.settings.held or ()

    @property
    def inverted_noise(self) -> InvertedNoise | None:
        """What the noise looks like that the cell was inverted into; None for solvers without a trajectory."""
        return None if self.trajectory is None else inverted_noise(self.trajectory.noise)

    def at(self, plane: np.ndarray, index: int = -1) -> np.ndarray:
        """A copy of `plane` (C, H, W) with the cell translated at the strength of `index`; dtype kept."""
        return paste(plane, self.window, self.difference[index])

    @property
    def known(self) -> dict[float, np.ndarray]:
        """The difference (C, size, size) at each strength that was computed, rising from 0, where it is zero."""
        differences = dict(zip(self.strengths, self.difference, strict=True))
        differences.setdefault(0.0, np.zeros(self.crop.shape, np.float32))
        return dict(sorted(differences.items()))

    def computed(self, strength: float) -> bool:
        """Whether the difference at `strength` was computed rather than interpolated; 0 always is."""
        return strength == 0 or strength in self.strengths

    def difference_at(self, strength: float) -> np.ndarray:
        """Difference (C, size, size) at `strength`, in the field's intensity units.

        Between two strengths that were computed it is their mean, weighted by how near they are.

        Raises
        ------
        ModelError
            Where `strength` is below 0 or beyond the highest strength that was computed: nothing is extrapolated.
        """
        known = self.known
        if strength in known:
            return known[strength]
        farthest = max(known)
        if not 0 < strength < farthest:
            raise ModelError(
                f"This cell was translated for strengths from 0 to {farthest:g}, and {strength:g} lies outside: "
                "translate it at that strength."
            )
        below = max(place for place in known if place < strength)
        above = min(place for place in known if place > strength)
        share = (strength - below) / (above - below)
        return np.asarray((1 - share) * known[below] + share * known[above], np.float32)

    def joined(self, other: "CellTranslation") -> "CellTranslation":
        """The translation `other` of the same cell, with the strengths of both; its own where both have one.

        Raises
        ------
        ValueError
            Where they are of two cells, of two directions, or hold different channels.
        """
        for name in ("window", "conditions", "held"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"translations with another {name} cannot be joined")
        if self.settings.solver != other.settings.solver:
            raise ValueError("translations with another solver cannot be joined")
        differences = dict(zip(self.strengths, self.difference, strict=True))
        differences |= dict(zip(other.strengths, other.difference, strict=True))
        places = tuple(sorted(differences))
        settings = replace(other.settings, strengths=places)
        return replace(other, settings=settings, difference=np.stack([differences[place] for place in places]))


def intensity_difference(
    intensity: IntensityMap, raw: np.ndarray, changes: np.ndarray, strengths: Sequence[float]
) -> np.ndarray:
    """(S, C, size, size) float32 in intensity units, of changes (S, C, crop, crop) of the mapped crop `raw`."""
    size = raw.shape[-1]
    fade = feather(size, max(2, size // 8))
    mapped = intensity.forward(raw)
    unchanged = intensity.inverse(mapped)
    out = np.zeros((len(strengths), *raw.shape), np.float32)
    for i, strength in enumerate(strengths):
        if strength != 0:
            change = resample(changes[i][None], size)[0] * fade
            out[i] = intensity.inverse(mapped + change) - unchanged
    return out
