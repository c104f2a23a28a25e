"""A field of 20,000 x 20,000 pixels with 20,000 cells in the viewer: how fast it opens, pans and zooms, in what memory.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python benchmarks/large_field.py [--folder FOLDER]

The field (two channels, an OME-Zarr of about 1.5 GB, labels and a table of their features inside) is written once to
FOLDER. It is opened twice, each time in a process of its own: as a screen, with the dock, and as layers that were saved
or exported, with labels and features. *Opened* is the time from dropping to the first finished redraw. A frame is the
time between two finished redraws while a timer moves the camera every 16 ms. Memory is the highest of the process, less
what it was before opening. Prints JSON.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHANNELS = ("DNA", "ER")
CELLS = 20_000
WINDOW = (1400, 900)


def write_field(path: Path, side: int, looks: bool) -> None:
    """Write a field with `CELLS` round cells on a grid; as layers where `looks`."""
    import dask.array as da
    import pandas as pd

    from phenolens.screens.image_details import ImageDetails
    from phenolens.screens.images import FieldImage
    from phenolens.screens.ome_zarr.images import LabelImage
    from phenolens.screens.ome_zarr.layer_images import write_layer_image
    from phenolens.translation.apply.export_looks import plain_looks

    across = int(np.ceil(np.sqrt(CELLS)))
    pitch = side / across

    def labels(block_info=None):
        (top, bottom), (left, right) = block_info[None]["array-location"]
        y, x = np.ogrid[top:bottom, left:right]
        row, column = (y // pitch).astype(np.int32), (x // pitch).astype(np.int32)
        inside = np.hypot(y - (row + 0.5) * pitch, x - (column + 0.5) * pitch) < 0.3 * pitch
        number = row * across + column + 1
        return np.where(inside & (number <= CELLS), number, 0).astype(np.int32)

    def pixels(block, block_info=None):
        rng = np.random.default_rng(block_info[None]["array-location"][0])
        return (rng.poisson(100, block.shape) + 400 * (block > 0)).astype(np.uint16)

    chunks = (1024, 1024)
    shape = da.core.normalize_chunks(chunks, (side, side), dtype=np.int32)
    drawn = da.map_blocks(labels, chunks=shape, dtype=np.int32)
    channel = da.map_blocks(pixels, drawn, dtype=np.uint16)
    image = FieldImage(da.stack([channel, channel[::-1]]), "CYX", CHANNELS, (0.65, 0.65))
    table = pd.DataFrame({"label": np.arange(1, CELLS + 1), "index": np.arange(1, CELLS + 1), "class": "round"})
    about = {
        "kind": "labels", "name": "cells", "dtype": "int32", "shape": [side, side],
        "scale": [0.65, 0.65], "units": ["micrometer", "micrometer"], "metadata": {}, "opacity": 0.7,
        "features": {
            "table": "cells", "columns": {"index": "index", "class": "class"},
            "dtypes": {"index": "int64", "class": "object"},
        },
    }  # fmt: skip
    looked = [
        {"kind": "image", "dtype": "uint16", "shape": [side, side], **look}
        for look in plain_looks(image, (0, 0), (700, 700))["source"]
    ]
    write_layer_image(
        path, image.data, "CYX", CHANNELS, 0.65, synthetic=False,
        description={"layers": looked} if looks else {}, tables={"cells": table},
        labels={"cells": LabelImage(drawn, "YX", details=ImageDetails(facts={"layer": about}))},
    )  # fmt: skip


def peak() -> float:
    """MiB that this process has had at most, on Linux."""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def frames(viewer, move, seconds: float) -> np.ndarray:
    """Milliseconds between redraws over `seconds`, in which a timer calls `move` with a number that counts up."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    drawn: list[float] = []
    listener = lambda _: drawn.append(time.perf_counter())  # noqa: E731
    events = viewer.window._qt_viewer.canvas._scene_canvas.events.draw
    events.connect(listener)
    timer, step = QTimer(), [0]

    def one() -> None:
        step[0] += 1
        move(step[0])

    timer.timeout.connect(one)
    timer.start(16)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)
    timer.stop()
    events.disconnect(listener)
    return 1000 * np.diff(drawn)


def opened(path: str, seconds: float) -> dict[str, float]:
    """Open the field in a window of this process, and move about in it."""
    import napari
    from qtpy.QtWidgets import QApplication

    import phenolens.widgets.reader
    from phenolens.widgets.translation.dock import PhenolensDock

    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    warm = viewer.add_image(np.zeros((64, 64), np.uint8))
    viewer.add_labels(np.ones((64, 64), int))
    if not phenolens.widgets.reader.saved_layers(Path(path)):
        assert PhenolensDock
        phenolens.widgets.reader.main_dock(viewer)
    frames(viewer, lambda step: None, 2)
    viewer.layers.clear()
    del warm
    before, started = peak(), time.perf_counter()
    drawn: list[float] = []
    viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(lambda _: drawn.append(time.perf_counter()))
    viewer.open(path, plugin="napari-phenolens")
    there = len(drawn)
    while len(drawn) <= there:
        QApplication.processEvents()
    facts = {"opened_s": drawn[-1] - started, "opened_mb": peak() - before, "layers": len(viewer.layers)}
    assert all(layer.multiscale for layer in viewer.layers)
    frames(viewer, lambda step: None, 3)
    centre = np.array(viewer.camera.center)
    whole = viewer.camera.zoom

    def pan(step: int) -> None:
        viewer.camera.center = centre + np.array([0, 300 * np.sin(step / 40), 500 * np.cos(step / 40)])

    def zoom(step: int) -> None:
        viewer.camera.zoom = whole * 2 ** (4 * (1 - np.cos(step / 60)) / 2 * 1.5)

    report = {}
    viewer.camera.zoom = 1 / 0.65  # a pixel of the field a pixel of the screen
    frames(viewer, pan, 2)
    report["pan"] = frames(viewer, pan, seconds)
    viewer.camera.center = centre
    viewer.camera.zoom = whole
    report["zoom"] = frames(viewer, zoom, seconds)
    for name, found in report.items():
        facts[f"{name}_median_ms"] = float(np.median(found))
        facts[f"{name}_p95_ms"] = float(np.percentile(found, 95))
        facts[f"{name}_frames"] = len(found)
    facts["memory_mb"] = peak() - before
    if shot := Path(path).with_suffix(".png"):
        viewer.screenshot(str(shot), canvas_only=False)
    viewer.close()
    return {name: round(value, 2) for name, value in facts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder")
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--open", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        print(json.dumps(opened(options.open, options.seconds)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        report = {}
        for name, looks in (("as a screen, with the dock", False), ("as layers, with labels and features", True)):
            path = (
                Path(options.folder or temporary) / f"field-{options.side}-{'layers' if looks else 'screen'}.ome.zarr"
            )
            if not path.exists():
                write_field(path, options.side, looks)
            command = [sys.executable, __file__, "--open", str(path), "--seconds", str(options.seconds)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = ended.stdout.splitlines()
            report[name] = json.loads(lines[-1]) if ended.returncode == 0 else {"error": ended.stderr[-1500:]}
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
