"""The statistics of an evaluation against closed forms, slow references and planted effects."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, norm

from phenolens.evaluation.statistics.discriminant import fit_discriminant
from phenolens.evaluation.statistics.kernel import kernel_distance, measure_distances
from phenolens.evaluation.statistics.well_statistics import mean_interval
from phenolens.evaluation.translations.changes import measure_changes
from phenolens.evaluation.translations.distributions import compare_distributions, ks_distance
from phenolens.evaluation.translations.flips import LabelledCells, judge_flips
from phenolens.runtime.progress import finish

STRENGTHS = np.array([0.0, 0.5, 1.0])


def wells_of(count, each, prefix):
    return np.repeat([f"{prefix}{number}" for number in range(count)], each)


def cells(rng, wells, features, *, between=0.5, shift=0.0):
    """Cells whose wells differ: (n, F), a spread of 1 within wells and `between` between them."""
    names, place = np.unique(wells, return_inverse=True)
    return (rng.normal(0, between, (len(names), features)))[place] + rng.normal(size=(len(wells), features)) + shift


def table(values):
    return pd.DataFrame(values, columns=[f"f{number}" for number in range(values.shape[1])])


def test_kernel_distance_is_the_sum_over_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 3)), rng.normal(0.5, 1, (5, 3))

    def kernel(x, y):
        return np.exp(-((x - y) ** 2).sum() / (2 * 1.3**2))

    within = [
        np.mean([kernel(x, y) for i, x in enumerate(part) for j, y in enumerate(part) if i != j]) for part in (a, b)
    ]
    expected = sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b, 1.3) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_of_equal_distributions_is_zero_on_average():
    rng = np.random.default_rng(1)
    found = [kernel_distance(rng.normal(size=(12, 2)), rng.normal(size=(12, 2)), 1.0) for _ in range(400)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20
    assert min(found) < 0


def test_distances_say_how_far_cells_have_come():
    rng = np.random.default_rng(2)
    wells, names = wells_of(4, 20, "T"), wells_of(4, 20, "C")
    source, treated = rng.normal(size=(80, 6)), rng.normal(3, 1, (80, 6))
    found = finish(measure_distances(source, rng.normal(3, 1, (80, 6)), names, treated, wells))
    assert (found.size, found.wells) == (40, 2)
    assert found.translated.mean() == pytest.approx(found.real.mean(), abs=0.02)
    assert found.source.mean() > 0.3
    stayed = finish(measure_distances(source, source, names, treated, wells))
    np.testing.assert_array_equal(stayed.translated, stayed.source)
    # the cells of one treated well are divided
    one = finish(measure_distances(source, source, names, treated[:20], wells[:20]))
    assert (one.size, one.wells) == (10, 0)


def test_distances_are_between_sets_of_as_many_wells():
    ratios = []
    for seed in range(20):
        rng = np.random.default_rng([14, seed])
        # wells differ and the conditions do not: many control wells together must not seem nearer than one well
        before, after = (cells(rng, wells_of(count, 30, "w"), 4, between=1.5) for count in (12, 2))
        found = finish(measure_distances(before, before, wells_of(12, 30, "c"), after, wells_of(2, 30, "t"), seed))
        assert (found.size, found.wells) == (30, 1)
        ratios.append(found.source.mean() - found.real.mean())
    assert abs(np.mean(ratios)) < 3 * np.std(ratios, ddof=1) / np.sqrt(20)


@pytest.mark.parametrize("ties", [False, True])
def test_ks_distance_is_scipys(ties):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=31), rng.normal(0.7, 1, 23)
    if ties:
        a, b = a.round(), b.round()
    assert ks_distance(a, b) == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)
    doubled = ks_distance(a, b, np.r_[2, np.ones(30)])
    assert doubled == pytest.approx(ks_2samp(np.r_[a, a[0]], b).statistic, abs=1e-12)


def test_distributions_beside_halves_of_real_wells():
    rng = np.random.default_rng(4)
    wells = wells_of(6, 20, "w")
    before, real = rng.normal(size=120), rng.normal(4, 1, 120)
    found = compare_distributions("m", before, rng.normal(4, 1, 120), wells, real, wells)
    assert found.source[0] > 0.9
    assert found.translated[0] < 0.25
    assert found.translated[1] <= found.translated[0] <= found.translated[2]
    assert 0 < found.real[0] < 0.4
    # one control well leaves no interval, however many treated wells there are
    one = compare_distributions("m", before[:20], before[:20] + 4, wells[:20], real, wells)
    assert one.translated[0] < 0.4
    assert np.isnan(one.translated[1:]).all()


def test_log_odds_of_two_normal_distributions():
    rng = np.random.default_rng(5)
    treated = np.arange(40_000) % 2 == 1
    rows = rng.normal(size=(40_000, 2)) + np.where(treated[:, None], [2.0, 0.0], 0.0)
    classify = fit_discriminant(rows, treated, shrinkage=0.0)
    # the log-odds of unit normals at 0 and 2 are 2 x - 2
    np.testing.assert_allclose(classify(np.array([[0.0, 0.0], [1.0, 3.0], [3.0, 0.0]])), [-2, 0, 4], atol=0.1)
    assert ((classify(rows) > 0) == treated).mean() == pytest.approx(norm.cdf(1), abs=0.01)


def test_discriminant_is_that_of_scikit_learn():
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    rng = np.random.default_rng(6)
    treated = np.arange(60) % 2 == 1
    rows = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 0.5 * treated[:, None]
    seen = (rows - rows.mean(0)) / rows.std(0)
    within = seen - np.array([seen[treated == state].mean(0) for state in treated])
    # theirs shrinks towards the mean variance within the classes, ours towards that of all cells
    other = analysis.LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=_Given(0.9 * within.T @ within / 60 + 0.1 * np.eye(5))
    )
    expected = other.fit(seen, treated).decision_function(seen)
    np.testing.assert_allclose(fit_discriminant(rows, treated, 0.1)(rows), expected, rtol=1e-9, atol=1e-9)


class _Given:
    """A covariance estimator that has its answer, once for each class."""

    def __init__(self, covariance):
        self.covariance_ = covariance

    def fit(self, rows):
        return self


def judged(rng, shift, count=4, each=15, features=8):
    control, treated = wells_of(count, each, "c"), wells_of(count, each, "t")
    before, after = cells(rng, control, features), cells(rng, treated, features, shift=shift)
    states = np.arange(len(control) + len(treated)) >= len(control)
    return LabelledCells(np.concatenate([before, after]), np.concatenate([control, treated]), states), before


def along(before, after):
    return np.stack([before + s * (after - before) for s in STRENGTHS], axis=1)[:10]


def test_flips_of_cells_that_move_and_of_cells_that_stay():
    rng = np.random.default_rng(7)
    real, before = judged(rng, 3.0)
    moved = finish(judge_flips(real, None, before + 3, along(before, before + 3), STRENGTHS))
    assert moved.translated[0] > 0.95
    assert moved.control[0] < 0.05
    assert moved.accuracy > 0.95
    assert moved.p_value <= 0.05
    assert moved.folds == 4
    assert np.median(moved.spearman) == 1
    stayed = finish(judge_flips(real, None, before, along(before, before), STRENGTHS))
    assert stayed.translated == stayed.control
    assert stayed.p_value > 0.5
    assert np.isnan(stayed.spearman).all()


def test_flips_without_a_difference_are_no_better_than_exchanged_labels():
    p_values = []
    for seed in range(20):
        rng = np.random.default_rng([8, seed])
        real, before = judged(rng, 0.0, each=6, features=4)
        shifted = before + rng.normal(0, 1, 4)
        p_values.append(finish(judge_flips(real, None, shifted, along(before, shifted), STRENGTHS, seed)).p_value)
    # of 20 uniform p-values 5 or more are at 0.05 or below with a chance of 0.3 %
    assert np.sum(np.array(p_values) <= 0.05) < 5
    assert np.median(p_values) > 0.2


def test_a_classifier_never_learns_from_the_well_that_it_judges():
    rng = np.random.default_rng(9)
    wells = wells_of(6, 20, "w")
    # wells that are recognised by a feature of their own, and conditions that do not differ
    marked = 5.0 * np.eye(6)[np.unique(wells, return_inverse=True)[1]] + rng.normal(size=(120, 6))
    real = LabelledCells(marked, wells, np.isin(wells, ["w1", "w3", "w5"]))
    before = marked[~real.treated]
    found = finish(judge_flips(real, None, before, along(before, before), STRENGTHS))
    assert found.accuracy < 0.75


def test_one_well_of_a_condition_has_nothing_to_learn_from():
    rng = np.random.default_rng(10)
    real, before = judged(rng, 3.0, count=1)
    assert finish(judge_flips(real, None, before, along(before, before), STRENGTHS)) is None
    further, _ = judged(rng, 3.0, count=2)
    further = LabelledCells(further.features, np.char.add("x", further.wells), further.treated)
    found = finish(judge_flips(real, further, before + 3, along(before, before + 3), STRENGTHS))
    assert found.translated[0] > 0.9
    assert np.isnan(found.translated[1])
    assert found.smallest_p > 0.02


def test_planted_effects_come_back_with_slope_one():
    rng = np.random.default_rng(11)
    effect = np.r_[np.linspace(-4, 4, 12), np.zeros(8)]
    control, treated = wells_of(6, 40, "c"), wells_of(6, 40, "t")
    before = cells(rng, control, 20, between=0.1)
    after = cells(rng, treated, 20, between=0.1, shift=effect)
    # units of their own for each feature must not matter
    scale = np.geomspace(0.01, 100, 20)
    found = measure_changes(
        table(before * scale), control, table(after * scale), treated, table((before + effect) * scale), (6, 6)
    )
    assert found.slope[0] == pytest.approx(1, abs=0.06)
    assert found.slope[1] < 1 < found.slope[2] or abs(found.slope[0] - 1) < 0.03
    assert found.correlation[0] > 0.99
    assert found.agreement[0] >= 0.9
    called = dict(zip(found.table["feature"], found.table["called"], strict=True))
    assert {called[f"f{number}"] for number in range(12) if abs(effect[number]) > 1} == {"both"}
    half = measure_changes(table(before), control, table(after), treated, table(before + effect / 2), (6, 6))
    assert half.slope[0] == pytest.approx(0.5, abs=0.04)
    back = measure_changes(table(before), control, table(after), treated, table(before - effect), (6, 6))
    assert back.agreement[0] <= 0.1
    assert (back.table["called"] == "opposite").sum() >= 8


@pytest.mark.parametrize("count", [2, 4])
def test_nothing_is_called_changed_beyond_the_error_rate_where_nothing_is(count):
    really = shown = 0
    for seed in range(200):
        rng = np.random.default_rng([12, count, seed])
        control, treated = wells_of(count, 10, "c"), wells_of(count, 10, "t")
        before, after = cells(rng, control, 15), cells(rng, treated, 15)
        # an adapter learns the difference of the wells it was given: four and four that do not differ
        given = [cells(rng, wells_of(4, 10, "g"), 15).mean(0) for _ in range(2)]
        found = measure_changes(
            table(before), control, table(after), treated, table(before + given[1] - given[0]), (4, 4), seed
        ).table
        really += (found["real_q"] <= 0.05).any()
        shown += (found["translated_q"] <= 0.05).any()
    # 5 % of 200 screens; 22 or more have a chance below 0.1 %
    assert really < 22
    assert shown < 22


def test_one_well_tests_nothing():
    rng = np.random.default_rng(13)
    control, treated = wells_of(1, 30, "c"), wells_of(3, 30, "t")
    before = cells(rng, control, 5)
    found = measure_changes(table(before), control, table(cells(rng, treated, 5)), treated, table(before), (3, 3))
    assert not found.tested
    assert set(found.table["called"]) == {"not tested"}
    assert np.isnan(found.slope[1])


def test_intervals_are_over_wells_not_cells():
    wells = wells_of(2, 500, "w")
    value, low, high = mean_interval(np.r_[np.zeros(500), np.ones(500)], wells)
    assert (value, low, high) == (0.5, 0, 1)
    assert np.isnan(mean_interval(np.ones(5), np.repeat("w", 5))[1])
