import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from phenolens.runtime.errors import CellError
from phenolens.screens.crops import Window, cut, window_at
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.territory import outline, territory

SHAPE = (48, 56)


@st.composite
def fields(draw):
    """Label images of a few round cells, some of which touch, and the number and place of one of them."""
    labels = np.zeros(SHAPE, np.int32)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centres = draw(st.lists(st.tuples(st.integers(0, 47), st.integers(0, 55)), min_size=1, max_size=5, unique=True))
    numbers = draw(st.permutations(range(1, len(centres) + 1)))
    for number, (row, column) in zip(numbers, centres, strict=True):
        radius = draw(st.integers(2, 9))
        labels[(np.hypot(y - row, x - column) <= radius) & (labels == 0)] = number
    number = draw(st.sampled_from(sorted(set(labels[labels > 0].tolist()))))
    rows, columns = np.nonzero(labels == number)
    return labels, number, window_at(rows.mean(), columns.mean(), draw(st.sampled_from((15, 24, 32))))


def placed(share, window):
    """Weights in the field; 0 outside the window."""
    whole = np.zeros(SHAPE, np.float32)
    y, x = np.mgrid[window.y : window.y + window.size, window.x : window.x + window.size]
    inside = (y >= 0) & (y < SHAPE[0]) & (x >= 0) & (x < SHAPE[1])
    whole[y[inside], x[inside]] = share[inside]
    return whole


@given(fields(), st.floats(1, 6))
@settings(max_examples=60, deadline=None)
def test_a_change_ends_before_every_other_cell_and_is_whole_in_the_middle_of_its_own(drawn, margin):
    from scipy.ndimage import distance_transform_edt

    labels, number, window = drawn
    share = territory(labels, number, window, margin)
    near = cut(labels[None], window)[0]
    assert share.shape == near.shape
    assert share.dtype == np.float32
    assert share.min() >= 0
    assert share.max() <= 1
    assert not share[(near != 0) & (near != number)].any(), "a neighbour is half-changed"
    wide = cut(labels[None], Window(window.y - 20, window.x - 20, window.size + 40))[0]
    others = (wide != 0) & (wide != number)
    if not others.any():
        assert (share == 1).all()
        return
    away = distance_transform_edt(~others)[20:-20, 20:-20]
    deep = (near == number) & (away >= 2 * margin + 0.01)
    np.testing.assert_allclose(share[deep], 1, atol=1e-6)


@given(fields())
@settings(max_examples=40, deadline=None)
def test_territories_of_a_field_do_not_overlap(drawn):
    labels, _, window = drawn
    total = np.zeros(SHAPE, int)
    for number in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == number)
        place = window_at(rows.mean(), columns.mean(), window.size)
        # with the same surroundings for all, so that the border between two cells is one
        total += placed(territory(labels, int(number), place), place) > 0
    assert total.max() <= 1


@given(fields(), st.integers(2, 500))
@settings(max_examples=30, deadline=None)
def test_it_does_not_depend_on_the_numbers_of_the_cells(drawn, shift):
    labels, number, window = drawn
    other = np.where(labels > 0, labels + shift, 0)
    np.testing.assert_array_equal(territory(labels, number, window), territory(other, number + shift, window))


def test_two_equal_cells_part_half_way():
    labels = np.zeros((32, 64), int)
    labels[10:22, 10:20], labels[10:22, 40:50] = 1, 2
    window = Window(0, 0, 60)
    one, two = (territory(labels, number, window, margin=4)[16] for number in (1, 2))
    assert one[29] > 0
    assert one[30:].max() == 0
    assert two[:30].max() == 0
    np.testing.assert_allclose(one[:60], two[:60][::-1], atol=1e-6)
    assert one[15] == 1
    assert np.all(np.diff(one[15:31]) <= 1e-6), "it falls smoothly"
    assert np.abs(np.diff(one)).max() < 0.5


def test_a_cell_that_is_not_there_is_said():
    with pytest.raises(CellError, match="no cell 3"):
        territory(np.ones(SHAPE, int), 3, Window(0, 0, 16))


def test_a_changed_neighbour_does_not_weaken_a_cells_own_change():
    labels = np.zeros((40, 60), int)
    labels[12:28, 16:28], labels[12:28, 30:42] = 1, 2
    raw = np.full((1, 40, 60), 100, np.float32)
    windows = {1: window_at(20, 22, 32), 2: window_at(20, 36, 32)}
    alone, both = Composite(raw), Composite(raw)
    changes = {n: (w, np.full((1, 32, 32), 10.0 * n, np.float32) * territory(labels, n, w)) for n, w in windows.items()}
    alone.put(1, *changes[1])
    both.put_all(changes)
    mine = labels == 1
    np.testing.assert_allclose(both.difference[0][mine], alone.difference[0][mine], atol=1e-4)
    assert not alone.difference[0][labels == 2].any()
    assert both.difference[0][labels == 2].max() > 15
    both.drop(2)
    np.testing.assert_allclose(both.difference, alone.difference, atol=1e-5)


def test_a_channel_that_happens_to_stand_still_in_single_pixels_leaves_no_holes():
    composite = Composite(np.zeros((1, 40, 40), np.float32))
    change = np.full((1, 32, 32), 8.0, np.float32)
    change[0, 16, 20] = 0
    composite.put("a", Window(0, 0, 32), change)
    composite.put("b", Window(0, 8, 32), np.full((1, 32, 32), 80.0, np.float32))
    around = composite.difference[0, 15:18, 19:22].copy()
    around[1, 1] = around[0, 1]
    assert composite.difference[0, 16, 20] < around.mean()


@given(fields())
@settings(max_examples=40, deadline=None)
def test_the_outline_goes_round_the_cell(drawn):
    from skimage.measure import label, points_in_poly

    labels, number, _ = drawn
    assume(label(labels == number, connectivity=1).max() == 1)  # of a cell in pieces the longest line is drawn
    found = outline(labels, number)
    rows, columns = np.nonzero(labels == number)
    assert found[:, 0].min() == pytest.approx(rows.min() - 0.5)
    assert found[:, 1].max() == pytest.approx(columns.max() + 0.5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inside = points_in_poly(np.c_[y.ravel(), x.ravel()], found).reshape(SHAPE)
    assert (inside & (labels == number)).sum() >= 0.7 * inside.sum()
    assert outline(labels, 99) is None
