"""What fine-tuning trains: the three methods behave alike, and each is what it is called."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from phenolens.runtime.checkpoints import Checkpoints
from phenolens.runtime.errors import ModelError
from phenolens.runtime.progress import finish
from phenolens.screens.conditions import Condition
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.methods import METHODS
from phenolens.translation.model.svdiff import inject_svdiff, merge_svdiff, svdiff_shifts
from phenolens.translation.training.finetuning import FinetuneSettings, Tuned, finetune
from tiny_base import make_tiny_base

SETTINGS = FinetuneSettings(steps=5, batch=4, rank=2, preview_every=3, checkpoint_every=2, crop=64)
METHOD = pytest.mark.parametrize("method", list(METHODS))
# with LoRA, test_finetuning.py shows the same
OTHERS = pytest.mark.parametrize("method", ["svdiff", "full"])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


def crops(seed: int, level: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level + 0.1 * rng.standard_normal((6, 2, 64, 64))).astype(np.float32)


def job(base, checkpoint, settings, resume=False):
    return finetune(base, crops(0, 0), crops(1, 0.5), ("a", "b"), settings, checkpoint, resume)


def predict(base, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x, tokens = torch.randn((3, 8, 16, 16), generator=rng), torch.randn((3, 2, base.token_size), generator=rng)
    with torch.no_grad():
        return base.predict(x, torch.tensor([50, 400, 900]), tokens)


def adapter_of(tuned: Tuned, method: str, tiny) -> Adapter:
    intensity = IntensityMap("affine", ("a", "b"), (0.0, 0.0), (1.0, 1.0))
    return Adapter(
        source=Condition.parse("control"),
        target=Condition.parse("treated"),
        channel_names=("a", "b"),
        crop=64,
        pixel_size=None,
        intensity=intensity,
        tokens=tuned.tokens,
        weights=tuned.weights,
        config=tuned.config,
        base=str(tiny),
        method=method,
    )


@METHOD
def test_a_prepared_unet_is_unchanged_and_its_parameters_are_what_is_trained(tiny, method):
    base, chosen = load_base(tiny), METHODS[method]
    before = predict(base)
    chosen.inject(base.unet, chosen.configure(2))
    assert torch.equal(predict(base), before)
    assert sum(p.numel() for p in chosen.parameters(base.unet)) == sum(
        w.numel() for w in chosen.take(base.unet).values()
    )


@OTHERS
def test_an_interrupted_run_gives_the_weights_of_an_uninterrupted_one(tiny, tmp_path, method):
    settings = replace(SETTINGS, method=method)
    whole = finish(job(load_base(tiny), tmp_path / "whole.pt", settings))
    part = tmp_path / "part.pt"
    running = job(load_base(tiny), part, settings)
    for progress in running:
        if progress.message == "Fine-tuning" and progress.step == 3:
            running.close()
            break
    assert Checkpoints(part).about().step == 3
    again = finish(job(load_base(tiny), part, settings, resume=True))
    assert whole.weights.keys() == again.weights.keys()
    assert all(torch.equal(whole.weights[name], again.weights[name]) for name in whole.weights)
    assert torch.equal(whole.tokens, again.tokens)
    other = replace(settings, method="lora")
    running = job(load_base(tiny), part, settings)
    next(p for p in running if p.message == "Fine-tuning")
    running.close()
    with pytest.raises(ModelError, match="other settings"):
        finish(job(load_base(tiny), part, other, resume=True))


@METHOD
def test_an_adapter_brings_back_what_was_trained(tiny, tmp_path, method):
    base = load_base(tiny)
    before = predict(base)
    tuned = finish(job(base, tmp_path / "c.pt", replace(SETTINGS, method=method, learning_rate=0.05, preview_every=0)))
    trained = predict(base)
    adapter = Adapter.load(adapter_of(tuned, method, tiny).save(tmp_path / "adapter"))
    assert adapter.method == method
    assert adapter.condition_tokens("treated").shape == (2, base.token_size)
    fresh = load_base(tiny)
    adapter.apply(fresh)
    moved = (trained - before).norm()
    assert moved > 0.02 * before.norm()
    assert (predict(fresh) - trained).norm() < 0.02 * moved
    assert not any(p.requires_grad for p in fresh.unet.parameters())


@OTHERS
def test_the_loss_falls(tiny, tmp_path, method):
    losses = []
    settings = replace(SETTINGS, method=method, steps=30, preview_every=0, learning_rate=0.01)
    finish(
        job(load_base(tiny), tmp_path / "c.pt", settings),
        lambda p: losses.append(p.values["loss"]) if p.values else None,
    )
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10])


def test_svdiff_shifts_singular_values_and_nothing_else(tiny):
    unet = load_base(tiny).unet
    before = {name: weight.clone() for name, weight in unet.state_dict().items()}
    inject_svdiff(unet, {})
    rng = torch.Generator().manual_seed(0)
    shifts = {k: 0.5 * torch.randn(v.shape, generator=rng) - 0.2 for k, v in svdiff_shifts(unet).items()}
    METHODS["svdiff"].put(unet, shifts)
    merge_svdiff(unet)
    after = unet.state_dict()
    assert after.keys() == before.keys()
    floored = 0
    for name, weight in before.items():
        layer = name.removesuffix(".weight")
        if layer not in shifts or not name.endswith(".weight"):
            assert torch.equal(after[name], weight), "biases and norms stay"
            continue
        # the slow reference: numpy, in double precision
        left, values, right = np.linalg.svd(weight.numpy().astype(np.float64).reshape(len(weight), -1), False)
        moved = values + shifts[layer].numpy()
        floored += int((moved < 0).sum())
        expected = (left * np.maximum(moved, 0)) @ right
        assert np.abs(after[name].numpy().reshape(expected.shape) - expected).max() < 1e-4
    assert floored > 10, "singular values do not become negative"


def test_svdiff_is_tiny_and_full_is_as_large_as_the_unet(tiny, tmp_path):
    sizes, trained = {}, {}
    for method in METHODS:
        tuned = finish(job(load_base(tiny), tmp_path / "c.pt", replace(SETTINGS, method=method, steps=1)))
        folder = adapter_of(tuned, method, tiny).save(tmp_path / method)
        sizes[method] = (folder / "adapter_model.safetensors").stat().st_size
        trained[method] = tuned.trained
    unet = load_base(tiny).unet
    assert trained["full"] == sum(p.numel() for p in unet.parameters())
    assert sizes["full"] == pytest.approx(
        (tiny / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size, rel=0.05
    )
    assert trained["svdiff"] < trained["lora"] < trained["full"]
    assert trained["svdiff"] < 0.02 * trained["full"]


@METHOD
def test_weights_of_another_unet_are_refused(tiny, tmp_path, method):
    tuned = finish(job(load_base(tiny), tmp_path / "c.pt", replace(SETTINGS, method=method, steps=1)))
    adapter = adapter_of(tuned, method, tiny)
    adapter.weights = {name: torch.zeros(3, 3) for name in adapter.weights}
    with pytest.raises(ModelError, match="does not fit this base"):
        adapter.apply(load_base(tiny))
    adapter.weights = {}
    with pytest.raises(ModelError, match="does not fit this base"):
        adapter.apply(load_base(tiny))


def test_an_adapter_without_a_method_is_lora_and_an_unknown_one_is_refused(tiny, tmp_path):
    tuned = finish(job(load_base(tiny), tmp_path / "c.pt", replace(SETTINGS, steps=1)))
    folder = adapter_of(tuned, "lora", tiny).save(tmp_path / "adapter")
    card = json.loads((folder / "card.json").read_text())
    assert card.pop("method") == "lora"
    (folder / "card.json").write_text(json.dumps(card))
    assert Adapter.load(folder).method == "lora"
    (folder / "card.json").write_text(json.dumps({**card, "method": "hypernetwork"}))
    with pytest.raises(ModelError, match="fine-tuned by 'hypernetwork'"):
        Adapter.load(folder)
    with pytest.raises(ModelError, match="no fine-tuning method 'hypernetwork': choose one of lora, svdiff, full"):
        finish(job(load_base(tiny), tmp_path / "c.pt", replace(SETTINGS, method="hypernetwork")))


def test_lora_takes_16_bits_as_they_come_with_the_same_answers(tiny):
    base = load_base(tiny)
    base.use_channels(2)
    METHODS["lora"].inject(base.unet, METHODS["lora"].configure(2))
    layers = [module for module in base.unet.modules() if hasattr(module, "lora_A")]
    seen = set()
    for layer in layers:
        torch.nn.init.normal_(layer.lora_B["default"].weight)
        layer.lora_A["default"].register_forward_pre_hook(lambda _, given: seen.add(given[0].dtype))
    generator = torch.Generator().manual_seed(0)
    x, tokens = torch.randn(3, 8, 16, 16, generator=generator), torch.randn(3, 2, base.token_size, generator=generator)

    def answer() -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return base.predict(x, torch.tensor([50, 400, 900]), tokens)

    made = answer()
    assert torch.bfloat16 in seen
    for layer in layers:
        layer.cast_input_dtype_enabled = True
    seen.clear()
    assert torch.equal(answer(), made)
    assert seen == {torch.float32}
