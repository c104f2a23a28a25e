"""Windows, resampling and pasting back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from phenolens.screens.crops import Window, changed, cut, feather, paste, resample, window_at

DTYPES = [np.uint8, np.int16, np.uint16, np.uint32, np.float32, np.float64]


@given(y=st.floats(-50, 50), x=st.floats(-50, 50), size=st.integers(1, 64))
def test_window_is_centred_to_half_a_pixel(y, x, size):
    window = window_at(y, x, size)
    assert abs(window.y + (size - 1) / 2 - y) <= 0.5 + 1e-9
    assert abs(window.x + (size - 1) / 2 - x) <= 0.5 + 1e-9


def test_cut_inside_is_a_slice_and_does_not_share_memory():
    plane = np.arange(2 * 9 * 8, dtype=np.uint16).reshape(2, 9, 8)
    crop = cut(plane, Window(2, 3, 4))
    np.testing.assert_array_equal(crop, plane[:, 2:6, 3:7])
    crop[:] = 0
    assert plane[0, 2, 3] != 0


@given(y=st.integers(-20, 20), x=st.integers(-20, 20), size=st.integers(1, 30))
@settings(deadline=None)
def test_cut_over_the_border_reflects_as_numpy_does(y, x, size):
    plane = np.random.default_rng(0).integers(0, 255, (1, 6, 11), dtype=np.uint8)
    padded = np.pad(plane, ((0, 0), (60, 60), (60, 60)), mode="reflect")
    np.testing.assert_array_equal(
        cut(plane, Window(y, x, size)), padded[:, 60 + y : 60 + y + size, 60 + x : 60 + x + size]
    )


def test_resample_keeps_constants_and_is_identity_at_its_own_size():
    crops = np.random.default_rng(0).normal(size=(3, 2, 17, 17)).astype(np.float32)
    np.testing.assert_array_equal(resample(crops, 17), crops)
    assert resample(np.full((2, 68, 68), 7.0), 64) == pytest.approx(np.full((2, 64, 64), 7.0), rel=1e-6)


@pytest.mark.parametrize(("source", "target"), [(40, 64), (68, 64), (100, 64)])
def test_resample_there_and_back_keeps_a_smooth_image_in_place(source, target):
    y, x = np.mgrid[:source, :source] / source
    image = (np.sin(5 * y) * np.cos(4 * x))[None]
    assert np.abs(resample(resample(image, target), source) - image)[:, 2:-2, 2:-2].max() < 5e-3


def test_resample_does_not_alias_when_it_shrinks():
    stripes = np.tile(np.array([0.0, 1.0]), (64, 32))[None]
    assert np.ptp(resample(stripes, 16)[0, :, 2:-2]) < 0.1


def test_feather_is_one_inside_and_zero_on_the_edge():
    weights = feather(32, 6)
    assert weights[16, 16] == 1
    assert (weights[6:26, 6:26] == 1).all()
    edge = np.concatenate([weights[0], weights[-1], weights[:, 0], weights[:, -1]])
    assert (edge == 0).all()
    assert (np.diff(weights[16, :8]) >= 0).all()
    assert (feather(8, 0) == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_zero_difference_leaves_the_plane_bit_for_bit(dtype, data):
    plane = data.draw(hnp.arrays(dtype, (2, 9, 7)))
    window = Window(data.draw(st.integers(-9, 9)), data.draw(st.integers(-9, 9)), 5)
    result = paste(plane, window, np.zeros((2, 5, 5), np.float32))
    assert result.dtype == plane.dtype
    assert result.tobytes() == plane.tobytes()
    assert result is not plane


@pytest.mark.parametrize("dtype", DTYPES)
def test_difference_is_added_rounded_and_held_to_the_dtype(dtype):
    plane = np.full((1, 6, 6), 100, dtype)
    difference = np.zeros((1, 4, 4), np.float32)
    difference[0, 1, 1:4] = 20.4, 1e9, -1e9
    result = paste(plane, Window(1, 1, 4), difference)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        expected: list[float] = [120, min(100 + 10**9, limits.max), max(100 - 10**9, limits.min)]
    else:
        expected = [120.4, 1e9 + 100, -1e9 + 100]
    assert result[0, 2, 2:5].astype(float) == pytest.approx(expected, rel=1e-6)
    assert (np.delete(result.ravel(), [14, 15, 16]) == 100).all()


def test_paste_over_a_corner_changes_only_what_is_inside():
    plane = np.zeros((1, 5, 5), np.uint8)
    result = paste(plane, Window(-2, 3, 4), np.full((1, 4, 4), 9, np.float32))
    assert (result[0, :2, 3:] == 9).all()
    assert result.sum() == 4 * 9
    np.testing.assert_array_equal(paste(plane, Window(50, 50, 4), np.ones((1, 4, 4))), plane)


def test_cutting_then_pasting_the_missing_part_restores_the_image():
    rng = np.random.default_rng(5)
    before, after = rng.integers(0, 65535, (2, 3, 20, 20), dtype=np.uint16)
    window = Window(-3, 12, 16)
    result = paste(before, window, cut(after, window).astype(np.float32) - cut(before, window).astype(np.float32))
    np.testing.assert_array_equal(result[:, :13, 12:], after[:, :13, 12:])
    np.testing.assert_array_equal(result[:, :, :12], before[:, :, :12])


@pytest.mark.parametrize("dtype", [*DTYPES, np.int8, np.float16])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_changed_pixels_are_the_nearest_that_their_dtype_has(dtype, data):
    finite = np.issubdtype(dtype, np.floating)
    limits = np.finfo(dtype) if finite else np.iinfo(dtype)
    elements = {"min_value": float(limits.min), "max_value": float(limits.max)} if finite else None
    pixels = data.draw(hnp.arrays(dtype, (2, 3), elements=elements))
    difference = data.draw(hnp.arrays(np.float32, (2, 3), elements=st.floats(-1e6, 1e6, width=32)))
    result = changed(pixels, difference)
    assert result.dtype == dtype
    for before, moved, after in zip(pixels.ravel(), difference.ravel(), result.ravel(), strict=True):
        wanted = min(max(float(before) + float(moved), float(limits.min)), float(limits.max))
        assert abs(float(after) - wanted) <= (max(abs(wanted) * float(limits.eps), 1e-6) if finite else 0.5)
        assert moved != 0 or after == before
