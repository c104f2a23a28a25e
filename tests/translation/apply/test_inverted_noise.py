"""Inverted noise: what is white is called white, and what is not is named."""

import numpy as np
import torch

from phenolens.runtime.progress import finish
from phenolens.translation.apply.inverted_noise import inverted_noise
from phenolens.translation.solvers import invert
from phenolens.translation.solvers.schedule import NoiseSchedule
from phenolens.translation.training.pretraining import SCHEDULER


def white(n=8, size=16, seed=0):
    return torch.randn(n, 4, size, size, generator=torch.Generator().manual_seed(seed))


def smooth(noise, sigma):
    """White noise without its fine scales, at variance 1."""
    frequency = np.hypot(np.fft.fftfreq(noise.shape[-2])[:, None], np.fft.fftfreq(noise.shape[-1])[None])
    spectrum = np.fft.fft2(noise.numpy()) * np.exp(-((frequency * sigma) ** 2))
    values = np.fft.ifft2(spectrum).real
    return torch.from_numpy(values / values.std())


def test_white_noise_has_unit_variance_a_flat_spectrum_and_no_warning():
    found = inverted_noise(white(64))
    assert abs(found.variance - 1) < 0.03
    assert np.allclose(found.spectrum, 1, atol=0.1)
    assert found.warning is None


def test_no_draw_of_white_noise_is_warned_of_however_small():
    for size in (4, 8, 16):
        assert [inverted_noise(white(1, size, seed)).warning for seed in range(200)] == [None] * 200


def test_wrong_variance_is_named():
    for scale, variance in ((0.8, 0.64), (1.3, 1.69)):
        found = inverted_noise(white(64) * scale)
        assert abs(found.variance - variance) < 0.03
        assert f"a variance of {found.variance:.2f} instead of 1, so" in found.warning


def test_lost_fine_scales_are_named_at_unit_variance():
    found = inverted_noise(smooth(white(), 3))
    assert abs(found.variance - 1) < 0.01
    assert found.spectrum[0] > 2 > 0.2 > found.spectrum[-1]
    assert "the finest scales" in found.warning
    assert "variance" not in found.warning
    assert found.to_dict()["warning"] == found.warning


def test_inversion_by_the_true_model_ends_in_white_noise():
    mean, spread = -1.0, 0.5

    def noise(y, s, tokens):
        return s * (y - mean) / (spread**2 + s**2)

    latents = mean + spread * white(32)
    grid = NoiseSchedule.from_config(SCHEDULER).grid(100)
    trajectory = finish(invert(noise, latents, torch.zeros(32, 1, 1), grid))
    found = inverted_noise(trajectory.noise)
    assert abs(found.mean) < 0.05
    assert abs(found.variance - 1) < 0.05
    assert found.warning is None
