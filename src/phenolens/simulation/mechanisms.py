"""Mechanisms of simulated compounds: which changes of a cell each of them brings about."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from phenolens.runtime.errors import ScreenError
from phenolens.simulation.styles import Organelle, Second, Style, random_style
from phenolens.simulation.treatments import UNTREATED, CellState

SECONDS: tuple[Second, ...] = ("actin", "tubulin")
ORGANELLES: tuple[Organelle, ...] = ("golgi",)

_SIGNED = ("nuclear_swelling",)


@dataclass(frozen=True)
class Effect:
    """What acts on the cells of a well.

    Parameters
    ----------
    changes
        How far each named property of `CellState` is moved in a cell that responds fully.
    lost
        Share of the cells that is gone, 0 to 1.
    """

    changes: Mapping[str, float] = field(default_factory=dict)
    lost: float = 0.0

    def scaled(self, amount: float) -> "Effect":
        """Return the effect `amount` times as strong."""
        return Effect({name: amount * change for name, change in self.changes.items()}, amount * self.lost)

    def plus(self, other: "Effect") -> "Effect":
        """Return both effects together, none of them beyond full."""
        names = (*self.changes, *(name for name in other.changes if name not in self.changes))
        total = {name: self.changes.get(name, 0.0) + other.changes.get(name, 0.0) for name in names}
        return Effect(total, 1 - (1 - self.lost) * (1 - other.lost))

    def state(self, response: float, survival: float) -> CellState:
        """State of a cell of a given response (0 to 1), lost where its chance `survival` falls below the share."""
        if not self.lost and not any(self.changes.values()):
            return UNTREATED
        moved = {
            name: min(max(response * change, -1.0 if name in _SIGNED else 0.0), 1.0)
            for name, change in self.changes.items()
        }
        return CellState(survives=bool(self.lost <= survival), **moved)


NO_EFFECT = Effect()

MECHANISMS: dict[str, Effect] = {
    "filament loss": Effect({"filament_loss": 0.4, "rounding": 0.3}, lost=0.05),
    "filament bundling": Effect({"bundling": 0.9, "retraction": 0.5}),
    "Golgi scatter": Effect({"golgi_scatter": 0.8}),
    "nuclear swelling": Effect({"nuclear_swelling": 0.65}),
    "chromatin condensation": Effect({"chromatin_clumping": 0.45, "nuclear_swelling": -0.25}),
    "elongation": Effect({"elongation": 0.55, "filament_loss": 0.1}),
}
"""Full effect of each mechanism, from the plain to the subtle and in no order."""


_MIXED = (
    "rounding", "filament_loss", "translocation", "neurite_loss", "puncta_gain", "golgi_scatter", "retraction",
    "bundling", "elongation", "nuclear_swelling", "chromatin_clumping",
)  # fmt: skip


def random_effect(rng: np.random.Generator) -> Effect:
    """Draw an effect over all that the simulator can change: a mechanism, or one to four properties of a cell."""
    lost = float(rng.uniform(0.0, 0.4)) if rng.random() < 0.3 else 0.0
    if rng.random() < 0.4:
        known = MECHANISMS[str(rng.choice(list(MECHANISMS)))].scaled(float(rng.uniform(0.35, 1.0)))
        return known.plus(Effect(lost=lost))
    chosen = [str(name) for name in rng.choice(_MIXED, int(rng.integers(1, 5)), replace=False)]
    signs = {name: -1.0 if name in _SIGNED and rng.random() < 0.5 else 1.0 for name in chosen}
    return Effect({name: signs[name] * float(rng.uniform(0.2, 1.0)) for name in chosen}, lost)


def check_shows_mechanisms(style: Style) -> None:
    """Refuse a style in which a mechanism would not show.

    Raises
    ------
    ScreenError
        Its second channel is no cytoskeleton, or its third is not the Golgi.
    """
    if style.second not in SECONDS or style.organelle not in ORGANELLES:
        raise ScreenError(
            f"The mechanisms of simulated compounds act on {' or '.join(SECONDS)} and on the Golgi, but this style "
            f"shows {style.second} and {style.organelle}: draw a style with compound_style(seed)."
        )


def compound_style(seed: int) -> Style:
    """Draw a style at random in which every mechanism shows.

    Parameters
    ----------
    seed
        The same seed gives the same style.
    """
    style = random_style(seed)
    return replace(
        style,
        second=SECONDS[int(seed) % len(SECONDS)],
        organelle=ORGANELLES[0],
        nucleus_radius=_within(style.nucleus_radius, 10.0, 13.0),
        nucleus_elongation=_within(style.nucleus_elongation, 0.1, 0.4),
        nucleus_spread=_within(style.nucleus_spread, 0.06, 0.12),
        chromatin_contrast=_within(style.chromatin_contrast, 0.08, 0.3),
        chromocentres=0.0,
        cell_ratio=_within(style.cell_ratio, 2.1, 2.6),
        cell_elongation=_within(style.cell_elongation, 0.1, 0.6),
        clustering=_within(style.clustering, 0.0, 0.4),
        filament_strength=_within(style.filament_strength, 0.55, 1.0),
        filament_density=_within(style.filament_density, 0.8, 1.5),
        organelle_haze=_within(style.organelle_haze, 0.01, 0.15),
        channel_strength=(
            _within(style.channel_strength[0], 0.6, 1.2),
            _within(style.channel_strength[1], 0.6, 1.2),
            _within(style.channel_strength[2], 0.6, 1.2),
        ),
        psf=_within(style.psf, 0.6, 1.1),
        glow=_within(style.glow, 0.0, 0.2),
        photons=max(style.photons, 200.0),
        read_noise=min(style.read_noise, 3.0),
        background=min(style.background, 0.08),
        # Batches change the gain, which must not end at the camera's ceiling.
        gain=_within(style.gain, 1000.0, 3000.0),
        offset=max(style.offset, 50.0),
        ceiling=65535,
        bleed=0.0,
        pixel_size=7.0 / _within(style.nucleus_radius, 10.0, 13.0),
    )


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
