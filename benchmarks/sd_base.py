"""Memory and seconds with a base of Stable Diffusion 1.5's full layout and random weights, beside stock diffusers.

    python benchmarks/sd_base.py [--steps 20] [--batch 16] [--crop 256]

It makes the base (1.9 GB, in a temporary folder), fine-tunes it with LoRA on random crops of three channels, and
translates one crop: by the difference ODE as the program does, and by diffusers alone, inversion and generation of 50
steps each. Speed and memory depend on the layout and not on the values of the weights, so no download is needed; what
the translation looks like means nothing. It is made for a CUDA device; `--device cpu` takes long: give it `--batch 1
--steps 6 --repeats 1`. `--tiny` runs a small network of the same layout anywhere, to show that the benchmark works; its
figures say nothing of Stable Diffusion. Memory is the GPU's, or without one that of the whole process until then.
"""

import argparse
import gc
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMInverseScheduler, DDIMScheduler, UNet2DConditionModel

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.progress import Job, finish
from phenolens.screens.conditions import Condition
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.training.finetuning import FinetuneSettings, finetune

# The published configuration of Stable Diffusion 1.5.
UNET = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
VAE = {
    "sample_size": 512,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "scaling_factor": 0.18215,
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
TINY = {"block_out_channels": (8, 16, 16, 16), "norm_num_groups": 8, "layers_per_block": 1}
NAMES = ("a", "b", "c")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def make_base(folder: Path, tiny: bool) -> Path:
    """Write the base with random float16 weights in diffusers layout."""
    torch.manual_seed(0)
    smaller = TINY if tiny else {}
    UNet2DConditionModel(**{**UNET, **smaller}).half().save_pretrained(folder / "unet", variant="fp16")
    AutoencoderKL(**{**VAE, **smaller}).half().save_pretrained(folder / "vae", variant="fp16")
    DDIMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    return folder


class Meter:
    """Seconds and the most memory that a piece of work takes."""

    def __init__(self, device: str) -> None:
        self.device = device

    def start(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        self.began = time.perf_counter()

    def seconds(self) -> float:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - self.began

    def gigabytes(self) -> str:
        if not self.device.startswith("cuda"):
            return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e9:.2f}"
        return f"{torch.cuda.max_memory_reserved(self.device) / 1e9:.2f}"

    def median(self, work: Callable[[], object], repeats: int) -> float:
        """Median seconds of `work`, after one run that warms up."""
        work()
        self.start()
        seconds = []
        for _ in range(repeats):
            before = self.seconds()
            work()
            seconds.append(self.seconds() - before)
        return float(np.median(seconds))


def fine_tune(base: Base, settings: FinetuneSettings, folder: Path, meter: Meter) -> tuple[Adapter, float]:
    """Fine-tune on random crops; return the adapter and the median seconds of a step."""
    rng = np.random.default_rng(0)
    crops = rng.uniform(-1, 1, (2, 16, len(NAMES), base.crop, base.crop)).astype(np.float32)
    arrived = []
    meter.start()

    def note(progress: object) -> None:
        if getattr(progress, "values", None):
            arrived.append(meter.seconds())

    tuned = finish(finetune(base, crops[0], crops[1], NAMES, settings, folder / "checkpoint.pt"), note)
    intensity = IntensityMap.fit([np.arange(3 * 256, dtype=np.uint8).reshape(3, 16, 16)], NAMES)
    adapter = Adapter(
        source=Condition.parse("a"),
        target=Condition.parse("b"),
        channel_names=NAMES,
        crop=base.crop,
        pixel_size=None,
        intensity=intensity,
        tokens=tuned.tokens.cpu(),
        weights=tuned.weights,
        config=tuned.config,
        network_crop=base.crop,
    )
    return adapter, float(np.median(np.diff(arrived)[2:]))


def stock(folder: Path, device: str, crop: int) -> Callable[[], object]:
    """Inversion and generation with 50 steps each by diffusers alone, in the precision that it is used in."""
    kind = torch.float16 if device.startswith("cuda") else torch.float32
    vae = AutoencoderKL.from_pretrained(folder / "vae", variant="fp16", torch_dtype=kind).to(device)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", variant="fp16", torch_dtype=kind).to(device)
    config = DDIMScheduler.load_config(folder / "scheduler")
    inverse, forward = DDIMInverseScheduler.from_config(config), DDIMScheduler.from_config(config)
    image = torch.rand(1, 3, crop, crop, device=device, dtype=kind) * 2 - 1
    tokens = torch.randn(2, 1, 2, 768, device=device, dtype=kind)

    @torch.no_grad()
    def work() -> object:
        x = vae.encode(image).latent_dist.mode() * vae.config.scaling_factor
        for scheduler, condition in zip((inverse, forward), tokens, strict=True):
            scheduler.set_timesteps(50, device=device)
            for t in scheduler.timesteps:
                x = scheduler.step(unet(x, t, condition).sample, t, x).prev_sample
        return vae.decode(x / vae.config.scaling_factor).sample.cpu()

    return work


def _finished(job: Callable[[], Job[object]]) -> object:
    return finish(job())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="steps of fine-tuning; the first three do not count")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=256, help="pixels that the network sees")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="a small network of the same layout, on any device")
    options = parser.parse_args()
    device = resolve_device(options.device)
    if not device.startswith("cuda") and not options.tiny and options.device == "auto":
        sys.exit(
            "This benchmark is made for a CUDA device, and there is none here: run it where there is one, or with "
            "--tiny, or with --device cpu, which takes long."
        )
    settings = FinetuneSettings(
        steps=max(6, options.steps), batch=options.batch, preview_every=0, checkpoint_every=1000
    )
    meter, rows = Meter(device), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_base(Path(temporary) / "base", options.tiny)
        base = load_base(folder, device)
        base.use_crop(options.crop)
        count = sum(p.numel() for p in base.unet.parameters())
        adapter, step = fine_tune(base, settings, Path(temporary), meter)
        rows.append((f"LoRA fine-tuning, a step of {options.batch} crops", step, meter.gigabytes()))
        del base
        translator = Translator(load_base(folder, device), adapter)
        plane = np.random.default_rng(0).integers(0, 255, (3, 2 * options.crop, 2 * options.crop)).astype(np.uint8)
        for steps in (8, 20):
            job = partial(translator.translate_cell, plane, options.crop, options.crop, steps=steps)
            seconds = meter.median(partial(_finished, job), options.repeats)
            rows.append((f"translation of a cell, difference, {steps} steps", seconds, meter.gigabytes()))
        del translator, job
        seconds = meter.median(stock(folder, device, options.crop), options.repeats)
        rows.append(("stock diffusers, DDIM inversion and generation, 50 + 50 steps", seconds, meter.gigabytes()))
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{device}, {platform.machine()}"
    layout = "a small network of the layout of Stable Diffusion 1.5" if options.tiny else "Stable Diffusion 1.5"
    print(f"{layout}, random weights, UNet of {count / 1e6:.1f} M parameters, {options.crop} px, on {name}\n")
    print("| work | seconds, median | peak memory, GB |\n|---|---|---|")
    for what, seconds, memory in rows:
        print(f"| {what} | {seconds:.3f} | {memory} |")
    if not device.startswith("cuda"):
        print("\nNo GPU was used: nothing here is a figure for one.")


if __name__ == "__main__":
    main()
