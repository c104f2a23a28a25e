"""Whole plates: memory at 10 to 1,000 fields, and fields an hour beside a loop of stock diffusers.

    python benchmarks/plate_runs.py memory [--fields 10 100 1000] [--ways tiff zarr embed workers]
    python benchmarks/plate_runs.py speed [--fields 16] [--cells 8] [--loop 2]
    python benchmarks/plate_runs.py overlap [--fields 12] [--cells 2] [--files 0.5]

Each part prints a Markdown table, and a line of JSON. Every process computes with one thread.

*memory* translates (a base of few random weights, two cells a field, 64 x 64 pixels) and embeds plates of so many
fields, each in a process of its own, and gives the highest memory of any of its processes.

*speed* translates simulated fields with the shipped adapter: with the command, in one process, by ``--workers 2``, and
by two jobs in folders of their own, each with half of the fields, which is what the machine gives two independent
processes. A rate counts from the moment when the first field of each process is finished, so neither imports nor
loading count. The loop takes each cell by itself through the DDIM inversion and generation of diffusers on torch, 50
steps each way, with the same adapter, and writes each field with tifffile; `--loop` fields are enough for its rate.
*efficiency* is the rate of two workers over that of two independent processes.

*overlap* translates simulated fields in this process where files are slow: each field takes `--files` times as long to
read as to compute, and again as long to write, by waiting. It does so as a run does, the next field being read and the
last one written while one is computed, and one stage after the other, and gives seconds, the share of the time in which
cells are computed, and what `seconds` of plate_cost.py would say. The files are compared to the byte.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
ALONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PHENOLENS_THREADS": "1"}


def command(*arguments):
    """A command of phenolens, as a process."""
    log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
    started = subprocess.Popen(
        [sys.executable, "-m", "phenolens", *map(str, arguments)], env=os.environ | ALONE, stdout=log, stderr=log
    )
    started.log = log
    return started


def ended(process):
    """Wait for a command; what it said where it failed."""
    if process.wait() != 0:
        process.log.seek(0)
        raise SystemExit(process.log.read().decode()[-2000:])


def highest_memory(process):
    """MiB that a process, or any of its children, had at most until it ended."""
    import psutil

    found: dict[int, float] = {}
    here = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            for one in (here, *here.children(recursive=True)):
                status = Path(f"/proc/{one.pid}/status").read_text()
                peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), None)
                if peak is not None:
                    found[one.pid] = int(peak) / 1024
        except (OSError, psutil.Error):
            pass
        time.sleep(0.1)
    ended(process)
    return max(found.values())


def memory(options):
    from tiny_base import make_tiny_adapter, make_tiny_base
    from tiny_plates import a_plate

    quick = ("--strength", "1", "--steps", "1", "--cells", "inside", "--alpha", "0")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        adapter = make_tiny_adapter(make_tiny_base(folder / "base")).save(folder / "adapter")
        for count in options.fields:
            wells = max(number for number in range(1, 97) if count % number == 0)
            plate = a_plate(folder / f"{count}.zarr", wells, count // wells)
            for way in options.ways:
                out, started = folder / f"{way}-{count}", time.perf_counter()
                translating = ("translate", adapter, plate, "--out", out, *quick)
                run = {
                    "tiff": translating,
                    "zarr": (*translating, "--format", "zarr"),
                    "workers": (*translating, "--workers", "2"),
                    "embed": ("micon", "embed", "default", plate, "--out", f"{out}.parquet", "--cells", "inside"),
                }[way]
                peak = highest_memory(command(*run))
                seconds = time.perf_counter() - started
                rows.append({"fields": count, "way": way, "mib": round(peak), "seconds": round(seconds)})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print("| | " + " | ".join(f"{count:,} fields" for count in options.fields) + " | last over first |")
    print("|---|" + "---|" * (len(options.fields) + 1))
    for way in options.ways:
        of = [row["mib"] for row in rows if row["way"] == way]
        print(f"| {way} | " + " | ".join(f"{mib:,} MiB" for mib in of) + f" | {of[-1] / of[0]:.2f} |")
    print(json.dumps(rows))


def rate(out, started):
    """Fields an hour, from the first finished field of each of so many processes on, by when files were written."""
    times = sorted(path.stat().st_mtime for path in out.glob("*__difference.ome.tif"))
    first = times[started - 1]
    return 3600 * (len(times) - started) / (times[-1] - first)


def loop(screen, cells, adapter_folder, count, out):
    """Fields an hour of the loop that one writes with diffusers; a cell at a time, a file a field."""
    import tifffile
    import torch
    from diffusers import DDIMInverseScheduler, DDIMScheduler

    from phenolens.screens.crops import cut, resample, window_at
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter
    from phenolens.translation.model.base import load_base
    from phenolens.translation.model.fast_networks import VARIABLE

    torch.set_num_threads(1)
    os.environ[VARIABLE] = "torch"
    adapter = Adapter.load(adapter_folder)
    translator = Translator(load_base(adapter.base, "cpu"), adapter)  # puts the adapter's weights into the UNet
    base = translator.base
    unet, known = base.predict, base.scheduler_config
    config = {**known, "timestep_spacing": "leading", "set_alpha_to_one": False, "clip_sample": False}
    inverse, forward = DDIMInverseScheduler.from_config(config), DDIMScheduler.from_config(config)
    inverse.set_timesteps(50)
    forward.set_timesteps(50)
    source, target = (adapter.condition_tokens(name)[None] for name in adapter.conditions)
    started = time.perf_counter()
    for field in screen.fields[:count]:
        plane = field.image().plane()
        mapped, result = adapter.intensity.forward(plane), plane.astype(np.float32)
        for cell in cells.of_field(field.key).table.itertuples():
            window = window_at(cell.y, cell.x, adapter.crop)
            with torch.inference_mode():
                _, x = translator.encode_crops([plane], [window])
                z = x
                for t in inverse.timesteps:
                    z = inverse.step(unet(z, t.expand(1), source), t, z).prev_sample
                for t in forward.timesteps:
                    z = forward.step(unet(z, t.expand(1), target), t, z).prev_sample
                change = (base.decode(z) - base.decode(x))[0].numpy()
            part = cut(mapped, window)
            made = adapter.intensity.inverse(part + resample(change[None], window.size)[0])
            top, left = max(window.y, 0), max(window.x, 0)
            inside = result[:, top : window.y + window.size, left : window.x + window.size]
            inside[...] = made[:, top - window.y :, left - window.x :][:, : inside.shape[1], : inside.shape[2]]
        tifffile.imwrite(out / f"{field.key}.tif", result)
    return 3600 * count / (time.perf_counter() - started)


def simulated(folder, options):
    """A simulated screen in a folder: where it is, what it holds, and its true cells."""
    from phenolens.runtime.progress import finish
    from phenolens.screens.cells import find_cells
    from phenolens.screens.table import read_screen
    from phenolens.simulation import simulate_screen, style_for

    place = finish(
        simulate_screen(folder / "screen", "translocation", wells=options.fields, cells=options.cells, seed=1,
                        shape=(256, 256), style=style_for("translocation", 9001))
    )  # fmt: skip
    screen = read_screen(place)
    return place, screen, finish(find_cells(screen, place / "labels"))


def speed(options):
    from phenolens.translation.model.shipped import demo_adapter

    adapter = demo_adapter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        place, screen, cells = simulated(folder, options)
        how = ("--strength", "1", "--cells", place / "labels", "--alpha", "0")
        rates: dict[str, float] = {}

        def measure(name, *runs):
            outs = [folder / f"{name}-{number}" for number in range(len(runs))]
            begun = [
                command("translate", adapter, place, "--out", out, *how, *more)
                for out, more in zip(outs, runs, strict=True)
            ]
            for one in begun:
                ended(one)
            each = [rate(out, 2 if "--workers" in runs[0] else 1) for out in outs]
            rates[name] = sum(each)
            print(json.dumps({name: rates[name]}), file=sys.stderr, flush=True)

        measure("one process", ())
        measure("one process, bfloat16", ("--precision", "bfloat16"))
        measure("one process, 12 steps", ("--steps", "12"))
        measure("one process, 12 steps, bfloat16", ("--steps", "12", "--precision", "bfloat16"))
        if not options.one:
            measure("two workers", ("--workers", "2"))
            measure("two independent processes", ("--job", "1/2"), ("--job", "2/2"))
        (folder / "loop").mkdir()
        rates["loop of stock diffusers"] = loop(screen, cells, adapter, options.loop, folder / "loop")
        fields = len(screen)
    stock = rates["loop of stock diffusers"]
    print(
        f"{fields} fields with {len(cells) / fields:.1f} cells each, 256 x 256 pixels; load {os.getloadavg()[0]:.1f}\n"
    )
    print("| | fields an hour | times the loop |\n|---|---|---|")
    for name, found in rates.items():
        print(f"| {name} | {found:,.0f} | {found / stock:.1f} |")
    if not options.one:
        rates["efficiency"] = rates["two workers"] / rates["two independent processes"]
        print(f"\nefficiency of two workers: {rates['efficiency']:.2f}")
    print(json.dumps({**rates, "cells": len(cells) / fields}))


def overlap(options):
    from dataclasses import replace

    import plate_cost

    from phenolens.runtime.engines import overlapping
    from phenolens.translation.apply import field_work
    from phenolens.translation.apply.result_files import ResultFiles
    from phenolens.translation.apply.screen_translation import translate_screen
    from phenolens.translation.apply.settings import TranslationSettings
    from phenolens.translation.model.adapter import Adapter
    from phenolens.translation.model.shipped import demo_adapter

    computing = [0.0]
    usual_compute, usual_write, usual_beside = field_work._compute, ResultFiles.write, overlapping._beside

    def timed(translator, work, what):
        """The job that computes a field, and adds up the seconds that it takes."""
        job = usual_compute(translator, work, what)
        while True:
            begun = time.perf_counter()
            try:
                step = next(job)
            except StopIteration as stop:
                return stop.value
            finally:
                computing[0] += time.perf_counter() - begun
            yield step

    def one_after_the_other(call, name):
        found = overlapping.Future()
        found.set_result(call())
        return found

    def run(screen, cells, out, wait, beside):
        def slow(read):
            return lambda: (time.sleep(wait), read())[1]

        def write(self, *about, **more):
            time.sleep(wait / 2)  # each field has two files
            usual_write(self, *about, **more)

        behind = replace(screen, fields=tuple(replace(one, read=slow(one.read)) for one in screen))
        ResultFiles.write, overlapping._beside, computing[0] = write, beside, 0.0
        settings = TranslationSettings(strengths=(1.0,))
        begun = None
        for step in translate_screen(Adapter.load(demo_adapter()), behind, out, settings, cells=cells, device="cpu"):
            if begun is None and step.total:  # what comes before is of all fields
                begun = time.perf_counter()
        return time.perf_counter() - begun, computing[0]

    field_work._compute = timed
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _, screen, cells = simulated(folder, options)
        fields = len(screen)
        run(screen, cells, folder / "warm", 0.0, usual_beside)
        _, own = run(screen, cells, folder / "quick", 0.0, one_after_the_other)
        wait = options.files * own / fields
        rows = {}
        for name, beside in (("one after the other", one_after_the_other), ("overlapping", usual_beside)):
            rows[name] = run(screen, cells, folder / name, wait, beside)
        for path in (folder / "quick").glob("*.ome.tif"):
            assert (folder / "overlapping" / path.name).read_bytes() == path.read_bytes(), path.name
    each = own / fields
    terms = plate_cost.Terms(start=0.0, field=2 * wait, megavalue=0.0, cell=each)
    says = {
        "one after the other": plate_cost.seconds(terms, fields, 1, 0.0),
        "overlapping": plate_cost.seconds(terms, fields, 1, 0.0, beside=True),
    }
    print(f"{fields} fields: {each:.2f} s of computing, {wait:.2f} s of reading, {wait:.2f} s of writing for each\n")
    print("| | seconds | share of the time in which cells are computed | the model, s |\n|---|---|---|---|")
    for name, (took, busy) in rows.items():
        print(f"| {name} | {took:.1f} | {busy / took:.2f} | {says[name]:.1f} |")
    print(json.dumps({"computing": each, "wait": wait, **rows}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    one = parts.add_parser("memory")
    one.add_argument("--fields", type=int, nargs="+", default=[10, 100, 1000])
    one.add_argument("--ways", nargs="+", default=["tiff", "zarr", "embed", "workers"])
    one.set_defaults(part=memory)
    one = parts.add_parser("speed")
    one.add_argument("--fields", type=int, default=16)
    one.add_argument("--cells", type=int, default=8)
    one.add_argument("--loop", type=int, default=2, help="fields that the loop takes")
    one.add_argument("--one", action="store_true", help="one process alone")
    one.set_defaults(part=speed)
    one = parts.add_parser("overlap")
    one.add_argument("--fields", type=int, default=12)
    one.add_argument("--cells", type=int, default=2)
    one.add_argument("--files", type=float, default=0.5, help="times as long as computing, to read and again to write")
    one.set_defaults(part=overlap)
    options = parser.parse_args()
    options.part(options)


if __name__ == "__main__":
    main()
