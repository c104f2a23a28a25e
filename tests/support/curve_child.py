"""Fine-tune as one of the processes that `torchrun` has started, in single precision, and write the loss of each step.

curve_child.py BASE SCREEN OUT CURVE.json STEPS [resume]
"""

import json
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from unittest.mock import patch

from phenolens.screens.conditions import Condition
from phenolens.screens.table import read_screen
from phenolens.translation.training.finetune_settings import FinetuneSettings
from phenolens.translation.training.process_group import is_first
from phenolens.translation.training.training_set import finetune_screen

SETTINGS = FinetuneSettings(steps=8, batch=6, rank=2, preview_every=4, checkpoint_every=2, crop=64)


def main(base: str, screen: str, out: str, curve: str, stop: str, *resume: str) -> None:
    losses: dict[int, float] = {}
    job = finetune_screen(
        read_screen(screen), Condition.parse("DMSO"), Condition.parse("drug A"), "whole", out=Path(out), base=base,
        settings=SETTINGS, device="cpu", resume=bool(resume),
    )  # fmt: skip
    # in 16 bits the gradients of two halves of a batch are rounded each by itself
    single = patch("phenolens.translation.training.batch_gradients.half_precision", lambda device: nullcontext())
    with single, closing(job):
        for now in job:
            if now.message == "Fine-tuning":
                losses[now.step] = now.values["loss"]
                if now.step == int(stop) < SETTINGS.steps:
                    break
    if is_first():
        Path(curve).write_text(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
