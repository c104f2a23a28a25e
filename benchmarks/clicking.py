"""From the key that gives a cell its class to suggestions for all other cells, drawn in the window.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python benchmarks/clicking.py [--clicks 20]

Screens in memory with round cells and made-up embeddings of 128 numbers: how long all takes does not depend on their
values. The pointer is moved onto one cell after another, and the key of one of two classes is pressed on the canvas.
*Seconds* is from the key to the end of the first redraw after new suggestions came; where other programs keep the
processor busy, the processor time of the process says more. Prints a line of JSON a screen.
"""

import argparse
import json
import time

import numpy as np

SCREENS = {"48 fields of 200 cells": (48, 200, 700), "one field of 20,000 cells": (1, 20_000, 4000)}


def made_up(fields: int, cells: int, side: int):
    """A screen, its cells, and embeddings of them in which two kinds differ."""
    import pandas as pd

    from phenolens.profiling.tables.profiles import Profiles
    from phenolens.screens.cell_editing import apply_labels
    from phenolens.screens.table import screen_from_arrays

    across = int(np.ceil(np.sqrt(cells)))
    pitch = side // across
    y, x = np.mgrid[:side, :side]
    row, column = np.minimum(y // pitch, across - 1), np.minimum(x // pitch, across - 1)
    number = row * across + column + 1
    inside = np.hypot(y - (row + 0.5) * pitch, x - (column + 0.5) * pitch) < 0.3 * pitch
    labels = np.where(inside & (number <= cells), number, 0).astype(np.int32)
    pixels = np.random.default_rng(0).poisson(100 + 400 * (labels > 0), (2, side, side)).astype(np.uint16)
    keys = [f"p_{'ABCDEF'[n // 8]}{n % 8 + 1:02d}" for n in range(fields)]
    wells = {key: {"Plate": "p", "Well": key[2:]} for key in keys}
    screen = screen_from_arrays(dict.fromkeys(keys, pixels), ("DNA", "ER"), wells, 0.65)
    found = apply_labels(None, screen, dict.fromkeys(keys, labels))
    vectors = np.random.default_rng(1).normal(size=(len(found), 128))
    vectors[:, :4] += 3.0 * (found.table["label"].to_numpy() % 2)[:, None]
    named = found.table["field"].str.rsplit("_").str[-1]
    metadata = pd.DataFrame(
        {
            "Metadata_Field": found.table["field"], "Metadata_Label": found.table["label"],
            "Metadata_Plate": "p", "Metadata_Well": named,
        }
    )  # fmt: skip
    return screen, found, Profiles(metadata, vectors.astype(np.float32), {"level": "cell"})


def clicked(name: str, clicks: int) -> dict[str, float]:
    import napari
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    from phenolens.screens.intensity import IntensityMap
    from phenolens.widgets.opening import main_dock

    screen, found, profiles = made_up(*SCREENS[name])
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    dock = main_dock(viewer)
    session, canvas = dock.session, viewer.window._qt_viewer.canvas

    def wait(until, seconds=60.0) -> None:
        end = time.monotonic() + seconds
        while not until():
            QApplication.processEvents()
            if time.monotonic() > end:
                raise TimeoutError(f"nothing came within {seconds:g} s")

    wait(lambda: session.devices)
    dock.screen_panel.show_screen(screen, IntensityMap("affine", ("DNA", "ER"), (50.0, 50.0), (700.0, 700.0)), name)
    wait(lambda: session.field is not None and not dock.running.busy)
    session.set_cells(found, 0)
    session.set_crop(64)
    for kind in ("odd", "even"):
        session.annotations.add_class(kind)
    here = found.table[found.table["field"] == session.field.key].reset_index(drop=True)
    for label in here["label"][:8]:
        session.annotations.annotate([(session.field.key, int(label))], "odd" if label % 2 else "even")
    session.pen.set_profiles(profiles)
    dock.annotate.unfold()
    dock.annotate_panel.suggesting.start()
    wait(lambda: session.annotations.suggested is not None)
    viewer.layers.selection.active = dock.field_layers.channels[0]
    native, drawn, came = canvas.native, [], []
    canvas._scene_canvas.events.draw.connect(lambda _: drawn.append(time.perf_counter()))
    took, computed = [], []
    for row in np.random.default_rng(2).choice(len(here) - 8, clicks, replace=False) + 8:
        cell = here.iloc[int(row)]
        viewer.scene.camera.center = (0, *dock.field_layers.channels[0].data_to_world((cell["y"], cell["x"])))
        for off in (3, 0):
            QTest.mouseMove(native, native.rect().center() + QPoint(off, off))
            QTest.qWait(50)
        key = (session.field.key, int(cell["label"]))
        came.clear()
        session.annotations.suggestions_changed.connect(lambda *_: came.append(1))
        native.setFocus()
        QTest.qWait(300)  # what moving there led to is over
        started, used = time.perf_counter(), time.process_time()
        QTest.keyClick(native, Qt.Key.Key_1 if key[1] % 2 else Qt.Key.Key_2)
        wait(lambda: came)
        there = len(drawn)
        wait(lambda there=there: len(drawn) > there)
        took.append(drawn[there] - started)
        computed.append(time.process_time() - used)
        assert session.annotations.class_of(key) is not None
    rows = session.annotations.suggested.rows()
    right = np.mean([kind == ("odd" if cell[1] % 2 else "even") for cell, kind, _ in rows])
    viewer.close()
    return {
        "cells": len(found), "clicks": clicks, "seconds_median": float(np.median(took)), "seconds_most": max(took),
        "computed_median": float(np.median(computed)), "computed_most": max(computed), "right": float(right),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=20)
    options = parser.parse_args()
    for name in SCREENS:
        found = {key: round(value, 3) for key, value in clicked(name, options.clicks).items()}
        print(json.dumps({"screen": name} | found), flush=True)


if __name__ == "__main__":
    main()
