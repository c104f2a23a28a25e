"""How fast OME-Zarr opens, and in how much memory; a Markdown table.

    python benchmarks/plates.py [--folder FOLDER] [--side 20000] [--version 0.5]

A plate of 96 wells x 4 fields x 4 channels, and a field of 20,000 x 20,000 pixels and two channels, are written once to
FOLDER (about 1 GB; a temporary one by default). Each is then opened in a process of its own: *opened* is the time from
the path to the table of fields, *first field* that to one plane of all channels in memory, *smallest level* that to
what a viewer shows first. Memory is the highest of the process, less what it was before opening (the imports).
The same plate is opened with ngio in the same way where that is installed.
"""

import argparse
import functools
import http.server
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

CHANNELS = ("DNA", "ER", "AGP", "Mito")
SIDE = 540  # px of a field of the plate


def write_benchmark_plate(path, version):
    from phenolens.runtime.progress import finish
    from phenolens.screens.ome_zarr.plate_writing import write_plate
    from phenolens.screens.table import screen_from_arrays

    rng = np.random.default_rng(0)
    pixels = rng.poisson(100, (4, SIDE, SIDE)).astype(np.uint16)
    metadata = {
        f"{row}{column:02d}_{site}": {
            "Plate": "plate", "Well": f"{row}{column:02d}", "Site": site, "Compound": f"compound {column}",
        }
        for row in "ABCDEFGH" for column in range(1, 13) for site in range(4)
    }  # fmt: skip
    images = dict.fromkeys(metadata, pixels)
    screen = screen_from_arrays(images, CHANNELS, metadata, 0.65)
    started = time.perf_counter()
    finish(write_plate(path, screen, version=version))
    return time.perf_counter() - started


def write_benchmark_field(path, side, version):
    import dask.array as da

    from phenolens.screens.images import FieldImage
    from phenolens.screens.ome_zarr.writing import write_ome_zarr

    tile = np.random.default_rng(0).poisson(100, (1, 1024, 1024)).astype(np.uint16)
    count = -(-side // 1024)
    lazy = da.tile(da.from_array(tile, chunks=tile.shape), (2, count, count))[:, :side, :side]
    started = time.perf_counter()
    write_ome_zarr(path, replace(FieldImage(lazy, "CYX", CHANNELS[:2]), pixel_size=(0.65, 0.65)), version=version)
    return time.perf_counter() - started


@contextmanager
def served(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def peak():
    """MiB that this process has had at most, on Linux; `getrusage` would count what its parent had too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def measured(what, path):
    """Run one of the `OPENERS` in a process of its own."""
    ended = subprocess.run(
        [sys.executable, __file__, "--open", what, "--folder", str(path)], capture_output=True, text=True, check=False
    )
    return json.loads(ended.stdout.splitlines()[-1]) if ended.returncode == 0 else {"error": ended.stderr[-300:]}


def open_plate(path):
    import aiohttp  # noqa: F401
    import dask.array  # noqa: F401
    import pandas  # noqa: F401
    import zarr  # noqa: F401

    from phenolens.screens.table import read_screen

    before, started = peak(), time.perf_counter()
    screen = read_screen(path)
    facts = {"opened": time.perf_counter() - started, "fields": len(screen), "opened_mb": peak() - before}
    started = time.perf_counter()
    screen.fields[200].image().plane()
    return facts | {"first": time.perf_counter() - started, "first_mb": peak() - before}


def open_field(path):
    import dask.array  # noqa: F401
    import pandas  # noqa: F401
    import zarr  # noqa: F401

    from phenolens.screens.images import read_image

    before, started = peak(), time.perf_counter()
    image = read_image(path)
    facts = {"opened": time.perf_counter() - started, "fields": 1, "opened_mb": peak() - before}
    started = time.perf_counter()
    np.asarray(image.levels[-1])
    facts |= {"first": time.perf_counter() - started, "first_mb": peak() - before}
    started = time.perf_counter()
    np.asarray(image.data[:, 9000:10080, 9000:10920])  # a screenful at full size
    return facts | {"screenful": time.perf_counter() - started, "screenful_mb": peak() - before}


def open_with_ngio(path):
    import ngio

    before, started = peak(), time.perf_counter()
    images = ngio.open_ome_zarr_plate(path).get_images()
    facts = {"opened": time.perf_counter() - started, "fields": len(images), "opened_mb": peak() - before}
    started = time.perf_counter()
    list(images.values())[200].get_image().get_as_numpy()
    return facts | {"first": time.perf_counter() - started, "first_mb": peak() - before}


OPENERS = {"plate": open_plate, "url": open_plate, "field": open_field, "ngio": open_with_ngio}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder")
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--version", default="0.5")
    parser.add_argument("--open", choices=OPENERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        print(json.dumps(OPENERS[options.open](options.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        plate, field = folder / f"plate-{options.version}.zarr", folder / f"field-{options.version}.zarr"
        written = {"plate": None, "field": None}
        if not plate.exists():
            written["plate"] = write_benchmark_plate(plate, options.version)
        if not field.exists():
            written["field"] = write_benchmark_field(field, options.side, options.version)
        print("| what | opened, s | memory, MiB | first pixels, s | memory, MiB | a screenful, s | written, s |")
        print("|---|---|---|---|---|---|---|")
        side = f"{options.side:,}"
        rows = {
            "plate": ("plate, 96 wells x 4 fields x 4 channels", plate),
            "url": ("the same plate by URL, from a server on this machine", plate),
            "ngio": ("the same plate with ngio", plate),
            "field": (f"field of {side} x {side}, 2 channels", field),
        }
        for what, (name, path) in rows.items():
            with served(folder) as url:
                facts = measured(what, f"{url}/{path.name}" if what == "url" else path)
            if "error" in facts:
                print(f"| {name} | not measured: {facts['error'].splitlines()[-1]} | | | | | |")
                continue
            screenful = f"{facts['screenful']:.2f}" if "screenful" in facts else ""
            wrote = f"{written[what]:.0f}" if written.get(what) else ""
            print(
                f"| {name} | {facts['opened']:.2f} | {facts['opened_mb']:.0f} | {facts['first']:.2f} "
                f"| {facts['first_mb']:.0f} | {screenful} | {wrote} |"
            )


if __name__ == "__main__":
    main()
