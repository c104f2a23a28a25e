"""Latents are encoded once, as a turned crop is encoded, and kept for the next run."""

import numpy as np
import pytest
import torch

from phenolens.pretraining.pretraining_sets import TURNS, CropSet, sample_places, turned
from phenolens.translation.model.base import load_base
from phenolens.translation.training.latent_store import LatentStore, encoded
from tiny_base import make_tiny_base

RNG = np.random.default_rng(0)
SETS = [
    CropSet("a", "control", RNG.uniform(-1, 1, (3, 2, 64, 64)).astype(np.float16)),
    CropSet("b", "", RNG.uniform(-1, 1, (2, 1, 64, 64)).astype(np.float16), "Somebody"),
]
PLACES = [(0, 1, 5), (1, 0, 0), (0, 2, 3), (0, 1, 5)]


@pytest.fixture
def base(tmp_path):
    return load_base(make_tiny_base(tmp_path / "tiny"))


class Counting:
    """A base that counts how many crops it encodes."""

    def __init__(self, base, monkeypatch):
        self.count, plain = 0, base.encode

        def encode(crops):
            self.count += len(crops)
            return plain(crops)

        monkeypatch.setattr(base, "encode", encode)


def test_each_turn_of_a_crop_is_encoded_once_and_kept(base, tmp_path, monkeypatch):
    counting = Counting(base, monkeypatch)
    store = LatentStore(tmp_path / "latents", SETS, base, 0)
    latents, used = store.take(PLACES)
    assert latents.shape == (4, 12, 16, 16)
    assert used[:, :, 0, 0].sum(1).tolist() == [8, 4, 8, 8]
    assert (latents * (1 - used)).abs().max() == 0
    first = counting.count
    again, _ = store.take(PLACES)
    assert torch.equal(again, latents)
    assert counting.count == first
    store.save()
    resumed, _ = LatentStore(tmp_path / "latents", SETS, base, 0).take(PLACES)
    assert torch.equal(resumed, latents)
    assert counting.count == first


def test_latents_are_those_of_the_turned_crop_brighter_or_as_it_was(base, tmp_path):
    store = LatentStore(tmp_path / "latents", SETS, base, 0)
    places = [(0, number, turn) for number in range(3) for turn in range(TURNS)]
    latents, _ = store.take(places)
    plain, _ = encoded(base, [turned(SETS[0].crops[number], turn) for _, number, turn in places])
    same = [torch.allclose(one, other, atol=2e-3) for one, other in zip(latents, plain, strict=True)]
    assert 4 < sum(same) < 20  # half of the turns have a gain and an offset
    # Turned latents are not the latents of a turned crop, so it would not do to turn them.
    upright, _ = encoded(base, [SETS[0].crops[0]])
    rotated, _ = encoded(base, [turned(SETS[0].crops[0], 1)])
    assert not torch.allclose(torch.rot90(upright, 1, (2, 3)), rotated, atol=2e-3)


def test_latents_that_were_not_saved_or_are_of_another_autoencoder_are_made_again(base, tmp_path, monkeypatch):
    LatentStore(tmp_path / "latents", SETS, base, 0).take(PLACES)  # stopped before it was saved
    counting = Counting(base, monkeypatch)
    store = LatentStore(tmp_path / "latents", SETS, base, 0)
    latents, _ = store.take(PLACES)
    assert counting.count > 0
    store.save()
    base.autoencoder.quant_conv.bias += 1
    other, _ = LatentStore(tmp_path / "latents", SETS, base, 0).take(PLACES)
    assert not torch.allclose(other, latents, atol=0.1)


def test_places_cover_sets_crops_and_turns():
    places = sample_places(SETS, np.array([0.5, 0.5]), 400, np.random.default_rng(0))
    assert {index for index, _, _ in places} == {0, 1}
    assert {turn for _, _, turn in places} == set(range(TURNS))
    assert all(number < len(SETS[index].crops) for index, number, _ in places)
