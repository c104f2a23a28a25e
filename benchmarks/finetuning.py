"""Which noise levels fine-tuning should see and weigh: short runs on simulated styles that pre-training never saw.

    python benchmarks/finetuning.py [--treatment NAME ...] [--style 9002] [--steps 200] [--work FOLDER]

A row a recipe: what low noise levels count at least (``least_weight``: 0 is the min-SNR weight alone, 1 counts every
level alike), and the share of the noise levels that are even in log s from 0.01 to 3, where an inversion draws its
noise (``low_noise``). For each treatment the median error to the truth of benchmarks/limits.py's cells, at guidance 1
and with the guidance that fine-tuning found, and the variance of the noise that untreated cells are inverted into (1
where the model knows them). Styles from 9002 on are for choosing; 9001 is what the docs judge on.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from counterfactual import training_screen
from levels import changes, inverted, table
from limits import TRUTH, error, pairs

from phenolens.runtime.progress import finish
from phenolens.screens.conditions import Condition
from phenolens.simulation import style_for
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

RECIPES = ((0.0, 0.0), (0.25, 0.0), (1.0, 0.0), (0.25, 0.5), (1.0, 0.5))
CONTROL, TREATED = (Condition.parse(f"Metadata_Role={role}") for role in ("negative control", "treated"))


def judged(adapter: Adapter, treatment: str, style: int) -> list[str]:
    """Errors at guidance 1 and at the adapter's own, and the variance of the inverted noise."""
    cells, found = pairs(treatment, style, range(TRUTH, TRUTH + 2), adapter.intensity), []
    translator = Translator(load_base(adapter.base), adapter)
    paths = inverted(translator, cells.before, adapter.conditions[0])
    for guidance in (1.0, None):
        translator.settings = replace(TranslationSettings(guidance=guidance), held=translator.held)
        moved = changes(translator, paths, [None] * len(paths))
        found.append(error(moved, cells.before, cells.after, cells.own))
    variance = torch.cat([path.noise for path in paths]).var()
    return [f"{found[0]:.3f}", f"{found[1]:.3f} ({adapter.guidance:.2f})", f"{float(variance):.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--treatment", nargs="+", default=["translocation", "latrunculin", "lrrk2", "nocodazole"])
    parser.add_argument("--style", type=int, default=9002)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--work", type=Path, help="keep adapters here")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp())
    heads = ("treatment", "least weight", "low levels", "error, guidance 1", "error (own guidance)", "noise variance")
    table(heads, [])
    for treatment in options.treatment:
        style = style_for(treatment, options.style)
        screen, cells = training_screen(style, treatment, 1.0, options.cells, 10_000)
        for least, low in RECIPES:
            folder = work / f"{treatment}-{options.style}-{options.steps}-{least:g}-{low:g}"
            if not (folder / "card.json").is_file():
                settings = FinetuneSettings(
                    steps=options.steps, crop=64, max_cells=options.cells, preview_every=0, least_weight=least,
                    low_noise=low,
                )  # fmt: skip
                finish(finetune_screen(screen, CONTROL, TREATED, cells, out=folder, settings=settings, start_over=True))
            row = [treatment, f"{least:g}", f"{low:g}", *judged(Adapter.load(folder), treatment, options.style)]
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
