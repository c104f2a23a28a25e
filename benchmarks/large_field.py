"""A field of 20,000 x 20,000 pixels with 20,000 cells in the viewer: how fast it opens, pans and zooms, in what memory.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python benchmarks/large_field.py [--folder FOLDER]

The field (two channels, an OME-Zarr of about 1.5 GB, labels and a table of their features inside) is written once to
FOLDER, which takes minutes. It is opened twice, each time in a process of its own: as a screen, with the dock, and as
layers that were saved or exported, with labels and features. So is a plate of 96 wells x 4 fields x 4 channels, as a
screen. *Opened* is the time from dropping to the first finished
redraw. A frame is the time between two finished redraws while a timer moves the camera every 16 ms. With the dock, 50
cells are then shown as translated ones: how long a cell and a move of the slider take beside the model, and in what
memory. Memory is the highest of the process, less what it was before opening. Prints JSON.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from plates import write_benchmark_plate

CHANNELS = ("DNA", "ER")
CELLS = 20_000
TRANSLATED = 50
WINDOW = (1400, 900)


def without_looks(path: Path, layers: Path) -> None:
    """The image at `layers` once more, as one that does not say how its layers looked; its pixels take no room."""
    shutil.copytree(layers, path, copy_function=os.link)
    said = path / "zarr.json"
    group = json.loads(said.read_text())
    del group["attributes"]["phenolens"]
    said.unlink()
    said.write_text(json.dumps(group))


def write_field(path: Path, side: int) -> None:
    """Write a field with `CELLS` round cells on a grid, as layers."""
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

    chunks = (1024, 1024)
    noise = np.random.default_rng(0).poisson(100, chunks).astype(np.uint16)  # drawn once: to draw it takes the longest

    def pixels(block):
        return noise[: block.shape[0], : block.shape[1]] + np.uint16(400) * (block > 0)

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
        description={"layers": looked}, tables={"cells": table},
        labels={"cells": LabelImage(drawn, "YX", details=ImageDetails(facts={"layer": about}))},
    )  # fmt: skip


def peak() -> float:
    """MiB that this process has had at most, on Linux."""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def frames(viewer, move, seconds: float) -> dict[str, float]:
    """Times between redraws over `seconds`, in which a timer calls `move` with a number that counts up.

    Where others use the processor too, the time that this process computed, by frame, says more than the clock.
    """
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
    end, computed = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)
    computed = time.process_time() - computed
    timer.stop()
    events.disconnect(listener)
    found = 1000 * np.diff(drawn)
    if not len(found):
        return {"frames": 0}
    return {
        "median_ms": float(np.median(found)), "p95_ms": float(np.percentile(found, 95)), "frames": len(found),
        "computed_ms": 1000 * computed / len(drawn),
    }  # fmt: skip


def clicked(dock, centre) -> dict[str, float]:
    """Show `TRANSLATED` cells of the field as translated ones, with changes that no model made, and move the slider."""
    from types import SimpleNamespace

    from qtpy.QtWidgets import QApplication

    from phenolens.screens.crops import cut, window_at
    from phenolens.widgets.state.session import TranslatedCell

    session = dock.session
    before, took = peak(), []
    for number in range(TRANSLATED):
        y, x = (float(at) for at in np.random.default_rng(number).uniform(100, 19_900, 2).round())
        started = time.perf_counter()
        crop = cut(session.planes.reader(session.position)(), window_at(y, x, 64))
        change = 200 * np.hanning(64)[:, None] * np.hanning(64) * np.ones((len(CHANNELS), 1, 1))
        translation = SimpleNamespace(
            window=window_at(y, x, 64), crop=crop, known=(0.0, 1.0), computed=lambda _: True,
            difference_at=lambda strength, change=change: (strength * change).astype(np.float32),
        )  # fmt: skip
        session.add_cell(TranslatedCell(session.field.key, y, x, f"cell {number}", ("a", "b"), translation))
        QApplication.processEvents()
        took.append(time.perf_counter() - started)
    dock.synthetic.set_view("translated")
    QApplication.processEvents()
    started = time.perf_counter()
    session.set_strength(0.5)
    dock.synthetic.translated[0].refresh()
    QApplication.processEvents()
    return {
        "cell_first_s": took[0], "cell_median_s": float(np.median(took)), "slider_s": time.perf_counter() - started,
        "cells_mb": peak() - before,
    }  # fmt: skip


def opened(path: str, seconds: float) -> dict[str, float]:
    """Open the field in a window of this process, and move about in it."""
    import napari
    from qtpy.QtWidgets import QApplication

    import phenolens.widgets.reader
    from phenolens.widgets.translation.dock import PhenolensDock

    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    dock = None
    noise = np.random.default_rng(0).poisson(100, (2, 1200, 1800)).astype(np.uint16)
    warm = [viewer.add_image(one, blending="additive") for one in noise]
    viewer.add_labels(np.ones((64, 64), int))
    if not phenolens.widgets.reader.saved_layers(Path(path)):
        dock = phenolens.widgets.reader.main_dock(viewer)
        assert isinstance(dock, PhenolensDock)
        while not dock.session.devices:  # what the dock loads in the background has been loaded
            QApplication.processEvents()
    frames(viewer, lambda step: None, 2)
    middle = np.array(viewer.camera.center)

    def sway(step: int) -> None:
        viewer.camera.center = middle + np.array([0, 300 * np.sin(step / 40), 500 * np.cos(step / 40)])

    report = {"pan_of_pixels_in_memory": frames(viewer, sway, seconds)}
    viewer.layers.clear()
    del warm, noise
    before, started, computed = peak(), time.perf_counter(), time.process_time()
    drawn: list[float] = []
    viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(lambda _: drawn.append(time.perf_counter()))
    viewer.open(path, plugin="napari-phenolens")
    there, canvas = len(drawn), viewer.window._qt_viewer.canvas._scene_canvas
    while len(drawn) <= there or not viewer.layers:
        canvas.update()  # one more that shows all layers: nothing may be left to draw
        QApplication.processEvents()
    facts = {"opened_s": drawn[-1] - started, "opened_computed_s": time.process_time() - computed}
    facts |= {"opened_mb": peak() - before, "layers": len(viewer.layers)}
    plate = "plate" in Path(path).name
    assert all(layer.multiscale for layer in viewer.layers) or plate
    frames(viewer, lambda step: None, 3)
    centre = np.array(viewer.camera.center)
    whole = viewer.camera.zoom

    def pan(step: int) -> None:
        viewer.camera.center = centre + np.array([0, 300 * np.sin(step / 40), 500 * np.cos(step / 40)])

    def zoom(step: int) -> None:
        viewer.camera.zoom = whole * 2 ** (4 * (1 - np.cos(step / 60)) / 2 * 1.5)

    viewer.camera.zoom = max(whole, 1 / 0.65)  # a pixel of the field a pixel of the screen
    frames(viewer, pan, 2)
    report["pan"] = frames(viewer, pan, seconds)
    viewer.camera.center = centre
    viewer.camera.zoom = whole
    report["zoom"] = frames(viewer, zoom, seconds)
    if dock is not None and not plate:
        facts |= clicked(dock, centre)
        report["pan_translated"] = frames(viewer, pan, seconds)
    facts |= {f"{name}_{what}": value for name, found in report.items() for what, value in found.items()}
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
        folder = Path(options.folder or temporary)
        layers, screen = (folder / f"field-{options.side}-{kind}.ome.zarr" for kind in ("layers", "screen"))
        if not layers.exists():
            write_field(layers, options.side)
        if not screen.exists():
            without_looks(screen, layers)
        plate = folder / "plate-0.5.zarr"
        if not plate.exists():
            write_benchmark_plate(plate, "0.5")
        ways = {
            "as a screen, with the dock": screen,
            "as layers, with labels and features": layers,
            "a plate of 96 wells x 4 fields x 4 channels": plate,
        }
        for name, path in ways.items():
            command = [sys.executable, __file__, "--open", str(path), "--seconds", str(options.seconds)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = ended.stdout.splitlines()
            report[name] = json.loads(lines[-1]) if ended.returncode == 0 else {"error": ended.stderr[-1500:]}
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
