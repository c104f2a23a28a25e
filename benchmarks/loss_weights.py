"""Which noise levels fine-tuning should train for: loss weights and timesteps in one table, over six data sets.

    python benchmarks/loss_weights.py [--treatment NAME ...] [--translocation DATA] [--protein DATA] [--steps N]
        [--way 0,0 ...]

An inversion draws nearly all of its noise from low levels, which the min-SNR weight leaves next to nothing. A way is
two numbers: what a level counts at least (``FinetuneSettings.least_weight``), and the share of timesteps that are drawn
from the low levels (``low_noise``). Each way fine-tunes an adapter on each data set from the same seed.

Simulated treatments, in a style that no other benchmark judges, by the error of ``counterfactual.py`` and the variance
of the inverted noise (1 for a model that knows its cells). Real data by ``phenolens evaluate``, on training wells
alone, so that nothing is chosen on wells that other benchmarks judge: BBBC013 fine-tuned on row A and judged on row E
(another drug), BBBC021 fine-tuned on one well of each condition and judged on another plate's control well and another
dose.
Prints a Markdown table.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from counterfactual import errors, training_screen
from held_out_plate import on_plates
from rivals import judged

from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import window_at
from phenolens.screens.table import read_screen
from phenolens.simulation import style_for
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

WAYS = ("0,0", "0.25,0", "1,0", "0.25,0.5", "1,0.5")
COLUMNS = ("error", "variance of the noise", "guidance", "flip", "real", "KS", "similarity", "training s")
PROBED = 16


def settings_of(way: str, options) -> FinetuneSettings:
    least, low = map(float, way.split(","))
    return FinetuneSettings(steps=options.steps, max_cells=100, preview_every=0, least_weight=least, low_noise=low)


def fine_tuned(folder: Path, screen, conditions, cells, settings: FinetuneSettings) -> tuple[Adapter, float]:
    """An adapter, and the processor's seconds that took."""
    began = time.process_time()
    adapter = finish(finetune_screen(screen, *conditions, cells, out=folder, settings=settings))
    return adapter, time.process_time() - began


def variance(adapter: Adapter, screen, source: Condition, cells) -> float:
    """Of the noise that cells of the source are inverted into."""
    translator = Translator(load_base(adapter.base), adapter, TranslationSettings(steps=20))
    half = adapter.crop // 2
    planes, windows = [], []
    for field in screen.select(source):
        plane = field.image().plane()
        for cell in cells.table[cells.table["field"] == field.key].itertuples():
            inside = half <= cell.y < plane.shape[1] - half and half <= cell.x < plane.shape[2] - half
            if inside and len(windows) < PROBED:
                planes.append(plane)
                windows.append(window_at(cell.y, cell.x, adapter.crop))
    done = finish(translator.translate_crops(planes, windows))
    return float(np.var([cell.trajectory.noise.numpy() for cell in done]))


def simulated(options) -> None:
    conditions = tuple(Condition.parse(f"Metadata_Role={role}") for role in ("negative control", "treated"))
    for treatment in options.treatment:
        style = style_for(treatment, options.style)
        screen, cells = training_screen(style, treatment, 1.0, 100, 10_000)
        for way in options.way:
            with tempfile.TemporaryDirectory() as folder:
                adapter, took = fine_tuned(
                    Path(folder) / "a", screen, conditions, cells, replace(options.settings(way, options), crop=64)
                )
                translator = Translator(load_base(adapter.base), adapter)
                found = errors(
                    translator, style, treatment, 1.0, adapter.crop, 50_000, "difference", 20, options.fields
                )
                fresh, known = training_screen(style, treatment, 1.0, PROBED, 20_000)
                figures = {
                    "error": float(np.median(found)), "guidance": adapter.guidance, "training s": took,
                    "variance of the noise": variance(adapter, fresh, conditions[0], known),
                }  # fmt: skip
            print(row(treatment, way, figures), flush=True)


def real(name: str, training, conditions, cells, options, judge: dict) -> None:
    for way in options.way:
        with tempfile.TemporaryDirectory() as folder:
            adapter, took = fine_tuned(Path(folder) / "a", training, conditions, cells, options.settings(way, options))
            figures = judged(adapter, make=Translator, settings=TranslationSettings(), **judge)
        print(row(name, way, figures | {"guidance": adapter.guidance, "training s": took}), flush=True)


def translocation(options) -> None:
    screen = read_screen(options.translocation)
    rows = screen.table["Metadata_Well"].str[0]
    both, training = (screen.select(rows.isin(chosen).to_numpy()) for chosen in (["A", "E"], ["A"]))
    conditions = tuple(map(Condition.parse, ("Metadata_Role=negative control", "Metadata_DoseRank>=8")))
    cells = finish(find_cells(both, "auto", nucleus_channel=1))
    real("BBBC013, rows A to E", training, conditions, cells, options, {"screen": both, "cells": cells, "most": 60})


def protein(options) -> None:
    screen = read_screen(options.protein)
    plates = sorted(screen.table["Metadata_Plate"].astype(str).unique())
    first, second = "Week4_27801", "Week4_27521"
    given = ("Compound=DMSO", "Compound=cycloheximide,Concentration>=50")
    conditions = tuple(on_plates(one, [first], plates) for one in given)
    judge = {
        "screen": screen, "cells": (cells := finish(find_cells(screen, "whole"))), "most": 60,
        "source": on_plates("Compound=DMSO", [first, second], plates),
        "target": on_plates("Compound=cycloheximide,Concentration>=15", [first], plates),
    }  # fmt: skip
    real("BBBC021, training plates", screen, conditions, cells, options, judge)


def row(name: str, way: str, figures: dict[str, float | None]) -> str:
    values = (figures.get(column) for column in COLUMNS)
    return f"| {name} | {way} | " + " | ".join("" if v is None else f"{v:.3g}" for v in values) + " |"


def compared(about: str | None, ways: tuple[str, ...], metavar: str, settings: Callable[..., FinetuneSettings]) -> None:
    """Ask which data sets and ways, fine-tune by `settings` of each way, and print the table."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--treatment", nargs="*", default=["translocation", "latrunculin", "lrrk2", "nocodazole"])
    parser.add_argument("--style", type=int, default=9011)
    parser.add_argument("--translocation", type=Path, help="folder of BBBC013")
    parser.add_argument("--protein", type=Path, help="folder of BBBC021, protein synthesis")
    parser.add_argument("--steps", type=int, default=200, help="where a way does not tell")
    parser.add_argument("--fields", type=int, default=2, help="whose cells are compared with the truth")
    parser.add_argument("--way", nargs="+", default=list(ways), metavar=metavar)
    options = parser.parse_args()
    options.settings = settings
    heads = ("data", metavar.lower(), *COLUMNS)
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads), flush=True)
    if options.translocation:
        translocation(options)
    if options.protein:
        protein(options)
    simulated(options)


if __name__ == "__main__":
    compared(__doc__, WAYS, "LEAST,LOW", settings_of)
