"""Inversion and translation against models whose answer is known."""

import numpy as np
import pytest
import torch

from phenolens.runtime.progress import finish
from phenolens.translation.solvers import difference, fine_part, invert, stock_ddim
from phenolens.translation.solvers.schedule import NoiseSchedule, alpha_sigma_at
from phenolens.translation.training.pretraining import SCHEDULER

SCHEDULE = NoiseSchedule.from_config(SCHEDULER)
MEANS = {"source": -1.0, "target": 2.0}
SPREAD = 0.5


def gaussian_noise(y: torch.Tensor, s: float, tokens: torch.Tensor) -> torch.Tensor:
    """Exact noise prediction where data are N(mean, SPREAD**2); the token holds the mean."""
    mean = tokens[:, 0, 0].view(-1, 1, 1, 1)
    return s * (y - mean) / (SPREAD**2 + s**2)


def token(name: str) -> torch.Tensor:
    return torch.full((1, 1), MEANS[name])


def translate(latents: torch.Tensor, steps: int, strengths=(1.0,), source="source", target="target", guidance=1.0):
    own = token(source).expand(len(latents), 1, 1)
    trajectory = finish(invert(gaussian_noise, latents, own, SCHEDULE.grid(steps)))
    return trajectory, finish(difference(gaussian_noise, trajectory, token(source), token(target), strengths, guidance))


@pytest.fixture
def latents() -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    return MEANS["source"] + SPREAD * torch.randn(5, 2, 4, 4, generator=rng)


def test_gaussian_translation_shifts_by_the_difference_of_the_means(latents):
    # The exact flow between two Gaussians of the same spread is a shift, up to what the grid leaves off at its ends.
    _, delta = translate(latents, steps=200)
    assert delta[0].numpy() == pytest.approx(3.0, abs=0.03)


def test_error_falls_with_the_square_of_the_step(latents):
    _, reference = translate(latents, steps=640)
    errors = [float((translate(latents, steps=n)[1] - reference).abs().max()) for n in (20, 40, 80)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_source_to_source_is_zero_exactly(latents):
    _, delta = translate(latents, steps=10, target="source")
    assert torch.count_nonzero(delta) == 0


def test_source_to_source_is_zero_to_rounding_where_every_evaluation_is_made(latents):
    own = token("source").expand(len(latents), 1, 1)
    trajectory = finish(invert(gaussian_noise, latents, own, SCHEDULE.grid(10)))
    nearly = token("source") + 1e-12  # not equal as a tensor in float64, so nothing is cut short
    delta = finish(difference(gaussian_noise, trajectory, token("source").double(), nearly.double(), (1.0,)))
    assert float(delta.abs().max()) < 1e-5


def test_strengths_go_as_one_batch_and_are_the_same_alone(latents):
    trajectory, together = translate(latents, steps=12, strengths=(0.0, 0.5, 1.0, 1.5))
    assert torch.count_nonzero(together[0]) == 0
    for index, strength in enumerate((0.5, 1.0, 1.5), start=1):
        alone = finish(
            difference(gaussian_noise, trajectory, token("source"), token("target"), (strength,), guidance=1.0)
        )
        assert torch.allclose(alone[0], together[index], atol=1e-5)
    assert bool((together[1:].diff(dim=0) > 0).all())


def test_evaluations_are_counted(latents):
    calls = []

    def counting(y, s, tokens):
        calls.append(len(y))
        return gaussian_noise(y, s, tokens)

    trajectory = finish(invert(counting, latents, token("source").expand(5, 1, 1), SCHEDULE.grid(10)))
    assert calls == [5] * 11
    calls.clear()
    finish(difference(counting, trajectory, token("source"), token("target"), (0.0, 0.5, 1.0)))
    # Two strengths that are not zero, in one batch a step: under two conditions at every second level, where at the
    # first only the target is unknown.
    assert calls == [10] + [10, 20] * 4 + [10]
    calls.clear()
    finish(difference(counting, trajectory, token("source"), token("target"), (1.0,), guidance=1.0))
    assert calls == [5] * 10


def test_stock_ddim_agrees_with_the_difference_on_a_smooth_model(latents):
    def predict(x, timesteps, tokens):
        alpha, sigma = SCHEDULE.alpha_sigma(timesteps.long())
        eps = torch.stack(
            [
                gaussian_noise((x[i] / alpha[i])[None], float(sigma[i] / alpha[i]), tokens[i : i + 1])[0]
                for i in range(len(x))
            ]
        )
        return (eps - sigma * x) / alpha  # as v: eps = alpha v + sigma x

    change = finish(stock_ddim(predict, SCHEDULER, latents, token("source"), [token("target")], steps=200))
    assert change[0].numpy() == pytest.approx(3.0, abs=0.15)


def test_schedule_matches_diffusers_and_its_own_inverse():
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_config(SCHEDULER)
    timesteps = torch.tensor([0, 17, 500, 990])
    alpha, sigma = SCHEDULE.alpha_sigma(timesteps)
    x, eps = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2)
    assert torch.allclose(alpha * x + sigma * eps, scheduler.add_noise(x, eps, timesteps), atol=1e-5)
    for t in (3, 250, 800):
        s = float(np.exp(SCHEDULE.log_s[t]))
        assert SCHEDULE.timestep(s) == pytest.approx(t, abs=1e-6)
        a, b = alpha_sigma_at(s)
        assert a**2 + b**2 == pytest.approx(1)
        assert a == pytest.approx(float(SCHEDULE.alpha_sigma(torch.tensor([t]))[0]), abs=1e-6)


def test_grid_runs_from_clean_to_noise_and_is_closest_in_the_middle():
    grid = SCHEDULE.grid(10)
    assert len(grid) == 11
    assert grid[[0, -1]].tolist() == pytest.approx([0.01, 80])
    gaps = np.diff(np.log(grid))
    assert bool((gaps > 0).all())
    middle = int(np.argmin(gaps))
    assert grid[middle] < np.e < grid[middle + 1]
    assert bool((np.diff(gaps[: middle + 1]) < 0).all())
    assert bool((np.diff(gaps[middle:]) > 0).all())


def test_without_fine_noise_only_the_coarse_part_of_a_cell_is_its_own():
    rng = torch.Generator().manual_seed(8)
    latents = MEANS["source"] + SPREAD * torch.randn(3, 2, 16, 16, generator=rng)
    own = token("source").expand(3, 1, 1)
    trajectory = finish(invert(gaussian_noise, latents, own, SCHEDULE.grid(200)))
    left = fine_part(trajectory.noise, 16)
    kept = torch.tensor([1.0, 0.0])
    job = difference(gaussian_noise, trajectory, token("source"), token("target"), (1.0,), 1.0, kept, left)
    translated = latents + finish(job)[0]
    own_part = latents - MEANS["source"]
    expected = MEANS["target"] + own_part - fine_part(own_part, 16)
    np.testing.assert_allclose(translated[:, 0], expected[:, 0], atol=0.05)
    assert torch.equal(translated[:, 1], latents[:, 1])


@pytest.mark.parametrize(("mode", "fine"), [(0, False), (3, False), (4, True), (9, True)])
@pytest.mark.parametrize("fields", [1, 3])
def test_what_is_fine_is_told_by_the_wavelength_alone(mode, fine, fields):
    places = (torch.arange(16 * fields) + 0.5) / 16
    wave = torch.cos(torch.pi * mode * places)
    for noise in (wave.expand(16, -1), wave.expand(16, -1).T):
        left = fine_part(noise[None, None], 16)[0, 0]
        torch.testing.assert_close(left, noise if fine else torch.zeros_like(noise), atol=1e-5, rtol=0)
