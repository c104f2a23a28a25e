"""Time to place one cell in a large atlas and to find its neighbours; prints one line of JSON.

python benchmarks/placing.py [--cells 1000000] [--dimension 128] [--landmarks 50000] [--repeats 20]

The aims on two cores are 20 ms to place a cell and 50 ms for its 50 nearest. The atlas is fitted with principal
components; placing among landmarks, as on a map of UMAP or t-SNE, is timed apart, for its rule does not care how the
landmarks were laid out. Times are medians in ms over cells that are not in the atlas, after a first one; memory is
what fitting peaks at above what the process holds once the profiles are made.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pandas import DataFrame

from phenolens.profiling.atlas.atlas import Atlas
from phenolens.profiling.atlas.projection import NeighbourProjection
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.progress import finish

PLATES = 20


def profiles(cells: int, dimension: int) -> Profiles:
    """Make cells on plates, a tenth of them controls, with an effect of each plate and of each compound."""
    random = np.random.default_rng(0)
    plate, compound = np.arange(cells) * PLATES // cells, random.integers(0, 10, cells)
    vectors = random.standard_normal((cells, dimension), np.float32)
    vectors += random.standard_normal((PLATES, dimension), np.float32)[plate]
    vectors += np.vstack([np.zeros(dimension), random.standard_normal((9, dimension))]).astype(np.float32)[compound]
    metadata = DataFrame(
        {
            "Metadata_Plate": np.char.add("P", plate.astype(str)),
            "Metadata_Compound": np.char.add("C", compound.astype(str)),
            "Metadata_Role": np.where(compound == 0, "negative control", "treated"),
        }
    )
    return Profiles(metadata, vectors, {"level": "cell"})


def held(word: str) -> float:
    """GiB that this process holds ("VmRSS"), or has held at most ("VmHWM")."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(word):
            return int(line.split()[1]) / 2**20
    raise OSError("the system does not tell a process's memory")


def median_ms(look: Callable[[np.ndarray], object], cells: np.ndarray) -> float:
    """Median time of `look` at one cell after the first."""
    times = []
    for cell in cells:
        start = time.perf_counter()
        look(cell)
        times.append(1e3 * (time.perf_counter() - start))
    return round(float(np.median(times[1:])), 3)


def timed(make: Callable[[], object]) -> tuple[object, float]:
    start = time.perf_counter()
    made = make()
    return made, round(time.perf_counter() - start, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--landmarks", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    made = profiles(given.cells, given.dimension)
    before = held("VmRSS")
    atlas, fit = timed(lambda: finish(Atlas.fit(made)))
    peak = held("VmHWM") - before
    assert isinstance(atlas, Atlas)
    with tempfile.TemporaryDirectory() as folder:
        _, save = timed(lambda: atlas.save(Path(folder) / "atlas"))
        loaded, load = timed(lambda: Atlas.load(Path(folder) / "atlas"))
        assert isinstance(loaded, Atlas)
        random = np.random.default_rng(1)
        raw = random.standard_normal((given.repeats + 1, given.dimension), np.float32)
        cells = loaded.correct(raw, ["P0"] * len(raw))
        rows = np.arange(min(given.landmarks, given.cells))
        landmarks = NeighbourProjection(rows, np.asarray(atlas.vectors[rows]), atlas.coordinates[rows])
        report = {
            "cells": given.cells,
            "dimension": given.dimension,
            "cores": len(os.sched_getaffinity(0)),
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
            "fit_seconds": fit,
            "fit_peak_gib": round(peak, 2),
            "save_seconds": save,
            "load_seconds": load,
            "correct_ms": median_ms(lambda cell: loaded.correct(cell[None], ["P0"]), raw),
            "place_ms": median_ms(lambda cell: loaded.place(cell[None]), cells),
            "place_among_landmarks_ms": median_ms(lambda cell: landmarks.place(cell[None]), cells),
            "top_50_ms": median_ms(lambda cell: loaded.neighbours(cell, 50), cells),
            "same_alone_and_in_a_batch": bool(
                all(
                    np.array_equal(loaded.place(cell[None])[0], place)
                    for cell, place in zip(cells, loaded.place(cells), strict=True)
                )
            ),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
