"""Bases of Stable Diffusion's kind: the same numbers as diffusers, 1 to 8 channels, and the way from end to end."""

import json
import runpy
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMInverseScheduler, DDIMScheduler, UNet2DConditionModel
from torch.utils._python_dispatch import TorchDispatchMode

from cli_run import run
from phenolens.runtime.errors import ModelError
from phenolens.runtime.progress import finish
from phenolens.screens.conditions import Condition
from phenolens.screens.table import screen_from_arrays
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.model.memory import LARGE, Memory
from phenolens.translation.model.widening import end_parameters
from phenolens.translation.solvers import invert, stock_ddim
from phenolens.translation.training.finetuning import FinetuneSettings, finetune
from phenolens.translation.training.training_set import finetune_screen
from project import ROOT
from tiny_base import make_tiny_base
from tiny_stable_diffusion import make_tiny_stable_diffusion

SETTINGS = FinetuneSettings(steps=3, batch=2, rank=2, preview_every=0, crop=32, max_cells=4, network_crop=64)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    made = {layout: make_tiny_stable_diffusion(root / layout, layout) for layout in ("1", "2", "zero")}
    return made | {"compact": make_tiny_base(root / "compact")}


def crops(channels: int, n: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, channels, 64, 64)).astype(np.float32)


def noisy(base: Base, channels: int, n: int = 2) -> torch.Tensor:
    size = 64 // base.codec.factor
    return torch.randn(n, base.codec.latents(channels), size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", ["1", "2", "zero"])
def test_noise_is_what_diffusers_gives(folders, layout):
    base, x = load_base(folders[layout]), noisy(load_base(folders[layout]), 3)
    unet = UNet2DConditionModel.from_pretrained(folders[layout] / "unet")
    scheduler = DDIMScheduler.from_pretrained(folders[layout] / "scheduler")
    tokens = torch.randn(2, 2, base.token_size)
    for t in (0, 250, 998):
        alpha = scheduler.alphas_cumprod[t].double().sqrt()
        s = float((1 - alpha**2).sqrt() / alpha)
        with torch.no_grad():
            out = unet(x, t, tokens).sample
            if layout != "1":
                out = (alpha * out + (1 - alpha**2).sqrt() * x).float()
        assert base.schedule.timestep(s) == pytest.approx(t, abs=1e-3)
        ours = base.noise_at(x / float(alpha), s, tokens)
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, out, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("layout", ["1", "2", "zero"])
def test_stock_ddim_is_that_of_diffusers(folders, layout):
    base, x = load_base(folders[layout]), noisy(load_base(folders[layout]), 3)
    source, target = torch.randn(2, 2, base.token_size)
    ours = finish(stock_ddim(base.predict, base.scheduler_config, x, source, [target], steps=5))
    config = json.loads((folders[layout] / "scheduler" / "scheduler_config.json").read_text())
    config |= {"timestep_spacing": "leading", "set_alpha_to_one": False, "clip_sample": False}
    z = x
    with torch.no_grad():
        for kind, tokens in ((DDIMInverseScheduler, source), (DDIMScheduler, target)):
            scheduler = kind.from_config(config)
            scheduler.set_timesteps(5)
            for t in scheduler.timesteps:
                z = scheduler.step(base.unet(z, t, tokens.expand(2, -1, -1)).sample, t, z).prev_sample
    torch.testing.assert_close(ours[0], z - x, atol=1e-5, rtol=1e-5)


def test_three_channels_are_the_colours_of_one_image(folders):
    base = load_base(folders["1"])
    base.use_channels(3)
    vae = AutoencoderKL.from_pretrained(folders["1"] / "vae")
    image = torch.from_numpy(crops(3))
    with torch.no_grad():
        latents = vae.encode(image).latent_dist.mode() * 0.18215
        decoded = vae.decode(latents / 0.18215).sample
    torch.testing.assert_close(base.encode(image), latents)
    torch.testing.assert_close(base.decode(latents), decoded)


@pytest.mark.parametrize(
    ("channels", "filled"), [(1, [0, 0, 0]), (2, [0, 1, 0]), (4, [0, 1, 2, 3, 3, 3]), (5, [0, 1, 2, 3, 4, 3])]
)
def test_groups_are_filled_by_repeating_never_by_mixing(folders, channels, filled):
    base = load_base(folders["1"])
    image = torch.from_numpy(crops(channels))
    by_hand = torch.cat([base.encode(image[:, filled[i : i + 3]]) for i in range(0, len(filled), 3)], 1)
    torch.testing.assert_close(base.encode(image), by_hand)
    base.use_channels(channels)
    decoded = base.decode(base.encode(image))
    assert decoded.shape == image.shape
    base.channels = None
    torch.testing.assert_close(decoded, base.decode(by_hand)[:, :channels])


@pytest.mark.parametrize("layout", ["1", "2", "compact"])
@pytest.mark.parametrize("channels", [4, 5, 6, 8])
def test_a_widened_unet_gives_the_old_output_where_channels_repeat(folders, layout, channels):
    """Every new slot repeats an old one, so nothing new can be seen: the output must not change."""
    plain, wide = load_base(folders[layout]), load_base(folders[layout])
    wide.use_channels(channels)
    room = plain.unet.config.in_channels
    x = noisy(plain, 3)
    index = torch.arange(wide.codec.latents(channels)) % room
    assert len(index) > room
    tokens, t = torch.randn(2, 2, plain.token_size), torch.tensor([300, 700])
    torch.testing.assert_close(
        wide.predict(x[:, index], t, tokens), plain.predict(x, t, tokens)[:, index], atol=1e-5, rtol=1e-5
    )


def test_a_widened_unet_sees_the_new_channels(folders):
    base = load_base(folders["1"])
    base.use_channels(5)
    x, tokens = noisy(base, 5), torch.randn(2, 2, base.token_size)
    other = x.clone()
    other[:, 4:] += 1
    t = torch.tensor([300, 700])
    assert not torch.allclose(base.predict(x, t, tokens), base.predict(other, t, tokens), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_nothing_is_widened_without_need(folders, channels):
    for layout in ("1", "compact"):
        base = load_base(folders[layout])
        base.use_channels(channels)
        assert not base.widened


def screen(channels: int):
    rng = np.random.default_rng(0)
    images = {f"{row}0{i}": rng.integers(0, 90, (channels, 48, 48)).astype(np.uint8) for row in "AB" for i in (1, 2)}
    roles = {key: {"Metadata_Role": "negative control" if key[0] == "A" else "treated"} for key in images}
    return screen_from_arrays(images, tuple("abcdefgh"[:channels]), metadata=roles)


@pytest.mark.parametrize(
    ("layout", "channels", "method"),
    [
        ("1", 1, "lora"),
        ("zero", 5, "svdiff"),
        ("compact", 8, "lora"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("2", 2, "lora"), ("1", 3, "lora"), ("1", 8, "lora"), ("compact", 5, "full"))
        ),
    ],
)
def test_fine_tune_save_load_translate(folders, tmp_path, layout, channels, method):
    conditions = Condition.parse("Metadata_Role=negative control"), Condition.parse("Metadata_Role=treated")
    settings = replace(SETTINGS, method=method)
    made = finish(
        finetune_screen(
            screen(channels), *conditions, "whole", out=tmp_path / "a", base=str(folders[layout]), settings=settings
        )
    )
    widened = channels > 3 and method != "full"  # which keeps the ends among all weights
    assert bool(made.ends) == (tmp_path / "a" / "widened_ends.safetensors").is_file() == widened
    read = Adapter.load(tmp_path / "a")
    assert read.network_crop == 64
    plane = screen(channels)["A01"].image().plane()
    results = []
    for adapter in (made, read):
        translator = Translator(
            load_base(adapter.base), adapter, TranslationSettings(held=("a",) if channels > 1 else ())
        )
        results.append(finish(translator.translate_cell(plane, 24, 24, strengths=(0.0, 1.0), steps=3)))
    assert np.array_equal(results[0].difference, results[1].difference)
    assert results[1].at(plane, 0).tobytes() == plane.tobytes()
    moved = np.abs(results[1].difference[1]).max((1, 2)) > 0
    # A held channel stays although it shares its latents with others.
    assert moved.tolist() == [channels == 1] + [True] * (channels - 1)


def test_the_widened_ends_are_trained_and_resumed_to_the_same_weights(folders, tmp_path):
    settings = replace(SETTINGS, steps=3, checkpoint_every=2)
    names, arguments = tuple("abcde"), (crops(5), crops(5, seed=1))
    before = load_base(folders["1"])
    before.use_channels(5)
    whole = finish(finetune(load_base(folders["1"]), *arguments, names, settings, tmp_path / "whole.pt"))
    for name, start in end_parameters(before.unet).items():
        assert not torch.equal(start, whole.ends[name])
    job = finetune(load_base(folders["1"]), *arguments, names, settings, tmp_path / "part.pt")
    for progress in job:
        if progress.message == "Fine-tuning" and progress.step == 2:
            break
    job.close()
    again = finish(finetune(load_base(folders["1"]), *arguments, names, settings, tmp_path / "part.pt", resume=True))
    assert all(torch.equal(whole.ends[name], again.ends[name]) for name in whole.ends)


def test_an_adapter_of_another_base_is_refused(folders, tmp_path):
    adapter = finish(
        finetune_screen(
            screen(5), Condition.parse("Metadata_Role=negative control"), Condition.parse("Metadata_Role=treated"),
            "whole", out=tmp_path / "a", base=str(folders["1"]), settings=SETTINGS,
        )
    )  # fmt: skip
    with pytest.raises(ModelError, match="does not fit this base"):
        Translator(load_base(folders["compact"]), adapter)


def test_the_command_line_from_end_to_end(folders, tmp_path):
    import tifffile

    images = tmp_path / "images"
    rng = np.random.default_rng(0)
    rows = ["Image,Metadata_Role"]
    images.mkdir()
    for row, role in (("A", "control"), ("B", "treated")):
        for i in (1, 2):
            tifffile.imwrite(images / f"{row}{i}.tif", rng.integers(0, 90, (2, 48, 48), np.uint8),
                             metadata={"axes": "CYX"}, photometric="minisblack")  # fmt: skip
            rows.append(f"{row}{i}.tif,{role}")
    table = images / "screen.csv"
    table.write_text("\n".join(rows))
    made = run(
        "finetune", table, "--source", "Metadata_Role=control", "--target", "Metadata_Role=treated",
        "--base", folders["2"], "--steps", 2, "--rank", 2, "--crop", 32, "--network-crop", 64, "--cells", "whole",
        "--out", tmp_path / "adapter", "--json",
    )  # fmt: skip
    assert made.status == 0, made.text
    out = tmp_path / "out"
    done = run("translate", tmp_path / "adapter", images / "A1.tif", "--steps", 2, "--out", out, "--json")
    assert done.status == 0, done.text
    assert tifffile.imread(out / "A1__s0.00.ome.tif").shape == (2, 48, 48)
    assert tifffile.imread(out / "A1__difference.ome.tif").any()


def test_the_crop_of_the_network_can_be_chosen(folders):
    base = load_base(folders["1"])
    assert base.crop == 256
    base.use_crop(128)
    assert base.crop == 128
    with pytest.raises(ModelError, match="multiple of 64 pixels, not of 100: choose 128"):
        base.use_crop(100)
    assert load_base(folders["compact"]).crop == 64


def test_weights_in_half_precision_are_found_and_used(folders, tmp_path):
    half = load_base(make_tiny_stable_diffusion(tmp_path / "half", "1", variant="fp16"))
    assert half.unet.conv_in.weight.dtype == torch.float32
    torch.testing.assert_close(
        half.unet.conv_in.weight, load_base(folders["1"]).unet.conv_in.weight, atol=1e-3, rtol=1e-3
    )


def half_base(folder) -> Base:
    """What `load_base` makes for a large UNet on CUDA, here on the CPU, which computes in float16 too, if slowly."""
    base = load_base(folder)
    base.unet.half()
    base.memory = Memory(half=True)
    return base


def test_half_precision_keeps_the_states_in_float32(folders):
    whole, half = load_base(folders["1"]), half_base(folders["1"])
    x, tokens = noisy(whole, 3), torch.randn(2, 2, whole.token_size)
    one, other = (base.noise_at(x, 1.0, tokens) for base in (whole, half))
    assert 0 < (one - other).std() / one.std() < 0.01  # it did compute in 16 bits, and is none the worse
    trajectory = finish(invert(half.noise_at, x, tokens, whole.schedule.grid(2)))
    assert trajectory.states.dtype == trajectory.noises.dtype == torch.float32


def test_what_is_trained_is_float32_on_weights_in_half_precision(folders, tmp_path, monkeypatch):
    from phenolens.translation.training import batch_gradients

    # On the CPU a float16 UNet cannot be trained in bfloat16, as it is on CUDA.
    monkeypatch.setattr(batch_gradients, "half_precision", lambda device: torch.autocast("cpu", torch.float16))
    base = half_base(folders["1"])
    tuned = finish(finetune(base, crops(5), crops(5, seed=1), tuple("abcde"), SETTINGS, tmp_path / "c.pt"))
    assert {value.dtype for value in [*tuned.weights.values(), *tuned.ends.values(), tuned.tokens]} == {torch.float32}
    assert np.isfinite(tuned.loss)
    assert base.unet.mid_block.resnets[0].norm1.weight.dtype == torch.float16


def test_checkpointing_changes_memory_alone(folders, tmp_path):
    results, kept = [], []
    for checkpointing in (False, True):
        settings = replace(SETTINGS, steps=2, checkpointing=checkpointing)
        saved = 0

        def count(tensor):
            nonlocal saved
            saved += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            tuned = finish(
                finetune(load_base(folders["1"]), crops(3), crops(3, seed=1), ("a", "b", "c"), settings,
                         tmp_path / f"{checkpointing}.pt")
            )  # fmt: skip
        results.append(tuned.weights)
        kept.append(saved)
    assert all(torch.allclose(results[0][k], results[1][k], atol=1e-5) for k in results[0])
    assert kept[1] < 0.5 * kept[0]


def test_sliced_attention_gives_the_same_noise(folders):
    plain, sliced = load_base(folders["1"]), load_base(folders["1"], memory=Memory(slicing=True))
    assert plain.unet.attn_processors.keys() == sliced.unet.attn_processors.keys()
    assert {type(p).__name__ for p in sliced.unet.attn_processors.values()} == {"SlicedAttnProcessor"}
    x, tokens = noisy(plain, 3), torch.randn(2, 2, plain.token_size)
    torch.testing.assert_close(plain.noise_at(x, 1.0, tokens), sliced.noise_at(x, 1.0, tokens), atol=1e-5, rtol=1e-5)


def test_memory_is_saved_for_large_networks_alone(monkeypatch):
    from phenolens.translation.model import memory

    monkeypatch.setattr(memory, "cuda_has_bfloat16", lambda device: device == "cuda")
    assert Memory.for_unet(LARGE, "cuda") == Memory()
    assert Memory.for_unet(LARGE + 1, "cuda") == Memory(half=True, checkpointing=True)
    assert Memory.for_unet(LARGE + 1, "cuda:1") == Memory(checkpointing=True)
    assert Memory.for_unet(LARGE + 1, "mps") == Memory(checkpointing=True, slicing=True)
    assert Memory.for_unet(LARGE + 1, "cpu") == Memory(checkpointing=True)


def test_half_precision_is_refused_where_it_is_no_use(folders):
    with pytest.raises(ModelError, match="needs a CUDA device"):
        load_base(folders["1"], memory=Memory(half=True))


class Dtypes(TorchDispatchMode):
    """Sees the dtype of every tensor that torch makes."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (list, tuple)) else (out,):
            # What lies beside the data, such as a schedule, is made on the CPU and small.
            if isinstance(tensor, torch.Tensor) and tensor.ndim > 1:
                self.seen.add(tensor.dtype)
        return out


def test_nothing_needs_float64_which_some_devices_lack(folders, tmp_path, monkeypatch):
    from phenolens.translation.model import precision as module

    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: False)  # as on a device without it
    base, settings = load_base(folders["2"]), replace(SETTINGS, steps=1, preview_every=1)
    with Dtypes() as dtypes:
        finish(finetune(base, crops(3), crops(3, seed=1), ("a", "b", "c"), settings, tmp_path / "c.pt"))
    assert torch.float32 in dtypes.seen
    assert not dtypes.seen & {torch.float64, torch.bfloat16, torch.float16}


def test_zero_terminal_snr_is_inverted_and_trained(folders, tmp_path):
    base = load_base(folders["zero"])
    assert base.schedule.alphas_cumprod[-1] == 0
    alpha, sigma = base.schedule.alpha_sigma(torch.tensor([999]))
    assert float(alpha) == 0
    assert float(sigma) == 1
    grid = base.schedule.grid(4)
    assert np.isfinite(grid).all()
    assert grid[-1] == pytest.approx(80)
    latents, tokens = base.encode(torch.from_numpy(crops(3))), torch.randn(3, 2, base.token_size)
    assert torch.isfinite(finish(invert(base.noise_at, latents, tokens, grid)).states).all()
    assert np.isfinite(finish(finetune(base, crops(3), crops(3), ("a", "b", "c"), SETTINGS, tmp_path / "c.pt")).loss)


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("unet", {"in_channels": 9}, "as for inpainting or depth"),
        ("scheduler", {"prediction_type": "sample"}, "predicts 'sample'"),
    ],
)
def test_other_kinds_are_refused_in_a_sentence(tmp_path, part, change, said):
    folder = make_tiny_stable_diffusion(tmp_path / "base")
    if part == "unet":
        config = UNet2DConditionModel.load_config(folder / "unet")
        UNet2DConditionModel.from_config({**config, **change}).save_pretrained(folder / "unet")
    else:
        file = folder / "scheduler" / "scheduler_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ModelError, match=said):
        load_base(folder)


def test_nine_channels_are_too_many(folders):
    with pytest.raises(ModelError, match="9 channels, but the base '1' takes 1 to 8"):
        replace(load_base(folders["1"]), name="1").check_channels(9, "The screen")


def run_benchmark(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["sd_base.py", *arguments])
    runpy.run_path(str(ROOT / "benchmarks" / "sd_base.py"), run_name="__main__")


@pytest.mark.slow
def test_the_benchmark_runs_small_and_claims_nothing_of_a_gpu(monkeypatch, capsys):
    run_benchmark(
        monkeypatch, "--tiny", "--device", "cpu", "--steps", "6", "--batch", "2", "--crop", "64", "--repeats", "1"
    )
    shown = capsys.readouterr().out
    memory = [
        float(line.split("|")[3]) for line in shown.splitlines() if line.startswith(("| LoRA", "| trans", "| stock"))
    ]
    assert len(memory) == 4
    assert all(0.1 < gigabytes < 20 for gigabytes in memory), "of this whole process"
    assert "No GPU was used" in shown


def test_the_benchmark_refuses_to_claim_what_it_cannot_measure(monkeypatch):
    monkeypatch.setattr("phenolens.runtime.devices.resolve_device", lambda _: "cpu")
    with pytest.raises(SystemExit, match="is made for a CUDA device"):
        run_benchmark(monkeypatch)
