"""One form of an organic molecule for all its tautomers and charges."""

from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

from phenolens.profiling.molecules.counter_ions import neutral

_PASSES = 4  # the first or second ends it but where tautomers are too many to list


def standard_form(molecule: Chem.Mol) -> str:
    """Canonical SMILES of the neutral canonical tautomer of one organic molecule or ion, with its stereo."""
    # Where tautomers are too many to list, which are listed depends on the order of atoms: hence a canonical one here.
    written = Chem.MolToSmiles(neutral(molecule))
    for _ in range(_PASSES):
        before = written
        tautomer = _canonical_tautomer(neutral(rdMolStandardize.Cleanup(Chem.MolFromSmiles(before))))
        written = Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(tautomer)))
        if written == before:
            break
    return written


def _canonical_tautomer(molecule: Chem.Mol) -> Chem.Mol:
    """Return the canonical one of those tautomers that are the same compound.

    The usual rules, one after another, also move double bonds along a chain of carbons, and take away the hydrogen of
    a stereocentre for good; then another compound, or one without its stereo, could come out.
    """
    rules = rdMolStandardize.TautomerEnumerator()
    rules.SetRemoveSp3Stereo(False)
    rules.SetRemoveBondStereo(False)
    own, centres = _carbon_hydrogens(molecule), _centres(molecule)
    same = []
    for tautomer in rules.Enumerate(molecule):
        gained = _carbon_hydrogens(tautomer) - own
        if not ((gained > 0).any() and (gained < 0).any()) and centres <= _centres(tautomer):
            same.append(tautomer)
    return rules.PickCanonical(same or [molecule])


def _carbon_hydrogens(molecule: Chem.Mol) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(atoms,) hydrogens on each carbon, 0 for other atoms."""
    return np.array([atom.GetTotalNumHs() if atom.GetAtomicNum() == 6 else 0 for atom in molecule.GetAtoms()])


def _centres(molecule: Chem.Mol) -> set[int]:
    unspecified = Chem.ChiralType.CHI_UNSPECIFIED
    return {atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetChiralTag() != unspecified}
