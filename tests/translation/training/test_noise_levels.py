"""Which noise levels training sees, and what they count."""

import numpy as np
import pytest
import torch

from phenolens.translation.solvers.schedule import NoiseSchedule
from phenolens.translation.training.noise_levels import HIGH, LOW, draw_timesteps, loss_weight
from phenolens.translation.training.pretraining import SCHEDULER

V = NoiseSchedule.from_config(SCHEDULER)
EPSILON = NoiseSchedule(V.alphas_cumprod, "epsilon")


def levels_of(share: float) -> np.ndarray:
    drawn = draw_timesteps(V, 4000, share, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.int64
    assert 0 <= drawn.min() <= drawn.max() < 1000
    return V.log_s[drawn.numpy()]


def test_all_even_in_time_without_a_share():
    drawn = draw_timesteps(V, 1000, 0.0, torch.Generator().manual_seed(0))
    assert sorted(drawn.tolist()) == list(range(1000))


def test_the_share_is_even_in_log_s_where_an_inversion_draws_its_noise():
    log_s = levels_of(1.0)
    assert np.log(LOW) - 0.1 < log_s.min() < log_s.max() < np.log(HIGH) + 0.1
    counts, _ = np.histogram(log_s, bins=np.linspace(np.log(0.03), np.log(HIGH), 5))
    assert counts.max() / counts.min() < 1.1


def test_half_and_half():
    low = np.mean(levels_of(0.5) < np.log(0.1))
    even = np.mean(levels_of(0.0) < np.log(0.1))
    assert low == pytest.approx(0.5 * even + 0.5 * np.log(0.1 / LOW) / np.log(HIGH / LOW), abs=0.02)
    # The parts are mixed, so that what alternates in a batch sees both.
    drawn = levels_of(0.5)
    assert abs(np.mean(drawn[::2]) - np.mean(drawn[1::2])) < 0.1


def test_the_same_generator_gives_the_same_levels():
    one, other = (draw_timesteps(V, 9, 0.5, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("schedule", [V, EPSILON])
def test_weights_by_hand(schedule):
    timesteps = torch.tensor([10, 200, 500, 900])
    snr = V.alphas_cumprod[timesteps] / (1 - V.alphas_cumprod[timesteps])
    unit = snr + 1 if schedule is V else snr
    expected = np.maximum(np.minimum(unit, 5) / unit, 0.25)
    assert np.allclose(loss_weight(schedule, timesteps, 5.0, 0.25).numpy(), expected, rtol=1e-4)
    assert expected[0] == 0.25  # a low level, which min-SNR alone leaves next to nothing
    assert float(loss_weight(schedule, timesteps, 5.0, 0.0)[0]) < 0.02
    assert torch.equal(loss_weight(schedule, timesteps, 5.0, 1.0), torch.ones(4))
