"""Styles: what the cells of one simulated screen look like, and how they are imaged."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from phenolens.runtime.errors import ScreenError

Second = Literal["actin", "tubulin", "reporter", "neurites"]
Organelle = Literal["golgi", "puncta", "network", "membrane"]

SECONDS: tuple[Second, ...] = ("actin", "tubulin", "reporter", "neurites")
ORGANELLES: tuple[Organelle, ...] = ("golgi", "puncta", "network", "membrane")

# The channel kinds that each treatment acts on, and so needs; None means any.
NEEDS: dict[str, tuple[tuple[Second, ...] | None, tuple[Organelle, ...] | None]] = {
    "latrunculin": (("actin", "tubulin"), None),
    "translocation": (("reporter",), None),
    "lrrk2": (("neurites",), ("puncta",)),
    "nocodazole": (("actin", "reporter"), ("golgi",)),
    "null": (None, None),
}


@dataclass(frozen=True)
class Style:
    """Look of the cells and of the imaging of a screen. Lengths are in px, light relative to a bright cell.

    Parameters
    ----------
    second, organelle
        What the second and the third channel show.
    nucleus_radius, nucleus_spread
        Mean radius of the nuclei, and its relative spread from cell to cell.
    nucleus_elongation, nucleus_irregularity
        Long over short axis minus 1, and relative amplitude of the outline's bumps.
    chromatin_contrast, chromatin_scale, nucleoli, chromocentres, nucleus_dome, nucleus_rim
        Texture of the DNA: contrast and grain (px), mean number of dark nucleoli and bright chromocentres,
        fall of the brightness towards the edge, and brightness of the rim.
    mitotic
        Share of cells with condensed, bright DNA.
    cell_ratio, cell_elongation, cell_irregularity, protrusions
        Cell radius over nucleus radius, long over short axis minus 1, amplitude of bumps, mean number of
        protrusions.
    microtubules_centred
        Share of the microtubules that start at one organising centre; the others start all around the
        nucleus.
    confluence, clustering
        Share of the field that the cells would cover, and the chance that a cell sits beside another one.
    cell_dome
        How much thinner (dimmer) the cytoplasm is at its edge than around the nucleus, 0 to 1.
    filament_density, filament_strength, diffuse_strength, rim_strength, cytoplasm_texture
        Number of filaments relative to the usual one, and brightness of filaments, diffuse part, cortical rim
        and texture of the second channel.
    nuclear_ratio, nuclear_ratio_treated
        Nuclear over cytoplasmic concentration of the reporter at rest, and where it is fully moved.
    neurite_count, neurite_length
        Mean number of primary neurites, and their length over the nucleus radius.
    organelle_count, organelle_haze
        Number of organelles relative to the usual one, and brightness of the diffuse part.
    brightness_spread
        Standard deviation of the logarithm of a cell's brightness, by channel.
    channel_strength
        Brightness of each channel relative to the others.
    response_spread
        How much weaker than the strongest the weakest cells respond, 0 to 1.
    psf
        Standard deviation of the blur (px).
    glow, glow_radius
        Share of the light out of focus, and its radius (px).
    photons, read_noise
        Photons of a bright pixel, and read noise in photons.
    debris
        Mean number of bright specks and blurred floating cells in 512 x 512 px.
    background, shading, bleed
        Background relative to a bright cell, loss of light at the corners, and share of each channel that
        shows in the next one.
    gain, offset, ceiling
        Grey levels of a bright pixel, of no light, and the largest that the camera gives.
    pixel_size
        µm per pixel.
    """

    second: Second = "actin"
    organelle: Organelle = "golgi"
    nucleus_radius: float = 12.0
    nucleus_spread: float = 0.12
    nucleus_elongation: float = 0.25
    nucleus_irregularity: float = 0.04
    chromatin_contrast: float = 0.2
    chromatin_scale: float = 2.0
    nucleoli: float = 2.5
    chromocentres: float = 0.0
    nucleus_dome: float = 0.4
    nucleus_rim: float = 0.1
    mitotic: float = 0.02
    cell_ratio: float = 2.3
    cell_elongation: float = 0.3
    cell_irregularity: float = 0.12
    protrusions: float = 1.0
    confluence: float = 0.6
    clustering: float = 0.3
    cell_dome: float = 0.5
    microtubules_centred: float = 0.4
    filament_density: float = 1.0
    filament_strength: float = 0.7
    diffuse_strength: float = 0.35
    rim_strength: float = 0.6
    cytoplasm_texture: float = 0.2
    nuclear_ratio: float = 0.5
    nuclear_ratio_treated: float = 3.5
    neurite_count: float = 4.0
    neurite_length: float = 8.0
    organelle_count: float = 1.0
    organelle_haze: float = 0.1
    brightness_spread: tuple[float, float, float] = (0.2, 0.3, 0.3)
    channel_strength: tuple[float, float, float] = (1.0, 0.9, 0.9)
    response_spread: float = 0.5
    psf: float = 0.9
    glow: float = 0.1
    glow_radius: float = 8.0
    photons: float = 400.0
    read_noise: float = 2.0
    debris: float = 1.0
    background: float = 0.03
    shading: float = 0.15
    bleed: float = 0.0
    gain: float = 3000.0
    offset: float = 150.0
    ceiling: int = 65535
    pixel_size: float = 0.6

    @property
    def channel_names(self) -> tuple[str, str, str]:
        """Names of the three channels."""
        return ("DNA", "Reporter" if self.second == "reporter" else "Cytoskeleton", "Organelle")

    def to_dict(self) -> dict[str, Any]:
        """Return every parameter by name, ready for JSON."""
        return asdict(self)


def _between(rng: np.random.Generator, low: float, high: float, log: bool = False) -> float:
    value = np.exp(rng.uniform(np.log(low), np.log(high))) if log else rng.uniform(low, high)
    return float(value)


def random_style(seed: int) -> Style:
    """Draw a style at random, over a wide variety of cells and microscopes.

    Parameters
    ----------
    seed
        The same seed gives the same style.
    """
    rng = np.random.default_rng([int(seed), 0x57E1E])
    second = SECONDS[int(rng.choice(4, p=(0.3, 0.25, 0.3, 0.15)))]
    organelle = ORGANELLES[int(rng.choice(4, p=(0.3, 0.3, 0.25, 0.15)))]
    radius = _between(rng, 7.5, 18.0, log=True)
    noisy = rng.random() < 0.3
    eight_bit = rng.random() < 0.35
    mouse = rng.random() < 0.2
    confocal = rng.random() < 0.3
    dominant = rng.random() < 0.15
    strength = rng.uniform(0.55, 1.15, 3)
    if dominant:
        strength[1:] *= 0.25
    return Style(
        second=second,
        organelle=organelle,
        nucleus_radius=radius,
        nucleus_spread=_between(rng, 0.05, 0.2),
        nucleus_elongation=_between(rng, 0.05, 0.7),
        nucleus_irregularity=_between(rng, 0.01, 0.09, log=True),
        chromatin_contrast=_between(rng, 0.05, 0.45),
        chromatin_scale=_between(rng, 0.9, 3.2) * radius / 13,
        nucleoli=_between(rng, 0.0, 4.5),
        chromocentres=_between(rng, 4, 14) if mouse else 0.0,
        nucleus_dome=_between(rng, 0.0, 0.7),
        nucleus_rim=_between(rng, 0.0, 0.4),
        mitotic=_between(rng, 0.0, 0.06),
        cell_ratio=_between(rng, 1.3, 1.8) if second == "neurites" else _between(rng, 1.7, 3.3),
        cell_elongation=_between(rng, 0.0, 1.7),
        cell_irregularity=_between(rng, 0.03, 0.25),
        protrusions=_between(rng, 0.0, 3.5),
        confluence=_between(rng, 0.15, 0.4) if second == "neurites" else _between(rng, 0.2, 1.15),
        clustering=_between(rng, 0.0, 0.85),
        cell_dome=_between(rng, 0.35, 0.97),
        microtubules_centred=_between(rng, 0.05, 0.7),
        filament_density=_between(rng, 0.5, 1.8),
        filament_strength=_between(rng, 0.35, 1.0),
        diffuse_strength=_between(rng, 0.12, 0.6),
        rim_strength=_between(rng, 0.1, 1.0),
        cytoplasm_texture=_between(rng, 0.03, 0.28),
        nuclear_ratio=_between(rng, 0.3, 0.9, log=True),
        nuclear_ratio_treated=_between(rng, 3.0, 9.0, log=True),
        neurite_count=_between(rng, 2.0, 5.5),
        neurite_length=_between(rng, 5.0, 13.0),
        organelle_count=_between(rng, 0.5, 2.0, log=True),
        organelle_haze=_between(rng, 0.01, 0.35, log=True),
        brightness_spread=(_between(rng, 0.08, 0.35), _between(rng, 0.1, 0.55), _between(rng, 0.1, 0.55)),
        channel_strength=(float(strength[0]), float(strength[1]), float(strength[2])),
        response_spread=_between(rng, 0.2, 0.7),
        psf=_between(rng, 0.55, 1.6) * (0.75 if confocal else 1.0),
        glow=_between(rng, 0.0, 0.05) if confocal else _between(rng, 0.02, 0.3),
        glow_radius=_between(rng, 0.5, 1.2) * radius,
        photons=_between(rng, 25, 150, log=True) if noisy else _between(rng, 200, 6000, log=True),
        read_noise=_between(rng, 1.0, 6.0) if noisy else _between(rng, 0.3, 3.0),
        debris=_between(rng, 0.0, 5.0),
        background=_between(rng, 0.002, 0.15, log=True),
        shading=_between(rng, 0.0, 0.4),
        bleed=_between(rng, 0.0, 0.08) if rng.random() < 0.3 else 0.0,
        gain=_between(rng, 120, 230) if eight_bit else _between(rng, 600, 20000, log=True),
        offset=_between(rng, 0.0, 8.0) if eight_bit else _between(rng, 50, 600, log=True),
        ceiling=255 if eight_bit else 65535,
        pixel_size=7.0 / radius,
    )


def style_for(treatment: str, seed: int) -> Style:
    """Draw a style at random whose channels show what `treatment` acts on.

    Parameters
    ----------
    treatment
        One of `phenolens.simulation.treatments.TREATMENTS`.
    seed
        The same seed gives the same style.

    Raises
    ------
    ScreenError
        If there is no such treatment.
    """
    if treatment not in NEEDS:
        raise ScreenError(f"There is no treatment {treatment!r} to simulate: choose one of {', '.join(NEEDS)}.")
    style = random_style(seed)
    seconds, organelles = NEEDS[treatment]
    second = style.second if seconds is None or style.second in seconds else seconds[int(seed) % len(seconds)]
    organelle = style.organelle
    if organelles is not None and organelle not in organelles:
        organelle = organelles[int(seed) % len(organelles)]
    changes: dict[str, Any] = {"second": second, "organelle": organelle}
    if second == "neurites" and style.second != "neurites":
        changes.update(
            cell_ratio=1.3 + 0.3 * (style.cell_ratio - 1.7), confluence=0.15 + 0.25 * (style.confluence - 0.2)
        )
    if second != "neurites" and style.second == "neurites":
        changes.update(cell_ratio=style.cell_ratio + 0.9, confluence=2.5 * style.confluence)
    # What the treatment acts on must be seen, or its effect would be nothing but noise.
    floor = {
        "latrunculin": (0, 0.6, 0),
        "translocation": (0, 0.6, 0),
        "lrrk2": (0, 0.6, 0.6),
        "nocodazole": (0, 0, 0.6),
    }
    if treatment in floor:
        low = floor[treatment]
        s = style.channel_strength
        changes["channel_strength"] = (max(s[0], low[0]), max(s[1], low[1]), max(s[2], low[2]))
    return replace(style, **changes)
