"""Points within an outline: exact at any number of points, and fast."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenolens.widgets.map.drawing import lasso as map_lasso
from phenolens.widgets.map.drawing.lasso import points_within


def winding(points, corners):
    """The even-odd rule for one point after the other, in plain Python."""
    found = []
    for x, y in points:
        odd = False
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                odd = not odd
        found.append(odd)
    return np.array(found)


def test_a_square_holds_what_lies_in_it():
    square = [(0, 0), (2, 0), (2, 2), (0, 2)]
    assert points_within([(1, 1), (3, 1), (1, -0.1), (1.99, 0.01)], square).tolist() == [True, False, False, True]


def test_what_a_star_covers_twice_lies_without():
    turns = np.exp(2j * np.pi * np.arange(5) * 2 / 5)
    star = np.column_stack([turns.real, turns.imag])
    assert points_within([(0, 0), (0.8, 0)], star).tolist() == [False, True]


@pytest.mark.parametrize("outline", [[], [(0, 0)], [(0, 0), (1, 1)], [(0, 0)] * 4, [(0, 0), (1, 0), (2, 0)]])
def test_what_encloses_nothing_holds_nothing(outline):
    assert not points_within([(0, 0), (0.5, 0.5), (1, 0)], np.reshape(outline, (-1, 2))).any()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), corners=st.integers(3, 30))
def test_many_points_are_told_as_one_by_one(seed, corners):
    rng = np.random.default_rng(seed)
    outline, points = rng.normal(size=(corners, 2)), rng.normal(size=(400, 2)).astype(np.float32)
    points[:corners] = outline[: len(points[:corners])]
    expected = winding(points.astype(float), outline)
    assert np.array_equal(points_within(points, outline), expected)


@pytest.mark.parametrize("seed", range(8))
def test_the_short_way_for_many_points_changes_nothing(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    outline, points = rng.normal(size=(4 + 9 * seed, 2)), rng.normal(size=(20_000, 2))
    direct = points_within(points, outline)
    monkeypatch.setattr(map_lasso, "_BLOCK", 5000)
    assert np.array_equal(points_within(points, outline), direct)
    assert 0 < direct.sum() < len(points)


def test_a_million_points_take_less_than_half_a_second():
    points = np.random.default_rng(0).normal(size=(1_000_000, 2)).astype(np.float32)
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    radius = 1.5 + 0.5 * np.sin(7 * angle)
    outline = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        within = points_within(points, outline)
        taken.append(time.perf_counter() - start)
    assert 0.5 < within.mean() < 0.8
    assert min(taken) < 0.5
