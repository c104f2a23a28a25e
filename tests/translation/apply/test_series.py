"""Stacks and time series: planes share the noise on their paths, and neighbours agree."""

import numpy as np
import pytest
import torch

from phenolens.cli.demo_run import demo_style
from phenolens.runtime.progress import finish
from phenolens.screens.crops import window_at
from phenolens.screens.images import FieldImage
from phenolens.simulation import simulate_field
from phenolens.translation.apply.series import plane_weights, share_noise, shared_paths, translate_series
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.shipped import demo_adapter
from phenolens.translation.solvers import invert
from tiny_base import make_tiny_adapter

GRID = np.array([0.1, 1.0, 5.0, 20.0])


def toy_noise(y, s, tokens):
    return 0.1 * y + tokens.mean(dim=(1, 2)).view(-1, 1, 1, 1)


def image(times=1, depths=1, **facts):
    return FieldImage(np.zeros((times, depths, 1, 4, 4)), "TZCYX", **facts)


@pytest.fixture(scope="module")
def translator(tiny_base):
    return Translator(load_base(tiny_base), make_tiny_adapter(tiny_base))


def some_plane():
    return np.random.default_rng(0).gamma(2, 20, (2, 72, 72)).astype(np.float32)


def test_planes_far_apart_share_less_and_those_of_another_time_lie_elsewhere():
    near = plane_weights(image(depths=9, pixel_size=(0.5, 0.5), z_spacing=0.5), 4.0)
    wide = plane_weights(image(depths=9, pixel_size=(0.5, 0.5), z_spacing=3.0), 4.0)
    apart = plane_weights(image(depths=9, pixel_size=(0.5, 0.5), z_spacing=30.0), 4.0)
    for weights in (near, wide, apart):
        assert weights.sum(1) == pytest.approx(np.ones(9), abs=1e-6)
    assert near[4, 4] < wide[4, 4] < apart[4, 4] == 1
    assert wide[4, 5] == wide[4, 3] > wide[4, 6]
    both = plane_weights(image(times=2, depths=3), 4.0)
    assert both[0, 1] > both[0, 2]
    assert both[0, 1] == pytest.approx(both[0, 3]), "without a spacing, planes count in Z as they do in time"
    np.testing.assert_array_equal(plane_weights(image(), 4.0), [[1.0]])


def test_the_shared_path_is_the_clean_latent_plus_the_mean_noise():
    torch.manual_seed(0)
    tokens = torch.full((1, 1, 2), 0.3)
    own, other = (finish(invert(toy_noise, torch.randn(1, 2, 4, 4), tokens, GRID)) for _ in range(2))
    shared = finish(share_noise(toy_noise, own, [(0.75, own), (0.25, other)], tokens))
    for i, s in enumerate(GRID):
        mean = (0.75 * (own.states[i] - own.states[0]) + 0.25 * (other.states[i] - other.states[0])) / s
        assert torch.allclose(shared.states[i], own.states[0] + s * mean, atol=1e-5)
        assert torch.allclose(shared.noises[i], toy_noise(shared.states[i], s, tokens), atol=1e-5)
    alone = finish(share_noise(toy_noise, own, [(1.0, own)], tokens))
    assert torch.allclose(alone.states, own.states, atol=1e-5)


def test_each_plane_is_inverted_once_and_only_what_is_needed_is_kept():
    weights = plane_weights(image(times=30), 4.0)
    asked = []

    def inverting(number):
        asked.append(number)
        return invert(toy_noise, torch.full((1, 1, 2, 2), float(number)), torch.zeros(1, 1, 2), GRID)

    reach = int((weights[0] > 0).sum()) - 1
    for number, job in enumerate(shared_paths(toy_noise, inverting, weights, torch.zeros(1, 2))):
        path = finish(job)
        assert float(path.latents.mean()) == number
        assert max(asked) == min(number + reach, 29)
    assert asked == list(range(30))


def test_one_plane_is_translated_as_ever(translator):
    plane = some_plane()
    windows = [window_at(30, 30, 64), window_at(40, 45, 64)]
    expected = finish(translator.translate_crops([plane], windows, strengths=(0.5, 1.0), steps=3))
    (job,) = translate_series(
        translator, FieldImage(plane, "CYX"), windows, TranslationSettings(strengths=(0.5, 1.0), steps=3)
    )
    for cell, known in zip(finish(job), expected, strict=True):
        np.testing.assert_array_equal(cell.difference, known.difference)


@pytest.mark.slow
def test_neighbours_agree_better_than_planes_that_are_translated_alone():
    adapter = Adapter.load(demo_adapter())
    translator = Translator(load_base(adapter.base), adapter)
    shown = simulate_field(demo_style(), 11, shape=(72, 72), n_cells=2).image.astype(np.float32)
    rng = np.random.default_rng(0)
    planes = [shown + 0.02 * np.ptp(shown) * rng.standard_normal(shown.shape, np.float32) for _ in range(5)]
    windows = [window_at(36, 36, adapter.crop)]
    alone = [finish(translator.translate_crops([p], windows, steps=5))[0].difference for p in planes]
    series = FieldImage(np.stack(planes), "TCYX")
    together = [
        finish(job)[0].difference for job in translate_series(translator, series, windows, TranslationSettings(steps=5))
    ]

    def flicker(differences):
        return np.abs(np.diff(np.stack(differences), axis=0)).mean() / np.abs(differences).mean()

    assert flicker(together) < 0.6 * flicker(alone)
    assert np.corrcoef(np.ravel(together), np.ravel(alone))[0, 1] > 0.9, "and show the same change"
