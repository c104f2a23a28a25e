"""Seconds from a click to its pictures, and what each step brings, beside stock DDIM 50+50 on the same model.

    python benchmarks/speed.py [--adapter FOLDER] [--turns 6] [--reference 160]

Each turn translates another simulated cell in every way, one after the other, so that all of them meet the same load
of the machine; a ratio is the median of the ratios within turns. Stock DDIM is that of diffusers on torch. Errors are
those of the displayed difference to that of the reference, with many steps, as shares of it: medians over cells. Prints
a table, and a line of JSON.
"""

import argparse
import json
import os
import time
from contextlib import closing
from pathlib import Path

import numpy as np
from solvers import simulated_cells

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.progress import finish
from phenolens.translation.apply.settings import SHOWN_STEPS
from phenolens.translation.apply.translator import Translator
from phenolens.translation.apply.warm_up import warm_up
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.fast_networks import VARIABLE
from phenolens.translation.model.precision import cpu_has_bfloat16
from phenolens.translation.model.shipped import demo_adapter
from phenolens.widgets.translation.jobs import COARSE

STOCK = "stock DDIM 50+50, torch"


def translator_by(kind, folder, device):
    os.environ[VARIABLE] = kind
    adapter = Adapter.load(folder)
    made = Translator(load_base(adapter.base, device), adapter)
    finish(warm_up(made))
    return made


def pictures(translator, cell, **how):
    """Seconds from the start to each picture of a cell, and the pictures."""
    plane, window = cell[:2]
    start, found = time.perf_counter(), []
    with closing(translator.translate_crops([plane], [window], **how)) as job:
        for progress in job:
            if progress.preview is not None:
                found.append((time.perf_counter() - start, progress.preview))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, default=demo_adapter())
    parser.add_argument("--treatment", default="translocation")
    parser.add_argument("--style", type=int, default=9001)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--reference", type=int, default=160, help="steps of the reference")
    options = parser.parse_args()
    device = resolve_device(options.device)
    plain, fast = (translator_by(kind, options.adapter, device) for kind in ("torch", "onnx"))
    cells = simulated_cells(options.treatment, options.style, fast.adapter.crop, options.turns + 1)
    references = finish(
        fast.translate_crops([c[0] for c in cells], [c[1] for c in cells], steps=options.reference)
    )  # fmt: skip

    def click(translator, steps=20, coarse=(), precision="float32"):
        return lambda cell: pictures(translator, cell, steps=steps, coarse=coarse, precision=precision)

    halved = device == "cpu" and cpu_has_bfloat16()

    engine = fast.base.computes_with.split()[0]
    ways = {
        STOCK: lambda cell: pictures(plain, cell, steps=50, solver="ddim"),
        f"stock DDIM 50+50, {engine}": lambda cell: pictures(fast, cell, steps=50, solver="ddim"),
        "8 steps, torch": click(plain, 8),
        "20 steps, torch": click(plain),
        f"8 steps, {engine}": click(fast, 8),
        f"20 steps, {engine}": click(fast),
        **({"20 steps, bfloat16": click(fast, precision="bfloat16")} if halved else {}),
        "a click": click(fast, SHOWN_STEPS, COARSE),
    }
    rows: dict[str, dict[str, list[float]]] = {}

    def note(name, seconds, picture, reference):
        row = rows.setdefault(name, {"seconds": [], "evaluations": [], "error": []})
        row["seconds"].append(seconds)
        row["evaluations"].append(picture.evaluations)
        if reference is not None:
            off = np.linalg.norm(picture.difference - reference.difference) / np.linalg.norm(reference.difference)
            row["error"].append(float(off))

    order, before = list(ways), os.getloadavg()[0]
    for turn, (cell, reference) in enumerate(zip(cells, references, strict=True)):
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            found = ways[name](cell)
            if not turn:
                continue  # the first warms up
            for number, (seconds, picture) in enumerate(found, start=1):
                note(name if len(found) == 1 else f"{name}: picture {number}", seconds, picture, reference)
            if name == "a click":
                start = time.perf_counter()
                moved = finish(fast.move(found[-1][1], (0.7,)))
                note("a new slider position", time.perf_counter() - start, moved, None)
    stock = np.array(rows[STOCK]["seconds"])
    print("| | s | evaluations | error to the reference | times as fast as stock DDIM |\n|---|---|---|---|---|")
    report = []
    for name, row in rows.items():
        seconds, times = np.median(row["seconds"]), np.median(stock / row["seconds"])
        error = float(np.median(row["error"])) if row["error"] else None
        report.append(
            {
                "what": name, "seconds": round(float(seconds), 3), "of_stock": round(float(times), 2),
                "evaluations": int(np.median(row["evaluations"])), "error": error and round(error, 4),
            }
        )  # fmt: skip
        shown = "" if error is None else f"{error:.3f}"
        print(f"| {name} | {seconds:.2f} | {report[-1]['evaluations']} | {shown} | {times:.1f} |")
    of = {row["what"]: row for row in report}
    last = f"a click: picture {len(COARSE) + 1}"
    print(
        json.dumps(
            {
                "device": device,
                "computed_with": fast.base.computes_with,
                "load": [round(before, 1), round(os.getloadavg()[0], 1)],
                "median_seconds": {
                    "coarse": of["a click: picture 1"]["seconds"], "fine": of[last]["seconds"],
                    "slider": of["a new slider position"]["seconds"], "ddim": of[STOCK]["seconds"],
                },
                "ddim_over_coarse": of["a click: picture 1"]["of_stock"],
                "rows": report,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
