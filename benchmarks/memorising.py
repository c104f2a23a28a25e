"""Where fine-tuning begins to memorise, on a simulated screen.

    python benchmarks/memorising.py [--methods full ...] [--images 4 ...] [--steps 400 ...] [--out FOLDER]

Prints a Markdown table with a row for each method, number of images and number of steps. Each row is kept as a file in
FOLDER, so that the same command goes on where it was stopped.

In each row two models are trained with the same settings on disjoint wells, each with that many images of either
condition, and generate from the same noise (phenolens.evaluation.translations.memorisation):

- *area*: 1 where they make new cells, 0 where they give their training images back.
- *between*, *nearest*: medians of the two similarities.
- *copies*: share of generated images that are nearer to a training image than to the other model's image.
- *times seen*: how often each image was in a batch.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from methods import CROP, OTHER_HALF, ROLES, TRAINING, add_common, kept_row, known_cells, mapped_crops

from phenolens.evaluation.translations.memorisation import compare, sample
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.progress import finish
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.model.base import load_base
from phenolens.translation.model.methods import METHODS
from phenolens.translation.training.finetuning import FinetuneSettings, finetune

COLUMNS = ("method", "images a condition", "steps", "times seen", "area", "between", "nearest", "copies")


def measure(options, method, images, steps):
    """One row of the table."""
    device = resolve_device(options.device)
    settings = FinetuneSettings(
        steps=steps, method=method, crop=CROP, max_cells=images, seed=options.seed, preview_every=0
    )
    halves = [known_cells(options, images, seed) for seed in (TRAINING, OTHER_HALF)]
    screens = [screen.select(role) for screen, _ in halves for role in ROLES]
    planes = [field.image().plane() for screen in screens for field in screen]
    names = halves[0][0].channel_names
    intensity = IntensityMap.fit(planes, names, kind=settings.intensity)
    made = []
    for half in halves:
        base = load_base(options.base, device)
        crops = mapped_crops(*half, intensity, base.crop)
        with tempfile.TemporaryDirectory() as scratch:
            tuned = finish(finetune(base, *crops, names, settings, Path(scratch) / "half.pt"))
        made.append(finish(sample(base, tuned.tokens, *crops, options.generated, seed=options.seed)))
    found = compare(*made)
    nearest = found.nearest.reshape(2, 2, -1)  # condition, model, image
    between = found.between.reshape(2, 1, -1)
    return {
        "times_seen": steps * settings.batch / 2 / images, "auroc": found.auroc,
        "between": float(np.median(between)), "nearest": float(np.median(nearest)),
        "copies": float((nearest > between).mean()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--images", type=int, nargs="+", default=[4, 25], help="of each condition")
    parser.add_argument("--steps", type=int, nargs="+", default=[400, 1600])
    add_common(parser)
    parser.add_argument("--out", type=Path, default=Path("memorising"), help="keeps a file for each row")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    shared = {k: v for k, v in vars(options).items() if k not in ("methods", "images", "steps", "out")}
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for method in options.methods:
        for images in options.images:
            for steps in options.steps:
                file = options.out / f"{method}-{images}-{steps}.json"
                row = kept_row(file, shared, partial(measure, options, method, images, steps))
                lines.append(
                    f"| {method} | {images} | {steps} | {row['times_seen']:.0f} | {row['auroc']:.3f} "
                    f"| {row['between']:.2f} | {row['nearest']:.2f} | {row['copies']:.2f} |"
                )
    print(f"{options.treatment}, style {options.style}, base {options.base}, {options.device}\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
