"""Ours beside what a user would take instead, in one table: the same base, the same cells, one run.

    python benchmarks/rivals.py simulated [--treatment NAME ...] [--style 9001] [--steps N] [--fields N]
    python benchmarks/rivals.py translocation ../shared/data/translocation [--steps N]
    python benchmarks/rivals.py protein ../shared/data/protein_synthesis_cells [--steps N]

The rivals are stock DDIM inversion (50 steps each way, the same adapter), the shift of the mean (the mean treated
latents less the mean control latents, place by place, added to each cell), and a flow from control to treated cells: a
velocity network that starts from the base's weights, all of which are trained, on pairs that minibatch optimal
transport matches (64 cells of each condition a draw, 16 pairs a step), as CellFlux does (Zhang et al., 2025, arXiv
2502.09775), for as many seconds as our fine-tuning took, and integrated in 20 steps.

Simulated cells are judged by their error to the truth as in ``counterfactual.py``; all data sets by flip,
Kolmogorov-Smirnov distance, nucleus IoU and similarity on wells that no method saw, as ``phenolens evaluate`` does.
Seconds are the processor's, so that other work beside it changes nothing: of a batch of 16 cells, divided by 16, and of
training. Prints a Markdown table.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from counterfactual import SHAPE, errors, training_screen
from held_out_plate import on_plates
from scipy.optimize import linear_sum_assignment

from phenolens.evaluation.translations import evaluation
from phenolens.evaluation.translations.evaluation import evaluate_translation
from phenolens.runtime.progress import Progress, finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import Window
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_screen, style_for
from phenolens.translation.apply.cell_translation import CellTranslation, intensity_difference
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.training.finetuning import FinetuneSettings, encode_turned
from phenolens.translation.training.training_set import finetune_screen, gather_crops

BATCH, DRAWN, FLOW_STEPS = 16, 64, 20
COLUMNS = ("flip", "real", "KS", "IoU", "similarity", "error", "s a cell", "training s")
Move = Callable[[torch.Tensor, Sequence[float]], torch.Tensor]


class Moving(Translator):
    """Translates by a function of the latents (n, c, h, w) and the strengths alone, which gives their change."""

    def __init__(self, base: Base, adapter: Adapter, settings: TranslationSettings, move: Move) -> None:
        super().__init__(base, adapter, settings)
        self._move = move

    def translate_crops(self, planes, windows, settings=None, *, source=None, target=None, **changes):
        how = self.settings_for(settings, target, **{name: changes[name] for name in changes if name == "strengths"})
        raw, latents = self.encode_crops(planes, windows)
        changed = self._decode(latents, self._move(latents, how.strengths), how)
        yield Progress(1, 1)
        return [
            CellTranslation(
                window=window, settings=how, conditions=self.adapter.conditions, crop=raw[i],
                difference=intensity_difference(self.adapter.intensity, raw[i], changed[:, i], how.strengths),
            )
            for i, window in enumerate(windows)
        ]  # fmt: skip


def mean_shift(source: torch.Tensor, target: torch.Tensor) -> Move:
    """Add the difference of the means of latents (8, n, c, h, w) of two conditions."""
    shift = target.mean((0, 1)) - source.mean((0, 1))
    return lambda latents, strengths: torch.stack([s * shift.expand_as(latents) for s in strengths])


class Flow:
    """A velocity from the cells of one condition to those of another."""

    def __init__(self, base: Base, slots: int, seed: int = 0) -> None:
        self._base, self._generator = base, torch.Generator().manual_seed(seed)
        base.unet.requires_grad_(True).train()
        self._token = torch.zeros(1, slots, base.token_size, requires_grad=True)

    def train(self, source: torch.Tensor, target: torch.Tensor, seconds: float) -> int:
        """Learn from latents (8, n, c, h, w) of two conditions for so many seconds; return the number of steps."""
        parameters = [*self._base.unet.parameters(), self._token]
        optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0)
        began, steps = time.process_time(), 0
        while (gone := (time.process_time() - began) / seconds) < 1:
            for group in optimizer.param_groups:
                group["lr"] = 1e-4 * min(1.0, (steps + 1) / 20, (1 - gone) / 0.3)
            start, end = self._pairs(source, target)
            at = torch.rand(len(start), generator=self._generator)
            between = start + at[:, None, None, None] * (end - start)
            loss = (self._velocity(between, at) - (end - start)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            steps += 1
        self._base.unet.requires_grad_(False).eval()
        self._base.settle(lambda unet: None)
        return steps

    def _pairs(self, source: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = []
        for latents in (source, target):
            turn = torch.randint(8, (DRAWN,), generator=self._generator)
            drawn.append(latents[turn, torch.randint(latents.shape[1], (DRAWN,), generator=self._generator)])
        cost = torch.cdist(*(part.flatten(1) for part in drawn)).square()
        _, partner = linear_sum_assignment(cost.numpy())
        kept = torch.randperm(DRAWN, generator=self._generator)[:BATCH]
        return drawn[0][kept], drawn[1][torch.from_numpy(partner)[kept]]

    def _velocity(self, latents: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return self._base.predict(latents, (999 * at).long(), self._token.expand(len(latents), -1, -1))

    @torch.no_grad()
    def __call__(self, latents: torch.Tensor, strengths: Sequence[float]) -> torch.Tensor:
        """(S, n, c, h, w) change on the way to each strength; beyond 1 it goes on as it arrived."""
        found = {0.0: torch.zeros_like(latents)}
        now, at = latents.clone(), 0.0
        for strength in sorted({s for s in strengths if s > 0}):
            steps = max(1, round((strength - at) * FLOW_STEPS))
            for step in range(steps):
                middle = at + (strength - at) * (step + 0.5) / steps
                velocity = self._velocity(now, torch.full((len(now),), min(middle, 1.0)))
                now = now + (strength - at) / steps * velocity
            at = strength
            found[strength] = now - latents
        return torch.stack([found[float(s)] for s in strengths])


def rivals(adapter: Adapter, screen, cells, settings: FinetuneSettings, seconds: float):
    """Each way of translating: its name, what makes its translator, how it is set, and its seconds of training."""
    base = load_base(adapter.base)
    crops = finish(
        gather_crops(screen, screen.select(adapter.source), screen.select(adapter.target), cells, settings, base.crop,
                     adapter.intensity)
    )  # fmt: skip
    base.settle_autoencoder()
    source, target = finish(encode_turned(base, crops.source, crops.target))
    began = time.process_time()
    shift = mean_shift(source, target)
    shifting = time.process_time() - began
    flow = Flow(base, len(adapter.condition_tokens(adapter.conditions[0])))
    print(f"The flow took {flow.train(source, target, seconds)} steps.", flush=True)
    free = TranslationSettings(held=(), guidance=1.0)
    yield "ours", Translator, TranslationSettings(), seconds
    yield "stock DDIM 50+50", Translator, TranslationSettings(solver="ddim", steps=50), seconds
    yield "shift of the mean", partial(Moving, move=shift), free, shifting
    yield "flow, optimal transport", partial(Moving, move=flow), free, seconds


def judged(adapter: Adapter, screen, make, settings: TranslationSettings, **how) -> dict[str, float]:
    """What ``phenolens evaluate`` says of one way of translating."""

    def translator(base: Base, adapter: Adapter, _: TranslationSettings) -> Translator:
        return make(base, adapter, settings)

    with tempfile.TemporaryDirectory() as kept, mock.patch.object(evaluation, "Translator", translator):
        found = finish(evaluate_translation(adapter, screen, Path(kept), settings, **how))
    parts = {part.key: part.figures for part in found.parts}
    named = {
        "flip": ("flips", "translated"), "real": ("flips", "treated"), "KS": ("distribution", "translated"),
        "IoU": ("identity", "nucleus_iou"), "similarity": ("identity", "similarity"),
    }  # fmt: skip
    figures = {name: parts.get(part, {}).get(figure) for name, (part, figure) in named.items()}
    return {name: value["value"] if isinstance(value, dict) else value for name, value in figures.items()}


def seconds_a_cell(translator: Translator, plane: np.ndarray) -> float:
    """Of a batch of `BATCH` crops, the second time, when all is loaded."""
    windows = [Window(0, 0, translator.adapter.crop)] * BATCH
    for _ in range(2):
        began = time.process_time()
        finish(translator.translate_crops([plane], windows))
    return (time.process_time() - began) / BATCH


def row(name: str, way: str, figures: dict[str, float | None]) -> str:
    values = (figures.get(column) for column in COLUMNS)
    return f"| {name} | {way} | " + " | ".join("" if v is None else f"{v:.3g}" for v in values) + " |"


def compare(name: str, screen, cells, conditions, options, judge: dict, truth=None) -> None:
    """Fine-tune, and print a row for each way; `truth` gives the error of a translator to the truth."""
    settings = FinetuneSettings(steps=options.steps, max_cells=options.images, crop=options.crop, preview_every=0)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        adapter = finish(finetune_screen(screen, *conditions, cells, out=Path(folder) / "adapter", settings=settings))
        took = time.process_time() - began
        for way, make, how, training in rivals(adapter, screen, cells, settings, took):
            figures = judged(adapter, make=make, settings=how, **judge) | {"training s": training}
            translator = make(load_base(adapter.base), adapter, how)
            plane = next(iter(screen)).image().plane()
            figures["s a cell"] = seconds_a_cell(translator, plane)
            figures["error"] = None if truth is None else truth(translator, how)
            print(row(name, way, figures), flush=True)


def simulated(options) -> None:
    for treatment in options.treatment:
        style = style_for(treatment, options.style)
        screen, cells = training_screen(style, treatment, 1.0, options.images, 10_000)
        conditions = tuple(Condition.parse(f"Metadata_Role={role}") for role in ("negative control", "treated"))

        def truth(translator, how, style=style, treatment=treatment):
            found = errors(
                translator, style, treatment, 1.0, translator.adapter.crop, 50_000, how.solver, how.steps,
                options.fields,
            )  # fmt: skip
            return float(np.median(found))

        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / "screen"
            finish(simulate_screen(fresh, treatment, wells=12, cells=13, style=style, seed=2, shape=SHAPE, plates=2))
            judge = {"screen": read_screen(fresh), "cells": fresh / "labels", "unseen": True}
            compare(treatment, screen, cells, conditions, options, judge, truth)


def translocation(options) -> None:
    screen = read_screen(options.screen)
    training = screen.select(screen.table["Metadata_Well"].str[0].isin(["A", "E"]).to_numpy())
    conditions = tuple(map(Condition.parse, ("Metadata_Role=negative control", "Metadata_DoseRank>=8")))
    cells = finish(find_cells(training, "auto", nucleus_channel=1))
    compare("BBBC013", training, cells, conditions, options, {"screen": screen, "cells": "auto", "most": options.most})


def protein(options) -> None:
    screen = read_screen(options.screen)
    plates = sorted(screen.table["Metadata_Plate"].astype(str).unique())
    given = ("Compound=DMSO", "Compound=cycloheximide,Concentration>=15")
    conditions = tuple(on_plates(one, options.train, plates) for one in given)
    source, target = (on_plates(one, [*options.train, *options.judge], plates) for one in given)
    cells = finish(find_cells(screen, "whole"))
    judge = {"screen": screen, "cells": cells, "source": source, "target": target, "most": options.most}
    compare("protein synthesis", screen, cells, conditions, options, judge)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    for name, run in (("simulated", simulated), ("translocation", translocation), ("protein", protein)):
        part = parts.add_parser(name)
        part.set_defaults(run=run)
        part.add_argument("--steps", type=int, default=FinetuneSettings().steps)
        part.add_argument("--images", type=int, default=100, help="of a condition to train on")
        part.add_argument("--most", type=int, default=100, help="cells of a condition to judge")
        if name == "simulated":
            part.add_argument("--treatment", nargs="+", default=["translocation", "latrunculin", "lrrk2", "nocodazole"])
            part.add_argument("--style", type=int, default=9001)
            part.set_defaults(crop=64)
            part.add_argument("--fields", type=int, default=1, help="whose cells are compared with the truth")
        else:
            part.set_defaults(crop=None)
            part.add_argument("screen", type=Path)
        if name == "protein":
            part.add_argument("--train", nargs="+", default=["Week4_27801", "Week4_27521"], help="plates")
            part.add_argument("--judge", nargs="+", default=["Week4_27821"], help="plates")
    options = parser.parse_args()
    print("| data | way | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 2), flush=True)
    options.run(options)


if __name__ == "__main__":
    main()
