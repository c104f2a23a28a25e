"""What tells how wrong the translation of a cell is? Candidates beside the true error, on simulated cells.

    python benchmarks/confidence.py --adapters FOLDER [--treatment NAME ...] [--style 9001] [--fields 2] [--short 24]

FOLDER is one that benchmarks/counterfactual.py --out made. For each treatment a column: Spearman's rank correlation,
over cells that no adapter was trained on, of a number with the cell's true error, |translated - truth| over
|source - truth|, on its own territory (the measure of benchmarks/counterfactual.py, each crop by itself). 1 would name
the worst cells without fail, 0 is no information. Spreads are standard deviations, as a share of the change's size:

- *other noise*: translations that draw half of the noise levels anew.
- *turned crops*: the same crop translated under several rotations and mirror images, turned back.
- *short adapters*: what further fine-tuning of the adapter on resampled wells makes of the cell (bootstrap of wells, or
  of cells where a condition has one; --short steps each, 0 for none).

The rest costs nothing: the size of the change (a small one is doubted), the variance of the inverted noise and the part
of it that comes from low levels, how far the cell is from its nearest training cells, and the translated cell from its
nearest treated ones, in simple features; and how treated a classifier of these finds it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from counterfactual import training_screen
from levels import part_of_levels, table
from limits import TRUTH, pairs
from scipy.stats import spearmanr

from phenolens.evaluation.noise.uncertainty import RENOISE, share_of_change
from phenolens.runtime.progress import finish
from phenolens.screens.crops import Window
from phenolens.screens.intensity import IntensityMap
from phenolens.simulation import style_for
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.model.methods import find_method
from phenolens.translation.model.precision import half_precision
from phenolens.translation.solvers import Trajectory
from phenolens.translation.training.discriminative import features_of_cells, fit_judge
from phenolens.translation.training.finetuning import FinetuneSettings, encode_turned
from phenolens.translation.training.noise_levels import draw_timesteps, loss_weight
from phenolens.translation.training.training_set import TrainingSet, gather_crops

STEPS, SPREAD_STEPS = 8, 4
UNIT = IntensityMap("affine", ("a", "b", "c"), (-1.0,) * 3, (1.0,) * 3, (0.0,) * 3)  # of what is mapped already
TURNS = ((0, False), (1, False), (2, True), (3, False))
BATCH, NEAREST, RATE = 16, 5, 5e-4


def translated(translator: Translator, raw: np.ndarray, **how) -> tuple[np.ndarray, list[Trajectory]]:
    """(n, C, size, size) change of raw crops in mapped units, and their paths."""
    intensity, found, paths = translator.adapter.intensity, [], []
    window = Window(0, 0, raw.shape[-1])
    with half_precision("cpu"):
        for first in range(0, len(raw), BATCH):
            part = raw[first : first + BATCH]
            planes = [*part] if len(part) > 1 else [*part, *part]  # a single one would be the plane of all windows
            done = finish(translator.translate_crops(planes, [window] * len(planes), **how))[: len(part)]
            found += [
                intensity.forward(x + c.difference[0]) - intensity.forward(x) for x, c in zip(part, done, strict=True)
            ]
            paths += [cell.trajectory for cell in done]
    return np.stack(found), paths


def turned(crops: np.ndarray, turn: int, mirrored: bool, back: bool = False) -> np.ndarray:
    """Crops turned by quarters, mirrored first; or `back`."""
    if back:
        crops = np.rot90(crops, -turn, axes=(-2, -1))
        return np.ascontiguousarray(crops[..., ::-1] if mirrored else crops)
    return np.ascontiguousarray(np.rot90(crops[..., ::-1] if mirrored else crops, turn, axes=(-2, -1)))


def resampled(wells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of a bootstrap sample of wells; of cells where there is one well."""
    names = np.unique(wells)
    if len(names) < 2:
        return rng.integers(len(wells), size=len(wells))
    return np.concatenate([np.flatnonzero(wells == name) for name in rng.choice(names, len(names))])


def short_adapters(adapter: Adapter, crops: TrainingSet, count: int, steps: int) -> list[Adapter]:
    """The adapter, trained further on `count` resamplings of its wells, at a rate that falls to nothing."""
    base, method, settings = load_base(adapter.base), find_method(adapter.method), FinetuneSettings()
    base.use_channels(crops.source.shape[1])
    latents = finish(encode_turned(base, crops.source, crops.target))
    method.inject(base.unet, adapter.config)
    weights, found = method.parameters(base.unet), []
    for number in range(count):
        rng = np.random.default_rng(number)
        rows = [torch.from_numpy(resampled(wells, rng)) for wells in (crops.source_wells, crops.target_wells)]
        method.put(base.unet, adapter.weights)
        tokens = torch.nn.Parameter(adapter.tokens.clone())
        optimizer = torch.optim.AdamW([{"params": weights}, {"params": [tokens]}], lr=RATE, weight_decay=0.0)
        for step in range(steps):
            for group, scale in zip(optimizer.param_groups, (1, 10), strict=True):
                group["lr"] = scale * RATE * min(1.0, 2 * (steps - step) / steps)
            _loss(base, latents, rows, tokens, settings, torch.Generator().manual_seed(1000 * number + step)).backward()
            torch.nn.utils.clip_grad_norm_([*weights, tokens], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        found.append(replace(adapter, weights=method.kept(base.unet), tokens=tokens.detach().clone()))
    return found


def _loss(base: Base, latents, rows, tokens: torch.Tensor, settings: FinetuneSettings, rng: torch.Generator):
    """That of fine-tuning, for a batch of half untreated and half treated cells."""
    condition = torch.arange(settings.batch) % 2
    chosen = [int(rows[c][int(torch.randint(len(rows[c]), (), generator=rng))]) for c in condition]
    turn = torch.randint(8, (settings.batch,), generator=rng)
    clean = torch.stack([latents[c][t, i] for c, t, i in zip(condition, turn, chosen, strict=True)])
    times = draw_timesteps(base.schedule, settings.batch, settings.low_noise, rng)
    alpha, sigma = base.schedule.alpha_sigma(times)
    noise = torch.randn(clean.shape, generator=rng)
    context = torch.stack([tokens[0].expand(settings.batch, -1), tokens[1:][condition]], dim=1)
    with half_precision("cpu"):
        out = base.predict(alpha * clean + sigma * noise, times, context)
    weight = loss_weight(base.schedule, times, settings.snr_gamma, settings.least_weight)
    return ((out - (alpha * noise - sigma * clean)).square().mean(dim=(1, 2, 3)) * weight).mean()


def nearest(cells: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(n,) mean distance of features to the nearest of `known`, each feature by its spread among these."""
    mean, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
    apart = np.linalg.norm(((cells - mean) / spread)[:, None] - ((known - mean) / spread)[None], axis=2)
    return np.sort(apart, axis=1)[:, :NEAREST].mean(axis=1)


def numbers(adapter: Adapter, treatment: str, seed: int, fields: int, draws: int, short: int):
    """The true error of each cell (n,), and each candidate, larger where it doubts more."""
    cells = pairs(treatment, seed, range(TRUTH, TRUTH + fields), adapter.intensity)
    before, after, own = (part.numpy() for part in (cells.before, cells.after, cells.own))
    raw = np.asarray(adapter.intensity.inverse(before), np.float32)

    def size(change: np.ndarray) -> np.ndarray:
        return np.linalg.norm((change * own).reshape(len(own), -1), axis=1)

    translator = Translator(load_base(adapter.base), adapter)
    change, paths = translated(translator, raw, steps=STEPS)
    error = size(before + change - after) / size(after - before)

    def spread(changes: Sequence[np.ndarray]) -> np.ndarray:
        return size(np.std(changes, axis=0, ddof=1)) / size(np.mean(changes, axis=0))

    def again(one: Translator, crops: np.ndarray = raw, **how) -> np.ndarray:
        return translated(one, crops, steps=SPREAD_STEPS, **how)[0]

    screen, known = training_screen(style_for(treatment, seed), treatment, 1.0, 100, 10_000)
    parts = [screen.select(condition) for condition in (adapter.source, adapter.target)]
    settings = FinetuneSettings(crop=adapter.crop, max_cells=100)
    crops = finish(gather_crops(screen, *parts, known, settings, translator.base.crop, adapter.intensity))
    seen, made = (part.astype(np.float32) for part in (before, before + change))
    noisy = [again(translator, renoise=RENOISE, seed=k) for k in range(draws)]
    whole = [
        share_of_change(zero, c, s, UNIT)
        for zero, c, s in zip(0 * change, change, np.std(noisy, 0, ddof=1), strict=True)
    ]
    judge, features = fit_judge(crops.source, crops.target), features_of_cells
    found = {
        "size of the change": -size(change),
        "the same as a share of the cell's light": -size(change) / size(before + 1),
        "variance of the noise": np.array([float(path.noise.var()) for path in paths]),
        "its part from low levels": np.array([float(part_of_levels(path, 0.0, 0.3).var()) for path in paths]),
        "distance to training cells": nearest(features(seen), features(crops.source)),
        "distance to treated cells": nearest(features(made), features(crops.target)),
        "how untreated it looks": -judge(made),
        "spread over other noise": spread(noisy),
        "the same over the whole crop, as the window has it": np.array(whole),
        "spread over turned crops": spread(
            [turned(again(translator, turned(raw, *turn)), *turn, back=True) for turn in TURNS[:draws]]
        ),
    }
    if short:
        others = [Translator(load_base(one.base), one) for one in short_adapters(adapter, crops, draws, short)]
        found["spread over short adapters"] = spread([again(one) for one in others])
    return error, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=Path, required=True)
    parser.add_argument("--treatment", nargs="+", default=["translocation", "latrunculin", "lrrk2", "nocodazole"])
    parser.add_argument("--style", type=int, default=9001)
    parser.add_argument("--fields", type=int, default=2, help="whose cells are judged")
    parser.add_argument("--draws", type=int, default=4, help="translations of each spread")
    parser.add_argument("--short", type=int, default=24, help="steps of each short adapter; 0 leaves them out")
    options = parser.parse_args()
    columns: dict[str, dict[str, float]] = {}
    heads = ["what tells"]
    for treatment in options.treatment:
        adapter = Adapter.load(options.adapters / f"{treatment}-{options.style}")
        error, found = numbers(adapter, treatment, options.style, options.fields, options.draws, options.short)
        heads.append(f"{treatment} ({len(error)} cells, error {np.median(error):.2f})")
        for name, value in found.items():
            columns.setdefault(name, {})[treatment] = float(spearmanr(value, error).statistic)
        print(f"{heads[-1]}: { ({name: round(row[treatment], 2) for name, row in columns.items()}) }", flush=True)
    rows = [
        [name, *(f"{row[t]:.2f}" for t in options.treatment), f"{np.mean(list(row.values())):.2f}"]
        for name, row in columns.items()
    ]
    table([*heads, "mean"], rows)


if __name__ == "__main__":
    main()
