"""What comes with a drug in a bottle and is no part of it: counter-ions and solvents."""

from functools import lru_cache

from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

ORGANIC_ELEMENTS = frozenset(["H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Te", "I"])
METALS = frozenset(["Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Al", "Zn", "Ag", "Bi"])
# Metals that drugs are built around, such as the platinum of cisplatin.
CENTRES = frozenset(
    ["Pt", "Pd", "Au", "Ru", "Rh", "Ir", "Os", "Fe", "Co", "Ni", "Cu", "Mn", "V", "Ti", "Ga", "Gd", "Tc", "Sn", "Sb"]
)
_INORGANIC_CARBON = ("O=C(O)O", "O=C=O", "C#N", "N=C=O", "N=C=S", "N#CS", "N#CO", "[C-]#[O+]")
# Acids, bases and solvents that come with a drug. Alone, each of them is a compound like any other.
_COMPANIONS = (
    # acids
    *("CC(=O)O", "O=CO", "CCC(=O)O", "O=C(O)C(F)(F)F", "O=C(O)C(=O)O", "O=C(O)CC(=O)O", "O=C(O)CCC(=O)O"),
    *("O=C(O)C=CC(=O)O", "O=C(O)C(O)C(O)C(=O)O", "O=C(O)CC(O)C(=O)O", "O=C(O)CC(O)(CC(=O)O)C(=O)O", "CC(O)C(=O)O"),
    *("O=C(O)CO", "O=C(O)c1ccccc1", "O=C(O)c1ccccc1O", "O=C(O)C(O)c1ccccc1", "O=C(O)C(O)C(O)C(O)C(O)CO"),
    *("O=C(O)C(O)C(O)C(O)C(O)C(=O)O", "O=C(O)c1cc2ccccc2cc1O", "O=C(O)c1ccc2ccccc2c1O", "O=C(O)CCCCC(=O)O"),
    *("O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O", "CCCCCCCCCCCCCCCCCC(=O)O", "COS(=O)(=O)O"),
    *("CS(=O)(=O)O", "CCS(=O)(=O)O", "O=S(=O)(O)C(F)(F)F", "O=S(=O)(O)CCO", "O=S(=O)(O)CCS(=O)(=O)O"),
    *("O=S(=O)(O)c1ccccc1", "Cc1ccc(S(=O)(=O)O)cc1", "O=S(=O)(O)c1ccc(Cl)cc1", "O=S(=O)(O)c1cccc2ccccc12"),
    *("O=S(=O)(O)c1ccc2ccccc2c1", "O=S(=O)(O)c1cccc2c(S(=O)(=O)O)cccc12", "CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2"),
    # bases
    *("CN", "CNC", "CN(C)C", "CCN", "CCNCC", "CCN(CC)CC", "NCCO", "OCCNCCO", "OCCN(CCO)CCO", "CCNCCO", "NCCN"),
    *("CN(C)CCO", "CCN(CC)CCO", "NC(CO)(CO)CO", "CNCC(O)C(O)C(O)C(O)CO", "C[N+](C)(C)CCO", "NCCCCC(N)C(=O)O"),
    *("N=C(N)NCCCC(N)C(=O)O", "C1CNCCN1", "C1COCCN1", "C1CCNCC1", "CC(C)(C)N", "C1CCC(NC2CCCCC2)CC1"),
    *("c1ccc(CNCCNCc2ccccc2)cc1", "C[N+](C)(C)C", "CC[N+](CC)(CC)CC", "CCCC[N+](CCCC)(CCCC)CCCC", "c1ccncc1"),
    # solvents
    *("CO", "CCO", "CCCO", "CC(C)O", "CCCCO", "CC(C)(C)O", "OCCO", "CC(O)CO", "OCC(O)CO", "CC(C)=O", "CCC(C)=O"),
    *("CC#N", "CS(C)=O", "CN(C)C=O", "CC(=O)N(C)C", "CN1CCCC1=O", "CCOC(C)=O", "CCOCC", "COC(C)(C)C", "C1CCOC1"),
    *("C1COCCO1", "COCCOC", "CC(C)OC(C)C", "ClCCl", "ClC(Cl)Cl", "ClCCCl", "c1ccccc1", "Cc1ccccc1", "Cc1ccccc1C"),
    *("Cc1cccc(C)c1", "Cc1ccc(C)cc1", "CCCCC", "CCCCCC", "CCCCCCC", "C1CCCCC1"),
)


def is_inorganic(molecule: Chem.Mol) -> bool:
    """Tell whether one cleaned molecule or ion has no carbon, or is a carbonate, a cyanide or the like."""
    return "C" not in elements(molecule) or _plain(molecule) in _plain_forms(_INORGANIC_CARBON)


def is_companion(molecule: Chem.Mol) -> bool:
    """Tell whether one cleaned molecule or ion is a usual organic counter-ion or solvent, whatever its stereo."""
    return _plain(molecule) in _plain_forms(_COMPANIONS)


def neutral(molecule: Chem.Mol) -> Chem.Mol:
    """Take away charges that protons can take away, also where a fixed charge is left alone by it."""
    return rdMolStandardize.Uncharger(canonicalOrder=True, force=True).uncharge(molecule)


def elements(molecule: Chem.Mol) -> set[str]:
    """Symbols of the elements in it."""
    return {atom.GetSymbol() for atom in molecule.GetAtoms()}


def _plain(molecule: Chem.Mol) -> str:
    """SMILES without charges and stereo."""
    return Chem.MolToSmiles(neutral(molecule), isomericSmiles=False)


@lru_cache
def _plain_forms(smiles: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_plain(rdMolStandardize.Cleanup(Chem.MolFromSmiles(one))) for one in smiles)
