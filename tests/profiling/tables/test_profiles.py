"""Profiles: means a field or a well, what their columns say, and what they refuse."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenolens.profiling.tables.profiles import Profiles, aggregate, is_control, mechanism_column, treatment_names
from phenolens.runtime.errors import ScreenError


def some_cells() -> Profiles:
    """Eight cells: two batches with a plate P1 each, in which A1 has two fields."""
    rows = [
        ("b1", "P1", "A1", 1, "DMSO"),
        ("b1", "P1", "A1", 2, "DMSO"),
        ("b1", "P1", "A1", 1, "DMSO"),
        ("b1", "P1", "A1", 1, "DMSO"),
        ("b1", "P1", "B1", 1, None),
        ("b2", "P1", "A1", 1, "drug"),
        ("b2", "P1", "A1", 1, "drug"),
        ("b1", "P1", "B1", 1, None),
    ]
    table = pd.DataFrame(
        rows,
        columns=[f"Metadata_{name}" for name in ("Batch", "Plate", "Well", "Site", "Compound")],
        index=range(8, 16),
    )
    table["Metadata_Label"] = range(1, 9)
    table["Metadata_X"] = 1.5
    vectors = np.array([[0, 0], [10, 20], [2, 0], [4, 3], [7, 7], [1, 1], [3, 3], [9, 9]], np.float32)
    return Profiles(table, vectors, {"level": "cell", "encoder": "e"})


def test_wells_by_hand() -> None:
    wells = aggregate(some_cells(), "well")
    assert wells.metadata["Metadata_Batch"].tolist() == ["b1", "b1", "b2"]
    assert wells.metadata["Metadata_Well"].tolist() == ["A1", "B1", "A1"]
    np.testing.assert_array_equal(wells.vectors, np.array([[4, 5.75], [8, 8], [2, 2]], np.float32))
    assert wells.vectors.dtype == np.float32
    assert wells.metadata["Metadata_Cells"].tolist() == [4, 2, 2]
    assert wells.level == "well"
    assert wells.card["encoder"] == "e"


def test_only_what_all_cells_of_a_mean_share_is_kept() -> None:
    wells = aggregate(some_cells(), "well").metadata
    # the site differs within A1; label and place are of one cell even where they agree; a gap agrees with a gap
    assert {"Metadata_Site", "Metadata_Label", "Metadata_X"}.isdisjoint(wells.columns)
    assert wells["Metadata_Compound"].isna().tolist() == [False, True, False]
    fields = aggregate(some_cells(), "field").metadata
    assert fields["Metadata_Site"].tolist() == [1, 2, 1, 1]


def test_fields_are_told_apart_by_their_key_before_their_site() -> None:
    cells = some_cells()
    table = cells.metadata.assign(Metadata_Field=list("abcdefgh"))
    assert len(aggregate(Profiles(table, cells.vectors, cells.card), "field")) == 8


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 3), st.floats(-5, 5)), min_size=1, max_size=20))
def test_means_of_means_are_the_means_of_all_cells(cells: list[tuple[str, int, float]]) -> None:
    table = pd.DataFrame({"Metadata_Well": [c[0] for c in cells], "Metadata_Site": [c[1] for c in cells]})
    made = Profiles(table, np.array([[c[2]] for c in cells], np.float32), {"level": "cell"})
    direct, by_field = aggregate(made, "well"), aggregate(aggregate(made, "field"), "well")
    assert direct.metadata["Metadata_Well"].tolist() == by_field.metadata["Metadata_Well"].tolist()
    assert direct.metadata["Metadata_Cells"].tolist() == by_field.metadata["Metadata_Cells"].tolist()
    np.testing.assert_allclose(direct.vectors, by_field.vectors, atol=1e-5)


def test_what_is_of_that_level_stays_and_what_is_above_is_refused() -> None:
    wells = aggregate(some_cells(), "well")
    assert aggregate(wells, "well") is wells
    with pytest.raises(ScreenError, match="cannot be taken apart"):
        aggregate(wells, "field")


def test_wells_without_names_are_refused() -> None:
    cells = some_cells()
    without = Profiles(cells.metadata.drop(columns="Metadata_Well"), cells.vectors, cells.card)
    with pytest.raises(ScreenError, match="no column Metadata_Well"):
        aggregate(without, "well")
    gaps = Profiles(cells.metadata.assign(Metadata_Well=["A1", " ", None, *"ABCDE"]), cells.vectors, cells.card)
    with pytest.raises(ScreenError, match="2 of 8 rows have no Metadata_Well"):
        aggregate(gaps, "well")


def test_rows_are_numbered_anew_and_selected_by_a_mask() -> None:
    cells = some_cells()
    assert cells.metadata.index.tolist() == list(range(8))
    drug = cells.select(cells.column("compound") == "drug")
    assert drug.metadata["Metadata_Label"].tolist() == [6, 7]
    assert drug.metadata.index.tolist() == [0, 1]
    np.testing.assert_array_equal(drug.vectors, [[1, 1], [3, 3]])
    with pytest.raises(ScreenError, match="No profile"):
        cells.select(np.zeros(8, bool))
    with pytest.raises(ScreenError, match="each of the 8"):
        cells.select(np.ones(7, bool))


def test_a_missing_column_is_answered_with_those_there_are() -> None:
    with pytest.raises(ScreenError, match=r"Metadata_Plate.*Metadata_Compound"):
        some_cells().column("Gene")


def test_vectors_change_with_the_card() -> None:
    cells = some_cells()
    other = cells.with_vectors(np.zeros((8, 5)), corrections=["x"])
    assert other.vectors.shape == (8, 5)
    assert other.card == {**cells.card, "corrections": ["x"]}
    assert "corrections" not in cells.card
    with pytest.raises(ScreenError, match="7 embeddings were given with 8 rows"):
        cells.with_vectors(np.zeros((7, 5)))


@pytest.mark.parametrize(
    ("columns", "said"), [(["area"], "rename it to Metadata_area"), (["Metadata_A", "Metadata_A"], "2 times")]
)
def test_columns_that_are_no_metadata_are_refused(columns: list[str], said: str) -> None:
    with pytest.raises(ScreenError, match=said):
        Profiles(pd.DataFrame([[1] * len(columns)], columns=columns), np.zeros((1, 2), np.float32), {})


@pytest.mark.parametrize(
    ("columns", "level"), [(["Label", "Site"], "cell"), (["Site", "Well"], "field"), (["Well"], "well")]
)
def test_the_level_is_told_from_the_columns_where_the_card_is_silent(columns: list[str], level: str) -> None:
    table = pd.DataFrame([[1] * len(columns)], columns=[f"Metadata_{name}" for name in columns])
    assert Profiles(table, np.zeros((1, 2), np.float32), {}).level == level


def test_controls_are_those_marked() -> None:
    table = pd.DataFrame({"Metadata_Role": ["Negative Control", "treated", None, "positive control"]})
    assert is_control(table).tolist() == [True, False, False, False]
    assert is_control(pd.DataFrame({"Metadata_control_type": ["negcon", "poscon_cp"]})).tolist() == [True, False]
    assert not is_control(pd.DataFrame({"Metadata_Well": ["A", "B"]})).any()


def test_mechanisms_are_found_under_either_name_if_there_are_any() -> None:
    assert mechanism_column(pd.DataFrame({"Metadata_moa": ["x", None]})) == "Metadata_moa"
    both = pd.DataFrame({"Metadata_MoA": ["x"], "Metadata_Mechanism": [None]})
    assert mechanism_column(both) == "Metadata_MoA"
    assert mechanism_column(both.assign(Metadata_Mechanism="y")) == "Metadata_Mechanism"
    assert mechanism_column(pd.DataFrame({"Metadata_MoA": ["", " "]})) is None


def test_treatments_are_named_with_their_dose() -> None:
    table = pd.DataFrame(
        {
            "Metadata_Compound": ["DMSO", "A", "A", None, "B"],
            "Metadata_Role": ["negative control", "treated", "treated", "treated", "treated"],
            "Metadata_Concentration": [5, 0.3, 0.3 + 1e-12, 2, 0],
        }
    )
    assert treatment_names(table).tolist() == ["DMSO", "A at 0.3 µM", "A at 0.3 µM", "treated at 2 µM", "B"]
    ranked = table.drop(columns="Metadata_Concentration").assign(Metadata_DoseRank=[0, 1, 2, 3, None])
    assert treatment_names(ranked).tolist() == ["DMSO", "A at dose 1", "A at dose 2", "treated at dose 3", "B"]
    assert treatment_names(pd.DataFrame({"Metadata_Genotype": ["wt"]}, index=[7])).to_dict() == {7: "wt"}


def test_rows_are_taken_by_number() -> None:
    cells = some_cells()
    assert cells[1].vectors.tolist() == [[10, 20]]
    assert cells[-1].metadata["Metadata_Label"].tolist() == [8]
    assert cells[2:4].vectors.tolist() == [[2, 0], [4, 3]]
    assert cells[0].card == cells.card
    assert len(list(cells)) == 8  # type: ignore[call-overload]
    with pytest.raises(IndexError):
        cells[8]
