"""Error to the true counterfactual, on simulated screens in styles that pre-training never saw.

    python benchmarks/counterfactual.py [--treatment NAME ...] [--styles 9001 ...] [--cells 100] [--steps N] [--effects]
        [--fields N] [--guidance W ...] [--fine-noise F]

All cells of fresh control fields are translated and pasted back; each cell that survives the treatment is judged on its
territory, the pixels of its crop that are nearer to its centre than to any other's, by |translated - truth| /
|source - truth| over all channels in units of the adapter's intensity map. The truth is the same field, with the same
cells and noise, drawn under the treatment. 0 is perfect, 1 is what leaving the cell alone gives; for ``null`` there is
no effect to divide by.

With --effects the adapter is also judged as ``phenolens evaluate`` does, on a fresh screen of the same style with
effects of plate and well: flips, the slope and correlation of translated and real effect sizes, and how many features
are called changed. An adapter that holds every channel, as it should under ``null``, is judged with none held.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from phenolens.evaluation.translations.evaluation import evaluate_translation
from phenolens.runtime.progress import finish
from phenolens.screens.cells import Cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, window_at
from phenolens.screens.table import read_screen, screen_from_arrays
from phenolens.simulation import simulate_field, simulate_screen, style_for
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.methods import METHODS
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

SHAPE = (384, 384)


def training_screen(style, treatment, dose, wanted, seed):
    """A screen of control and treated fields of different wells, with about `wanted` known cells of each."""
    images, metadata, tables = {}, {}, []
    for role, amount in (("negative control", 0.0), ("treated", dose)):
        count, number = 0, 0
        while count < wanted:
            key = f"{'AB'[amount > 0]}{number:02d}"
            field = simulate_field(
                style, seed + 100 * number + int(amount > 0), treatment=treatment, dose=amount, shape=SHAPE
            )
            present = field.cells[field.cells["survives"] & ~field.cells["border"]]
            images[key], metadata[key] = field.image, {"Metadata_Role": role}
            tables.append(present[["label", "y", "x"]].assign(field=key, area=present["nucleus_area"]))
            count, number = count + len(present), number + 1
    screen = screen_from_arrays(images, ("DNA", "Second", "Third"), metadata=metadata, pixel_size=field.pixel_size)
    return screen, Cells(pd.concat(tables, ignore_index=True))


def territories(cells):
    """Index of the nearest cell centre at each pixel of a field."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.argmin([(y - c.y) ** 2 + (x - c.x) ** 2 for c in cells.itertuples()], axis=0)


def errors(translator, style, treatment, dose, crop, seed, solver, steps, fields):
    """Relative error of each surviving cell of fresh fields."""
    found = []
    for number in range(fields):
        one = simulate_field(style, seed + number, treatment=treatment, dose=0.0, shape=SHAPE)
        other = simulate_field(style, seed + number, treatment=treatment, dose=dose, shape=SHAPE)
        windows = [window_at(c.y, c.x, crop) for c in one.cells.itertuples()]
        composite = Composite(one.image)
        for first in range(0, len(windows), 16):
            done = finish(
                translator.translate_crops([one.image], windows[first : first + 16], steps=steps, solver=solver)
            )
            composite.put_all({(first, i): (cell.window, cell.difference[0]) for i, cell in enumerate(done)})
        source, translated, truth = (
            translator.adapter.intensity.forward(p) for p in (one.image, composite.translated, other.image)
        )
        territory = territories(one.cells)
        alive = other.cells.set_index("label")["survives"]
        for index, cell in enumerate(one.cells.itertuples()):
            margin = crop // 2
            inside = margin <= cell.y < SHAPE[0] - margin and margin <= cell.x < SHAPE[1] - margin
            if not inside or not alive.get(cell.label, False):
                continue
            window = window_at(cell.y, cell.x, crop)
            own = cut(territory[None] == index, window)[0]
            s, t, u = (cut(p, window)[:, own] for p in (source, translated, truth))
            found.append(np.linalg.norm(t - u) / max(np.linalg.norm(s - u), 1e-6))
    return np.array(found)


def effects(adapter, treatment, style, folder, guidance=None, fine_noise=1.0, wells=12, cells=13):
    """Figures of `phenolens evaluate` on a fresh screen."""
    if not (folder / "screen").is_dir():
        finish(
            simulate_screen(folder / "screen", treatment, wells=wells, cells=cells, style=style, seed=2, shape=SHAPE,
                            plates=2)
        )  # fmt: skip
    held = () if set(adapter.held) == set(adapter.channel_names) else None
    screen, labels = read_screen(folder / "screen"), folder / "screen" / "labels"
    how = TranslationSettings(held=held, guidance=guidance, fine_noise=fine_noise)
    found = finish(evaluate_translation(adapter, screen, folder / "kept", how, cells=labels, unseen=True))
    parts = {part.key: part for part in found.parts}
    changes, flips = parts["changes"], parts["flips"].figures
    return {
        "treatment": treatment, "held": found.facts["held"], "guidance": round(found.facts["guidance"], 2),
        "flip": flips["translated"]["value"], "controls": flips["control"]["value"],
        "real": flips["treated"]["value"], "p": flips["p_value"],
        **{name: changes.figures[name] for name in ("slope", "correlation", "sign_agreement", "features")},
        **{name: figure for name, figure in changes.figures.items() if name.startswith("called")},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--treatment", nargs="+", default=["translocation", "latrunculin"])
    parser.add_argument("--styles", type=int, nargs="+", default=[9001])
    parser.add_argument("--base", default="compact")
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--dose", type=float, default=1.0)
    parser.add_argument("--fields", type=int, default=2, help="whose cells are judged")
    parser.add_argument("--steps", type=int, default=FinetuneSettings().steps)
    parser.add_argument("--method", default=FinetuneSettings().method, choices=list(METHODS))
    parser.add_argument("--guidance", type=float, nargs="+", default=[None], help="the adapter's own where not given")
    parser.add_argument("--fine-noise", type=float, default=1.0, help="share of it that is kept")
    parser.add_argument("--solver-steps", type=int, default=20)
    parser.add_argument("--effects", action="store_true", help="judge effect sizes too")
    parser.add_argument("--out", type=Path, default=None, help="keep adapters here")
    options = parser.parse_args()
    for treatment in options.treatment:
        for seed in options.styles:
            style = style_for(treatment, seed)
            folder = (options.out or Path(tempfile.mkdtemp())) / f"{treatment}-{seed}"
            if not (folder / "card.json").is_file():
                screen, cells = training_screen(style, treatment, options.dose, options.cells, 10_000)
                start = time.time()
                settings = FinetuneSettings(
                    steps=options.steps, method=options.method, crop=64, max_cells=options.cells, preview_every=0
                )
                finish(
                    finetune_screen(screen, Condition.parse("Metadata_Role=negative control"),
                                    Condition.parse("Metadata_Role=treated"), cells, out=folder, base=options.base,
                                    settings=settings)
                )  # fmt: skip
                print(f"fine-tuning took {time.time() - start:.0f} s", flush=True)
            adapter = Adapter.load(folder)
            print(
                json.dumps({"held": adapter.held, "guidance": adapter.guidance, "telling": adapter.card.discriminative})
            )
            if options.effects:
                for given in options.guidance:
                    judged = effects(adapter, treatment, style, folder, given, options.fine_noise)
                    print(json.dumps(judged, default=str), flush=True)
            if treatment == "null":
                continue
            runs = []
            for given in options.guidance:
                name = f"N={options.solver_steps} w={adapter.guidance if given is None else given:.2f}"
                if options.fine_noise != 1:
                    name += f" fine={options.fine_noise:g}"
                runs.append((f"difference {name}", given, "difference", options.solver_steps, None))
                if adapter.held:
                    runs.append((f"no channel held, {name}", given, "difference", options.solver_steps, ()))
            for name, guidance, solver, steps, held in [*runs, ("stock DDIM 50+50", 1.0, "ddim", 50, None)]:
                kept = 1.0 if solver == "ddim" else options.fine_noise
                translator = Translator(
                    load_base(options.base), adapter, TranslationSettings(guidance=guidance, held=held, fine_noise=kept)
                )
                found = errors(
                    translator, style, treatment, options.dose, adapter.crop, 50_000, solver, steps, options.fields
                )
                low, middle, high = np.quantile(found, [0.25, 0.5, 0.75]).round(3).tolist()
                about = {"treatment": treatment, "style": seed, "method": name, "cells": len(found)}
                print(json.dumps({**about, "median_error": middle, "quartiles": [low, high]}), flush=True)


if __name__ == "__main__":
    main()
