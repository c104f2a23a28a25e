"""What is measured of a crop: known answers, beside scipy, and what may not change it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from phenolens.profiling.encoders.measurements import _BLURS, _QUANTILES, _RINGS, Measurements, _blur

MEAN, SPREAD, SKEW = 0, 1, 2
QUANTILES = slice(3, 3 + len(_QUANTILES))
FIRST_RING = 3 + len(_QUANTILES)
CORRELATION = FIRST_RING + 2 * _RINGS
BANDS = CORRELATION + 2
COHERENCE = [BANDS + 6 * len(_BLURS) + 2, BANDS + 6 * len(_BLURS) + 3]
GRADIENTS = [BANDS + 6 * len(_BLURS) + 1, *COHERENCE]
measure = Measurements()


def planes(n=3, height=64, width=64, seed=0, smooth=1.5):
    """Blobs in a channel, and another channel that is in part the same."""
    rng = np.random.default_rng(seed)
    made = ndimage.gaussian_filter(rng.normal(size=(n, 2, height, width)), (0, 0, smooth, smooth)) * 3
    made[:, 1] = 0.6 * made[:, 0] + 0.4 * made[:, 1]
    made += 0.05 * rng.normal(size=made.shape)
    return torch.from_numpy(made.astype(np.float32))


def energy(band):
    return BANDS + 6 * band


def test_the_length_is_what_comes_out():
    assert measure(planes()).shape == (3, Measurements.length)
    assert Measurements.length == 52


@pytest.mark.parametrize("size", [(64, 64), (96, 80), (80, 96), (256, 200), (17, 23)])
def test_fields_of_other_sizes_are_measured(size):
    found = measure(planes(height=size[0], width=size[1]))
    assert found.shape == (3, Measurements.length)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0, 30.0])
def test_a_constant_crop_is_measured(value):
    found = measure(torch.full((2, 2, 64, 64), value))
    assert torch.isfinite(found).all()
    assert found[0, MEAN] == pytest.approx(value)
    assert found[:, SKEW].abs().max() < 20.1
    torch.testing.assert_close(found[0], found[1])
    assert found[:, COHERENCE].abs().max() == 0


def test_one_pixel_that_is_lit_is_measured():
    crop = torch.full((1, 2, 64, 64), -1.0)
    crop[0, 0, 20, 40] = 1
    assert torch.isfinite(measure(crop)).all()
    crop[0, 0, 20, 40] = 1e4
    assert torch.isfinite(measure(crop)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-4, 100), st.floats(-10, 10))
def test_random_crops_are_measured(seed, scale, offset):
    found = measure(torch.from_numpy(np.random.default_rng(seed).normal(offset, scale, (2, 2, 64, 64))).float())
    assert torch.isfinite(found).all()
    assert found.abs().max() < 1e4


def test_simple_statistics_are_those_of_scipy():
    given = planes()
    found = measure(given).numpy()
    for row, (own, other) in enumerate(given.double().numpy()):
        assert found[row, MEAN] == pytest.approx(own.mean(), abs=1e-4)
        assert found[row, SPREAD] == pytest.approx(own.std(), rel=1e-2)
        assert found[row, SKEW] == pytest.approx(stats.skew(own.ravel()), abs=2e-2)
        quantiles = np.quantile(own[::2, ::2], _QUANTILES)
        np.testing.assert_allclose(found[row, QUANTILES], quantiles, atol=0.02 * own.std())
        assert found[row, CORRELATION] == pytest.approx(np.corrcoef(own.ravel(), other.ravel())[0, 1], abs=1e-3)
        fine = own - ndimage.gaussian_filter(own, _BLURS[0], truncate=3.0)
        assert found[row, energy(0)] == pytest.approx(np.log(np.sqrt((fine**2).mean())), abs=1e-2)


@pytest.mark.parametrize("sigma", [*_BLURS, 4.0])
@pytest.mark.parametrize("size", [(64, 64), (96, 80)])
def test_the_blur_is_that_of_scipy(sigma, size):
    given = planes(1, *size)
    expected = ndimage.gaussian_filter(given.numpy(), (0, 0, sigma, sigma), truncate=3.0)
    np.testing.assert_allclose(_blur(given, sigma).numpy(), expected, atol=1e-5)


def test_light_in_the_middle_is_in_the_inner_ring():
    y, x = np.mgrid[:64, :64] - 31.5
    spot = torch.from_numpy((np.hypot(y, x) < 6).astype(np.float32))
    found = measure(torch.stack([spot, spot])[None])[0]
    rings = found[FIRST_RING : FIRST_RING + _RINGS]
    assert rings.argmax() == 0
    assert rings[-1] == pytest.approx(-float(spot.mean()), abs=1e-6)
    assert found[-3] < 1e-3, "its middle is that of the crop"
    assert found[-1] < 1e-3, "nor is it elongated"
    assert measure(torch.stack([spot.roll(16, 0), spot])[None])[0, -3] == pytest.approx(0.25, abs=0.02)
    long = torch.from_numpy((np.hypot(y / 3, x) < 6).astype(np.float32))
    assert measure(torch.stack([long, long])[None])[0, -1] == pytest.approx(np.log(9), abs=0.1)


def test_a_brighter_background_moves_the_mean_and_no_texture():
    given = planes()
    one, other = measure(given), measure(given + 0.5)
    torch.testing.assert_close(other[:, MEAN], one[:, MEAN] + 0.5, atol=1e-5, rtol=0)
    torch.testing.assert_close(other[:, QUANTILES], one[:, QUANTILES] + 0.5, atol=1e-5, rtol=0)
    kept = [SPREAD, SKEW, *range(FIRST_RING, Measurements.length)]
    torch.testing.assert_close(other[:, kept], one[:, kept], atol=5e-3, rtol=1e-3)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_turning_and_mirroring_change_nothing(turns, mirrored):
    given = planes(4, 63, 63)  # of an odd side, so that every second pixel stays every second pixel
    turned = torch.rot90(given, turns, (2, 3))
    turned = turned.flip(3) if mirrored else turned
    one, other = measure(given), measure(turned)
    rest = [i for i in range(Measurements.length) if i not in GRADIENTS]
    torch.testing.assert_close(other[:, rest], one[:, rest], atol=1e-3, rtol=1e-3)
    # The two differences of a pixel have their middles half a pixel apart.
    torch.testing.assert_close(other[:, GRADIENTS], one[:, GRADIENTS], atol=0.05, rtol=0)


def test_turning_a_crop_of_a_cell_changes_little_but_the_percentiles():
    given = planes(4)
    one, other = measure(given), measure(torch.rot90(given, 1, (2, 3)))
    rest = [i for i in range(QUANTILES.stop, Measurements.length) if i not in GRADIENTS]
    torch.testing.assert_close(one[:, rest], other[:, rest], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(one[:, QUANTILES], other[:, QUANTILES], atol=0.1, rtol=0)


def test_blur_takes_from_the_fine_bands_first():
    given = planes(smooth=0.8)
    one, other = measure(given), measure(_blur(given, 1.0))
    lost = [float((one[:, energy(band)] - other[:, energy(band)]).mean()) for band in range(len(_BLURS))]
    assert lost[0] > 0.5
    assert lost == sorted(lost, reverse=True)


def test_lines_are_told_from_spots():
    x = torch.arange(64.0)
    lines = torch.sin(x / 2).expand(64, 64)
    rough = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))
    found = measure(torch.stack([torch.stack([lines, lines]), torch.stack([rough, rough])]))
    assert (found[0, COHERENCE] > 0.95).all()
    assert (found[1, COHERENCE] < 0.6).all()


def test_the_other_channel_matters_only_where_it_is_compared():
    given = planes()
    changed = given.clone()
    changed[:, 1] = planes(seed=9)[:, 1]
    one, other = measure(given), measure(changed)
    assert torch.equal(one[:, :CORRELATION], other[:, :CORRELATION])
    assert (one[:, CORRELATION] - other[:, CORRELATION]).abs().min() > 0.05
