"""Pre-training a base, from scratch and from another, and going on after an interruption."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from phenolens.pretraining.pretraining_sets import JUDGING_STYLES, CropSet, image_sets, sample_batch, simulated_sets
from phenolens.pretraining.style_sets import CHOOSING_STYLES, choosing_sets, style_sets
from phenolens.runtime.errors import ModelError, OutputError, ScreenError
from phenolens.runtime.progress import Progress, finish
from phenolens.translation.model.base import load_base
from phenolens.translation.training import pretraining
from phenolens.translation.training.best_weights import BestWeights
from phenolens.translation.training.held_out_styles import HeldOut, Knowledge
from phenolens.translation.training.pretraining import PretrainSettings, pretrain, psnr
from tiny_base import make_tiny_base

SETTINGS = PretrainSettings(
    styles=2, autoencoder_steps=4, autoencoder_batch=4, unet_steps=4, unet_batch=4, checkpoint_every=1, judge_every=2,
    autoencoder_channels=(8, 8, 8), unet_channels=(16, 16, 32), layers=1,
)  # fmt: skip


def drawn_crops(styles, seed):
    """What would be simulated, without the time."""
    rng = np.random.default_rng(seed)
    for _ in ():
        yield Progress(0, 0)
    return [
        CropSet(f"simulated {style}", condition, rng.uniform(-1, 1, (3, 1 + style % 3, 64, 64)).astype(np.float16))
        for style in range(styles)
        for condition in ("control", "effect")
    ]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(pretraining, "style_sets", drawn_crops)
    monkeypatch.setattr(pretraining, "choosing_sets", lambda cache: drawn_crops(2, 9))


def weights(folder, part):
    return getattr(load_base(folder), part).state_dict()


def same(one, other, part):
    first, second = weights(one, part), weights(other, part)
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_resumed_run_gives_the_weights_of_an_uninterrupted_one(quick, tmp_path):
    whole = finish(pretrain(tmp_path / "whole", settings=SETTINGS, device="cpu"))
    for stop in (("Autoencoder", 2), ("UNet", 3)):
        job = pretrain(tmp_path / "part", settings=SETTINGS, device="cpu")
        for progress in job:
            if (progress.message, progress.step) == stop:
                job.close()
                break
    again = finish(pretrain(tmp_path / "part", settings=SETTINGS, device="cpu"))
    assert same(whole, again, "autoencoder")
    assert same(whole, again, "unet")
    assert (tmp_path / "part" / "curve.json").read_text() == (tmp_path / "whole" / "curve.json").read_text()
    base = load_base(whole)
    assert base.card["recipe"]["styles"] == 2
    crops = np.random.default_rng(0).uniform(-1, 1, (8, 3, 64, 64)).astype(np.float32)
    assert np.isfinite(psnr(base, crops))


def test_a_run_that_is_stopped_leaves_its_best_weights(quick, tmp_path):
    job = pretrain(tmp_path / "run", settings=replace(SETTINGS, unet_steps=40), device="cpu")
    for progress in job:
        if (progress.message, progress.step) == ("UNet", 3):
            job.close()
            break
    base = load_base(tmp_path / "run" / "base")
    curve = json.loads((tmp_path / "run" / "curve.json").read_text())
    assert [row["step"] for row in curve] == [2]
    assert base.card["samples"] == 8
    assert base.card["held_out"] == curve[0]


@pytest.mark.slow
def test_a_run_that_is_stopped_in_its_last_look_takes_it_again(quick, tmp_path):
    whole = finish(pretrain(tmp_path / "whole", settings=SETTINGS, device="cpu"))
    job = pretrain(tmp_path / "run", settings=SETTINGS, device="cpu")
    for progress in job:
        if (progress.message, progress.step) == ("Looking at styles kept apart", SETTINGS.unet_steps):
            job.close()
            break
    finish(pretrain(tmp_path / "run", settings=SETTINGS, device="cpu"))
    assert (tmp_path / "run" / "curve.json").read_text() == (tmp_path / "whole" / "curve.json").read_text()
    assert same(whole, tmp_path / "run" / "base", "unet")
    # A base that was taken away is made again from the checkpoint.
    shutil.rmtree(tmp_path / "run" / "base")
    assert load_base(finish(pretrain(tmp_path / "run", settings=SETTINGS, device="cpu"))).crop == 64


def test_nothing_of_others_is_replaced(quick, tmp_path):
    tiny = make_tiny_base(tmp_path / "run" / "base")
    with pytest.raises(OutputError, match="would be replaced by what goes on"):
        finish(pretrain(tmp_path / "run", settings=SETTINGS, device="cpu", start=str(tiny)))
    (tmp_path / "mine" / "base").mkdir(parents=True)
    (tmp_path / "mine" / "base" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        finish(pretrain(tmp_path / "mine", settings=SETTINGS, device="cpu"))
    (tmp_path / "curve.json").write_text('{"growth": [1, 2]}')
    with pytest.raises(OutputError, match="was not written by a pre-training"):
        finish(pretrain(tmp_path, settings=SETTINGS, device="cpu"))


@pytest.mark.slow
def test_a_run_goes_on_from_its_own_start_alone(quick, tmp_path):
    bases = [str(make_tiny_base(tmp_path / f"tiny{seed}", seed)) for seed in (0, 1)]
    job = pretrain(tmp_path / "run", settings=SETTINGS, device="cpu", start=bases[0])
    for progress in job:
        if (progress.message, progress.step) == ("Autoencoder", 2):
            job.close()
            break
    for start in (bases[1], None):
        with pytest.raises(ModelError, match="other settings"):
            finish(pretrain(tmp_path / "run", settings=SETTINGS, device="cpu", start=start))
    finish(pretrain(tmp_path / "run", settings=SETTINGS, device="cpu", start=bases[0]))


@pytest.mark.slow
def test_a_look_that_cannot_be_written_leaves_the_weights_whole(quick, tmp_path, monkeypatch):
    whole = finish(pretrain(tmp_path / "whole", settings=SETTINGS, device="cpu"))

    def full(*given):
        raise OutputError("the disk is full")

    monkeypatch.setattr("phenolens.translation.model.base.write_json", full)
    with pytest.raises(OutputError, match="full"):
        finish(pretrain(tmp_path / "run", settings=replace(SETTINGS, checkpoint_every=100), device="cpu"))
    monkeypatch.undo()
    monkeypatch.setattr(pretraining, "style_sets", drawn_crops)
    monkeypatch.setattr(pretraining, "choosing_sets", lambda cache: drawn_crops(2, 9))
    again = finish(pretrain(tmp_path / "run", settings=SETTINGS, device="cpu"))
    assert same(whole, again, "unet")


def test_only_better_weights_take_the_place_of_the_best(tmp_path, monkeypatch):
    base = load_base(make_tiny_base(tmp_path / "tiny"))
    errors = iter([0.5, 0.4, 0.6])

    def judge(self, waiting):
        yield waiting
        return Knowledge(next(errors), 0.9)

    monkeypatch.setattr(HeldOut, "judge", judge)
    best = BestWeights(base, HeldOut(base, []), tmp_path / "run", 32, {"seed": 0})
    kept = []
    for step in (1, 2, 3):
        base.unet.conv_in.bias.data += 1
        finish(best.look(step, Progress(0, 0)))
        kept.append(float(load_base(tmp_path / "run" / "base").unet.conv_in.bias[0]))
    assert kept[1] == pytest.approx(kept[0] + 1, abs=1e-2)
    assert kept[2] == kept[1]
    # After an interruption the same looks are taken again, and are not counted twice.
    again = BestWeights(base, HeldOut(base, []), tmp_path / "run", 32, {"seed": 0})
    errors = iter([0.45])
    finish(again.look(2, Progress(0, 0)))
    assert [row["step"] for row in json.loads((tmp_path / "run" / "curve.json").read_text())] == [1, 2]


@pytest.mark.slow
def test_training_goes_on_from_a_base_and_names_what_that_was_made_of(quick, tmp_path):
    first = make_tiny_base(tmp_path / "first")
    (first / "card.json").write_text(json.dumps({"name": "first", "samples": 5, "attribution": ["Somebody (CC0)"]}))
    # At a rate of nothing the weights stay.
    still = replace(SETTINGS, autoencoder_steps=0, learning_rate=0.0)
    made = finish(pretrain(tmp_path / "made", settings=still, device="cpu", start=str(first)))
    assert same(made, first, "unet")
    card = load_base(made).card
    assert card["recipe"]["unet_channels"] == [16, 16, 32]
    assert card["recipe"]["autoencoder_channels"] == [8, 8, 16]  # of the base, whatever the settings say
    assert card["attribution"] == ["Somebody (CC0)"]
    assert card["started_from"] == {"name": "first", "samples": 5}
    # Its latents are white, and once they are they stay as they are.
    assert not same(made, first, "autoencoder")
    again = finish(pretrain(tmp_path / "again", settings=still, device="cpu", start=str(made)))
    assert same(again, made, "autoencoder")


def test_a_base_of_another_kind_is_no_start(quick, tmp_path):
    from tiny_stable_diffusion import make_tiny_stable_diffusion

    other = make_tiny_stable_diffusion(tmp_path / "sd")
    with pytest.raises(ModelError, match="another kind"):
        finish(pretrain(tmp_path / "made", settings=SETTINGS, device="cpu", start=str(other)))
    with pytest.raises(ModelError, match="No base model"):
        finish(pretrain(tmp_path / "made", settings=SETTINGS, device="cpu", start=str(tmp_path / "nowhere")))


def test_held_out_noise_of_a_model_that_knows_is_white(tmp_path):
    base = load_base(make_tiny_base(tmp_path / "tiny"))
    held = HeldOut(base, drawn(3))
    # Data of unit spread and a model that knows it: its velocity is what the data say, sigma and alpha at each level.
    base.encode = lambda crops: torch.randn(len(crops), 4 * crops.shape[1], 16, 16)
    base.noise_at = lambda y, s, tokens, precision="float32": y * s / (1 + s * s)
    held = HeldOut(base, drawn(3))
    found = finish(held.judge(Progress(0, 0)))
    assert found.variance == pytest.approx(1, abs=0.03)


def drawn(styles):
    return finish(drawn_crops(styles, 0))


def test_styles_set_apart_for_judging_are_not_drawn():
    sets = finish(simulated_sets(2, seed=0, fields=1))
    drawn = {int(s.domain.split()[1]) for s in sets}
    assert not drawn & set(JUDGING_STYLES)
    assert {s.condition for s in sets if s.domain == "simulated 0"} == {"control", "latrunculin"}
    assert all(s.crops.shape[2:] == (64, 64) and s.crops.dtype == np.float16 for s in sets)


def test_styles_of_a_base_come_in_four_conditions_and_every_third_shows_mechanisms(monkeypatch):
    monkeypatch.setattr("phenolens.pretraining.style_sets.JUDGING_STYLES", range(1))
    sets = finish(style_sets(3, seed=0, crops_per_field=3))
    drawn = {int(s.domain.split()[1]) for s in sets}
    assert drawn == {1, 2, 3}
    by_style = {seed: {s.condition for s in sets if s.domain == f"simulated {seed}"} for seed in drawn}
    assert by_style[1] == {"control", "translocation", "effect 2", "effect 3"}
    assert by_style[2] == {"control", "effect 1", "effect 2", "effect 3"}
    assert all(s.crops.shape[2:] == (64, 64) and s.crops.dtype == np.float16 for s in sets)


def test_styles_that_choose_the_best_weights_are_of_their_own_and_kept(tmp_path):
    sets = finish(choosing_sets(tmp_path / "apart.pt", styles=1, crops_per_field=2))
    assert {s.domain for s in sets} == {f"simulated {CHOOSING_STYLES[0]}"}
    assert not set(CHOOSING_STYLES) & set(JUDGING_STYLES)
    written = (tmp_path / "apart.pt").stat().st_mtime_ns
    again = finish(choosing_sets(tmp_path / "apart.pt", styles=1, crops_per_field=2))
    assert (tmp_path / "apart.pt").stat().st_mtime_ns == written, "they are not drawn again"
    assert all(np.array_equal(one.crops, other.crops) for one, other in zip(sets, again, strict=True))


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


def test_settings_are_part_of_the_recipe(quick, tmp_path):
    base = load_base(finish(pretrain(tmp_path / "b", settings=replace(SETTINGS, seed=3), device="cpu")))
    assert base.card["recipe"]["seed"] == 3
