"""Retrieval: average precision against copairs and by hand, its null, and what is refused."""

import itertools

import numpy as np
import pandas as pd
import pytest

from phenolens.evaluation.statistics.average_precision import (
    PairRule,
    Precision,
    average_precision,
    benjamini_hochberg,
    expected_precision,
    mean_average_precision,
    random_precision,
)
from phenolens.runtime.errors import ScreenError

REPLICATES = PairRule(same=("Compound",), different=("Plate",))
OTHERS = PairRule(different=("Compound",))


def screen(
    seed: int, n: int = 120, d: int = 8, compounds: int = 10, plates: int = 4
) -> tuple[np.ndarray, pd.DataFrame]:
    """Random profiles with an effect of the compound; compound 0 is the control."""
    random = np.random.default_rng(seed)
    compound, plate = random.integers(0, compounds, n), random.integers(0, plates, n)
    made = random.normal(size=(n, d)) + random.normal(size=(compounds, d))[compound]
    role = np.where(compound == 0, "negative control", "treated")
    return made, pd.DataFrame({"Metadata_Compound": compound, "Metadata_Plate": plate, "Metadata_Role": role})


def on_circle(*degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_by_hand() -> None:
    # from the first profile: positive at rank 1, negative at 2, positive at 3, negatives at 4 and 5
    table = pd.DataFrame({"Compound": list("aababb"), "Plate": list("xyzzxy")})
    found = average_precision(on_circle(0, 10, 20, 30, 40, 50), table, REPLICATES, OTHERS)
    assert found.values[0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert (found.positives[0], found.negatives[0]) == (2, 3)


@pytest.mark.parametrize("seed", range(6))
def test_equals_copairs(seed: int) -> None:
    copairs = pytest.importorskip("copairs.map")
    made, table = screen(seed)
    theirs = copairs.average_precision(
        table, made, ["Metadata_Compound"], ["Metadata_Plate"], [], ["Metadata_Compound"], progress_bar=False
    )
    ours = average_precision(made, table, REPLICATES, OTHERS)
    np.testing.assert_allclose(ours.values, theirs["average_precision"], atol=1e-6)
    np.testing.assert_array_equal(ours.positives, theirs["n_pos_pairs"])
    np.testing.assert_array_equal(ours.positives + ours.negatives, theirs["n_total_pairs"])
    np.testing.assert_allclose(ours.normalised, theirs["normalized_average_precision"], atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_ties_are_resolved_as_copairs_does(seed: int) -> None:
    copairs = pytest.importorskip("copairs.map")
    _, table = screen(seed, n=80)
    # few values: most similarities occur many times
    made = np.random.default_rng(seed).integers(1, 3, size=(80, 3)).astype(float)
    theirs = copairs.average_precision(
        table, made, ["Metadata_Compound"], [], ["Metadata_Plate"], ["Metadata_Compound"], progress_bar=False
    )
    rule = PairRule(same=("Plate",), different=("Compound",))
    ours = average_precision(made, table, PairRule(same=("Compound",)), rule).values
    known = np.isfinite(ours)
    np.testing.assert_allclose(ours[known], theirs["average_precision"][known], atol=1e-6)
    assert known.sum() > 60


def test_controls_of_the_plate_as_negatives_equal_copairs() -> None:
    copairs = pytest.importorskip("copairs.map")
    made, table = screen(3)
    # copairs says "among controls" by an index that all but the controls share
    table["Metadata_Reference"] = np.where(table["Metadata_Role"] == "negative control", np.arange(len(table)), -1)
    theirs = copairs.average_precision(
        table,
        made,
        ["Metadata_Compound", "Metadata_Reference"],
        [],
        ["Metadata_Plate"],
        ["Metadata_Compound", "Metadata_Reference"],
        progress_bar=False,
    )
    ours = average_precision(
        made,
        table,
        PairRule(same=("Compound",)),
        PairRule(same=("Plate",), among="Metadata_Role=negative control"),
        queries="Role=treated",
    )
    treated = (table["Metadata_Role"] == "treated").to_numpy()
    np.testing.assert_allclose(ours.values[treated], theirs["average_precision"][treated], atol=1e-6)
    assert np.isnan(ours.values[~treated]).all()
    assert not ours.positives[~treated].any()


def test_of_equals_the_positive_comes_first() -> None:
    table = pd.DataFrame({"Compound": list("aab"), "Plate": list("xyz")})
    assert average_precision(on_circle(0, 10, -10), table, REPLICATES, OTHERS).values[0] == 1


def test_length_and_block_size_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    made, table = screen(1)
    whole = average_precision(made, table, REPLICATES, OTHERS).values
    monkeypatch.setattr("phenolens.evaluation.statistics.average_precision._BLOCK", 7 * len(made))
    scaled = made * np.random.default_rng(0).uniform(0.1, 10, (len(made), 1))
    np.testing.assert_allclose(average_precision(scaled, table, REPLICATES, OTHERS).values, whole, atol=1e-12)


def test_profiles_of_the_same_plate_are_not_positives() -> None:
    # each profile has a twin on its own plate; across plates only noise
    random = np.random.default_rng(0)
    made = np.repeat(random.normal(size=(40, 16)), 2, axis=0)
    table = pd.DataFrame({"Compound": np.arange(80) // 2 % 10, "Plate": np.arange(80) // 20})
    across = average_precision(made, table, REPLICATES, OTHERS)
    within = average_precision(made, table, PairRule(same=("Compound", "Plate")), OTHERS)
    assert within.values.min() == 1
    assert np.abs(across.normalised.mean()) < 0.1


def test_a_pair_that_fits_both_rules_is_a_positive() -> None:
    table = pd.DataFrame({"Compound": list("aab"), "Plate": list("xyx")})
    found = average_precision(on_circle(0, 10, 20), table, PairRule(same=("Compound",)), PairRule())
    assert (found.positives.tolist(), found.negatives.tolist()) == ([1, 1, 0], [1, 1, 2])
    assert np.isnan(found.values[2])


def test_without_negatives_there_is_no_figure() -> None:
    table = pd.DataFrame({"Compound": list("aaab"), "Plate": list("xyzx")})
    rule = PairRule(same=("Plate",), different=("Compound",))
    found = average_precision(on_circle(0, 10, 20, 30), table, REPLICATES, rule)
    assert np.isfinite(found.values).tolist() == [True, False, False, False]


@pytest.mark.parametrize(("positives", "total"), [(1, 6), (2, 6), (3, 6), (6, 6)])
def test_null_has_the_moments_of_all_orders(positives: int, total: int) -> None:
    every = [
        np.mean(np.arange(1, positives + 1) / (np.array(ranks) + 1))
        for ranks in itertools.combinations(range(total), positives)
    ]
    drawn = random_precision(positives, total, 40_000, 0)
    assert drawn.mean() == pytest.approx(np.mean(every), abs=0.01)
    assert drawn.std() == pytest.approx(np.std(every), abs=0.01)
    assert expected_precision(np.array([positives]), np.array([total]))[0] == pytest.approx(np.mean(every))
    assert set(drawn.round(9)) == set(np.round(every, 9))


def test_both_ways_of_drawing_agree() -> None:
    few, many = random_precision(5, 30, 40_000, 0), random_precision(6, 30, 40_000, 0)
    assert few.mean() == pytest.approx(expected_precision(np.array([5]), np.array([30]))[0], abs=0.005)
    assert many.mean() == pytest.approx(expected_precision(np.array([6]), np.array([30]))[0], abs=0.005)


def test_means_and_p_values_agree_with_copairs(tmp_path) -> None:
    copairs = pytest.importorskip("copairs.map")
    made, table = screen(5)
    made *= 0.4
    made += np.random.default_rng(1).normal(size=made.shape)
    columns = ["Metadata_Compound"], ["Metadata_Plate"], [], ["Metadata_Compound"]
    profiles = copairs.average_precision(table, made, *columns, progress_bar=False)
    theirs = copairs.mean_average_precision(
        profiles, ["Metadata_Compound"], 20_000, 0.05, 0, progress_bar=False, cache_dir=tmp_path
    ).sort_values("Metadata_Compound")
    found = average_precision(made, table, REPLICATES, OTHERS)
    ours = mean_average_precision(found, table, ["Compound"], null_size=20_000)
    np.testing.assert_allclose(ours["mean_average_precision"], theirs["mean_average_precision"], atol=1e-6)
    np.testing.assert_allclose(ours["mean_normalised"], theirs["mean_normalized_average_precision"], atol=1e-6)
    # theirs treats profiles with other numbers of positives as independent, and so is the bolder where p is small
    small = theirs["p_value"].to_numpy() < 0.1
    assert small.sum() >= 3
    assert (ours["p_value"] >= theirs["p_value"].to_numpy())[small].all()


def test_p_values_agree_with_copairs_where_all_profiles_are_alike(tmp_path) -> None:
    copairs = pytest.importorskip("copairs.map")
    random = np.random.default_rng(2)
    table = pd.DataFrame({"Compound": np.arange(80) % 20})
    made = random.normal(size=(80, 6)) + 0.8 * random.normal(size=(20, 6))[table["Compound"]]
    profiles = copairs.average_precision(table, made, ["Compound"], [], [], ["Compound"], progress_bar=False)
    theirs = copairs.mean_average_precision(
        profiles, ["Compound"], 50_000, 0.05, 0, progress_bar=False, cache_dir=tmp_path
    ).sort_values("Compound")
    found = average_precision(made, table, PairRule(same=("Compound",)), OTHERS)
    ours = mean_average_precision(found, table, ["Compound"], null_size=50_000)
    np.testing.assert_allclose(ours["p_value"], theirs["p_value"], atol=0.012)
    np.testing.assert_allclose(ours["q_value"], theirs["corrected_p_value"], atol=0.03)


def test_p_value_counts_draws_as_good_as_the_observed() -> None:
    # one positive of two: random ranks reach 1 half of the time, so 1 is no evidence
    found = Precision(np.array([1.0]), np.array([1]), np.array([1]))
    result = mean_average_precision(found, pd.DataFrame({"Compound": ["a"]}), ["Compound"], null_size=9999)
    assert result["p_value"][0] == pytest.approx(0.5, abs=0.03)


def test_p_value_is_never_zero() -> None:
    found = Precision(np.array([1.0]), np.array([5]), np.array([500]))
    result = mean_average_precision(found, pd.DataFrame({"Compound": ["a"]}), ["Compound"], null_size=99)
    assert result["p_value"][0] == 1 / 100


def test_false_alarms_stay_below_their_rate() -> None:
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(10):
        table = pd.DataFrame({"Compound": random.integers(0, 40, 160), "Plate": np.arange(160) % 4})
        found = average_precision(random.normal(size=(160, 16)), table, REPLICATES, OTHERS)
        drawn.append(mean_average_precision(found, table, ["Compound"], null_size=999)["p_value"].dropna())
    p_values = np.concatenate(drawn)
    assert len(p_values) > 300
    for level in (0.05, 0.1, 0.2):
        assert (p_values <= level).mean() <= level + 2 * np.sqrt(level * (1 - level) / len(p_values))


def test_a_real_effect_is_found_and_no_other() -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"Compound": np.arange(200) % 20, "Plate": np.arange(200) // 50})
    made = random.normal(size=(200, 32))
    made[table["Compound"] < 5] += 2 * random.normal(size=(20, 32))[table["Compound"][table["Compound"] < 5]]
    result = mean_average_precision(average_precision(made, table, REPLICATES, OTHERS), table, ["Compound"])
    assert (result["q_value"] < 0.05).tolist() == [True] * 5 + [False] * 15


def test_groups_are_drawn_alike_whatever_the_others() -> None:
    made, table = screen(7)
    found = average_precision(made, table, REPLICATES, OTHERS)
    all_ = mean_average_precision(found, table, ["Compound"], null_size=500).set_index("Metadata_Compound")
    rows = np.flatnonzero(table["Metadata_Compound"] == 4)
    part = Precision(found.values[rows], found.positives[rows], found.negatives[rows])
    alone = mean_average_precision(part, table.iloc[rows], ["Compound"], null_size=500)
    assert alone["p_value"][0] == all_["p_value"][4]


def test_a_group_that_cannot_be_judged_stays_in_the_table() -> None:
    table = pd.DataFrame({"Compound": list("aabc"), "Plate": list("xyxy")})
    found = average_precision(on_circle(0, 10, 20, 30), table, REPLICATES, OTHERS)
    result = mean_average_precision(found, table, ["Compound"], null_size=99)
    assert result["Compound"].tolist() == ["a", "b", "c"]
    assert result["profiles"].tolist() == [2, 0, 0]
    assert result["q_value"].isna().tolist() == [False, True, True]


def test_benjamini_hochberg() -> None:
    p_values = [0.01, np.nan, 0.04, 0.03, 0.005, 1.0]
    expected = [0.025, np.nan, 0.05, 0.05, 0.025, 1.0]
    np.testing.assert_allclose(benjamini_hochberg(p_values), expected)
    assert benjamini_hochberg([]).shape == (0,)


def test_mistakes_are_told() -> None:
    made, table = screen(0)
    with pytest.raises(ScreenError, match="no column 'Plat'"):
        average_precision(made, table, PairRule(different=("Plat",)), OTHERS)
    with pytest.raises(ScreenError, match="119 rows of metadata"):
        average_precision(made, table[1:], REPLICATES, OTHERS)
    with pytest.raises(ScreenError, match=r"No profile has a positive .same Compound and different Compound"):
        average_precision(made, table, PairRule(("Compound",), ("Compound",)), OTHERS)
    with pytest.raises(ScreenError, match="No profile has a negative"):
        average_precision(made, table, REPLICATES, PairRule(("Compound",), ("Compound",)))
    gap = table.assign(Metadata_Plate=table["Metadata_Plate"].astype(object).where(np.arange(120) != 3))
    with pytest.raises(ScreenError, match="Metadata_Plate has no value in 1 rows, the first row 3"):
        average_precision(made, gap, REPLICATES, OTHERS)
    for wrong in (0.0, np.nan, np.inf):
        broken = made.copy()
        broken[5] = wrong
        with pytest.raises(ScreenError, match="row 5 "):
            average_precision(broken, table, REPLICATES, OTHERS)
