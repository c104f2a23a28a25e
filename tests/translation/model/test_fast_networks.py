"""ONNX Runtime answers as torch does, comes from our own cache alone, and gives way to torch whatever goes wrong."""

import logging
import os
import time

import numpy as np
import pytest
import torch

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.progress import finish
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model import onnx_export
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.fast_networks import TOLERANCE, VARIABLE, FastNetworks
from phenolens.translation.model.shipped import demo_adapter
from tiny_base import make_tiny_adapter

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(VARIABLE, "onnx")
    return tmp_path / "cache" / "networks"


@pytest.fixture
def adapter(tiny_base) -> Adapter:
    return make_tiny_adapter(tiny_base)


def applied(adapter):
    base = load_base(adapter.base)
    adapter.apply(base)
    return base


def inputs(base, rows=3):
    generator = torch.Generator().manual_seed(rows)
    side = base.crop // base.codec.factor
    latents = torch.randn(rows, base.codec.latents(2), side, side, generator=generator)
    return latents, torch.full((rows,), 333.25), torch.randn(rows, 2, base.token_size, generator=generator)


def by_torch(base, *about):
    fast, base.fast = base.fast, None
    try:
        with torch.no_grad():
            return base.predict(*about)
    finally:
        base.fast = fast


def is_torch_again(base, about, right):
    """Whether the base answers with torch's own numbers, and has given up all else."""
    answer = base.predict(*about)
    return torch.equal(answer, right) and bool(base.fast.failed)


def files(cache):
    return sorted(file.name for file in cache.iterdir())


@torch.no_grad()
def test_it_answers_as_torch_does_for_any_number_of_rows(adapter, cache):
    base = applied(adapter)
    for rows in (1, 2, 5):
        about = inputs(base, rows)
        right = by_torch(base, *about)
        off = (base.predict(*about) - right).abs().max() / right.abs().max()
        assert 0 < off <= TOLERANCE  # not torch's own
    crops = torch.randn(3, 2, base.crop, base.crop)
    latents = base.encode(crops)
    back = base.decode(latents)
    plain = load_base(adapter.base)
    plain.use_channels(2)
    assert torch.allclose(latents, plain.encode(crops), atol=TOLERANCE)
    assert torch.allclose(back, plain.decode(latents), atol=TOLERANCE)
    assert not base.fast.failed
    assert len(files(cache)) == 3


@torch.no_grad()
def test_torch_computes_nothing_of_a_translation(adapter, monkeypatch):
    plane = np.random.default_rng(0).integers(0, 200, (2, 96, 96)).astype(np.uint8)
    translator = Translator(load_base(adapter.base), adapter)
    finish(translator.translate_cell(plane, 48, 48, steps=2))

    def computed(*_, **__):
        raise AssertionError("torch was asked")

    monkeypatch.setattr(translator.base.unet, "forward", computed)
    monkeypatch.setattr(translator.base.autoencoder, "encode", computed)
    monkeypatch.setattr(translator.base.autoencoder, "decode", computed)
    cell = finish(translator.translate_cell(plane, 48, 48, coarse=(2,), steps=4))
    assert np.abs(cell.difference).max() > 0


def test_a_network_is_exported_once_and_then_read(adapter, cache, monkeypatch):
    base = applied(adapter)
    about = inputs(base)
    first = base.predict(*about)
    (name,) = files(cache)
    monkeypatch.setattr(onnx_export, "export", lambda *_: pytest.fail("exported again"))
    again = applied(adapter)
    assert torch.equal(again.predict(*about), first)
    assert not again.fast.failed
    assert files(cache) == [name]


@pytest.mark.slow
def test_other_weights_are_another_file(adapter, cache):
    base = applied(adapter)
    base.predict(*inputs(base))
    adapter.weights = {key: value * 1.001 for key, value in adapter.weights.items()}
    base = applied(adapter)
    base.predict(*inputs(base))
    assert len(files(cache)) == 2


@pytest.mark.parametrize(
    "damage", ["short", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("empty", "noise", "huge", "other"))]
)
def test_a_file_that_is_not_what_it_should_be_is_made_anew(adapter, cache, damage):
    base = applied(adapter)
    about = inputs(base)
    right = by_torch(base, *about)
    base.predict(*about)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    if damage == "other":
        adapter.weights = {key: value * 2 for key, value in adapter.weights.items()}
        other = applied(adapter)
        other.predict(*about)
        (second,) = set(cache.iterdir()) - {file}
        file.write_bytes(second.read_bytes())
        adapter.weights = {key: value / 2 for key, value in adapter.weights.items()}
    else:
        contents = {"short": whole[: len(whole) // 2], "empty": b"", "noise": b"\x07" * 4096, "huge": whole * 20}
        file.write_bytes(contents[damage])
    base = applied(adapter)
    assert torch.allclose(base.predict(*about), right, atol=1e-5 * float(right.abs().max()))
    assert not base.fast.failed
    assert file.read_bytes() == whole


def test_whatever_fails_leads_to_torch_and_a_note(adapter, monkeypatch, caplog):
    base = applied(adapter)
    about = inputs(base)
    right = by_torch(base, *about)

    def fails(*_):
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(onnx_export, "export", fails)
    with caplog.at_level(logging.WARNING), torch.no_grad():
        assert is_torch_again(base, about, right)
        assert torch.equal(base.predict(*about), right)
    (record,) = caplog.records
    assert record.getMessage() == (
        "ONNX Runtime cannot be used, so torch computes, which is slower (RuntimeError: no such operator)"
    )


def test_wrong_answers_lead_to_torch(adapter, monkeypatch):
    base = applied(adapter)
    about = inputs(base)
    right = by_torch(base, *about)
    made = onnx_export.export

    def wrong(network, example):
        with torch.no_grad():
            bias = network.unet.conv_out.bias
            bias += 0.01
            try:
                return made(network, example)
            finally:
                bias -= 0.01

    monkeypatch.setattr(onnx_export, "export", wrong)
    with torch.no_grad():
        base.predict(*about)
        assert "differ from torch's" in base.fast.failed
        assert torch.allclose(base.predict(*about), right)


def test_a_cache_that_cannot_be_written_is_done_without(adapter, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "file"))
    base = applied(adapter)
    about = inputs(base)
    assert torch.allclose(base.predict(*about), by_torch(base, *about), atol=1e-5)
    assert not base.fast.failed


def test_the_files_that_were_used_longest_ago_make_room(adapter, cache, monkeypatch):
    cache.mkdir(parents=True)
    for age, name in enumerate(("new", "old", "oldest")):
        file = cache / f"{name}.onnx"
        file.write_bytes(b"\0" * 4 * 2**20)
        past = time.time() - 100 * (age + 1)
        os.utime(file, (past, past))
    (cache / "note.txt").touch()
    monkeypatch.setenv("PHENOLENS_MAX_NETWORKS_MB", "6")
    base = applied(adapter)
    base.predict(*inputs(base))
    assert {"new.onnx", "note.txt"} < set(files(cache))
    assert len(files(cache)) == 3  # and the one that was made


def test_gradients_are_left_to_torch(adapter):
    base = applied(adapter)
    latents, *about = inputs(base)
    latents.requires_grad_(True)
    base.predict(latents, *about).square().sum().backward()
    assert latents.grad.abs().max() > 0


def test_it_computes_with_as_many_threads_as_torch(adapter):
    base = applied(adapter)
    about = inputs(base)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            base.predict(*about)
    finally:
        torch.set_num_threads(before)
    (network,) = base.fast._networks["unet"].values()
    assert set(network._sessions) == {1, 2}


def test_the_choice_of_torch_holds_and_no_other_word_is_taken(adapter, monkeypatch, cache):
    monkeypatch.setenv(VARIABLE, "torch")
    assert applied(adapter).fast is None
    monkeypatch.setenv(VARIABLE, "tensorflow")
    with pytest.raises(PhenolensError, match="PHENOLENS_RUNTIME is 'tensorflow': give one of onnx, torch"):
        applied(adapter)


def test_without_the_packages_torch_computes_in_silence(adapter, monkeypatch, caplog):
    monkeypatch.setattr("phenolens.translation.model.fast_networks.find_spec", lambda _: None)
    assert applied(adapter).fast is None
    assert not caplog.records


@pytest.mark.slow
def test_the_shipped_adapter_gives_the_pixels_of_torch():
    """Within 1e-5 of the range of intensities that the adapter maps."""
    adapter = Adapter.load(demo_adapter())
    plane = np.random.default_rng(0).integers(0, 4000, (3, 128, 128)).astype(np.uint16)
    made = {}
    for kind in ("torch", "onnx"):
        translator = Translator(load_base(adapter.base), adapter)
        if kind == "torch":
            translator.base.fast = None
            translator.base.codec = type(translator.base.codec)(translator.base.autoencoder)
        made[kind] = finish(translator.translate_cell(plane, 60, 60, strengths=(0.5, 1.0), steps=20)).difference
    assert isinstance(translator.base.fast, FastNetworks)
    assert not translator.base.fast.failed
    width = np.subtract(adapter.intensity.high, adapter.intensity.low)[:, None, None]
    off = np.abs(made["onnx"] - made["torch"]) / width
    assert off.max() <= 1e-5
    assert np.abs(made["torch"] / width).max() > 0.01
    if off.max() == 0:
        pytest.fail("torch computed both")
