"""Whole fields in overlapping tiles: nothing is lost, and no seam is left."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phenolens.cli.demo_run import demo_style
from phenolens.runtime.errors import ModelError
from phenolens.runtime.progress import finish
from phenolens.screens.images import FieldImage
from phenolens.simulation import simulate_field
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.tiles import Tiles, tiled, translate_field
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.shipped import demo_adapter
from tiny_base import make_tiny_adapter


@pytest.fixture(scope="module")
def translator(tiny_base):
    return Translator(load_base(tiny_base), make_tiny_adapter(tiny_base))


def field(shape=(128, 128), seed=0, dtype=np.float32):
    return np.random.default_rng(seed).gamma(2, 20, (2, *shape)).clip(0, 255).astype(dtype)


def translated(translator, data, axes="CYX", strengths=(1.0,), **how):
    made_with = TranslationSettings(strengths=strengths, steps=3)
    return [finish(job) for job in translate_field(translator, FieldImage(data, axes), made_with, **how)]


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_split_is_joined_again(data):
    size = data.draw(st.integers(1, 9))
    height, width = (data.draw(st.integers(size, 40)) for _ in range(2))
    stride = data.draw(st.integers(1, size))
    tiles = Tiles(height, width, size, stride, data.draw(st.integers(0, stride - 1)))
    fields = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(tiles.join(tiles.split(fields)), fields, atol=1e-5)
    large = tiles.enlarged(2)
    assert large.corners == [(2 * y, 2 * x) for y, x in tiles.corners]


def test_a_pixelwise_network_sees_no_tiles():
    tiles = Tiles(20, 27, 8, 4)
    y = torch.randn(3, 2, 20, 27)
    tokens = torch.arange(3.0).view(3, 1, 1)

    def noise(x, s, about):
        return s * x.tanh() + about.view(-1, 1, 1, 1)

    assert torch.allclose(tiled(noise, tiles)(y, 0.5, tokens), noise(y, 0.5, tokens), atol=1e-5)


def seam(change, border):
    """Mean step of a change (H, W) across a row, over that across the rows around it."""
    steps = np.abs(np.diff(change, axis=0)).mean(1)
    around = [*range(border - 6, border - 1), *range(border, border + 5)]
    return steps[border - 1] / steps[around].mean()


def test_no_seam_shows_where_tiles_meet_and_one_does_where_they_abut():
    adapter = Adapter.load(demo_adapter())
    translator = Translator(load_base(adapter.base), adapter)
    reporter, crop = adapter.channel_names.index("Reporter"), adapter.crop
    shown = simulate_field(demo_style(), 11, shape=(2 * crop, 2 * crop)).image
    smooth, hard = (translated(translator, shown, stride=stride)[0][0, reporter] for stride in (0.75, 1.0))
    assert np.corrcoef(smooth.ravel(), hard.ravel())[0, 1] > 0.4, "both show the same change"
    assert seam(hard, crop) > 2
    assert seam(smooth, crop) < 1.3
    assert seam(smooth, 3 * crop // 4) < 1.3


@pytest.mark.parametrize("shape", [(64, 64), (50, 90), (101, 64)])
def test_any_size_of_field(translator, shape):
    (change,) = translated(translator, field(shape), strengths=(0.0, 1.0))
    assert change.shape == (2, 2, *shape)
    assert not change[0].any()
    assert change[1].any(axis=(1, 2)).all()


def test_held_channels_stay(tiny_base):
    translator = Translator(load_base(tiny_base), make_tiny_adapter(tiny_base), TranslationSettings(held=("a",)))
    (change,) = translated(translator, field((64, 80)))
    assert not change[0, 0].any()
    assert change[0, 1].any()


def test_mistakes_are_told_in_a_sentence(translator):
    with pytest.raises(ModelError, match=r"0 to 1\.5"):
        translated(translator, field(), strengths=(3.0,))
    with pytest.raises(ModelError, match="trained on 2 channels"):
        translated(translator, field()[:1])
