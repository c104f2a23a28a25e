"""Solvers on a trained model: evaluations, seconds, round trip, error to a converged reference and to the truth.

    python benchmarks/solvers.py [--adapter FOLDER] [--real DATA] [--cells 6] [--reference 500] [--out FILE.md]

The cells are control cells of a simulated screen, whose truth under the treatment is known, or with ``--real`` the
untreated cells of BBBC013 rows that no adapter here was fine-tuned on, for which there is no truth. All errors are
medians over cells:

- round trip: the latents are inverted and generated again under their own condition, from the noise end alone and by
  evaluating everything, as a fraction of the solver's own effect;
- to reference: the displayed difference against that of the difference solver with many steps, as a fraction of it;
- to truth: on the cell's own territory, as in ``counterfactual.py``; 1 is what leaving the cell alone gives.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from counterfactual import SHAPE, territories

from phenolens.runtime.progress import finish
from phenolens.screens.crops import cut, window_at
from phenolens.screens.segmentation import segment_nuclei
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_field, style_for
from phenolens.translation.apply.inverted_noise import inverted_noise
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.shipped import demo_adapter
from phenolens.translation.solvers import WITH_TRAJECTORY, stock_ddim

STEPS = {"difference": (4, 6, 8, 10, 12, 16, 20, 40), "obelm": (10, 20, 40), "edict": (10, 20, 40), "ddim": (50,)}
COLUMNS = (
    *("solver", "steps", "evaluations", "s a cell", "of stock DDIM", "round trip", "to reference", "90 %", "to truth"),
    "noise variance",
)

_OF_A_WELL = 8


def simulated_cells(treatment, style_seed, crop, count):
    """(plane, window, truth plane, own territory) of control cells inside a fresh field that survive the treatment."""
    style, rows = style_for(treatment, style_seed), []
    for seed in range(50_000, 50_010):
        before = simulate_field(style, seed, treatment=treatment, dose=0.0, shape=SHAPE)
        after = simulate_field(style, seed, treatment=treatment, dose=1.0, shape=SHAPE)
        nearest = territories(before.cells)
        alive = after.cells.set_index("label")["survives"]
        for index, cell in enumerate(before.cells.itertuples()):
            inside = all(
                crop // 2 <= at < length - crop // 2 for at, length in zip((cell.y, cell.x), SHAPE, strict=True)
            )
            if inside and alive.get(cell.label, False):
                window = window_at(cell.y, cell.x, crop)
                rows.append((before.image, window, after.image, cut(nearest[None] == index, window)[0]))
            if len(rows) == count:
                return rows
    return rows


def real_cells(data, adapter, count):
    """(plane, window, None, None) of untreated cells of rows B and F."""
    rows, channel = [], adapter.nucleus_channel or 0
    for field in read_screen(data):
        well = field.metadata["Metadata_Well"]
        if well[0] not in "BF" or field.metadata["Metadata_Role"] != "negative control":
            continue
        plane = field.image().plane()
        plane = plane[[list(field.image().channel_names).index(name) for name in adapter.channel_names]]
        labels, middle, taken = segment_nuclei(plane[channel]), adapter.crop // 2, 0
        for label in range(1, int(labels.max()) + 1):
            y, x = np.argwhere(labels == label).mean(axis=0)
            inside = all(middle <= at < size - middle for at, size in zip((y, x), plane.shape[1:], strict=True))
            if inside and taken < _OF_A_WELL:
                rows.append((plane, window_at(y, x, adapter.crop), None, None))
                taken += 1
            if len(rows) == count:
                return rows
    return rows


def round_trip(translator, latents, solver, steps):
    """(n,) error of the latents after inversion and full generation, as a fraction of the effect; and the noise."""
    base, adapter = translator.base, translator.adapter
    source, target = (adapter.condition_tokens(name).to(base.device) for name in adapter.conditions)
    if solver == "ddim":
        back, effect = finish(stock_ddim(base.predict, base.scheduler_config, latents, source, [source, target], steps))
        return (back.flatten(1).norm(dim=1) / effect.flatten(1).norm(dim=1)).cpu().numpy(), None
    engine = WITH_TRAJECTORY[solver]
    trajectory = finish(
        translator.invert_latents(latents, adapter.conditions[0], TranslationSettings(steps=steps, solver=solver))
    )
    back = finish(engine.regenerate(base.noise_at, trajectory, source.expand(len(latents), *source.shape)))
    job = engine.translate(
        base.noise_at,
        trajectory,
        source,
        target,
        (1.0,),
        translator.guidance,
        translator.moving_latents(translator.held),
    )
    effect = finish(job)[0]
    error = (back - latents).flatten(1).norm(dim=1) / effect.flatten(1).norm(dim=1)
    return error.float().cpu().numpy(), inverted_noise(trajectory.noise)


def truth_error(translator, rows, cells):
    """(n,) error to the truth on each cell's territory, in the adapter's intensity units."""
    errors, forward = [], translator.adapter.intensity.forward
    for (plane, window, truth, own), cell in zip(rows, cells, strict=True):
        raw = cut(plane, window)
        source, made, true = (forward(p)[:, own] for p in (raw, raw + cell.difference[0], cut(truth, window)))
        errors.append(np.linalg.norm(made - true) / max(np.linalg.norm(source - true), 1e-6))
    return np.array(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, default=demo_adapter())
    parser.add_argument("--real", type=Path, help="folder of BBBC013, with an adapter for it")
    parser.add_argument("--treatment", default="translocation")
    parser.add_argument("--style", type=int, default=9001)
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--reference", type=int, default=500, help="steps of the reference")
    parser.add_argument("--guidance", type=float, help="the adapter's own where not given")
    parser.add_argument("--solvers", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    adapter = Adapter.load(options.adapter)
    translator = Translator(
        load_base(adapter.base, options.device), adapter, TranslationSettings(guidance=options.guidance)
    )
    rows = (
        real_cells(options.real, adapter, options.cells)
        if options.real
        else simulated_cells(options.treatment, options.style, adapter.crop, options.cells)
    )
    planes, windows = [row[0] for row in rows], [row[1] for row in rows]
    _, latents = translator.encode_crops(planes, windows)
    torch.manual_seed(0)

    def translate(solver, steps):
        start = time.perf_counter()
        cells = finish(translator.translate_crops(planes, windows, steps=steps, solver=solver))
        return cells, (time.perf_counter() - start) / len(cells)

    translate("difference", 1)  # warms up
    reference, reference_seconds = translate("difference", options.reference)
    stock_seconds = translate("ddim", 50)[1]
    lines = [
        f"{len(rows)} cells, guidance {translator.guidance:.2f}, held: {', '.join(translator.held) or 'none'}.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    print("\n".join(lines), flush=True)
    runs = [(solver, steps) for solver in options.solvers for steps in STEPS[solver]]
    for solver, steps in [*runs, ("difference", options.reference)]:
        if (solver, steps) == ("difference", options.reference):
            cells, seconds, trip, noise = reference, reference_seconds, None, None
        else:
            cells, seconds = translate(solver, steps)
            trip, noise = round_trip(translator, latents, solver, steps)
        off = [
            np.linalg.norm(one.difference - other.difference) / np.linalg.norm(other.difference)
            for one, other in zip(cells, reference, strict=True)
        ]
        true = "" if options.real else f"{np.median(truth_error(translator, rows, cells)):.3f}"
        values = (
            solver, steps, cells[0].evaluations, f"{seconds:.2f}", f"{seconds / stock_seconds:.2f}",
            "" if trip is None else f"{np.median(trip):.1e}", f"{np.median(off):.3f}", f"{np.quantile(off, 0.9):.3f}",
            true, "" if noise is None else f"{noise.variance:.2f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(map(str, values)) + " |")
        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
