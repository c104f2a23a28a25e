"""Time and memory of average precision, beside copairs on the same profiles in one run; prints one line of JSON.

python benchmarks/average_precision.py [--wells 9216] [--copairs-wells 1920] [--dimension 128]

copairs lists every pair and needs tens of GiB at 9,216 wells, so it is compared at a size that it can do. Each
measurement is a process of its own; memory is what the process peaks at above what it holds once all is imported and
the profiles are made. Without copairs installed, only this project's figures are printed.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pandas import DataFrame

from phenolens.evaluation.statistics.average_precision import PairRule, average_precision

COMPOUNDS = 302
WELLS_A_PLATE = 384


def profiles(wells: int, dimension: int) -> tuple[np.ndarray, DataFrame]:
    """Make float64 profiles of compounds on plates, with an effect of each compound and of each plate."""
    random = np.random.default_rng(0)
    compound, plate = random.integers(0, COMPOUNDS, wells), np.arange(wells) // WELLS_A_PLATE
    made = random.normal(size=(wells, dimension))
    made += 0.5 * random.normal(size=(COMPOUNDS, dimension))[compound]
    made += 0.3 * random.normal(size=(plate.max() + 1, dimension))[plate]
    return made, DataFrame({"Metadata_Compound": compound, "Metadata_Plate": plate})


def peak() -> float:
    """GiB that this process has held at most so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 2**20
    raise OSError("the system does not tell a process's peak memory")


def measure(which: str, wells: int, dimension: int, out: Path) -> dict[str, float]:
    """Time one implementation in this process, and save what it found to `out`."""
    made, table = profiles(wells, dimension)
    if which == "copairs":
        from copairs.map import average_precision as theirs

        before, start = peak(), time.perf_counter()
        found = theirs(
            table,
            made,
            ["Metadata_Compound"],
            ["Metadata_Plate"],
            [],
            ["Metadata_Compound"],
            progress_bar=False,
        )["average_precision"].to_numpy()
    else:
        before, start = peak(), time.perf_counter()
        found = average_precision(
            made, table, PairRule(("Compound",), ("Plate",)), PairRule(different=("Compound",))
        ).values
    seconds = time.perf_counter() - start
    np.save(out, found)
    return {"wells": wells, "seconds": round(seconds, 3), "peak_gib": round(peak() - before, 3)}


def in_process(which: str, wells: int, dimension: int, out: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", which, "--wells", str(wells), "--dimension", str(dimension)]
    done = subprocess.run([*command, "--out", str(out)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wells", type=int, default=9216)
    parser.add_argument("--copairs-wells", type=int, default=1920)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--only", choices=("phenolens", "copairs"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(measure(given.only, given.wells, given.dimension, given.out)))
        return
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.npy", Path(folder) / "theirs.npy"
        report: dict[str, object] = {"phenolens": in_process("phenolens", given.wells, given.dimension, ours)}
        if importlib.util.find_spec("copairs"):
            at_size = in_process("phenolens", given.copairs_wells, given.dimension, ours)
            copairs = in_process("copairs", given.copairs_wells, given.dimension, theirs)
            difference = np.abs(np.load(ours) - np.load(theirs))
            report |= {
                "compared": {"phenolens": at_size, "copairs": copairs},
                "times_faster": round(copairs["seconds"] / at_size["seconds"], 1),
                "times_less_memory": round(copairs["peak_gib"] / max(at_size["peak_gib"], 1e-3), 1),
                "largest_difference": float(np.nanmax(difference)),
                "same_profiles_have_none": bool(np.array_equal(np.isnan(np.load(ours)), np.isnan(np.load(theirs)))),
            }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
