"""Solvers that undo themselves, and noise that is drawn: known answers and exact inverses."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from phenolens.runtime.progress import finish
from phenolens.translation.model.base import load_base
from phenolens.translation.solvers import NOTHING_DRAWN, WITH_TRAJECTORY, Renoise, edict, obelm
from phenolens.translation.solvers.schedule import NoiseSchedule
from phenolens.translation.training.pretraining import SCHEDULER
from tiny_base import make_tiny_base

SCHEDULE = NoiseSchedule.from_config(SCHEDULER)
MEANS = {"source": -1.0, "target": 2.0}
SPREAD = 0.5
EXACT = [name for name, solver in WITH_TRAJECTORY.items() if solver.exact]


def gaussian_noise(y, s, tokens):
    """Exact noise prediction where data are N(mean, SPREAD**2); the token holds the mean."""
    mean = tokens[:, 0, 0].view(-1, 1, 1, 1).to(y.dtype)
    return s * (y - mean) / (SPREAD**2 + s**2)


def token(name):
    return torch.full((1, 1), MEANS[name])


def exact_shift(latents, grid, weight=1.0):
    """The change that the exact flow makes of `latents` from one end of the grid to the other and back."""
    # y - mean grows with sqrt(SPREAD**2 + s**2); under guidance the mean is moved on by the weight.
    ratio = np.sqrt((SPREAD**2 + grid[0] ** 2) / (SPREAD**2 + grid[-1] ** 2))
    return weight * (MEANS["target"] - MEANS["source"]) * (1 - ratio) + 0 * latents


@pytest.fixture
def latents():
    return MEANS["source"] + SPREAD * torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(3))


def run(name, latents, steps, strengths=(1.0,), target="target", guidance=1.0, renoise=NOTHING_DRAWN, moving=None):
    solver = WITH_TRAJECTORY[name]
    own = token("source").expand(len(latents), 1, 1)
    trajectory = finish(solver.invert(gaussian_noise, latents, own, SCHEDULE.grid(steps), renoise))
    job = solver.translate(gaussian_noise, trajectory, token("source"), token(target), strengths, guidance, moving)
    return trajectory, finish(job)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network with random weights, two conditions that it tells apart, and latents."""
    base = load_base(make_tiny_base(tmp_path_factory.mktemp("base") / "tiny"))
    rng = torch.Generator().manual_seed(1)
    tokens = 3 * torch.randn(2, 1, base.token_size, generator=rng)
    return base, tokens, torch.randn(2, base.unet.config.in_channels, 8, 8, generator=rng)


@pytest.mark.parametrize("name", EXACT)
def test_regenerating_from_the_noise_alone_gives_the_latents_back(network, name):
    base, (source, target), latents = network
    solver, own = WITH_TRAJECTORY[name], source.expand(2, *source.shape)
    # Half precision all around must not reach the network.
    with torch.autocast("cpu", torch.bfloat16):
        trajectory = finish(solver.invert(base.noise_at, latents, own, SCHEDULE.grid(8)))
        back = finish(solver.regenerate(base.noise_at, trajectory, own))
        effect = finish(solver.translate(base.noise_at, trajectory, source, target, (1.0,)))
    assert float((back - latents).norm() / effect.norm()) < 1e-4
    assert float(effect.abs().max()) > 0.1, "a translation that moves nothing would pass"


def test_regenerating_by_the_plain_equation_does_not(network):
    base, (source, target), latents = network
    solver, own = WITH_TRAJECTORY["difference"], source.expand(2, *source.shape)
    trajectory = finish(solver.invert(base.noise_at, latents, own, SCHEDULE.grid(8)))
    back = finish(solver.regenerate(base.noise_at, trajectory, own))
    effect = finish(solver.translate(base.noise_at, trajectory, source, target, (1.0,)))
    assert float((back - latents).norm() / effect.norm()) > 1e-3
    assert not solver.exact


@pytest.mark.parametrize("name", EXACT)
def test_source_to_source_evaluates_all_and_comes_back(network, name):
    base, (source, target), latents = network
    seen = []

    def counting(y, s, tokens):
        seen.append(len(y))
        return base.noise_at(y, s, tokens)

    solver, own = WITH_TRAJECTORY[name], source.expand(2, *source.shape)
    trajectory = finish(solver.invert(counting, latents, own, SCHEDULE.grid(4)))
    inversion = sum(seen) / len(latents)
    effect = finish(solver.translate(base.noise_at, trajectory, source, target, (1.0,)))
    seen.clear()
    same = finish(solver.translate(counting, trajectory, source, source, (1.0,), guidance=1.3))
    assert float(same.norm() / effect.norm()) < 1e-4
    assert (inversion, sum(seen) / len(latents)) == {"obelm": (5, 7), "edict": (8, 16)}[name]


def test_edict_steps_undo_one_another_on_any_function():
    grid = SCHEDULE.grid(6)
    pair = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)

    def wild(y, s):
        return torch.sin(3 * y) + s

    for i in range(1, 7):
        up = edict.step_up(wild, pair, grid, i)
        for back, was in zip(edict.step_down(wild, up, grid, i), pair, strict=True):
            assert torch.allclose(back, was, atol=1e-12)


def test_obelm_is_exact_for_parabolas_and_its_own_inverse():
    # y = 2 + 3 s - s**2 at s = 1, 1.5, 4
    behind, here, slope = torch.tensor(4.0), torch.tensor(4.25), torch.tensor(0.0)
    beyond = obelm.across(behind, here, slope, 0.5, 2.5)
    assert float(beyond) == pytest.approx(-2.0)
    assert float(obelm.across(beyond, here, slope, -2.5, -0.5)) == pytest.approx(4.0)


@pytest.mark.parametrize(("name", "order"), [("difference", 2), ("obelm", 2), ("edict", 1)])
def test_error_to_the_known_flow_falls_with_its_order(latents, name, order):
    errors = []
    for steps in (40, 80, 160):
        _, change = run(name, latents, steps, guidance=1.3)
        errors.append(float((change[0] - exact_shift(latents, SCHEDULE.grid(steps), 1.3)).abs().max()))
    assert errors[-1] < 0.05
    for before, after in pairwise(errors):
        assert before > 0.8 * 2**order * after


@pytest.mark.parametrize("name", list(WITH_TRAJECTORY))
def test_strength_zero_is_zero_exactly_beside_others(latents, name):
    _, changes = run(name, latents, 6, strengths=(0.0, 0.5, 1.0), renoise=Renoise(0.5, 1))
    assert torch.count_nonzero(changes[0]) == 0
    assert bool(changes[1:].any())
    assert changes.dtype == torch.float32
    assert torch.count_nonzero(run(name, latents, 6, strengths=(0.0,))[1]) == 0


@pytest.mark.parametrize("name", list(WITH_TRAJECTORY))
def test_held_latents_stay_and_the_others_move(latents, name):
    _, change = run(name, latents, 60, moving=torch.tensor([0.0, 1.0]))
    assert torch.count_nonzero(change[:, :, 0]) == 0
    assert bool((change[:, :, 1] > 0.5).all())


@pytest.mark.parametrize("name", list(WITH_TRAJECTORY))
def test_drawing_no_noise_changes_nothing_and_the_seed_matters_only_where_some_is_drawn(latents, name):
    _, plain = run(name, latents, 10)
    assert torch.equal(run(name, latents, 10, renoise=Renoise(0.0, 7))[1], plain)
    drawn = [run(name, latents, 10, renoise=Renoise(0.6, seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(drawn[0].states, drawn[1].states)
    assert not torch.equal(drawn[0].states[3], drawn[2].states[3])
    # Each cell by itself meets the same noise.
    alone = run(name, latents[2:3], 10, renoise=Renoise(0.6, 1))[0]
    assert torch.allclose(alone.states[:, 0], drawn[0].states[:, 2], atol=1e-5)


def test_the_levels_that_are_drawn_are_the_latents_with_noise_of_that_level(latents):
    trajectory, _ = run("difference", latents, 10, renoise=Renoise(1.0, 5))
    noise = Renoise(1.0, 5).noise(latents)
    for s, state in zip(trajectory.grid[1:], trajectory.states[1:], strict=True):
        assert torch.allclose(state, latents + float(s) * noise, rtol=1e-5)
    _, same = run("difference", latents, 10, target="source", renoise=Renoise(1.0, 5))
    assert torch.count_nonzero(same) == 0
