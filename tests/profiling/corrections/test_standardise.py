"""Plate scaling and sphering: known answers, plates without controls, features that stand still."""

import numpy as np
import pytest

from phenolens.profiling.corrections.standardise import PlateScaling, Sphering
from phenolens.runtime.errors import ScreenError


def plates_with_shifts() -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray]:
    """Three plates that shift and stretch the same treatments: embeddings, plates, controls, treatments."""
    random = np.random.default_rng(0)
    treatment = np.tile(np.repeat([0, 0, 0, 1, 2], 20), 3)
    plate = np.repeat([0, 1, 2], 100)
    made = random.normal(size=(300, 4)) + 5 * random.normal(size=(3, 4))[treatment] * (treatment > 0)[:, None]
    made = made * random.uniform(0.3, 3, (3, 4))[plate] + 20 * random.normal(size=(3, 4))[plate]
    return made, [f"P{number}" for number in plate], treatment == 0, treatment


def test_by_hand() -> None:
    # controls 1, 2, 3, 5, 9: median 3, absolute deviations 2, 1, 0, 2, 6 with median 2
    values = np.array([[1.0], [2], [3], [5], [9], [7]])
    scaling = PlateScaling.fit(values, ["P"] * 6, [True] * 5 + [False])
    assert scaling.apply([[7.0]], ["P"])[0, 0] == pytest.approx((7 - 3) / (1.4826 * 2), rel=1e-4)
    assert scaling.without_controls == ()


def test_spread_is_the_standard_deviation_of_normal_controls() -> None:
    made = np.random.default_rng(0).normal(3, 2.5, size=(20_000, 1))
    assert PlateScaling.fit(made, ["P"] * 20_000, np.ones(20_000, bool)).spread[0, 0] == pytest.approx(2.5, rel=0.02)


def test_plates_are_made_alike_and_treatments_stay_apart() -> None:
    made, plates, controls, treatment = plates_with_shifts()
    scaled = PlateScaling.fit(made, plates, controls).apply(made, plates)
    assert scaled.dtype == np.float32
    names = np.array(plates)
    for plate in ("P0", "P1", "P2"):
        np.testing.assert_allclose(np.median(scaled[(names == plate) & controls], axis=0), 0, atol=1e-6)
    for which in (1, 2):
        means = [scaled[(names == plate) & (treatment == which)].mean(axis=0) for plate in ("P0", "P1", "P2")]
        raw = [made[(names == plate) & (treatment == which)].mean(axis=0) for plate in ("P0", "P1", "P2")]
        # 60 controls tell a plate's spread to about 15 %
        assert np.ptp(means, axis=0).max() < 0.6 * np.abs(means).max()
        assert np.ptp(raw, axis=0).max() > 1.2 * np.abs(raw).max()


def test_treated_rows_do_not_move_the_scale() -> None:
    made, plates, controls, _ = plates_with_shifts()
    changed = np.where(controls[:, None], made, 1e6)
    one, other = PlateScaling.fit(made, plates, controls), PlateScaling.fit(changed, plates, controls)
    np.testing.assert_array_equal(one.centre, other.centre)
    np.testing.assert_array_equal(one.spread, other.spread)


def test_a_plate_without_controls_uses_its_treatments_and_says_so() -> None:
    made, plates, controls, _ = plates_with_shifts()
    names = np.array(plates)
    controls = controls & (names != "P1")
    controls[np.flatnonzero(names == "P1")[:2]] = True  # two are too few
    scaling = PlateScaling.fit(made, plates, controls)
    assert scaling.without_controls == ("P1",)
    np.testing.assert_allclose(scaling.centre[1], np.median(made[names == "P1"], axis=0))
    assert PlateScaling.fit(made, plates, controls, fewest_controls=2).without_controls == ()


def test_a_feature_that_stands_still_on_one_plate_borrows_the_spread_of_others() -> None:
    made, plates, controls, _ = plates_with_shifts()
    made[np.array(plates) == "P2", 1] = 4.0
    scaling = PlateScaling.fit(made, plates, controls)
    assert scaling.spread[2, 1] == pytest.approx(np.median(scaling.spread[:2, 1]))
    assert not scaling.constant.any()
    assert np.abs(scaling.apply(made, plates)).max() < 100


def test_a_feature_that_stands_still_everywhere_becomes_zero() -> None:
    made, plates, controls, _ = plates_with_shifts()
    made[:, 2] = 7.0
    made[-1, 2] = 8.0
    scaling = PlateScaling.fit(made, plates, controls)
    assert scaling.constant.tolist() == [False, False, True, False]
    scaled = scaling.apply(made, plates)
    assert not scaled[:, 2].any()
    assert np.isfinite(scaled).all()


def test_one_row_is_scaled_as_in_a_batch() -> None:
    made, plates, controls, _ = plates_with_shifts()
    scaling = PlateScaling.fit(made, plates, controls)
    np.testing.assert_array_equal(scaling.apply(made[150:151], ["P1"])[0], scaling.apply(made, plates)[150])


def correlated(n: int, d: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) @ random.normal(size=(d, d)) + 10


def test_sphered_controls_vary_alike_in_every_direction() -> None:
    controls = correlated(400, 6)
    sphered = Sphering.fit(controls, regularisation=0).apply(controls)
    np.testing.assert_allclose(np.cov(sphered.T), np.eye(6), atol=1e-3)
    np.testing.assert_allclose(sphered.mean(axis=0), 0, atol=1e-4)


def test_sphering_is_symmetric_and_changes_white_data_little() -> None:
    matrix = Sphering.fit(correlated(100, 5)).matrix
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    white = np.random.default_rng(0).normal(size=(50_000, 3))
    np.testing.assert_allclose(Sphering.fit(white, regularisation=0).matrix, np.eye(3), atol=0.02)


def test_regularisation_by_hand() -> None:
    # variances 4 and 1 along the axes, mean 2.5; with 0.1 of it added, 4.25 and 1.25
    controls = np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]]) * np.sqrt(1.5)
    expected = np.diag([4.25, 1.25]) ** 0.5
    found = Sphering.fit(controls, regularisation=0.1).matrix
    np.testing.assert_allclose(found @ expected, np.eye(2), atol=1e-12)


def test_fewer_controls_than_dimensions_are_not_stretched_without_bound() -> None:
    sphering = Sphering.fit(correlated(5, 50))
    assert np.linalg.cond(sphering.matrix) < np.sqrt(50 / 0.01 + 1) + 1
    assert np.isfinite(sphering.apply(correlated(20, 50, seed=1))).all()
    with pytest.raises(ScreenError, match="do not vary in all 50 directions"):
        Sphering.fit(correlated(5, 50), regularisation=0)


def test_mistakes_are_told() -> None:
    made, plates, controls, _ = plates_with_shifts()
    scaling = PlateScaling.fit(made, plates, controls)
    with pytest.raises(ScreenError, match="'P9' was not among the 3 plates"):
        scaling.apply(made[:1], ["P9"])
    with pytest.raises(ScreenError, match="2 plate names were given for 1"):
        scaling.apply(made[:1], ["P1", "P1"])
    with pytest.raises(ScreenError, match="2 dimensions where 4"):
        scaling.apply(made[:1, :2], ["P1"])
    with pytest.raises(ScreenError, match="7 control marks were given for 300"):
        PlateScaling.fit(made, plates, controls[:7])
    with pytest.raises(ScreenError, match="at least two control"):
        Sphering.fit(made[:1])
    with pytest.raises(ScreenError, match="all the same"):
        Sphering.fit(np.full((9, 3), 0.1))
    with pytest.raises(ValueError, match="must not be negative"):
        Sphering.fit(made, regularisation=-1)
    made[17, 2] = np.nan
    with pytest.raises(ScreenError, match="1 embeddings, the first in row 17"):
        PlateScaling.fit(made, plates, controls)
