"""The one standard form of a compound, computed in a process of its own: see `chemistry` beside it."""

from typing import cast

from rdkit import Chem, rdBase
from rdkit.Chem import rdinchi
from rdkit.Chem.MolStandardize import rdMolStandardize

from phenolens.profiling.molecules.counter_ions import (
    CENTRES,
    METALS,
    ORGANIC_ELEMENTS,
    elements,
    is_companion,
    is_inorganic,
)
from phenolens.profiling.molecules.tautomers import standard_form
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.limits import FRAGMENTS, HEAVY_ATOMS, SMILES

_SHOWN = 120  # characters of a structure in a message


def standardised(text: str) -> tuple[str, str]:
    """Standard SMILES and InChIKey (empty where there is none) of one SMILES; see `molecules.standardise`.

    Raises
    ------
    ScreenError
        There is none; the message says why.
    """
    smiles = _standard_form(text)
    with rdBase.BlockLogs():
        return smiles, str(rdinchi.MolToInchiKey(Chem.MolFromSmiles(smiles)))


def check_length(text: str) -> None:
    """Raise a ScreenError where a SMILES is longer, or of more molecules and ions, than is read."""
    if len(text) > SMILES():
        raise fault(text, f"has {len(text):,} characters, more than the {SMILES():,} that are read")
    if (parts := text.count(".") + 1) > FRAGMENTS():
        raise fault(text, f"is of {parts:,} molecules and ions, more than the {FRAGMENTS():,} that are read")


def parse(smiles: str) -> Chem.Mol:
    """Read one SMILES as it stands.

    Raises
    ------
    ScreenError
        The text is empty or no molecule, or larger than is read.
    """
    text = smiles.strip()
    if not text:
        raise ScreenError("The structure '' is empty; give its SMILES, or leave it out.")
    check_length(text)
    with rdBase.BlockLogs():
        raw = None if len(text.split()) > 1 else cast("Chem.Mol | None", Chem.MolFromSmiles(text, sanitize=False))
        if raw is None:
            raise fault(text, "cannot be read as SMILES")
        if raw.GetNumHeavyAtoms() > HEAVY_ATOMS():
            raise fault(text, f"has {raw.GetNumHeavyAtoms():,} atoms, more than the {HEAVY_ATOMS():,} that are read")
        try:
            Chem.SanitizeMol(raw)
        except Chem.MolSanitizeException as error:
            raise fault(text, f"is no possible molecule ({error})") from error
        return Chem.MolFromSmiles(text)


def _standard_form(text: str) -> str:
    molecule = parse(text)
    strange = elements(molecule) - ORGANIC_ELEMENTS - METALS
    if "*" in strange:
        raise fault(text, "has an open end (*)")
    if strange and strange <= CENTRES:
        return _complex(molecule, text)
    if strange:
        raise fault(text, f"holds {', '.join(sorted(strange))}, which is neither organic nor a usual counter-ion")
    with rdBase.BlockLogs():
        parents = _parents(molecule)
    if not parents:
        raise fault(text, "is a salt or solvent without an organic molecule")
    if len(parents) > 1:
        raise fault(text, f"is a mixture of {len(parents)} compounds ({' and '.join(sorted(parents))})")
    (parent,) = parents
    bound = elements(Chem.MolFromSmiles(parent)) - ORGANIC_ELEMENTS
    if bound:
        raise fault(text, f"has {', '.join(sorted(bound))} bound to an organic molecule")
    return parent


def _complex(molecule: Chem.Mol, text: str) -> str:
    """Canonical SMILES of a metal complex as it is written: cleaning up would take it apart."""
    parts = [part for part in Chem.GetMolFrags(molecule, asMols=True) if elements(part) & CENTRES]
    if len(parts) > 1:
        raise fault(text, f"is a mixture of {len(parts)} compounds")
    return str(Chem.MolToSmiles(parts[0]))


def _parents(molecule: Chem.Mol) -> set[str]:
    """Return the standard forms of the organic molecules; of counter-ions only where there is nothing else."""
    drugs: set[str] = set()
    companions: set[str] = set()
    for part in Chem.GetMolFrags(rdMolStandardize.Cleanup(molecule), asMols=True):
        if not is_inorganic(part):
            (companions if is_companion(part) else drugs).add(standard_form(part))
    return drugs or companions


def fault(text: str, why: str) -> ScreenError:
    """What is said of a structure that cannot be used."""
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return ScreenError(f"The structure {shown!r} {why}; correct it, or leave it out.")
