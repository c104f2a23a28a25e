"""No training is lost: closed or broken off at any moment, what was learnt is kept and ends with the same bytes."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from phenolens.pretraining.pretraining_sets import CropSet
from phenolens.profiling.training import pretraining as encoder_pretraining
from phenolens.profiling.training.pretraining import EncoderPretrainSettings, pretrain_encoder
from phenolens.profiling.training.training import MiconSettings, fit, train_encoder
from phenolens.runtime.checkpoints import Checkpoints, CheckpointWarning
from phenolens.runtime.errors import ModelError, OutputError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.table import screen_from_arrays
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.training import pretraining
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.pretraining import PretrainSettings, pretrain
from phenolens.translation.training.training_set import finetune_screen
from planted_cells import SMALL, noise_screen, planted, same, start_network

SETTINGS = FinetuneSettings(
    steps=4, batch=4, rank=2, preview_every=2, checkpoint_every=100, crop=64, max_cells=20, network_crop=32
)
pytestmark = pytest.mark.usefixtures("few_noise_levels")
CONTROL, TREATED = Condition.parse("Metadata_Role=negative control"), Condition.parse("Metadata_Role=treated")
FILES = ("adapter_model.safetensors", "conditions.safetensors", "adapter_config.json", "intensity.json", "card.json")


@pytest.fixture(autouse=True)
def one_thread():
    """Sums are taken in another order by another number of threads: bytes are compared at one."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def screen():
    rng = np.random.default_rng(0)
    images = {f"A0{i}": rng.integers(0, 60, (2, 64, 64)).astype(np.uint8) for i in range(1, 3)}
    images |= {f"B0{i}": rng.integers(60, 120, (2, 64, 64)).astype(np.uint8) for i in range(1, 3)}
    # one well each: no channel is held, so that there is something to match
    roles = {
        key: {"Metadata_Role": "negative control" if key[0] == "A" else "treated", "Metadata_Well": f"{key[0]}01"}
        for key in images
    }
    return screen_from_arrays(images, ("Reporter", "DNA"), metadata=roles, pixel_size=0.5)


@pytest.fixture
def tune(screen, tiny_base):
    def job(out, settings=SETTINGS, **how):
        base = str(tiny_base)
        return finetune_screen(screen, CONTROL, TREATED, "whole", out=out, base=base, settings=settings, **how)

    return job


@pytest.fixture(scope="module")
def whole(screen, tiny_base, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "adapter"
    torch.set_num_threads(1)
    finish(finetune_screen(screen, CONTROL, TREATED, "whole", out=out, base=str(tiny_base), settings=SETTINGS))
    return {name: (out / name).read_bytes() for name in FILES}


def close_at(job, message: str, step: int = 0) -> None:
    """Close a job at the first progress of this message, and of no less than this step."""
    for progress in job:
        if progress.message.startswith(message) and progress.step >= step:
            job.close()
            return
    raise AssertionError(f"it never said {message!r}")


def steps_kept(path) -> int:
    about = Checkpoints(path).about()
    return 0 if about is None else about.step


@pytest.mark.parametrize(
    ("message", "step", "kept"),
    [
        pytest.param("Comparing the channels", 0, 0, marks=pytest.mark.slow),
        ("Encoding cells", 3, 0),
        ("Fine-tuning", 1, 1),
        ("Translating a preview", 2, 2),
        pytest.param("Translating a preview", 4, 4, marks=pytest.mark.slow),
        pytest.param("Fine-tuning", 4, 4, marks=pytest.mark.slow),
        ("Matching strength 1", 4, 4),
    ],
)
def test_fine_tuning_closed_anywhere_ends_with_the_same_bytes(tune, whole, tmp_path, message, step, kept):
    out, checkpoint = tmp_path / "adapter", tmp_path / "adapter.partial" / "checkpoint.pt"
    close_at(tune(out), message, step)
    assert steps_kept(checkpoint) == kept
    if kept:
        # closed again while it prepares, it has lost nothing
        close_at(tune(out, resume=True), "Reading")
        assert steps_kept(checkpoint) == kept
    said = []
    finish(tune(out, resume=True), lambda now: said.append(now.message))
    if kept == SETTINGS.steps:
        assert f"Going on from step {kept}" in said
        assert not {"Encoding cells", "Fine-tuning"} & set(said), "it goes straight on to the matching"
    assert {name: (out / name).read_bytes() for name in FILES} == whole
    assert not checkpoint.parent.exists()


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_fine_tuning_broken_off_within_a_step_ends_with_the_same_bytes(tune, whole, tmp_path, monkeypatch, where):
    calls, predict, backward = [], Base.predict, torch.Tensor.backward

    def counted(real):
        def call(*given, **named):
            result = real(*given, **named)
            if torch.is_grad_enabled():  # a base is tried once, without gradients, when it is opened
                calls.append(1)
                if len(calls) == 2:
                    raise KeyboardInterrupt
            return result

        return call

    if where == "forward":
        monkeypatch.setattr(Base, "predict", counted(predict))
    else:
        monkeypatch.setattr(torch.Tensor, "backward", counted(backward))
    with pytest.raises(KeyboardInterrupt):
        finish(tune(tmp_path / "adapter", replace(SETTINGS, preview_every=0)))
    monkeypatch.undo()
    assert steps_kept(tmp_path / "adapter.partial" / "checkpoint.pt") == 1
    finish(tune(tmp_path / "adapter", resume=True))
    names = [name for name in FILES if name != "card.json"]
    assert all((tmp_path / "adapter" / name).read_bytes() == whole[name] for name in names)


def test_a_damaged_checkpoint_costs_a_few_steps_and_two_are_a_sentence(tune, whole, tmp_path):
    out, checkpoint = tmp_path / "adapter", tmp_path / "adapter.partial" / "checkpoint.pt"
    often = replace(SETTINGS, checkpoint_every=1)
    close_at(tune(out, often), "Fine-tuning", 3)
    os.truncate(checkpoint, 4000)
    with pytest.warns(CheckpointWarning, match="goes on from the one before it, at step 2 of 4"):
        close_at(tune(out, resume=True), "Going on from step 2")
    os.truncate(checkpoint.with_name("checkpoint-before.pt"), 4000)
    with pytest.raises(ModelError, match=r"is damaged .*start over"):
        finish(tune(out, resume=True))
    finish(tune(out, start_over=True))
    assert (out / FILES[0]).read_bytes() == whole[FILES[0]]


def test_an_unfinished_run_is_not_replaced_unasked(tune, tmp_path):
    out, checkpoint = tmp_path / "adapter", tmp_path / "adapter.partial" / "checkpoint.pt"
    close_at(tune(out), "Fine-tuning", 2)
    with pytest.raises(OutputError, match=r"unfinished training of adapter at step 2 of 4"):
        finish(tune(out))
    with pytest.raises(ModelError, match="other settings"):
        finish(tune(out, replace(SETTINGS, seed=1), resume=True))
    close_at(tune(out, replace(SETTINGS, seed=1), start_over=True), "Encoding cells")
    assert steps_kept(checkpoint) == 2, "until there is something in its place"
    close_at(tune(out, replace(SETTINGS, seed=1), start_over=True), "Fine-tuning")
    assert steps_kept(checkpoint) == 1


def test_a_loss_that_is_no_number_is_a_sentence_and_spoils_nothing(tune, tmp_path, monkeypatch):
    predict, calls = Base.predict, []

    def breaks(*given, **named):
        if torch.is_grad_enabled():
            calls.append(1)
        return predict(*given, **named) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(Base, "predict", breaks)
    with pytest.raises(ModelError, match="no longer a number at step 3"):
        finish(tune(tmp_path / "adapter", replace(SETTINGS, preview_every=0)))
    monkeypatch.undo()
    finish(tune(tmp_path / "adapter", replace(SETTINGS, preview_every=0), resume=True))


BASE = PretrainSettings(
    styles=2, autoencoder_steps=3, autoencoder_batch=4, unet_steps=3, unet_batch=4, checkpoint_every=100,
    autoencoder_channels=(8, 8, 8), unet_channels=(16, 16, 32), layers=1,
)  # fmt: skip


def random_sets(*given):
    yield from ()
    rng = np.random.default_rng(0)
    return [CropSet(f"d{d}", c, rng.random((6, 2, 64, 64)).astype(np.float16)) for d in "ab" for c in "xy"]


@pytest.mark.slow
def test_pretraining_closed_anywhere_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "gather_sets", random_sets)
    monkeypatch.setattr(pretraining, "choosing_sets", random_sets)
    whole = load_base(finish(pretrain(tmp_path / "whole", settings=BASE, device="cpu")))
    folder = tmp_path / "part" / "checkpoint"
    for what, step in (("Autoencoder", 1), ("Autoencoder", 3), ("UNet", 2), ("UNet", 3)):
        close_at(pretrain(tmp_path / "part", settings=BASE, device="cpu"), what, step)
        assert steps_kept(folder / f"{what.lower()}.pt") == step
    with pytest.raises(ModelError, match="other settings"):
        finish(pretrain(tmp_path / "part", settings=replace(BASE, seed=1), device="cpu"))
    again = load_base(finish(pretrain(tmp_path / "part", settings=BASE, device="cpu")))
    for name in ("autoencoder", "unet"):
        one, other = (getattr(base, name).state_dict() for base in (whole, again))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_an_encoder_closed_anywhere_ends_with_the_same_bytes(tmp_path):
    start = start_network()
    data, settings, checkpoint = planted(), MiconSettings(**SMALL), tmp_path / "training.pt"
    network, parts, _ = finish(fit(start, data, settings))
    for step in (1, 2, 7, 8):
        close_at(fit(start, data, settings, checkpoint=checkpoint), "Training", step)
        assert steps_kept(checkpoint) == step
    os.truncate(checkpoint, 4000)
    with pytest.warns(CheckpointWarning, match="at step 7 of 8"):
        again, same_parts, _ = finish(fit(start, data, settings, checkpoint=checkpoint))
    assert same(network, again)
    assert same(parts, same_parts)


def test_an_encoder_in_training_is_not_replaced_unasked(tmp_path):
    screen = noise_screen()
    cells = finish(find_cells(screen, "whole"))
    settings = MiconSettings(steps=3, items=2, bag=2, mode="simclr")
    checkpoint = tmp_path / "e.partial" / "training.pt"

    def job(**how):
        return train_encoder(screen, cells, tmp_path / "e", settings=settings, device="cpu", **how)

    close_at(job(), "Training the encoder", 2)
    with pytest.raises(OutputError, match="unfinished training of e at step 2 of 3"):
        finish(job())
    for how in ({"resume": True}, {"start_over": True}):
        preparing = job(**how)
        next(preparing)
        preparing.close()
        assert steps_kept(checkpoint) == 2
    finish(job(resume=True))
    assert not checkpoint.parent.exists()


def test_pretraining_an_encoder_goes_on_too(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_pretraining, "gather_sets", random_sets)
    monkeypatch.setattr(encoder_pretraining, "gather_effects", random_sets)
    settings = EncoderPretrainSettings(steps=3, domains=2, cells=4)
    job = pretrain_encoder(tmp_path / "e", settings=settings, device="cpu")
    close_at(job, "Encoder", 2)
    assert steps_kept(tmp_path / "e" / "checkpoint" / "encoder.pt") == 2
    said = []
    finish(pretrain_encoder(tmp_path / "e", settings=settings, device="cpu"), lambda now: said.append(now.message))
    assert said[0] == "Going on from step 2"
