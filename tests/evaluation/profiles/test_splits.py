"""Splits: groups stay whole, the seed decides and nothing else, acyclic compounds go each by itself."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenolens.evaluation.profiles.splits import folds, group_names, hold_out, hold_out_groups
from phenolens.runtime.errors import ScreenError

COMPOUNDS = {
    "phenol": "Oc1ccccc1",
    "toluene": "Cc1ccccc1",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "pyridine": "c1ccncc1",
    "picoline": "Cc1ccccn1",
    "hexane": "CCCCCC",
    "octane": "CCCCCCCC",
    "DMSO": "CS(C)=O",
}


def screen() -> pd.DataFrame:
    rows = [
        (f"B{batch}", f"P{plate}", name, smiles, "negative control" if name == "DMSO" else "treated")
        for batch in range(3)
        for plate in range(2)
        for name, smiles in COMPOUNDS.items()
    ]
    return pd.DataFrame(rows, columns=[f"Metadata_{n}" for n in ("Batch", "Plate", "Compound", "SMILES", "Role")])


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=80).filter(lambda groups: len(set(groups)) > 1),
    st.integers(0, 5),
    st.floats(0.05, 0.95),
)
def test_groups_are_never_divided(groups, seed, share) -> None:
    held = hold_out_groups(groups, share=share, seed=seed)
    assert 0 < held.sum() < len(groups)
    for group in set(groups):
        assert len(set(held[np.array(groups) == group])) == 1
    largest = max(groups.count(group) for group in set(groups))
    assert abs(held.sum() - share * len(groups)) <= largest
    count = min(3, len(set(groups)))
    fold = folds(groups, count=count, seed=seed)
    assert set(fold) == set(range(count))
    assert all(len(set(fold[np.array(groups) == group])) == 1 for group in set(groups))


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    groups = np.repeat(np.arange(40), 3)
    held = hold_out_groups(groups, seed=1)
    np.testing.assert_array_equal(held, hold_out_groups(groups, seed=1))
    assert (held != hold_out_groups(groups, seed=2)).any()
    order = np.random.default_rng(0).permutation(len(groups))
    np.testing.assert_array_equal(hold_out_groups(groups[order], seed=1), held[order])
    np.testing.assert_array_equal(folds(groups[order], seed=1), folds(groups, seed=1)[order])
    assert held.sum() == 24


def test_by_scaffold() -> None:
    table = screen()
    names = pd.Series(group_names(table, "scaffold")).groupby(table["Metadata_Compound"]).first()
    assert names["phenol"] == names["toluene"] == names["aspirin"]
    assert names["pyridine"] == names["picoline"] != names["phenol"]
    assert names["hexane"] != names["octane"]
    assert names["DMSO"] == ""
    assert len(set(names)) == 5
    for seed in range(20):
        held = hold_out(table, "scaffold", share=0.3, seed=seed)
        out = set(table["Metadata_Compound"][held])
        assert "DMSO" not in out
        assert out
        for family in ({"phenol", "toluene", "aspirin"}, {"pyridine", "picoline"}):
            assert family <= out or not family & out
    # one without a ring can be kept out without the other
    assert any(
        len({"hexane", "octane"} & set(table["Metadata_Compound"][hold_out(table, "scaffold", seed=seed)])) == 1
        for seed in range(20)
    )


def test_salts_stay_with_their_compound() -> None:
    table = pd.DataFrame(
        {
            "Metadata_Compound": ["aspirin", "aspirin sodium", "pyridine", "hexane"],
            "Metadata_SMILES": [COMPOUNDS["aspirin"], "[Na+].CC(=O)Oc1ccccc1C(=O)[O-]", "c1ccncc1", "CCCCCC"],
        }
    )
    for seed in range(10):
        held = hold_out(table, "compound", share=0.4, seed=seed)
        assert held[0] == held[1]


@pytest.mark.parametrize("by", ["plate", "batch"])
def test_by_plate_and_batch(by: str) -> None:
    table = screen()
    held = hold_out(table, by, share=0.34, seed=0)
    # plates P0 and P1 of the three batches are six
    key = table["Metadata_Batch"] + (table["Metadata_Plate"] if by == "plate" else "")
    assert set(key[held]).isdisjoint(key[~held])
    assert key[held].nunique() == {"plate": 2, "batch": 1}[by]
    assert (table["Metadata_Compound"][held] == "DMSO").any()


def test_mistakes_are_told() -> None:
    table = screen()
    with pytest.raises(ScreenError, match="no column 'source'"):
        hold_out(table, "source")
    with pytest.raises(ScreenError, match="choose scaffold, compound"):
        hold_out(table, "weather")
    with pytest.raises(ScreenError, match="between 0 and 1"):
        hold_out(table, "plate", share=1.5)
    with pytest.raises(ScreenError, match=r"but one batch \(B1\)"):
        hold_out(table[table["Metadata_Batch"] == "B1"].reset_index(drop=True), "batch")
    with pytest.raises(ScreenError, match="Row 4 of column Metadata_SMILES"):
        hold_out(table.assign(Metadata_SMILES=["c1ccccc1"] * 3 + ["nonsense"] + ["CC"] * 44), "scaffold")
    gap = table.assign(Metadata_Plate=table["Metadata_Plate"].where(table.index != 3))
    with pytest.raises(ScreenError, match="1 rows have no plate, the first row 3"):
        hold_out(gap, "plate")
    with pytest.raises(ScreenError, match="cannot make 5 folds"):
        folds(list("aabb"), count=5)
