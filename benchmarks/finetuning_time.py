"""How long one waits for a fine-tuning: for the first adapter that can be tried, and for the whole.

    python benchmarks/finetuning_time.py [--treatment latrunculin] [--cells 400] [--threads N]

A simulated screen with as many cells of a condition as a fine-tuning takes at most, by default settings, as the window
starts it. Prints seconds by the clock at which each part began, of the first draft (an adapter of what was trained so
far, with which cells can be clicked), and of the end, when the adapter is on the disk.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from counterfactual import training_screen

from phenolens.runtime.progress import Progress, finish
from phenolens.screens.conditions import Condition
from phenolens.simulation import style_for
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--treatment", default="latrunculin")
    parser.add_argument("--style", type=int, default=9011)
    parser.add_argument("--cells", type=int, default=FinetuneSettings().max_cells, help="of a condition")
    parser.add_argument("--steps", type=int, default=FinetuneSettings().steps)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    screen, cells = training_screen(
        style_for(options.treatment, options.style), options.treatment, 1.0, options.cells, 10_000
    )
    conditions = [Condition.parse(f"Metadata_Role={role}") for role in ("negative control", "treated")]
    began, seen = time.perf_counter(), set()

    def show(now: Progress) -> None:
        what = now.message.split(" of ")[0].split(" A")[0].split(" B")[0]
        if now.preview is not None and now.preview.draft is not None:
            what = "First draft"
        if what not in seen:
            seen.add(what)
            print(f"{time.perf_counter() - began:6.1f} s  {what} ({now.step} of {now.total})", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        settings = FinetuneSettings(steps=options.steps, max_cells=options.cells)
        finish(finetune_screen(screen, *conditions, cells, out=Path(folder) / "adapter", settings=settings), show)
    print(f"{time.perf_counter() - began:6.1f} s  the adapter is on the disk", flush=True)


if __name__ == "__main__":
    main()
