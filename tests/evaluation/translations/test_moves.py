import numpy as np
import pandas as pd
import pytest

from phenolens.evaluation.translations.moves import measure_moves


def frames(n=24, seed=0, wells=4):
    """Real cells with a spread of 2 in one feature within wells, of 10 in another, and one that stands still."""
    rng = np.random.default_rng(seed)
    homes = np.repeat([f"A{w:02}" for w in range(wells)], 200)
    between = np.repeat(rng.normal(0, 30, wells), 200)
    columns = {
        "area": between + rng.normal(0, 2, len(homes)),
        "detail": rng.normal(0, 10, len(homes)),
        "flat": np.zeros(len(homes)),
    }
    reference = pd.DataFrame(columns)
    before = pd.DataFrame({name: rng.normal(0, 1, n) for name in reference})
    return reference, homes, before, np.repeat([f"A{w:02}" for w in range(wells)], n // wells)


def test_moves_are_in_spreads_within_wells_with_the_largest_first():
    reference, homes, before, wells = frames()
    after = before.add([1.0, 20.0, 5.0])
    moves = measure_moves(before, after, wells, reference, homes)
    assert moves.wells == 4
    assert moves.table["feature"].tolist() == ["detail", "area"], "what stands still in real cells has no unit"
    np.testing.assert_allclose(moves.table["mean"], [2.0, 0.5], rtol=0.06)
    np.testing.assert_allclose(moves.table["low"], moves.table["mean"], atol=1e-9)
    np.testing.assert_allclose(moves.of_cell(3), [2.0, 0.5], rtol=0.06)


def test_the_interval_is_one_over_wells_where_there_are_several():
    reference, homes, before, wells = frames(n=400)
    of_well = np.repeat([0.0, 0.0, 4.0, 4.0], 100)
    after = before.assign(area=before["area"] + of_well + np.random.default_rng(1).normal(0, 0.1, 400))
    moves = measure_moves(before, after, wells, reference, homes).table.set_index("feature")
    many = moves.loc["area"]
    assert many["low"] < 0.4, "four wells say little, however many cells they have"
    assert many["high"] > 1.6
    one = measure_moves(before[:100], after[:100], wells[:100], reference, homes)
    assert one.wells == 1
    row = one.table.set_index("feature").loc["area"]
    assert row["low"] < row["mean"] < row["high"]
    assert row["high"] - row["low"] < 0.1


def test_a_single_cell_has_a_move_and_no_interval():
    reference, homes, before, wells = frames()
    after = before + 3.0
    moves = measure_moves(before[:1], after[:1], wells[:1], reference, homes)
    assert np.isfinite(moves.table["mean"]).all()
    assert moves.table["low"].isna().all()
    np.testing.assert_allclose(moves.of_cell(0), moves.table["mean"])


def test_a_cell_that_could_not_be_measured_is_left_out():
    reference, homes, before, wells = frames()
    after = before.add([2.0, 0.0, 0.0])
    after.iloc[0] = np.nan
    moves = measure_moves(before, after, wells, reference, homes)
    assert moves.table["feature"].iloc[0] == "area"
    assert moves.table["mean"].iloc[0] == pytest.approx(1.0, rel=0.06)
    assert np.isnan(moves.of_cell(0)).all()
    assert np.isfinite(moves.of_cell(1)).all()
