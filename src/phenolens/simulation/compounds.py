"""Compounds that are not on any shelf: structures of which mechanism, potency and side effects are known.

A structure is a ring system with three groups on it: the pharmacophore, and two substituents from pools that all
mechanisms share. The pharmacophore says what the compound does, the first substituent at which concentration, the
second one what else it does. So what a compound does can be learned from its structure, though the most similar
compound is often one of another mechanism.
"""

import math
from dataclasses import dataclass, field

from phenolens.runtime.errors import ScreenError
from phenolens.simulation.mechanisms import MECHANISMS, NO_EFFECT, Effect

CONTROL = "DMSO"
CONTROL_SMILES = "CS(C)=O"

# The group by which a compound of each mechanism acts, and the two ring systems that bear it. A ring system is shared
# by two mechanisms, so that it does not give the mechanism away.
PHARMACOPHORES: dict[str, tuple[str, tuple[str, str]]] = {
    "filament loss": ("NS(=O)(=O)", ("quinoline", "benzothiophene")),
    "filament bundling": ("N#C", ("isoquinoline", "benzofuran")),
    "Golgi scatter": ("O=C", ("quinazoline", "indole")),
    "nuclear swelling": ("NC(=N)", ("benzothiophene", "isoquinoline")),
    "chromatin condensation": ("ONC(=O)", ("benzofuran", "quinazoline")),
    "elongation": ("OB(O)", ("indole", "quinoline")),
}

# {p} is where the pharmacophore goes, {a} and {b} are for the substituents.
RINGS: dict[str, str] = {
    "quinoline": "{p}c1cc({a})c2ncc({b})cc2c1",
    "benzothiophene": "{p}c1cc({a})c2scc({b})c2c1",
    "isoquinoline": "{p}c1cc({a})c2cnc({b})cc2c1",
    "benzofuran": "{p}c1cc({a})c2occ({b})c2c1",
    "quinazoline": "{p}c1cc({a})c2ncnc({b})c2c1",
    "indole": "{p}c1cc({a})c2c(c1)n(C)cc2{b}",
}

# First substituents, with the concentration (µM) of half the full effect. The carboxylic acid is the dead motif: a
# compound with that charge does not enter the cell, and does nothing at all.
FIRST: tuple[tuple[str, float], ...] = (
    ("OCC(F)(F)F", 0.5),
    ("SCC(C)C", 1.5),
    ("N(C)CCOC", 8.0),
    ("CCC(C)O", 25.0),
    ("OCCC(C)C", 0.8),
    ("NC(=O)C(C)(C)C", 2.5),
    ("C(=O)O", math.inf),
    ("OCCOCC", 1.0),
    ("C(=O)NC(C)C", 4.0),
)

# Where each mechanism begins in `FIRST`: two of its first four compounds are strong, one on each of its scaffolds.
_BEGIN = (0, 3, 1, 8, 2, 4)

# Second substituents, with what they do beside, at the potency of the compound.
SECOND: tuple[tuple[str, Effect], ...] = (
    ("OC", NO_EFFECT),
    ("OCCN(CC)CC", Effect({"golgi_scatter": 0.3})),
    ("CCCC", NO_EFFECT),
    ("C(F)(F)F", Effect({}, lost=0.2)),
    ("NC(=O)CC", NO_EFFECT),
    ("S(=O)(=O)CC", Effect({"nuclear_swelling": -0.35})),
    ("Cl", NO_EFFECT),
    ("OCC#C", Effect({"elongation": 0.25})),
    ("N(C)C", NO_EFFECT),
    ("CCC(=O)OC", Effect({"rounding": 0.2})),
    ("C(C)(C)C", Effect({"filament_loss": 0.25})),
)

LARGEST = len(MECHANISMS) * 2 * len(FIRST) * len(SECOND)
"""Number of different compounds that there are."""


@dataclass(frozen=True)
class Compound:
    """One compound of a simulated screen.

    Parameters
    ----------
    name, smiles
        Its name, and its structure.
    mechanism
        One of `MECHANISMS`, by its pharmacophore, whether it is active or not; ``none`` for the control.
    scaffold
        Its ring system; empty for the control.
    half_effect
        Concentration (µM) of half its full effect; infinite for an inactive compound.
    side_effect
        What it does beside.
    """

    name: str
    smiles: str
    mechanism: str
    scaffold: str = ""
    half_effect: float = math.inf
    side_effect: Effect = field(default=NO_EFFECT)

    @property
    def active(self) -> bool:
        """Whether it does anything at any concentration."""
        return math.isfinite(self.half_effect)

    def effect(self, concentration: float) -> Effect:
        """Effect at a concentration (µM)."""
        if not self.active or concentration <= 0:
            return NO_EFFECT
        whole = MECHANISMS[self.mechanism].plus(self.side_effect)
        return whole.scaled(concentration / (concentration + self.half_effect))


DMSO = Compound(CONTROL, CONTROL_SMILES, "none")


def compound_library(count: int) -> tuple[Compound, ...]:
    """Return the first `count` compounds: always the same ones, mechanisms and their scaffolds in turn.

    Raises
    ------
    ScreenError
        There are not so many, or less than one is asked for.
    """
    if not 1 <= count <= LARGEST:
        raise ScreenError(f"There are no {count} compounds to simulate: ask for 1 to {LARGEST}.")
    return tuple(_compound(number) for number in range(count))


def _compound(number: int) -> Compound:
    turn, which = divmod(number, len(MECHANISMS))
    mechanism = list(MECHANISMS)[which]
    pharmacophore, scaffolds = PHARMACOPHORES[mechanism]
    scaffold = scaffolds[turn % 2]
    # Two, nine and eleven share no factor, so that every mechanism goes once through all combinations.
    substituent, half_effect = FIRST[(turn + _BEGIN[which]) % len(FIRST)]
    other, side_effect = SECOND[(3 * turn + 2 * which) % len(SECOND)]
    smiles = RINGS[scaffold].format(p=pharmacophore, a=substituent, b=other)
    return Compound(f"SIM-{number + 1:04d}", smiles, mechanism, scaffold, half_effect, side_effect)
