"""Flip rate against identity on real cells, for each solver, over guidance times strength and drawn noise.

    python benchmarks/frontier.py DATA --adapter FOLDER [--cells 10] [--steps 10] [--out FILE.md] [--plot FILE.png]

DATA is BBBC013 and the adapter one that `benchmarks/translocation.py` made (rows A and E). Untreated cells of rows B
and F are translated.

- *flip*: share that a linear classifier calls treated. Cells of row B are judged by one that is fitted on real cells of
  row F, and the other way round: wells that neither the cells nor the adapter's training come from.
- *SSIM*: of the autoencoder's reconstruction of a cell and the same with its difference added, in the units that the
  network sees; mean over the channels, and of FKHR alone, as some solvers hold DNA.
- *IoU*: overlap of the nucleus before and after, as in `benchmarks/translocation.py`.

Guidance and strength act as one weight, their product. Stock DDIM has no guidance: its weight moves the token.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from translocation import DNA, FKHR, measure, nucleus_iou

from phenolens.evaluation.translations.identity import similarities
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, resample
from phenolens.screens.table import read_screen
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.solvers import SOLVERS
from phenolens.translation.training.discriminative import fit_judge

CONTROL, TREATED = "Metadata_Role=negative control", "Metadata_DoseRank>=8"
ROWS = "B", "F"
TOP = 1.5  # the strongest strength
COLUMNS = ("solver", "steps", "weight", "renoise", "flip", "SSIM", "SSIM of FKHR", "IoU")


def mapped(adapter, base, crops):
    """(n, C, side, side) raw crops in the units and at the size that the network sees."""
    return resample(np.stack([adapter.intensity.forward(crop) for crop in crops]), base.crop).astype(np.float32)


def real_cells(screen, row, condition, count, crop, rng):
    """Cells of a condition in one row of the plate, as `translocation.measure` gives them."""
    chosen = screen.select((screen.table["Metadata_Well"].str[0] == row).to_numpy()).select(Condition.parse(condition))
    cells = finish(find_cells(chosen, "auto", nucleus_channel=DNA))
    return measure(chosen, cells, set(chosen.table["Metadata_Well"]), count, crop, rng)


def judged(translator, judge, rows, solver, steps, weights, renoise):
    """A row of the table for each of `weights`, which go as one batch of strengths."""
    strengths = [w if solver == "ddim" else w / max(weights) * TOP for w in weights]
    planes, windows = [row[0] for row in rows], [row[1] for row in rows]
    translator.guidance = max(weights) / TOP
    cells = finish(
        translator.translate_crops(planes, windows, strengths=strengths, steps=steps, solver=solver, renoise=renoise)
    )
    adapter, base = translator.adapter, translator.base
    raw = [cut(row[0], row[1]).astype(np.float32) for row in rows]
    before = mapped(adapter, base, raw)
    shown = base.decode(base.encode(torch.from_numpy(before))).cpu().numpy()
    found = []
    for index, weight in enumerate(weights):
        after = mapped(adapter, base, [one + cell.difference[index] for one, cell in zip(raw, cells, strict=True)])
        drawn = shown + after - before
        overlaps = [
            nucleus_iou(one[DNA], one[DNA] + cell.difference[index, DNA], row[2])
            for one, cell, row in zip(raw, cells, rows, strict=True)
        ]
        one_channel = slice(FKHR, FKHR + 1)
        found.append(
            {
                "solver": solver, "steps": steps, "weight": weight, "renoise": renoise,
                "flip": float((judge(after) > 0).mean()), "SSIM": float(similarities(shown, drawn).mean()),
                "SSIM of FKHR": float(similarities(shown[:, one_channel], drawn[:, one_channel]).mean()),
                "IoU": float(np.median(overlaps)),
            }
        )  # fmt: skip
    return found


def draw(results, stock, path):
    """Draw flip rate against SSIM, a line for each solver and share of drawn noise."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    shares = sorted({row["renoise"] for row in results})
    for number, solver in enumerate(SOLVERS):
        for share in shares:
            line = [row for row in results if (row["solver"], row["renoise"]) == (solver, share)]
            if line:
                axes.plot(
                    [row["SSIM"] for row in line], [row["flip"] for row in line], "o-", color=f"C{number}", ms=4,
                    alpha=1 - 0.7 * shares.index(share) / len(shares), label=f"{solver}, renoise {share:g}",
                )  # fmt: skip
    axes.plot(stock["SSIM"], stock["flip"], "k*", ms=14, label="stock DDIM, strength 1")
    axes.set(xlabel="identity: SSIM to the reconstruction", ylabel="flip rate", ylim=(-0.03, 1.03))
    figure.legend(fontsize=7, loc="outside right upper")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--real", type=int, default=150, help="real cells of a condition and row")
    parser.add_argument("--solvers", nargs="+", default=list(SOLVERS), choices=SOLVERS)
    parser.add_argument("--steps", type=int, default=10, help="of all solvers but stock DDIM, which has 50 and 50")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.5, 0.75, 1.0, 1.25, 1.5, 2.0])
    parser.add_argument("--renoise", type=float, nargs="+", default=[0.0, 0.3, 0.6])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    adapter = Adapter.load(options.adapter)
    base = load_base(adapter.base, options.device)
    translator = Translator(base, adapter)
    screen, rng = read_screen(options.data), np.random.default_rng(0)
    known = {
        (row, name): real_cells(screen, row, name, options.real, adapter.crop, rng)
        for row in ROWS
        for name in (CONTROL, TREATED)
    }
    crops = {key: mapped(adapter, base, [cut(cell[0], cell[1]) for cell in cells]) for key, cells in known.items()}
    judges = {row: fit_judge(crops[row, CONTROL], crops[row, TREATED]) for row in ROWS}
    half = options.cells // 2
    sources = [cell for row in ROWS for cell in known[row, CONTROL][:half]]

    def judge(translated):
        """Log-odds of crops of the first row's cells and then the second's, each from the other row's classifier."""
        return np.concatenate([judges[ROWS[1]](translated[:half]), judges[ROWS[0]](translated[half:])])

    called = [
        float(np.mean([(judges[other](crops[row, name]) > 0).mean() for row, other in (ROWS, ROWS[::-1])]))
        for name in (CONTROL, TREATED)
    ]
    about = (
        f"{len(sources)} cells. Of real cells of the judged wells the classifier calls treated: {called[0]:.2f} of the "
        f"untreated, {called[1]:.2f} of the treated. Held: {', '.join(translator.held) or 'none'}."
    )
    lines = [
        about,
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    print("\n".join(lines), flush=True)

    def tell(found):
        for row in found:
            numbers = [row[name] if name in COLUMNS[:4] else f"{row[name]:.3f}" for name in COLUMNS]
            lines.append("| " + " | ".join(map(str, numbers)) + " |")
            print(lines[-1], flush=True)
        return found

    stock = tell(judged(translator, judge, sources, "ddim", 50, [1.0], 0.0))[0]
    results = []
    for solver in options.solvers:
        for renoise in options.renoise:
            # Stock DDIM takes strengths, up to 1.5, and 50 evaluations for each.
            weights = [w for w in options.weights if w <= TOP] if solver == "ddim" else options.weights
            steps = 50 if solver == "ddim" else options.steps
            results += tell(judged(translator, judge, sources, solver, steps, weights, renoise))
    lines += ["", "Best SSIM where at least as many cells flip as with stock DDIM at strength 1:", ""]
    for solver in options.solvers:
        reached = [row for row in results if row["solver"] == solver and row["flip"] >= stock["flip"]]
        best = max(reached, key=lambda row: row["SSIM"], default=None)
        lines.append(
            f"- {solver}: none"
            if best is None
            else f"- {solver}: {best['SSIM']:.3f} (stock DDIM {stock['SSIM']:.3f}), of FKHR {best['SSIM of FKHR']:.3f} "
            f"({stock['SSIM of FKHR']:.3f}), at weight {best['weight']:g}, renoise {best['renoise']:g}"
        )
    print("\n".join(lines[-2 - len(options.solvers) :]))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    if options.plot:
        draw(results, stock, options.plot)


if __name__ == "__main__":
    main()
