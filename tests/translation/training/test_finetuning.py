"""Fine-tuning: it learns, resumes exactly, keeps what was learnt, and says what is wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from phenolens.runtime.checkpoints import Checkpoints
from phenolens.runtime.errors import CellError, ModelError, OutputError, ScreenError
from phenolens.runtime.progress import Progress, finish
from phenolens.screens.conditions import Condition
from phenolens.screens.table import screen_from_arrays
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.fast_networks import VARIABLE
from phenolens.translation.training import training_set
from phenolens.translation.training.finetuning import FinetuneSettings, Preview, finetune
from phenolens.translation.training.training_set import finetune_screen
from tiny_base import make_tiny_adapter, make_tiny_base

SETTINGS = FinetuneSettings(steps=6, batch=4, rank=2, preview_every=3, checkpoint_every=2, crop=64, max_cells=20)
pytestmark = pytest.mark.usefixtures("few_noise_levels")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


def crops(seed: int, level: float, n: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level + 0.1 * rng.standard_normal((n, 2, 64, 64))).astype(np.float32)


def screen(bright: int = 120):
    rng = np.random.default_rng(0)
    images = {f"A0{i}": rng.integers(0, 60, (2, 96, 96)).astype(np.uint8) for i in range(1, 3)}
    images |= {f"B0{i}": rng.integers(60, bright, (2, 96, 96)).astype(np.uint8) for i in range(1, 3)}
    roles = {key: {"Metadata_Role": "negative control" if key[0] == "A" else "treated"} for key in images}
    return screen_from_arrays(images, ("Reporter", "DNA"), metadata=roles, pixel_size=0.5)


CONTROL, TREATED = Condition.parse("Metadata_Role=negative control"), Condition.parse("Metadata_Role=treated")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_noise_levels_and_what_they_count_can_be_chosen(tiny, tmp_path):
    def loss(**chosen) -> float:
        settings = replace(SETTINGS, steps=1, preview_every=0, **chosen)
        job = finetune(load_base(tiny), crops(0, 0), crops(1, 0.5), ("a", "b"), settings, tmp_path / "part.pt")
        return finish(job).loss

    plain = loss()
    # Weights of at least 1 undo the cap that min-SNR puts on low levels; a cap that is out of reach does the same.
    assert loss(least_weight=1.0) == pytest.approx(loss(snr_gamma=1e12))
    assert loss(least_weight=1.0) > plain
    assert loss(low_noise=0.5) != pytest.approx(plain)


def test_resumed_run_gives_the_weights_of_an_uninterrupted_one(tiny, tmp_path):
    whole = finish(finetune(load_base(tiny), crops(0, 0), crops(1, 0.5), ("a", "b"), SETTINGS, tmp_path / "whole.pt"))
    part = tmp_path / "part.pt"
    job = finetune(load_base(tiny), crops(0, 0), crops(1, 0.5), ("a", "b"), SETTINGS, part)
    for progress in job:
        if progress.message == "Fine-tuning" and progress.step == 3:
            job.close()
            break
    assert Checkpoints(part).about().step == 3
    again = finish(finetune(load_base(tiny), crops(0, 0), crops(1, 0.5), ("a", "b"), SETTINGS, part, resume=True))
    assert same(whole.weights, again.weights)
    assert torch.equal(whole.tokens, again.tokens)


def test_closing_within_a_preview_loses_no_step(tiny, tmp_path):
    job = finetune(load_base(tiny), crops(0, 0), crops(1, 0.5), ("a", "b"), SETTINGS, tmp_path / "c.pt")
    for progress in job:
        if progress.message == "Translating a preview":
            break
    job.close()
    assert Checkpoints(tmp_path / "c.pt").about().step == 3


def test_a_fresh_adapter_changes_nothing_and_training_moves_it(tiny, tmp_path):
    base = load_base(tiny)
    x, t, tokens = torch.randn(1, 8, 16, 16), torch.tensor([400]), torch.zeros(1, 2, base.token_size)
    before = base.predict(x, t, tokens)
    tuned = finish(finetune(base, crops(0, 0), crops(1, 0.5), ("a", "b"), SETTINGS, tmp_path / "c.pt"))
    assert not torch.equal(tuned.tokens[1], tuned.tokens[2])
    assert not torch.allclose(before, base.predict(x, t, tokens), atol=1e-6)


@pytest.mark.slow
def test_loss_falls(tiny, tmp_path):
    settings = replace(SETTINGS, steps=60, preview_every=0, batch=8)
    losses = []
    finish(
        finetune(load_base(tiny), crops(0, 0), crops(1, 0.5), ("a", "b"), settings, tmp_path / "c.pt"),
        lambda p: losses.append(p.values["loss"]) if p.values else None,
    )
    assert np.mean(losses[-15:]) < 0.9 * np.mean(losses[:15])


def test_resuming_with_other_settings_is_refused(tiny, tmp_path):
    job = finetune(load_base(tiny), crops(0, 0), crops(1, 0.5), ("a", "b"), SETTINGS, tmp_path / "c.pt")
    for progress in job:
        if progress.message == "Fine-tuning" and progress.step == 2:
            job.close()
            break
    other = replace(SETTINGS, rank=4)
    with pytest.raises(ModelError, match="other settings"):
        finish(finetune(load_base(tiny), crops(0, 0), crops(1, 0.5), ("a", "b"), other, tmp_path / "c.pt", resume=True))


def test_adapter_folder_round_trip(tiny, tmp_path):
    previews = []
    adapter = finish(
        finetune_screen(
            screen(), CONTROL, TREATED, "whole", out=tmp_path / "adapter", base=str(tiny), settings=SETTINGS
        ),
        lambda p: previews.append(p.preview) if p.preview is not None else None,
    )
    assert [type(p) for p in previews] == [Preview, Preview]
    assert previews[0].source.shape == (2, 2, 64, 64)  # two whole fields are all the source cells there are
    read = Adapter.load(tmp_path / "adapter")
    assert read.conditions == adapter.conditions == ("Metadata_Role=negative control", "Metadata_Role=treated")
    assert read.channel_names == ("Reporter", "DNA")
    assert read.pixel_size == (0.5, 0.5)
    assert same(read.weights, adapter.weights)
    assert read.intensity.to_dict() == adapter.intensity.to_dict()
    assert not (tmp_path / "adapter.partial").exists()


@pytest.mark.parametrize("method", ["lora", "svdiff"])
def test_strength_1_is_matched_by_the_network_that_translates(tiny, tmp_path, monkeypatch, method):
    monkeypatch.setenv(VARIABLE, "onnx")
    asked = (torch.randn(3, 8, 16, 16), torch.full((3,), 400.0), torch.randn(3, 2, load_base(tiny).token_size))
    answered = []

    def matched(base, *_):
        answered.append((base.predict(*asked), base.computes_with))
        yield Progress(1, 1)
        return 1.0

    monkeypatch.setattr(training_set, "calibrate_guidance", matched)
    settings = replace(SETTINGS, method=method, learning_rate=0.05, preview_every=0)
    made = finish(finetune_screen(screen(), CONTROL, TREATED, "whole", out=tmp_path / "adapter", base=str(tiny),
                                  settings=settings))  # fmt: skip
    base = load_base(tiny)
    plain = base.predict(*asked)
    made.apply(base)
    translates = base.predict(*asked)
    assert not torch.allclose(plain, translates, atol=1e-3)
    for answer, engine in answered:
        torch.testing.assert_close(answer, translates, atol=1e-5, rtol=1e-5)
        assert engine.startswith("onnxruntime")
    assert len(answered) == 2


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "conditions.safetensors", "card.json"])
def test_broken_or_missing_adapter_files_are_named(tiny, tmp_path, name):
    folder = tmp_path / "adapter"
    make_tiny_adapter(tiny).save(folder)
    (folder / name).write_bytes(b"broken")
    with pytest.raises(ModelError, match="broken"):
        Adapter.load(folder)
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        Adapter.load(folder)


def test_mistakes_are_told_in_a_sentence(tiny, tmp_path):
    both = {"cells": "whole", "base": str(tiny), "settings": SETTINGS}
    with pytest.raises(ScreenError, match="share"):
        finish(finetune_screen(screen(), CONTROL, CONTROL, out=tmp_path / "a", **both))
    with pytest.raises(ScreenError, match="mock"):
        finish(finetune_screen(screen(), Condition.parse("Metadata_Role=mock"), TREATED, out=tmp_path / "a", **both))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(OutputError, match="not an adapter"):
        finish(finetune_screen(screen(), CONTROL, TREATED, out=tmp_path / "mine", **both))
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"
    images = {key: np.full((2, 96, 96), 5, np.uint8) for key in ("A01", "B01")}
    roles = {"A01": {"Metadata_Role": "x"}, "B01": {"Metadata_Role": "y"}}
    lone = screen_from_arrays(images, ("a", "b"), metadata=roles)
    with pytest.raises(CellError, match="1 cells"):
        finish(finetune_screen(lone, Condition.parse("Metadata_Role=x"), Condition.parse("Metadata_Role=y"),
                               out=tmp_path / "a", **both))  # fmt: skip
