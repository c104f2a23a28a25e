"""How often a difference passes the noise floor, where a treatment does something and where it does nothing.

    python benchmarks/noise_floor.py [--treatment null translocation ...] [--steps 900] [--splits 2]

For each simulated treatment an adapter is fine-tuned on a screen with effects of plate and well, its floor is fitted on
the controls of that screen, and the control cells of a fresh screen of the same style are translated. The table says,
over all cells and the channels that are not held, at alpha:

- pixels: the share of pixels that are significant; cells: the share of cells with any such pixel, the rate that
  alpha bounds where the treatment does nothing.
- right sign: of the significant pixels, the share whose true change has the same sign.
- floor: the threshold as a share of the whole range of intensities, for the channels that are not held.

An adapter that holds all channels, as it should where nothing changes, would make the table empty: it is measured with
none held. ``--free`` does so for all.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from phenolens.evaluation.noise.null_translation import FloorSettings, fit_noise_floor
from phenolens.evaluation.noise.significance import significant
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, window_at
from phenolens.screens.images import read_image
from phenolens.screens.table import read_screen
from phenolens.simulation.screen import simulate_screen
from phenolens.simulation.styles import style_for
from phenolens.simulation.treatments import TREATMENTS
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

CONTROL, TREATED = Condition.parse("Metadata_Role=negative control"), Condition.parse("Metadata_Role=treated")
SHAPE = (384, 384)


def known_cells(folder, treatment, wells, cells, style, seed):
    """A simulated screen and its cells, which are known."""
    if not folder.is_dir():
        finish(
            simulate_screen(folder, treatment, wells=wells, cells=cells, style=style, seed=seed, shape=SHAPE, plates=2)
        )
    screen = read_screen(folder)
    return screen, finish(find_cells(screen, folder / "labels"))


def measure(translator, floor, screen, cells, folder, alpha, most):
    """Share of significant pixels, whether each cell has any, and how many significant pixels have the true sign."""
    adapter = translator.adapter
    free = np.flatnonzero(floor.free)
    shares, right, signed = [], 0, 0
    controls = screen.select(CONTROL)
    for field in controls:
        plane = field.image().plane()
        truth = read_image(folder / screen.table.loc[field.key, "Truth"]).plane()
        table = cells.table[cells.table["field"] == field.key]
        windows = [window_at(c.y, c.x, adapter.crop) for c in table.itertuples()][: most // len(controls)]
        for first in range(0, len(windows), 16):
            for cell in finish(translator.translate_crops([plane], windows[first : first + 16])):
                mask = significant(cell.crop, cell.difference[0], adapter.intensity, floor, alpha)[free]
                shares.append(mask.mean())
                real = cut(truth, cell.window).astype(float) - cell.crop
                same = np.sign(smooth(real, floor.width)) == np.sign(smooth(cell.difference[0], floor.width))
                right, signed = right + (same[free] & mask).sum(), signed + mask.sum()
    shares = np.array(shares)
    return shares.mean(), (shares > 0).mean(), right / signed if signed else np.nan, len(shares)


def smooth(difference, width):
    return gaussian_filter(difference.astype(float), (0, width, width))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--treatment", nargs="+", default=list(TREATMENTS), choices=TREATMENTS)
    parser.add_argument("--style", type=int, default=9001)
    parser.add_argument("--base", default="compact")
    parser.add_argument("--wells", type=int, default=16, help="of both conditions together")
    parser.add_argument("--cells", type=int, default=13, help="in a well")
    parser.add_argument("--steps", type=int, default=FinetuneSettings().steps)
    parser.add_argument("--splits", type=int, default=FloorSettings().splits)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--judged", type=int, default=100, help="cells of the fresh screen")
    parser.add_argument("--free", action="store_true", help="hold no channel")
    parser.add_argument("--out", type=Path, default=None, help="keep screens and adapters here")
    options = parser.parse_args()
    head = ("treatment", "held", "pixels", "cells", "right sign", "floor", "minutes", "fresh cells")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    for treatment in options.treatment:
        start = time.time()
        out = (options.out or Path(tempfile.mkdtemp())) / treatment
        style = style_for(treatment, options.style)
        screen, cells = known_cells(out / "screen", treatment, options.wells, options.cells, style, 1)
        fresh, fresh_cells = known_cells(out / "fresh", treatment, options.wells, options.cells, style, 2)
        if not (out / "adapter" / "card.json").is_file():
            settings = FinetuneSettings(steps=options.steps, crop=64, preview_every=0)
            finish(
                finetune_screen(screen, CONTROL, TREATED, cells, out=out / "adapter", base=options.base,
                                settings=settings, resume=True)
            )  # fmt: skip
        adapter = Adapter.load(out / "adapter")
        held = () if options.free or set(adapter.held) == set(adapter.channel_names) else adapter.held
        floor = finish(
            fit_noise_floor(
                adapter, screen, cells, settings=FloorSettings(splits=options.splits), held=held, resume=True
            )
        )
        translator = Translator(load_base(adapter.base), adapter, TranslationSettings(held=tuple(held)))
        pixels, any_pixel, right, count = measure(
            translator, floor, fresh, fresh_cells, out / "fresh", options.alpha, options.judged
        )
        limits = floor.thresholds(options.alpha)[floor.free] / 2
        row = (
            treatment, ", ".join(held) or "none", f"{pixels:.1%}", f"{any_pixel:.1%}", f"{right:.2f}",
            ", ".join(f"{limit:.1%}" for limit in limits), f"{(time.time() - start) / 60:.0f}", str(count),
        )  # fmt: skip
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
