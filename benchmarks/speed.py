"""Seconds from click to result, for a new slider position, and for stock DDIM 50+50, on the same model in one run.

python benchmarks/speed.py [--adapter FOLDER] [--repeats 5]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from phenolens.runtime.devices import resolve_device
from phenolens.runtime.progress import finish
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base


def shipped_adapter() -> Path:
    from importlib.resources import files

    return Path(str(files("phenolens") / "adapters" / "demo"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", type=Path, default=shipped_adapter())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    adapter = Adapter.load(options.adapter)
    device = resolve_device(options.device)
    translator = Translator(load_base(adapter.base, device), adapter)
    plane = np.random.default_rng(0).integers(0, 200, (len(adapter.channel_names), 512, 512)).astype(np.uint8)
    seconds: dict[str, list[float]] = {"coarse": [], "fine": [], "slider": [], "ddim": []}
    for repeat in range(options.repeats + 1):
        start = time.perf_counter()
        arrived: list[float] = []
        job = translator.translate_cell(plane, 250, 250, coarse=(8,))
        while True:
            try:
                progress = next(job)
            except StopIteration as stop:
                cell = stop.value
                break
            if progress.preview is not None:
                arrived.append(time.perf_counter())
        moved = time.perf_counter()
        finish(translator.move(cell, (0.7,)))
        stock = time.perf_counter()
        finish(translator.translate_cell(plane, 250, 250, steps=50, solver="ddim"))
        end = time.perf_counter()
        if repeat:  # the first warms up
            seconds["coarse"].append(arrived[0] - start)
            seconds["fine"].append(arrived[1] - start)
            seconds["slider"].append(stock - moved)
            seconds["ddim"].append(end - stock)
    medians = {name: round(float(np.median(values)), 3) for name, values in seconds.items()}
    ratios = np.array(seconds["ddim"]) / np.array(seconds["coarse"])
    print(
        json.dumps(
            {"device": device, "median_seconds": medians, "ddim_over_coarse": round(float(np.median(ratios)), 2)}
        )
    )


if __name__ == "__main__":
    main()
