"""Lines of density: as many points lie within as the line says, and they are the densest ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import points_in_poly

from phenolens.profiling.atlas.density import FEWEST, SHARES, density_outlines


def within(points, outline):
    """Whether points (n, 2) lie within an odd number of an outline's lines."""
    odd = np.zeros(len(points), bool)
    for line in outline.lines:
        odd ^= points_in_poly(points, line)
    return odd


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(FEWEST, 3000),
    clouds=st.integers(1, 6),
    width=st.floats(0.02, 3),
    unit=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_as_many_points_lie_within_as_a_line_says(seed, count, clouds, width, unit):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clouds, 2)) * 5
    stretch = rng.uniform(0.2, 2, (clouds, 1, 2))
    which = rng.integers(0, clouds, count)
    points = unit * (centres[which] + width * stretch[which, 0] * rng.normal(size=(count, 2)))
    outlines = density_outlines(points)
    assert tuple(one.share for one in outlines) == SHARES
    inner = np.zeros(count, bool)
    for outline in outlines:
        assert all(np.array_equal(line[0], line[-1]) for line in outline.lines), "closed"
        inside = within(points, outline)
        assert abs(inside.sum() - outline.share * count) <= max(2, 0.02 * count)
        assert (inner & ~inside).sum() <= max(1, 0.01 * count), "one line lies within the next"
        inner = inside


def test_of_a_round_cloud_the_lines_are_circles_of_the_right_size():
    points = np.random.default_rng(0).normal(size=(20_000, 2)) * 3 + 100
    for outline in density_outlines(points):
        (line,) = [line for line in outline.lines if len(line) == max(map(len, outline.lines))]
        radius = np.hypot(*(line - 100).T)
        assert np.median(radius) == pytest.approx(3 * np.sqrt(-2 * np.log(1 - outline.share)), rel=0.08)


def test_two_clouds_have_a_line_each_and_what_lies_between_is_without():
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(size=(400, 2)), np.array([40, 0]) + rng.normal(size=(400, 2))])
    outline = density_outlines(points)[1]
    large = [line for line in outline.lines if len(line) > 20]
    assert len(large) >= 2
    assert not within(np.array([[20.0, 0.0]]), outline).any()
    assert max(np.ptp(line[:, 0]) for line in large) < 6, "as wide as a cloud, not as both"


def test_a_few_far_points_change_little():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(1000, 2))
    far = np.concatenate([points, [[1e4, 0], [0, -1e4], [5e3, 5e3]]])
    one, other = (max(density_outlines(places)[2].lines, key=len) for places in (points, far))
    assert np.ptp(other, axis=0) == pytest.approx(np.ptp(one, axis=0), rel=0.1)


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.eye(2), np.zeros((500, 2)), np.ones((FEWEST - 1, 2))])
def test_of_few_points_or_one_spot_there_are_no_lines(points):
    assert density_outlines(points) == ()


def test_points_on_a_line_are_no_error():
    assert len(density_outlines(np.column_stack([np.linspace(0, 1, 200), np.zeros(200)]))) == 3
