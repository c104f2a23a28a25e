"""Designs of the compact base beside each other: autoencoder, UNet and size of the latents, trained for the same time.

    python benchmarks/bases.py --images ../shared/data/permissive --work FOLDER [--minutes 5] [--treatment latrunculin]

Each design is pre-trained as ``phenolens pretrain`` does, on the same crops: its autoencoder for --autoencoder-steps,
its UNet for as many steps as fit into --minutes on this machine. Each is then fine-tuned on a simulated screen in a
style that pre-training never saw, with the same settings, and judged as benchmarks/counterfactual.py judges. Prints a
Markdown table; designs that are in --work already are not trained again.

- *autoencoder*: PSNR of simulated crops in those styles.
- *floor*: the error that the autoencoder alone leaves, with the true latents of the treated cell.
- *error*: to the true counterfactual, median over cells; 1 is what leaving a cell alone gives.
- *click*: seconds for one cell at 20 steps.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from counterfactual import errors, training_screen
from limits import autoencoder_error, pairs

from phenolens.runtime.progress import finish
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import window_at
from phenolens.simulation import style_for
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.model.precision import half_precision
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.networks import build_autoencoder, build_unet
from phenolens.translation.training.pretraining import PretrainSettings, pretrain, psnr
from phenolens.translation.training.training_set import finetune_screen

STYLE, TRUTH = 9001, 50_000
CONTROL, TREATED = Condition.parse("Metadata_Role=negative control"), Condition.parse("Metadata_Role=treated")


@dataclass(frozen=True)
class Design:
    """Channels of the autoencoder, one entry a halving and one more, and of the UNet, one entry a resolution."""

    autoencoder: tuple[int, ...]
    unet: tuple[int, ...]
    layers: int = 2

    @property
    def latent(self) -> int:
        """Side of the latents of a crop of 64 pixels."""
        return 64 // 2 ** (len(self.autoencoder) - 1)


DESIGNS = {
    "latents of 16 (ships)": Design((32, 48, 64), (96, 160, 160)),
    "latents of 16, narrow": Design((32, 48, 64), (64, 96, 128)),
    "latents of 8": Design((32, 48, 64, 64), (128, 192)),
    "latents of 32": Design((32, 48), (48, 96, 160, 160)),
}


def seconds_a_step(design: Design, batch: int) -> float:
    """Time of a training step of the UNet with the encoding that comes before it."""
    unet, autoencoder = (
        build_unet(design.unet, design.layers, size=design.latent),
        build_autoencoder(design.autoencoder),
    )
    latents, timesteps = torch.randn(batch, 12, design.latent, design.latent), torch.randint(1000, (batch,))

    def step() -> None:
        with half_precision("cpu"):
            with torch.no_grad():
                autoencoder.encode(torch.zeros(2 * batch, 1, 64, 64))
            loss = unet(latents, timesteps, torch.randn(batch, 2, 128)).sample.float().square().mean()
        loss.backward()

    step()
    return timed(step, 4)


def timed(work: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


def trained(design: Design, work: Path, crops: Path, options: argparse.Namespace) -> tuple[Base, int, float]:
    """The base of `design`, how many steps its UNet was trained for, and seconds a step."""
    folder = work / "-".join(map(str, (*design.autoencoder, "x", *design.unet)))
    seconds = seconds_a_step(design, PretrainSettings().unet_batch)
    if not (folder / "base" / "card.json").is_file():
        settings = PretrainSettings(
            styles=120,
            autoencoder_steps=options.autoencoder_steps,
            unet_steps=max(20, round(60 * options.minutes / seconds)),
            autoencoder_channels=design.autoencoder,
            unet_channels=design.unet,
            layers=design.layers,
            average=0.99,
        )
        (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
        if crops.is_file():
            shutil.copy(crops, folder / "checkpoint" / "crops.pt")
        same = work / f"autoencoder-{'-'.join(map(str, design.autoencoder))}.pt"
        if same.is_file():
            shutil.copy(same, folder / "checkpoint" / "autoencoder.pt")
        finish(pretrain(folder, options.images, settings))
        shutil.copy(folder / "checkpoint" / "autoencoder.pt", same)
        shutil.copy(folder / "checkpoint" / "crops.pt", crops)
    base = load_base(folder / "base")
    return base, base.card["recipe"]["unet_steps"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=None, help="folder of real images with an images.csv")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=DESIGNS)
    parser.add_argument("--treatment", default="latrunculin")
    parser.add_argument("--minutes", type=float, default=5, help="of training of each UNet")
    parser.add_argument("--autoencoder-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=400, help="of fine-tuning")
    parser.add_argument("--cells", type=int, default=100)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    screen, cells = training_screen(style_for(options.treatment, STYLE), options.treatment, 1.0, options.cells, 10_000)
    judged = pairs(options.treatment, STYLE, range(TRUTH, TRUTH + 1))
    head = ("design", "UNet (million)", "MB", "steps", "s a step", "autoencoder (dB)", "floor", "click (s)", "error")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    for name in options.designs:
        base, steps, seconds = trained(DESIGNS[name], options.work, options.work / "crops.pt", options)
        assert base.folder is not None
        adapter_folder = base.folder.parent / f"adapter-{options.treatment}"
        if not (adapter_folder / "card.json").is_file():
            settings = FinetuneSettings(steps=options.steps, crop=64, max_cells=options.cells, preview_every=0)
            finish(
                finetune_screen(screen, CONTROL, TREATED, cells, out=adapter_folder, base=str(base.folder),
                                settings=settings)
            )  # fmt: skip
        translator = Translator(load_base(base.folder), Adapter.load(adapter_folder))
        plane, window = [screen.fields[0].image().plane()], [window_at(192, 192, 64)]
        click = timed(lambda t=translator, p=plane, w=window: finish(t.translate_crops(p, w)), 3)
        found = errors(translator, style_for(options.treatment, STYLE), options.treatment, 1.0, 64, TRUTH,
                       "difference", 20)  # fmt: skip
        row = (
            name, f"{sum(p.numel() for p in base.unet.parameters()) / 1e6:.1f}",
            f"{sum(f.stat().st_size for f in base.folder.rglob('*.safetensors')) / 1e6:.0f}", str(steps),
            f"{seconds:.2f}", f"{psnr(base, judged.before.numpy()):.1f}",
            f"{autoencoder_error(base, judged.before, judged.after, judged.own):.2f}", f"{click:.2f}",
            f"{np.median(found):.3f}",
        )  # fmt: skip
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
