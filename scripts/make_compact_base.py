"""Make the compact base that is shipped: ``python scripts/make_compact_base.py --images ../shared/data/permissive``.

Pre-trains as ``phenolens pretrain`` does with the settings below, goes on from the checkpoints in --work
where there are some, and writes src/phenolens/bases/compact with its MODEL_CARD.md.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from phenolens.cli.console import reporting
from phenolens.pretraining.pretraining_sets import JUDGING_STYLES
from phenolens.runtime.files import write_json, writing
from phenolens.runtime.output_kinds import BASE
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.crops import cut, resample, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.simulation import simulate_field, style_for
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.training.pretraining import PretrainSettings, pretrain, psnr

OUT = Path(__file__).resolve().parents[1] / "src" / "phenolens" / "bases" / "compact"
SETTINGS = PretrainSettings()
_JUDGED = tuple(JUDGING_STYLES)[:8]
_CARD = """\
# The compact base of napari-phenolens

A small convolutional autoencoder (each channel by itself) and a conditional UNet in diffusers layout, for crops
of one to three channels of fluorescence microscopy. Trained from scratch by `phenolens pretrain`; specialised to
no treatment and no cell line. It is meant to be fine-tuned on two conditions of a screen, not to be used as it
is. What it makes is synthetic and must be marked so.

Licence of the weights: BSD-3-Clause, as the package.

## Figures

{figures}

The PSNR is that of the autoencoder, over simulated styles that pre-training never drew; beside it what is left of it by
the camera's noise alone, which none can keep, and the PSNR of the same cells drawn without that noise.

{curve}
## Data

{crops:,} crops of {domains} data sets: {styles} simulated styles, each untreated, under a treatment and under mixtures
of all that the simulator can change, and these images, whose licences allow it:

{sources}

## Recipe

{recipe}

Made by `python scripts/make_compact_base.py`.
"""


def make_compact_base(
    work: Path,
    images: Path | None,
    out: Path = OUT,
    settings: PretrainSettings = SETTINGS,
    device: str = "auto",
    start: str | None = None,
) -> Job[Path]:
    """Pre-train in `work`, from the base `start` where there is one, measure, and write the base to `out`."""
    trained = yield from pretrain(work, images, settings, device, start=start)
    yield Progress(0, 0, "Measuring")
    base = load_base(trained)
    curve = json.loads((work / "curve.json").read_text())
    card = {**base.card, "name": "compact", "figures": _figures(base, trained), "curve": curve}
    with writing_output(out, BASE) as folder:
        shutil.copytree(trained, folder, dirs_exist_ok=True)
        write_json(folder / "card.json", card)
        with writing(folder / "MODEL_CARD.md") as temporary:
            temporary.write_text(model_card(card), encoding="utf-8")
    return out


def model_card(card: dict[str, Any]) -> str:
    """The card in words."""
    return _CARD.format(
        figures=_rows(card["figures"]),
        curve=_curve(card.get("curve", [])),
        crops=card["crops"],
        domains=card["domains"],
        styles=card["recipe"]["styles"],
        sources="\n".join(f"- {line}" for line in card["attribution"] or ["none"]),
        recipe=_rows(card["recipe"]),
    )


def _curve(looks: list[dict[str, float]], most: int = 12) -> str:
    """A table of looks at styles kept apart, the last of them the last taken."""
    if not looks:
        return ""
    rows = [
        f"| {look['samples']:,} | {look['error']:.4f} | {look['variance']:.3f} |"
        for look in looks[:: -max(1, -(-len(looks) // most))][::-1]
    ]
    head = ["| samples seen | error on styles kept apart | variance of their inverted noise |", "|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _rows(values: dict[str, Any]) -> str:
    rows = [f"| {name.replace('_', ' ')} | {_shown(value)} |" for name, value in values.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _figures(base: Base, folder: Path) -> dict[str, Any]:
    crops, still = _judging_crops(base.crop)
    return {
        "UNet parameters": sum(p.numel() for p in base.unet.parameters()),
        "autoencoder parameters": sum(p.numel() for p in base.autoencoder.parameters()),
        "megabytes": sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e6,
        "autoencoder PSNR (dB)": psnr(base, crops),
        "PSNR of the camera's noise alone (dB)": float(10 * np.log10(4 / np.square(crops - still).mean())),
        "autoencoder PSNR without the camera's noise (dB)": psnr(base, still),
    }


def _judging_crops(size: int, seeds: Sequence[int] = _JUDGED) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, size, size) mapped crops of untreated simulated cells in styles set apart, and without camera noise."""
    crops: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for seed in seeds:
        style = style_for("translocation", seed)
        field = simulate_field(style, seed, shape=(256, 256))
        still = simulate_field(replace(style, photons=1e9, read_noise=0.0), seed, shape=(256, 256))
        intensity = IntensityMap.fit([field.image], field.channel_names)
        for drawn, kept in zip((field, still), crops, strict=True):
            mapped = intensity.forward(drawn.image)
            kept += [cut(mapped, window_at(cell.y, cell.x, size)) for cell in field.cells.itertuples()]
    return resample(np.stack(crops[0]), size), resample(np.stack(crops[1]), size)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of real images with an images.csv")
    parser.add_argument("--work", type=Path, default=Path("pretrained"), help="folder for checkpoints")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--from", dest="start", help="base to go on from; from scratch without it")
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def main() -> None:
    """Run from the shell."""
    given = _arguments()
    with reporting("make_compact_base", as_json=False) as console:
        folder = console.follow(
            make_compact_base(given.work, given.images, given.out, device=given.device, start=given.start),
            lambda: f"checkpoints are in {given.work / 'checkpoint'}; the same command goes on from there",
        )
        card = json.loads((folder / "card.json").read_text())
        console.done(f"Wrote {folder}: {card['figures']}")


if __name__ == "__main__":
    main()
