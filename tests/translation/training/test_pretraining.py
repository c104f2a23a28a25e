"""Pre-training a base from scratch, and going on after an interruption."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from phenolens.pretraining.pretraining_sets import JUDGING_STYLES, CropSet, image_sets, sample_batch, simulated_sets
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import finish
from phenolens.translation.model.base import load_base
from phenolens.translation.training.pretraining import PretrainSettings, pretrain, psnr

SETTINGS = PretrainSettings(
    styles=2, autoencoder_steps=4, autoencoder_batch=4, unet_steps=4, unet_batch=4, checkpoint_every=1,
    autoencoder_channels=(8, 8, 8), unet_channels=(16, 16, 32), layers=1,
)  # fmt: skip


def test_resumed_run_gives_the_weights_of_an_uninterrupted_one(tmp_path):
    whole = load_base(finish(pretrain(tmp_path / "whole", settings=SETTINGS, device="cpu")))
    for stop in (("Autoencoder", 2), ("UNet", 3)):
        job = pretrain(tmp_path / "part", settings=SETTINGS, device="cpu")
        for progress in job:
            if (progress.message, progress.step) == stop:
                job.close()
                break
    again = load_base(finish(pretrain(tmp_path / "part", settings=SETTINGS, device="cpu")))
    for name in ("autoencoder", "unet"):
        one, other = (getattr(base, name).state_dict() for base in (whole, again))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert whole.card["recipe"]["styles"] == 2
    # The latents have unit spread, which the noise schedule assumes.
    crops = np.random.default_rng(0).uniform(-1, 1, (8, 3, 64, 64)).astype(np.float32)
    assert np.isfinite(psnr(whole, crops))


def test_styles_set_apart_for_judging_are_not_drawn():
    sets = finish(simulated_sets(2, seed=0, fields=1))
    drawn = {int(s.domain.split()[1]) for s in sets}
    assert not drawn & set(JUDGING_STYLES)
    assert {s.condition for s in sets if s.domain == "simulated 0"} == {"control", "latrunculin"}
    assert all(s.crops.shape[2:] == (64, 64) and s.crops.dtype == np.float16 for s in sets)


def test_batches_are_the_same_for_the_same_seed_and_follow_the_weights():
    sets = [CropSet("a", "", np.zeros((3, 1, 8, 8))), CropSet("b", "", np.ones((3, 2, 8, 8)))]
    weights = np.array([0.1, 0.9])
    one, other = (list(sample_batch(sets, weights, 400, np.random.default_rng(1))) for _ in range(2))
    assert [i for i, _ in one] == [i for i, _ in other]
    assert np.mean([i for i, _ in one]) == pytest.approx(0.9, abs=0.05)


def test_real_images_bring_their_attribution(tmp_path):
    import tifffile

    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "two.tif", rng.integers(0, 4000, (2, 200, 220)).astype(np.uint16))
    (tmp_path / "images.csv").write_text("file,licence,attribution\ntwo.tif,CC0 1.0,Somebody 2020\n")
    sets = finish(image_sets(tmp_path, seed=0, crops_per_image=3))
    assert {s.attribution for s in sets} == {"Somebody 2020 (CC0 1.0)"}
    assert all(s.crops.shape[1] == 2 for s in sets)


def test_a_folder_without_its_list_is_refused(tmp_path):
    with pytest.raises(ScreenError, match=r"images\.csv"):
        finish(image_sets(tmp_path, seed=0))
    (tmp_path / "images.csv").write_text("file,licence\n")
    with pytest.raises(ScreenError, match="attribution"):
        finish(image_sets(tmp_path, seed=0))


def test_settings_are_part_of_the_recipe(tmp_path):
    base = load_base(finish(pretrain(tmp_path / "b", settings=replace(SETTINGS, seed=3), device="cpu")))
    assert base.card["recipe"]["seed"] == 3
