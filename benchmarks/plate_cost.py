"""What a whole plate costs: a model of its seconds, its terms measured, and how well it foretells other runs.

    python benchmarks/plate_cost.py terms [--steps 20]
    python benchmarks/plate_cost.py check [--steps 5] [--fields 10 100]
    python benchmarks/plate_cost.py table [--gpus 1 4 16 64] [--times-faster 30]

*terms* translates a few simulated screens that differ in fields, cells and size, each by the command in one process
with one thread, and takes what start, field, pixels and cell cost from the processor's seconds, which another program
on the same machine changes less than the clock's.

*check* measures the terms in the same way, and compares what the model says of other runs, by one process and by two
workers, with what they took: processor's seconds, and for two workers those of the one that was busiest.

*table* is the model for 384 wells x 9 sites x 5 channels on several GPUs. No GPU was measured: `--times-faster` is how
many times faster than a core one is taken to do a cell, and what a core does for a field stays as it is.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path

import numpy as np

ALONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PHENOLENS_THREADS": "1"}
CHANNELS = 3  # of the simulated screens


@dataclass(frozen=True)
class Terms:
    """What a run consists of, in seconds of one core.

    Parameters
    ----------
    start
        Of a process, until it has loaded the weights.
    field
        Of a field, whatever is in it.
    megavalue
        Of a million pixels times channels of a field: reading, hashing, joining and writing them.
    cell
        Of a cell, in the networks.
    """

    start: float
    field: float
    megavalue: float
    cell: float


MEASURED = Terms(start=8.4, field=0.0, megavalue=0.098, cell=1.29)
"""On one core of a server's processor that other programs used too: start, field and values by *check*, and a cell of
20 steps by *terms*. What a field costs beside its pixels and cells was too little to be seen."""


def seconds(
    terms: Terms,
    fields: int,
    cells: float,
    megavalues: float,
    workers: int = 1,
    *,
    times_faster: float = 1.0,
    beside: bool | None = None,
    gather: float = 0.0,
) -> float:
    """Seconds on the clock of a plate, where each worker has a core, or a core and a GPU, of its own.

    A worker does its fields one after the other, and each loads the weights once. The last field ends the run, so a
    worker counts with the most fields that one has. Where something else than the core does the cells, files and cells
    of different fields go on side by side: each field counts with what takes longer, and the other is waited for once.
    A core that does both takes both.

    Parameters
    ----------
    fields, cells, megavalues
        Of the plate; cells of a field; millions of pixels times channels of a field.
    times_faster
        How many times faster than a core a device does a cell.
    beside
        Whether files go on beside the cells; where None, where a device is faster than a core.
    gather
        Seconds of a field in what one process does for all of them at the end.
    """
    files, computed = terms.field + terms.megavalue * megavalues, terms.cell * cells / times_faster
    most = ceil(fields / min(workers, fields))
    if times_faster > 1 if beside is None else beside:
        taken = most * max(files, computed) + min(files, computed)
    else:
        taken = most * (files + computed)
    return terms.start + taken + gather * fields


def fitted(runs: list[tuple[int, int, float, float]]) -> Terms:
    """The terms, none below zero, that explain runs best: fields, cells of a field, megavalues of a field, seconds."""
    from scipy.optimize import nnls

    rows = [[1.0, fields, fields * megavalues, fields * cells] for fields, cells, megavalues, _ in runs]
    return Terms(*map(float, nnls(np.array(rows), np.array([taken for *_, taken in runs]))[0]))


def translated(folder: Path, fields: int, cells: int, side: int, steps: int, workers: int = 1) -> float:
    """Seconds of processor of a run: of its one process, or of the start and the busiest of its workers."""
    from phenolens.runtime.progress import finish
    from phenolens.simulation import simulate_screen, style_for
    from phenolens.translation.model.shipped import demo_adapter

    screen, out = folder / f"{fields}-{cells}-{side}", folder / f"out-{fields}-{cells}-{side}-{workers}"
    if not screen.exists():
        style = style_for("translocation", 9001)
        finish(
            simulate_screen(screen, "translocation", wells=fields, cells=cells, seed=1, shape=(side, side), style=style)
        )
    command = [
        sys.executable, "-c", _WATCHED, "translate", str(demo_adapter()), str(screen), "--out", str(out), "--strength",
        "1", "--steps", str(steps), "--cells", str(screen / "labels"), "--alpha", "0", "--workers", str(workers),
    ]  # fmt: skip
    ran = subprocess.run(command, env=os.environ | ALONE, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr[-2000:])
    own, *others = map(float, re.findall(r"^CPU ([\d.]+)$", ran.stderr, re.MULTILINE))
    print(json.dumps({"fields": fields, "cells": cells, "side": side, "workers": workers, "cpu": [own, *others]}),
          file=sys.stderr, flush=True)  # fmt: skip
    return max(others) if others else own


# The command, and the seconds of processor of its process, then of each of its workers as it was when last looked at.
_WATCHED = """
import sys, threading, time, psutil
from phenolens.cli.app import app
seen = {}
def look():
    while True:
        for one in psutil.Process().children(recursive=True):
            try:
                t = one.cpu_times(); seen[one.pid] = t.user + t.system
            except psutil.Error:
                pass
        time.sleep(0.05)
threading.Thread(target=look, daemon=True).start()
try:
    app(sys.argv[1:])
finally:
    t = psutil.Process().cpu_times()
    for one in (t.user + t.system, *(s for s in seen.values() if s > 3)):
        print(f"CPU {one:.2f}", file=sys.stderr)
"""

# Fields, cells of a field, side of a field.
RUNS = [(2, 2, 256), (2, 10, 256), (12, 2, 256), (2, 2, 2048), (8, 2, 2048)]


def megavalues(side: int, channels: int = CHANNELS) -> float:
    return side * side * channels / 1e6


def measure(folder: Path, steps: int) -> Terms:
    taken = [(f, c, megavalues(side), translated(folder, f, c, side, steps)) for f, c, side in RUNS]
    found = fitted(taken)
    print(json.dumps({"steps": steps, **{name: round(value, 3) for name, value in asdict(found).items()}}))
    return found


def terms(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.steps)


def check(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = measure(folder, options.steps)
        print("\n| fields | workers | the model, s | the run, s | model over run |\n|---|---|---|---|---|")
        for fields in options.fields:
            for workers in (1, 2):
                took = translated(folder, fields, 2, 256, options.steps, workers)
                says = seconds(found, fields, 2, megavalues(256), workers)
                print(f"| {fields} | {workers} | {says:.1f} | {took:.1f} | {says / took:.2f} |", flush=True)


def lines_of_table(gpus: tuple[int, ...], times_faster: float, side: int, cells: int) -> list[str]:
    """Rows of Markdown: GPUs, hours, GPU hours, and the share of the time in which a GPU computes."""
    fields, values, lines = 384 * 9, megavalues(side, 5), []
    for count in gpus:
        took = seconds(MEASURED, fields, cells, values, count, times_faster=times_faster)
        computing = ceil(fields / count) * MEASURED.cell * cells / times_faster
        lines.append(f"| {count} | {took / 3600:.2f} | {took * count / 3600:.1f} | {computing / took:.2f} |")
    return lines


def table(options: argparse.Namespace) -> None:
    print(f"3,456 fields of {options.side} x {options.side} x 5, {options.cells} cells each\n")
    print("| GPUs | hours | GPU hours | share of the time in which a GPU computes |\n|---|---|---|---|")
    print("\n".join(lines_of_table(tuple(options.gpus), options.times_faster, options.side, options.cells)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    one = parts.add_parser("terms")
    one.add_argument("--steps", type=int, default=20)
    one.set_defaults(part=terms)
    one = parts.add_parser("check")
    one.add_argument("--steps", type=int, default=5)
    one.add_argument("--fields", type=int, nargs="+", default=[10, 100])
    one.set_defaults(part=check)
    one = parts.add_parser("table")
    one.add_argument("--gpus", type=int, nargs="+", default=[1, 4, 16, 64])
    one.add_argument("--times-faster", type=float, default=30, help="than one core, for a cell: an assumption")
    one.add_argument("--side", type=int, default=1080)
    one.add_argument("--cells", type=int, default=100)
    one.set_defaults(part=table)
    options = parser.parse_args()
    options.part(options)


if __name__ == "__main__":
    main()
