"""Compounds: one key however they are written, a sentence for what is no compound, and what is computed from them."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from phenolens.profiling.molecules import drawing
from phenolens.profiling.molecules.drawing import structure_svg
from phenolens.profiling.molecules.molecules import (
    fingerprints,
    molecule_key,
    murcko_scaffold,
    nearest,
    read_molecules,
    standardise,
)
from phenolens.runtime.errors import ScreenError

DRUGS = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "ibuprofen": "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "naproxen": "COc1ccc2cc(ccc2c1)[C@H](C)C(=O)O",
    "diclofenac": "OC(=O)Cc1ccccc1Nc1c(Cl)cccc1Cl",
    "indomethacin": "COc1ccc2c(c1)c(CC(=O)O)c(C)n2C(=O)c1ccc(Cl)cc1",
    "valproate": "CCCC(CCC)C(=O)O",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "caffeine": "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "theophylline": "Cn1c(=O)c2[nH]cnc2n(C)c1=O",
    "metformin": "CN(C)C(=N)NC(N)=N",
    "propranolol": "CC(C)NCC(O)COc1cccc2ccccc12",
    "atenolol": "CC(C)NCC(O)COc1ccc(CC(N)=O)cc1",
    "salbutamol": "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1",
    "adrenaline": "CNC[C@H](O)c1ccc(O)c(O)c1",
    "dopamine": "NCCc1ccc(O)c(O)c1",
    "serotonin": "NCCc1c[nH]c2ccc(O)cc12",
    "histamine": "NCCc1c[nH]cn1",
    "cimetidine": "CC1=C(CSCCNC(=NC)NC#N)N=CN1",
    "fluoxetine": "CNCCC(Oc1ccc(cc1)C(F)(F)F)c1ccccc1",
    "sertraline": "CN[C@H]1CC[C@@H](c2ccc(Cl)c(Cl)c2)c2ccccc12",
    "imipramine": "CN(C)CCCN1c2ccccc2CCc2ccccc12",
    "chlorpromazine": "CN(C)CCCN1c2ccccc2Sc2ccc(Cl)cc12",
    "diazepam": "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc12",
    "lidocaine": "CCN(CC)CC(=O)Nc1c(C)cccc1C",
    "procaine": "CCN(CC)CCOC(=O)c1ccc(N)cc1",
    "diphenhydramine": "CN(C)CCOC(c1ccccc1)c1ccccc1",
    "nicotine": "CN1CCC[C@H]1c1cccnc1",
    "chloroquine": "CCN(CC)CCCC(C)Nc1ccnc2cc(Cl)ccc12",
    "isoniazid": "NNC(=O)c1ccncc1",
    "nicotinamide": "NC(=O)c1cccnc1",
    "sulfamethoxazole": "Cc1cc(NS(=O)(=O)c2ccc(N)cc2)no1",
    "trimethoprim": "COc1cc(Cc2cnc(N)nc2N)cc(OC)c1OC",
    "ciprofloxacin": "OC(=O)c1cn(C2CC2)c2cc(N3CCNCC3)c(F)cc2c1=O",
    "metronidazole": "Cc1ncc([N+](=O)[O-])n1CCO",
    "allopurinol": "O=c1[nH]cnc2[nH]ncc12",
    "fluorouracil": "O=c1[nH]cc(F)c(=O)[nH]1",
    "mercaptopurine": "S=c1[nH]cnc2[nH]cnc12",
    "acyclovir": "Nc1nc2c(ncn2COCCO)c(=O)[nH]1",
    "zidovudine": "Cc1cn([C@H]2C[C@H](N=[N+]=[N-])[C@@H](CO)O2)c(=O)[nH]c1=O",
    "phenobarbital": "CCC1(c2ccccc2)C(=O)NC(=O)NC1=O",
    "phenytoin": "O=C1NC(=O)C(c2ccccc2)(c2ccccc2)N1",
    "thalidomide": "O=C1CCC(N2C(=O)c3ccccc3C2=O)C(=O)N1",
    "gabapentin": "NCC1(CC(=O)O)CCCCC1",
    "baclofen": "NCC(CC(=O)O)c1ccc(Cl)cc1",
    "levodopa": "N[C@@H](Cc1ccc(O)c(O)c1)C(=O)O",
    "captopril": "C[C@H](CS)C(=O)N1CCC[C@H]1C(=O)O",
    "omeprazole": "COc1ccc2[nH]c(S(=O)Cc3ncc(C)c(OC)c3C)nc2c1",
    "furosemide": "NS(=O)(=O)c1cc(C(=O)O)c(NCc2ccco2)cc1Cl",
    "vorinostat": "ONC(=O)CCCCCCC(=O)Nc1ccccc1",
    "imatinib": "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1",
    "erlotinib": "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC",
    "pirfenidone": "Cc1ccc(=O)n(-c2ccccc2)c1",
}
# written by hand: the same compound with its protons, charges or bonds elsewhere
SAME = [
    ("O=c1cccc[nH]1", "Oc1ccccn1"),
    ("O=c1cc[nH]cc1", "Oc1ccncc1"),
    ("O=c1cccc[nH]1", "[O-]c1cccc[nH+]1"),
    ("S=c1cccc[nH]1", "Sc1ccccn1"),
    ("Nc1cc[nH]c(=O)n1", "Nc1ccnc(O)n1"),
    ("O=c1[nH]cc(F)c(=O)[nH]1", "Oc1ncc(F)c(O)n1"),
    ("S=c1[nH]cnc2[nH]cnc12", "Sc1ncnc2nc[nH]c12"),
    ("O=c1[nH]cnc2[nH]ncc12", "Oc1ncnc2n[nH]cc12"),
    ("Nc1nc2c(ncn2COCCO)c(=O)[nH]1", "Nc1nc(O)c2ncn(COCCO)c2n1"),
    ("Cn1c(=O)c2[nH]cnc2n(C)c1=O", "Cn1c(=O)c2nc[nH]c2n(C)c1=O"),
    ("NCCc1c[nH]cn1", "NCCc1cnc[nH]1"),
    ("COc1ccc2[nH]c(C)nc2c1", "COc1ccc2nc(C)[nH]c2c1"),
    ("c1ccc(-c2nn[nH]n2)cc1", "c1ccc(-c2nnn[nH]2)cc1"),
    ("CC(=O)CC(C)=O", "CC(=O)C=C(C)O"),
    ("CN(C)C(=N)NC(N)=N", "CN(C)C(N)=NC(N)=N"),
    ("CN(C)C(=N)NC(N)=N", "CN(C)C(=[NH2+])NC(N)=N.[Cl-]"),
    ("CC(=O)Nc1ccc(O)cc1", "CC(O)=Nc1ccc(O)cc1"),
    ("O=C1NC(=O)C(c2ccccc2)(c2ccccc2)N1", "O=C1N=C([O-])NC1(c1ccccc1)c1ccccc1.[Na+]"),
    ("CS(C)=O", "C[S+](C)[O-]"),
    ("O=[N+]([O-])c1ccccc1", "O=N(=O)c1ccccc1"),
    ("CCN=[N+]=[N-]", "CCN=N#N"),
    ("C[N+](C)(C)C[C@H](O)CC(=O)[O-]", "C[N+](C)(C)C[C@H](O)CC(=O)O.[Cl-]"),
    ("N[C@@H](C)C(=O)O", "[NH3+][C@@H](C)C(=O)[O-]"),
    ("CN1CCC[C@H]1c1cccnc1", "CN1CCC[C@H]1c1cccnc1.O=C(O)[C@H](O)[C@@H](O)C(=O)O"),
    ("CC(C)Cc1ccc(cc1)C(C)C(=O)O", "CC(C)Cc1ccc(cc1)C(C)C(=O)O[Na]"),
    ("CC(C)Cc1ccc(cc1)C(C)C(=O)O", "CC(C)Cc1ccc(cc1)C(C)C(=O)[O-].NCCCC[C@H]([NH3+])C(=O)O"),
    ("Cc1ccccc1CN", "Cc1ccccc1CN.Cc1ccccc1CN.OS(=O)(=O)O"),
    ("CC(=O)O", "CC(=O)[O-].[Na+]"),
    ("CS(C)=O", "CS(C)=O.O"),
]
CHIRAL = [
    "CC(C)Cc1ccc(cc1)[C@H](C)C(=O)O",
    "COc1ccc2cc(ccc2c1)[C@H](C)C(=O)O",
    "CNC[C@H](O)c1ccc(O)c(O)c1",
    "CN1CCC[C@H]1c1cccnc1",
    "N[C@@H](Cc1ccc(O)c(O)c1)C(=O)O",
    "O=C1CC[C@@H](N2C(=O)c3ccccc3C2=O)C(=O)N1",
    "CC(C)NC[C@H](O)COc1cccc2ccccc12",
    "CNCC[C@@H](Oc1ccc(cc1)C(F)(F)F)c1ccccc1",
    "C[C@H](N)Cc1ccccc1",
    "C[C@@H](O)C(=O)O",
    "CC(C)(C)NC[C@H](O)c1ccc(O)c(CO)c1",
    "C[C@H](CS)C(=O)N1CCC[C@H]1C(=O)O",
    "COc1ccc2[nH]c([S@@](=O)Cc3ncc(C)c(OC)c3C)nc2c1",
    "CC(=O)C[C@H](c1ccccc1)c1c(O)c2ccccc2oc1=O",
    "C=C[C@H]1CN2CC[C@H]1C[C@H]2[C@H](O)c1ccnc2ccc(OC)cc12",
]
GEOMETRY = [
    ("Oc1ccc(/C=C/c2cc(O)cc(O)c2)cc1", "Oc1ccc(/C=C\\c2cc(O)cc(O)c2)cc1"),
    ("CC/C(=C(/CC)c1ccc(O)cc1)c1ccc(O)cc1", "CC/C(=C(\\CC)c1ccc(O)cc1)c1ccc(O)cc1"),
    ("CC/C(c1ccccc1)=C(/c1ccccc1)c1ccc(OCCN(C)C)cc1", "CC/C(c1ccccc1)=C(\\c1ccccc1)c1ccc(OCCN(C)C)cc1"),
    ("OC(=O)/C=C/C(=O)O", "OC(=O)/C=C\\C(=O)O"),
    ("OC(=O)/C=C/c1ccc(O)c(O)c1", "OC(=O)/C=C\\c1ccc(O)c(O)c1"),
    ("CCCCCCCC/C=C/CCCCCCCC(=O)O", "CCCCCCCC/C=C\\CCCCCCCC(=O)O"),
    ("C/C(=N\\O)c1ccccc1", "C/C(=N/O)c1ccccc1"),
    ("c1ccccc1/N=N/c1ccccc1", "c1ccccc1/N=N\\c1ccccc1"),
]


def shuffled(molecule, seed, kekulised=False):
    """Write a molecule with its atoms in a random order."""
    order = np.random.default_rng(seed).permutation(molecule.GetNumAtoms()).tolist()
    mixed = Chem.RenumberAtoms(molecule, order)
    if kekulised:
        Chem.Kekulize(mixed, clearAromaticFlags=True)
    return Chem.MolToSmiles(mixed, canonical=False, kekuleSmiles=kekulised)


def edited(molecule, pattern, change):
    """Change the first atoms that fit a pattern; None where none does."""
    found = molecule.GetSubstructMatch(Chem.MolFromSmarts(pattern))
    if not found:
        return None
    copy = Chem.RWMol(molecule)
    change(copy, [copy.GetAtomWithIdx(i) for i in found])
    Chem.SanitizeMol(copy)
    return copy


def charged(by):
    def change(_, atoms):
        hydrogens = atoms[0].GetTotalNumHs()
        atoms[0].SetNoImplicit(True)
        atoms[0].SetNumExplicitHs(hydrogens + by)
        atoms[0].SetFormalCharge(by)

    return change


def to_iminol(molecule, atoms):
    carbon, oxygen, nitrogen = (atom.GetIdx() for atom in atoms)
    molecule.GetBondBetweenAtoms(carbon, oxygen).SetBondType(Chem.BondType.SINGLE)
    molecule.GetBondBetweenAtoms(carbon, nitrogen).SetBondType(Chem.BondType.DOUBLE)


BASE = "[NX3;!$(N~[!#6;!#1]);!$(NC=[O,S,N]);!$(N-c);!$(N-[#6]=,:[#7])]"
ACID = "[OX2H1;$(O-C=O)]"


def rewritten():
    """Yield (name, drug, the same drug written otherwise): order, Kekulé form, salt or solvate, and protons."""
    for seed, (name, smiles) in enumerate(DRUGS.items()):
        drug = Chem.MolFromSmiles(smiles)
        yield name, smiles, shuffled(drug, seed)
        yield name, smiles, shuffled(drug, 100 + seed, kekulised=True)
        cation = edited(drug, BASE, charged(1))
        anion = edited(drug, ACID, charged(-1))
        if cation is not None and anion is not None:
            yield name, smiles, shuffled(edited(cation, ACID, charged(-1)), seed)
        if cation is not None:
            yield name, smiles, f"[Cl-].{shuffled(cation, 200 + seed)}"
            yield name, smiles, f"{shuffled(cation, 300 + seed)}.CS(=O)(=O)[O-].O"
        if anion is not None:
            yield name, smiles, f"{shuffled(anion, 400 + seed)}.[Na+]"
            yield name, smiles, f"OCC([NH3+])(CO)CO.{shuffled(anion, 500 + seed)}"
        if cation is None and anion is None:
            yield name, smiles, f"{smiles}.O.CCO"
        iminol = edited(drug, "[CX3;R0;$(C-[#6])](=[OX1])[NX3;!H0;$(N([#6])),H2]", to_iminol)
        if iminol is not None:
            yield name, smiles, shuffled(iminol, 600 + seed)


def test_a_drug_has_one_key_however_it_is_written():
    pairs = [*rewritten(), *(("by hand", *pair) for pair in SAME)]
    pairs = [(name, one, other) for name, one, other in pairs if one != other]
    assert len(pairs) >= 200
    wrong = [(name, other) for name, one, other in pairs if molecule_key(one) != molecule_key(other)]
    assert not wrong
    assert len({molecule_key(smiles) for smiles in DRUGS.values()}) == len(DRUGS) >= 50


def test_the_standard_form_is_the_same_too_and_stays_as_it_is():
    assert all(standardise(one) == standardise(other) for one, other in SAME)
    standard = [standardise(smiles) for smiles in DRUGS.values()]
    assert [standardise(smiles) for smiles in standard] == standard


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("aspirin", "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"),
        ("caffeine", "RYYVLZVUVIJVGH-UHFFFAOYSA-N"),
        ("ibuprofen", "HEFNNWSXXWATRW-UHFFFAOYSA-N"),
        ("naproxen", "CMWTZPSULFXXJA-VIFPVBQESA-N"),
    ],
)
def test_keys_are_those_that_databases_have(name, key):
    assert molecule_key(DRUGS[name]) == key


def test_mirror_images_and_e_z_isomers_are_different_compounds():
    mirrored = [(one, re.sub("@+", lambda m: "@@" if m[0] == "@" else "@", one)) for one in CHIRAL]
    pairs = mirrored + GEOMETRY
    assert len(pairs) >= 20
    for one, other in pairs:
        assert molecule_key(one) != molecule_key(other), one
        flat = Chem.MolToSmiles(Chem.MolFromSmiles(one), isomericSmiles=False)
        assert molecule_key(flat) not in {molecule_key(one), molecule_key(other)}, one
        assert molecule_key(flat)[:14] == molecule_key(one)[:14] == molecule_key(other)[:14], one


def test_stereo_that_a_tautomer_would_lose_is_kept():
    # an oxindole, a hydantoin and a barbiturate-like ring could become aromatic at the cost of their stereocentre
    for one in ("CC[C@H]1C(=O)Nc2ccccc21", "C[C@H]1NC(=O)NC1=O", "CC[C@@H]1C(=O)NN(c2ccccc2)C1=O"):
        assert "@" in standardise(one)
        assert molecule_key(one) != molecule_key(re.sub("@+", lambda m: "@@" if m[0] == "@" else "@", one))


def test_double_bonds_do_not_wander_along_carbons():
    oestrogen = "CCC(=C(CC)c1ccc(O)cc1)c1ccc(O)cc1"
    assert molecule_key(oestrogen) != molecule_key("CC=C(c1ccc(O)cc1)C(CC)c1ccc(O)cc1")
    assert molecule_key("CC(=O)C=CCC") != molecule_key("CC(=O)CC=CC")
    assert molecule_key("O=C1CCCC=C1") != molecule_key("O=C1CCC=CC1")


def test_isotopes_are_kept():
    assert standardise("[2H]C([2H])([2H])Oc1ccccc1") != standardise("COc1ccccc1")


def test_a_compound_with_more_tautomers_than_can_be_listed_has_one_key():
    peptide = "NCC(=O)" + "NCC(=O)" * 10 + "O"
    molecule = Chem.MolFromSmiles(peptide)
    assert len({standardise(shuffled(molecule, seed)) for seed in range(3)} | {standardise(peptide)}) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is empty"),
        ("  ", "'' is empty"),
        (None, "'' is empty"),
        (float("nan"), "'' is empty"),
        (pd.NA, "'' is empty"),
        ("aspirin", "'aspirin' cannot be read as SMILES"),
        ("CC(C", "'CC(C' cannot be read as SMILES"),
        (7, "'7' cannot be read as SMILES"),
        ("CCO ethanol", "'CCO ethanol' cannot be read as SMILES"),
        ("CC>>CO", "'CC>>CO' cannot be read as SMILES"),
        ("CC(C)(C)(C)C", "'CC(C)(C)(C)C' is no possible molecule (Explicit valence for atom # 1 C, 5"),
        ("c1cccc1", "'c1cccc1' is no possible molecule (Can't kekulize"),
        ("[Na+].[Cl-]", "'[Na+].[Cl-]' is a salt or solvent without an organic molecule"),
        ("[Li+].[Li+].[O-]C([O-])=O", "is a salt or solvent without an organic molecule"),
        ("O", "'O' is a salt or solvent without an organic molecule"),
        ("CCCCCCCCO.CCCCCCCN", "is a mixture of 2 compounds (CCCCCCCCO and CCCCCCCN)"),
        ("C[C@H](N)Cc1ccccc1.C[C@@H](N)Cc1ccccc1", "is a mixture of 2 compounds"),
        ("CCCCC*", "'CCCCC*' has an open end (*)"),
        ("[U](F)(F)(F)(F)(F)F", "holds U, which is neither organic nor a usual counter-ion"),
        ("c1ccccc1[Mg]Br", "has Mg bound to an organic molecule"),
    ],
)
def test_a_bad_row_is_named_with_its_text(text, sentence):
    with pytest.raises(ScreenError) as caught:
        read_molecules(["CCCCN", "CCCCN", text], "Metadata_SMILES")
    message = str(caught.value)
    assert message.startswith("Row 3 of column Metadata_SMILES: The structure '")
    assert sentence in message
    assert message.endswith("or leave it out.")


def test_several_bad_rows_are_one_error_and_numbers_may_be_those_of_the_users_table():
    with pytest.raises(ScreenError, match=r"^Row 20 of column Drug: .*'x' .* Nor can rows 30, 50 be used\.$"):
        read_molecules(["CCN", "x", "", "CCO", "x"], "Drug", rows=[10, 20, 30, 40, 50])
    with pytest.raises(ScreenError, match=r"Nor can rows 2, 3, 4, 5, 6, \.\.\. be used\.$"):
        read_molecules(["x"] * 7)


def test_long_texts_are_cut_in_messages():
    with pytest.raises(ScreenError) as caught:
        standardise("C(" * 500)
    assert len(str(caught.value)) < 250


def test_a_table_is_read_row_by_row():
    table = pd.DataFrame({"Metadata_SMILES": ["Oc1ccccn1", "CS(C)=O", "O=c1cccc[nH]1"]}, index=[5, 5, 9])
    one, solvent, same = read_molecules(table["Metadata_SMILES"])
    assert one == same != solvent
    assert (one.smiles, one.key) == (standardise("Oc1ccccn1"), molecule_key("Oc1ccccn1"))
    assert read_molecules([]) == ()


def test_nothing_is_written_to_the_terminal(capfd):
    for text in ("C(C", "CC(C)(C)(C)C", "c1cccc1", "[Na+].[Cl-]", "CC(F)Cl", "CC.[Na]", "C[C@H](O)C"):
        for work in (standardise, molecule_key, murcko_scaffold, lambda one: fingerprints([one])):
            try:
                work(text)
            except ScreenError:
                continue
    standardise("NCC(=O)" + "NCC(=O)" * 11 + "O")
    assert capfd.readouterr() == ("", "")


def test_fingerprints_count_neighbourhoods():
    # benzene: six equal atoms at each radius. butane: two CH3, two CH2; their bonds, two of each; and all three bonds
    # at once, whereas the other neighbourhoods of radius 2 hold the same bonds as ones of radius 1
    found = fingerprints(["c1ccccc1", "CCCC"])
    assert found.shape == (2, 2048)
    assert found.dtype == np.float32
    assert sorted(found[0][found[0] > 0]) == [6, 6, 6]
    assert sorted(found[1][found[1] > 0]) == [1, 2, 2, 2, 2]


def test_fingerprints_are_the_folded_counts_of_the_standard_form():
    form = Chem.MolFromSmiles(standardise(DRUGS["imatinib"]))
    for bits, radius in ((2048, 2), (256, 3)):
        expected = np.zeros(bits)
        every = rdFingerprintGenerator.GetMorganGenerator(radius=radius).GetSparseCountFingerprint(form)
        for identifier, count in every.GetNonzeroElements().items():
            expected[identifier % bits] += count
        written = f"{shuffled(form, 1)}.CS(=O)(=O)O"
        np.testing.assert_array_equal(fingerprints([written], bits, radius)[0], expected)


def test_fingerprints_tell_mirror_images_apart_where_asked():
    pair = ["C[C@H](N)Cc1ccccc1", "C[C@@H](N)Cc1ccccc1"]
    flat, handed = fingerprints(pair), fingerprints(pair, chirality=True)
    np.testing.assert_array_equal(flat[0], flat[1])
    assert (handed[0] != handed[1]).any()


def test_the_nearest_is_the_one_of_largest_tanimoto_similarity():
    training = np.array([[2, 1, 3, 4], [0, 0, 9, 0], [1, 2, 0, 5]], np.float32)
    index, similarity = nearest(training, np.array([1, 2, 0, 4], np.float32))
    assert (int(index), float(similarity)) == (2, 7 / 8)
    index, similarity = nearest(training[:2], np.array([[1, 2, 0, 4], [0, 0, 3, 0]], np.float32))
    assert index.tolist() == [0, 1]
    np.testing.assert_allclose(similarity, [6 / 11, 3 / 9], rtol=1e-12)


def test_the_nearest_agrees_with_the_formula_in_large_sets():
    rng = np.random.default_rng(0)
    training, query = (rng.poisson(0.4, (n, 32)).astype(np.float32) for n in (9000, 5))
    training[8999] = query[4]
    index, similarity = nearest(training, query)
    table = np.array([np.minimum(training, q).sum(1) / np.maximum(training, q).sum(1) for q in query])
    np.testing.assert_array_equal(index, table.argmax(1))
    np.testing.assert_allclose(similarity, table.max(1), rtol=1e-6)
    assert similarity[4] == 1


def test_fingerprints_that_do_not_fit_are_refused():
    for training, query in (((0, 8), (8,)), ((3, 8), (4,)), ((8,), (8,)), ((3, 8), (1, 2, 8))):
        with pytest.raises(ValueError, match="cannot be compared"):
            nearest(np.zeros(training, np.float32), np.zeros(query, np.float32))
    assert nearest(np.zeros((2, 8)), np.zeros(8))[1] == 0


def test_scaffolds_are_rings_and_their_links():
    assert murcko_scaffold("Cc1ccccc1.Cl") == "c1ccccc1"
    assert murcko_scaffold("Cc1cc(Oc2nccc(CCC)c2)ccc1") == "c1ccc(Oc2ccccn2)cc1"
    assert murcko_scaffold("Oc1ccc(C)cn1") == murcko_scaffold("O=c1ccc(CC)c[nH]1") == "O=c1cccc[nH]1"
    assert murcko_scaffold("CN1CCC[C@H]1c1cccnc1") == murcko_scaffold("CN1CCC[C@@H]1c1cccnc1")
    assert murcko_scaffold("CCCCN") == ""


def colours_of(svg):
    return {found.upper() for found in re.findall(r"(?:fill|stroke)[:=]'?(#[0-9A-Fa-f]{6})", svg)}


ALL_ELEMENTS = "FC(Cl)(Br)C(I)c1nc(OB(O)O)sc1P(=O)(O)OCC[SiH3]"


@pytest.mark.parametrize(("foreground", "behind"), [("#f0f1f2", "#262930"), ("#3b3a39", "#efebe9")])
def test_every_colour_can_be_read_on_dark_and_light_themes(foreground, behind):
    for svg in (
        structure_svg(ALL_ELEMENTS, (300, 200), foreground),
        structure_svg(ALL_ELEMENTS, (300, 200), foreground, behind),
    ):
        found = colours_of(svg) - {behind.upper()}
        assert foreground.upper() in found
        assert len(found) >= 9
        for colour in found:
            assert drawing.contrast(drawing._colour(colour), drawing._colour(behind)) >= drawing.CONTRAST - 0.05, colour


def test_a_drawing_is_of_its_size_and_transparent_unless_it_has_a_background():
    root = ET.fromstring(structure_svg("Oc1ccccn1", (120, 80), "#ffffff").encode())
    assert (root.get("width"), root.get("height")) == ("120px", "80px")
    assert not [element for element in root.iter() if element.tag.endswith("rect")]
    filled = ET.fromstring(structure_svg("Oc1ccccn1", (120, 80), "#ffffff", "#102030").encode())
    (back,) = [element for element in filled.iter() if element.tag.endswith("rect")]
    assert "fill:#102030" in back.get("style")


def test_a_drawing_is_repeatable_and_shows_the_structure_as_written():
    keto, enol = "O=c1cccc[nH]1", "Oc1ccccn1"
    assert structure_svg(keto, (90, 90), "#000000") == structure_svg(keto, (90, 90), "#000000")
    assert structure_svg(keto, (90, 90), "#000000") != structure_svg(enol, (90, 90), "#000000")


def test_contrast_of_black_and_white():
    assert drawing.contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert drawing.contrast((0.3, 0.2, 0.1), (0.3, 0.2, 0.1)) == 1


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ScreenError, match="'C\\(' cannot be read as SMILES"):
        structure_svg("C(", (90, 90), "#000000")
    with pytest.raises(ValueError, match="'white' is no colour"):
        structure_svg("C", (90, 90), "white")


def test_a_metal_complex_is_a_compound_as_it_is_written():
    cisplatin = "N[Pt](N)(Cl)Cl"
    assert standardise(cisplatin) == standardise("Cl[Pt](Cl)(N)N") == standardise(f"{cisplatin}.O")
    assert molecule_key(cisplatin) != molecule_key("N[Pd](N)(Cl)Cl")
    assert fingerprints([cisplatin]).sum() > 0
    assert "<svg" in structure_svg(cisplatin, (200, 150), "#000000")
    with pytest.raises(ScreenError, match="mixture of 2 compounds"):
        standardise(f"{cisplatin}.{cisplatin.replace('Pt', 'Pd')}")
