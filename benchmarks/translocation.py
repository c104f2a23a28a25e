"""Flip rate on real cells: BBBC013, fine-tuned on wells of rows A and E, judged on the untreated wells of the others.

    python benchmarks/translocation.py ../shared/data/translocation [--steps N] [--guidance W ...]
        [--fine-noise F] [--adapter FOLDER]

The number judged is the nuclear-to-cytoplasmic ratio of FKHR (log2): the mean in the nucleus over the mean in a ring
around it, both above the field's background. A cell flips where it crosses the midpoint between the medians of the real
untreated and the real treated cells of the judged wells.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp, spearmanr
from skimage.filters import threshold_otsu
from skimage.morphology import dilation, disk

from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, window_at
from phenolens.screens.segmentation import segment_nuclei
from phenolens.screens.table import read_screen
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
FKHR, DNA = 0, 1


def ratio(plane: np.ndarray, mask: np.ndarray, others: np.ndarray, background: float) -> float:
    """log2 of nuclear over cytoplasmic FKHR; the ring keeps off every nucleus."""
    ring = dilation(mask, disk(5)) & ~dilation(others, disk(1))
    if ring.sum() < 20:
        return np.nan
    inside = max(plane[FKHR][mask].mean() - background, 0.5)
    outside = max(plane[FKHR][ring].mean() - background, 0.5)
    return float(np.log2(inside / outside))


def nucleus_iou(before: np.ndarray, after: np.ndarray, near: np.ndarray) -> float:
    """Overlap of the nucleus before and after, each outlined by the Otsu threshold of its own crop."""
    one, other = (before > threshold_otsu(before)) & near, (after > threshold_otsu(after)) & near
    return float((one & other).sum() / max((one | other).sum(), 1))


def measure(screen, cells, wells, limit, crop, rng):
    """Raw planes, windows, masks and ratios of up to `limit` cells, spread over `wells`."""
    rows = []
    chosen = [f for f in screen if f.metadata["Metadata_Well"] in wells]
    for field in chosen:
        plane = field.image().plane()
        labels = segment_nuclei(plane[DNA])
        background = float(np.percentile(plane[FKHR], 5))
        table = cells.table[cells.table["field"] == field.key]
        inner = table[table["y"].between(32, plane.shape[1] - 32) & table["x"].between(32, plane.shape[2] - 32)]
        take = inner.iloc[rng.permutation(len(inner))[: int(np.ceil(limit / len(chosen)))]]
        for cell in take.itertuples():
            window = window_at(cell.y, cell.x, crop)
            label = labels[round(cell.y), round(cell.x)]
            if label == 0:
                continue
            seen = cut(labels[None], window)[0]
            rows.append(
                (
                    plane,
                    window,
                    seen == label,
                    seen > 0,
                    background,
                    ratio(cut(plane, window), seen == label, seen > 0, background),
                )
            )
    return [row for row in rows if np.isfinite(row[-1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", default="compact")
    parser.add_argument("--steps", type=int, default=FinetuneSettings().steps)
    parser.add_argument("--rank", type=int, default=FinetuneSettings().rank)
    parser.add_argument("--lr", type=float, default=FinetuneSettings().learning_rate)
    parser.add_argument("--guidance", type=float, nargs="+", default=[None], help="the adapter's own where not given")
    parser.add_argument("--fine-noise", type=float, default=1.0, help="share of it that is kept")
    parser.add_argument("--solver-steps", type=int, nargs="+", default=[20])
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--train-cells", type=int, default=FinetuneSettings().max_cells, help="of a condition")
    parser.add_argument("--cells", type=int, default=96)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--ddim", action="store_true")
    options = parser.parse_args()

    screen = read_screen(options.data)
    table = screen.table
    control, treated = "Metadata_Role=negative control", "Metadata_DoseRank>=8"
    row = table["Metadata_Well"].str[0]
    training = screen.select((row.isin(["A", "E"])).to_numpy())
    judged = screen.select((~row.isin(["A", "E"])).to_numpy())
    folder = options.adapter or Path(tempfile.mkdtemp()) / "adapter"
    if not (folder / "card.json").is_file():
        start = time.time()
        settings = FinetuneSettings(steps=options.steps, rank=options.rank, learning_rate=options.lr, crop=options.crop,
                                    max_cells=options.train_cells, preview_every=0)  # fmt: skip
        finish(
            finetune_screen(training, Condition.parse(control), Condition.parse(treated), "auto", out=folder,
                            base=options.base, settings=settings, nucleus_channel=DNA),
            lambda p: print(p.step, p.values, flush=True) if p.values and p.step % 100 == 0 else None,
        )  # fmt: skip
        print(f"fine-tuning took {time.time() - start:.0f} s")
    adapter = Adapter.load(folder)
    rng = np.random.default_rng(0)
    cells = finish(find_cells(judged, "auto", nucleus_channel=DNA))
    wells = {name: set(judged.select(Condition.parse(name)).table["Metadata_Well"]) for name in (control, treated)}
    sources = measure(judged, cells, wells[control], options.cells, adapter.crop, rng)
    targets = measure(judged, cells, wells[treated], options.cells, adapter.crop, rng)
    before, real = np.array([s[-1] for s in sources]), np.array([t[-1] for t in targets])
    midpoint = (np.median(before) + np.median(real)) / 2
    print(json.dumps({"cells": len(before), "source_median": np.median(before), "treated_median": np.median(real),
                      "midpoint": midpoint, "source_past": float((before > midpoint).mean()),
                      "treated_past": float((real > midpoint).mean())}))  # fmt: skip

    print(json.dumps({"held": adapter.held, "guidance": adapter.guidance, "telling": adapter.card.discriminative}))

    def judge(name, solver, steps, guidance, strengths, target=None, held=None):
        kept = 1.0 if solver == "ddim" else options.fine_noise
        translator = Translator(
            load_base(options.base), adapter, TranslationSettings(guidance=guidance, held=held, fine_noise=kept)
        )
        ratios, ious, seconds = [], [], time.time()
        for first in range(0, len(sources), 16):
            batch = sources[first : first + 16]
            done = finish(
                translator.translate_crops([b[0] for b in batch], [b[1] for b in batch], strengths=strengths,
                                           steps=steps, solver=solver, target=target)
            )  # fmt: skip
            for (plane, window, mask, others, background, _), cell in zip(batch, done, strict=True):
                raw = cut(plane, window).astype(np.float32)
                near = dilation(mask, disk(4)) & ~(others & ~mask)
                after = [raw + change for change in cell.difference]
                ratios.append([ratio(a, mask, others, background) for a in after])
                ious.append([nucleus_iou(raw[DNA], a[DNA], near) for a in after])
        seconds = (time.time() - seconds) / len(sources) * 1000
        r, iou = np.array(ratios), np.array(ious)
        one = strengths.index(1.0)
        report = {
            "method": name,
            "flip": float((r[:, one] > midpoint).mean()),
            "median_ratio": float(np.median(r[:, one])),
            "nucleus_iou": float(np.median(iou[:, one])),
            "ks": float(ks_2samp(r[:, one], real).statistic),
            "ms_a_cell": round(seconds),
        }
        if len(strengths) > 2:
            report["flip_by_strength"] = {s: float((r[:, i] > midpoint).mean()) for i, s in enumerate(strengths)}
            rises = [spearmanr(strengths, row).statistic for row in r]
            report["spearman_median"] = float(np.median(rises))
            report["spearman_of_medians"] = float(spearmanr(strengths, np.median(r, 0)).statistic)
        print(json.dumps(report), flush=True)

    for guidance in options.guidance:
        for steps in options.solver_steps:
            weight = adapter.guidance if guidance is None else guidance
            how = f"N={steps} w={weight:.2f}"
            if options.fine_noise != 1:
                how += f" fine={options.fine_noise:g}"
            judge(f"difference {how}", "difference", steps, guidance, STRENGTHS)
            if adapter.held:
                judge(f"no channel held, {how}", "difference", steps, guidance, (1.0,), held=())
    judge("source to source", "difference", options.solver_steps[0], options.guidance[0], (1.0,), target=control)
    if options.ddim:
        judge("stock DDIM 50+50", "ddim", 50, 1.0, (1.0,))


if __name__ == "__main__":
    main()
