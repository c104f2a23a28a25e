"""The intensity map: fitted once over everything, and exactly invertible."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from phenolens.runtime.errors import ImageError
from phenolens.screens.images import FieldImage
from phenolens.screens.intensity import KINDS, IntensityMap, sample_of

DTYPES = (np.uint8, np.uint16, np.int16)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_rounding_the_inverse_gives_every_integer_back(kind, data):
    dtype = data.draw(st.sampled_from(DTYPES))
    images = data.draw(hnp.arrays(dtype, (2, 2, 7, 5)))
    fitted = IntensityMap.fit(images[:1], ("a", "b"), kind)
    # also of the image that the map was not fitted on: values outside low..high
    back = np.rint(fitted.inverse(fitted.forward(images)))
    span = np.subtract(fitted.high, fitted.low).min()
    if span > 200:  # a map of a narrow range stretches far values beyond float32's digits
        np.testing.assert_array_equal(back, images)
    else:
        np.testing.assert_allclose(back, images, rtol=1e-5, atol=1)


@pytest.mark.parametrize("kind", KINDS)
@given(low=st.floats(-1e4, 1e4), span=st.floats(1e-2, 1e4), at=st.floats(-2, 3))
@settings(deadline=None)
def test_inverse_undoes_forward_on_floats_below_and_above_the_range(kind, low, span, at):
    fitted = IntensityMap(kind, ("a",), (low,), (low + span,))
    x = np.full((1, 1, 1), low + at * span)
    assert fitted.inverse(fitted.forward(x))[0, 0, 0] == pytest.approx(x[0, 0, 0], rel=1e-6, abs=4e-6 * span)


@pytest.mark.parametrize("kind", KINDS)
def test_is_increasing_and_runs_from_minus_one_to_one(kind):
    fitted = IntensityMap(kind, ("a",), (100.0,), (4000.0,))
    y = fitted.forward(np.linspace(-500, 6000, 300)[None, None])
    assert (np.diff(y[0, 0]) > 0).all()
    assert fitted.forward(np.array([[[100.0, 4000.0]]])) == pytest.approx(np.array([[[-1, 1]]]), abs=1e-6)


def test_low_and_high_are_the_percentiles_over_all_images_together():
    rng = np.random.default_rng(1)
    images = [rng.normal(mean, 200, (1, 90, 90)).clip(0).astype(np.uint16) for mean in (1000, 1500, 4000)]
    fitted = IntensityMap.fit(images, ("a",), low_percentile=1, high_percentile=99)
    expected = np.percentile(np.concatenate([i.ravel() for i in images]), [1, 99])
    assert (fitted.low[0], fitted.high[0]) == pytest.approx(tuple(expected), abs=2)


@pytest.mark.parametrize("shift", [0.0, -3.0])
def test_percentiles_of_floats_are_close_and_outliers_do_not_spoil_them(shift):
    values = np.random.default_rng(2).gamma(2, 1, (3, 1, 80, 80)).astype(np.float32) + np.float32(shift)
    values[0, 0, 0, 0] = 1e9
    fitted = IntensityMap.fit(values, ("a",))
    expected = np.percentile(values, [0.1, 99.9])
    assert (fitted.low[0], fitted.high[0]) == pytest.approx(tuple(expected), rel=0.02, abs=0.01)


def test_integers_and_floats_may_be_mixed():
    whole = np.arange(100, dtype=np.uint8).reshape(1, 10, 10)
    fitted = IntensityMap.fit([whole, whole.astype(np.float32) + 100], ("a",), low_percentile=0, high_percentile=100)
    assert (fitted.low[0], fitted.high[0]) == pytest.approx((0, 199), abs=0.1)


def test_share_of_saturated_pixels_is_reported_for_each_channel():
    image = np.random.default_rng(3).integers(0, 200, (2, 20, 20), dtype=np.uint8)
    image[1, :5] = 255
    image[0, 0, 0] = 220
    assert IntensityMap.fit([image], ("a", "b")).saturated == pytest.approx((1 / 400, 0.25))


def test_a_blank_channel_gets_a_map_that_can_be_inverted():
    blank = np.full((1, 8, 8), 7, np.uint16)
    fitted = IntensityMap.fit([blank], ("a",))
    assert fitted.saturated == (0.0,)
    np.testing.assert_array_equal(fitted.inverse(fitted.forward(blank)), blank)


def test_goes_through_json():
    fitted = IntensityMap.fit([np.arange(50, dtype=np.uint16).reshape(2, 5, 5)], ("a", "b"), "sqrt")
    assert IntensityMap.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_batches_are_mapped_as_single_images():
    fitted = IntensityMap("sqrt", ("a", "b"), (0.0, 10.0), (100.0, 30.0))
    batch = np.random.default_rng(4).uniform(0, 100, (3, 2, 6, 6))
    np.testing.assert_array_equal(fitted.forward(batch)[1], fitted.forward(batch[1]))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "no image"),
        ([np.zeros((3, 4, 4))], "2 channels"),
        ([np.full((2, 4, 4), np.nan)], "NaN"),
    ],
)
def test_unusable_images_are_named(images, words):
    with pytest.raises(ImageError, match=words):
        IntensityMap.fit(images, ("a", "b"))


def test_an_image_of_other_channels_is_refused():
    with pytest.raises(ImageError, match="2 channels"):
        IntensityMap("affine", ("a", "b"), (0.0, 0.0), (1.0, 1.0)).forward(np.zeros((3, 4, 4)))


def test_a_large_image_is_judged_by_squares_of_full_resolution():
    small = FieldImage(np.arange(12.0).reshape(1, 3, 4), "CYX")
    np.testing.assert_array_equal(sample_of(small), small.data)
    pixels = np.random.default_rng(0).poisson(300, (2, 2500, 2300)).astype(np.uint16)
    large = FieldImage(pixels, "CYX", ("a", "b"))
    sample = sample_of(large)
    assert sample.shape == (2, 512, 16 * 512)
    np.testing.assert_array_equal(sample[:, :, :512], pixels[:, :512, :512])
    np.testing.assert_array_equal(sample[:, :, -512:], pixels[:, 1536:2048, 1536:2048])
    fitted, whole = IntensityMap.fit([sample], ("a", "b")), IntensityMap.fit([pixels], ("a", "b"))
    np.testing.assert_allclose([fitted.low, fitted.high], [whole.low, whole.high], atol=1)
