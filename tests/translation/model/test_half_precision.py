"""Where a device gains by bfloat16, it is computed in and given back as float32, close to that of float32."""

import numpy as np
import pytest
import torch

from phenolens.runtime.errors import DeviceError
from phenolens.runtime.progress import finish
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model import precision
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.precision import plain_attention
from phenolens.translation.model.shipped import demo_adapter
from tiny_base import make_tiny_adapter

PLANE = np.random.default_rng(0).integers(0, 200, (2, 96, 96)).astype(np.uint8)


@pytest.fixture
def translator(tiny_base, monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)  # where it has not, torch does without
    return Translator(load_base(tiny_base), make_tiny_adapter(tiny_base))


def answers(base, *precisions, rows=3):
    """The UNet's answers to the same noise."""
    generator = torch.Generator().manual_seed(rows)
    side = base.crop // base.codec.factor
    noisy = torch.randn(rows, base.codec.latents(2), side, side, generator=generator)
    tokens = torch.randn(rows, 2, base.token_size, generator=generator)
    with torch.no_grad():
        return [base.predict(noisy, torch.linspace(100, 800, rows), tokens, one) for one in precisions]


def off(one, other):
    return float(torch.linalg.norm(one - other) / torch.linalg.norm(other))


def test_the_unet_answers_in_bfloat16_as_in_float32_but_for_its_rounding(translator):
    for rows in (3, 1, 5):
        exact, halved, again = answers(translator.base, "float32", "bfloat16", "bfloat16", rows=rows)
        assert halved.dtype == torch.float32
        assert 1e-4 < off(halved, exact) < 0.02
        assert torch.equal(halved, again)


def test_a_translation_in_bfloat16_asks_no_other_and_converts_once(translator, monkeypatch):
    cell = finish(translator.translate_cell(PLANE, 48, 48, steps=2, precision="bfloat16"))
    converted = translator.base.halved
    assert {weight.dtype for weight in converted._plain.parameters()} == {torch.bfloat16}
    assert {weight.dtype for weight in translator.base.unet.parameters()} == {torch.float32}
    monkeypatch.setattr(translator.base.unet, "forward", lambda *_, **__: pytest.fail("it computed in float32"))
    translator.base.fast = None
    finish(translator.move(cell, (0.5, 1.0)))
    assert translator.base.halved is converted
    assert cell.settings.precision == "bfloat16"


@pytest.mark.slow
def test_the_shipped_network_is_recorded_for_any_number_of_rows():
    adapter = Adapter.load(demo_adapter())
    base = Translator(load_base(adapter.base), adapter).base
    for rows in (4, 1, 9):
        noisy, tokens = torch.randn(rows, 12, 16, 16), torch.randn(rows, 2, base.token_size)
        with torch.no_grad():
            exact, halved = (
                base.predict(noisy, torch.full((rows,), 300.0), tokens, one) for one in ("float32", "bfloat16")
            )
        assert base.halved._recorded is not None
        assert 1e-4 < off(halved, exact) < 0.02


@pytest.mark.parametrize("fault", ["fails", "differs"])
def test_what_cannot_be_recorded_is_called_layer_by_layer(translator, monkeypatch, fault):
    def trace(network, *_, **__):
        if fault == "fails":
            raise RuntimeError("no such operator")
        return lambda *given: 1.1 * network(*given)

    monkeypatch.setattr(torch.jit, "trace", trace)
    monkeypatch.setattr(torch.jit, "freeze", lambda made: made)
    monkeypatch.setattr(torch.jit, "optimize_for_inference", lambda made: made)
    exact, halved = answers(translator.base, "float32", "bfloat16")
    assert translator.base.halved._recorded is None
    assert 1e-4 < off(halved, exact) < 0.02


def test_a_device_without_it_is_refused_in_a_sentence(translator, monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(DeviceError, match=r"bfloat16 is for a CPU that computes in it .* and cpu here does not"):
        finish(translator.translate_cell(PLANE, 48, 48, steps=2, precision="bfloat16"))
    finish(translator.translate_cell(PLANE, 48, 48, steps=2))


def test_attention_is_plain_on_a_cpu_where_tokens_are_few():
    def fused() -> bool:
        return torch.backends.cuda.flash_sdp_enabled()  # the switch is one for all devices

    with plain_attention("cpu", tokens=256):
        assert not fused()
    with plain_attention("cpu", tokens=1024):
        assert fused()
    with plain_attention("cuda", tokens=256):
        assert fused()


def test_a_change_is_decoded_under_autocast(tiny_base):
    base = load_base(str(tiny_base), "cpu")
    base.use_channels(2)
    random = torch.Generator().manual_seed(0)
    latents = base.encode(torch.rand((1, 2, 32, 32), generator=random) * 2 - 1)
    delta = torch.randn((1, *latents.shape), generator=random)
    with torch.no_grad():
        exact = base.decode_change(latents, delta)
        with torch.autocast("cpu", torch.bfloat16):
            halved = base.decode_change(latents, delta)
    assert halved.dtype == torch.float32
    assert torch.linalg.norm(halved - exact) < 0.05 * torch.linalg.norm(exact)
