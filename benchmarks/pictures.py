"""From a click on a cell to its translated picture in the window.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python benchmarks/pictures.py [--clicks 12]

Opens a sample that comes with its adapter, as File > Open Sample does, and clicks cells with the mouse: first those
that were translated ahead while nothing else went on, then, with that switched off, those that were not. A picture
counts at the end of the first redraw of the canvas that shows it; frames beside a fine-tuning are those of
`frame_time.py`. Prints a line of JSON.
"""

import argparse
import json
import os
import tempfile
import time

import numpy as np

from phenolens.translation.apply.settings import SHOWN_STEPS


class Viewing:
    """The window with the sample in it, and what was drawn when."""

    def __init__(self, sample: str) -> None:
        import napari

        from phenolens.widgets.opening import main_dock

        self.viewer = napari.Viewer()
        self.viewer.window.resize(1400, 900)
        self.dock = main_dock(self.viewer)
        self.session = self.dock.session
        self.canvas = self.viewer.window._qt_viewer.canvas
        self.wait(lambda: self.session.devices)
        self.viewer.open_sample("napari-phenolens", sample)
        self.wait(lambda: self.session.translator is not None and self.dock.translate_panel.click.isChecked(), 300)
        self.wait(lambda: not self.dock.running.busy, 300)
        table = self.session.cells.table
        self.cells = table[table["field"] == self.session.field.key].reset_index(drop=True)
        self.watched = None
        self.seen: dict[int, float] = {}
        self.canvas._scene_canvas.events.draw.connect(lambda _: self._note())

    def _note(self) -> None:
        now = time.perf_counter()
        cell = self.session.here().get(self.watched) if self.watched is not None else None
        if cell is not None and cell.translation is not None:
            self.seen.setdefault(cell.translation.steps, now)

    def wait(self, until, seconds: float = 60.0) -> None:
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while not until():
            QApplication.processEvents()
            time.sleep(0.001)  # a window at rest keeps no core busy
            if time.monotonic() > end:
                raise TimeoutError(f"nothing came within {seconds:g} s")

    def ahead(self) -> list[bool]:
        """Which cells of the field are ready ahead of a click."""
        from phenolens.widgets.state.session import TranslatedCell

        direction, key = self.session.direction(), self.session.field.key
        return [
            self.dock.ahead.holds(TranslatedCell(key, float(cell.y), float(cell.x), "", direction))
            for cell in self.cells.itertuples()
        ]

    def settle(self) -> None:
        """Wait until no further cell was translated ahead for five seconds."""
        from qtpy.QtWidgets import QApplication

        count, since = -1, time.monotonic()
        while time.monotonic() - since < 5:
            if (now := sum(self.ahead())) != count:
                count, since = now, time.monotonic()
            QApplication.processEvents()

    def click(self, number: int) -> tuple[float, float]:
        """Click a cell; seconds to its first picture, and to the one of all steps."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        cell = self.cells.iloc[number]
        here = self.dock.field_layers.channels[0].data_to_world((cell["y"], cell["x"]))
        self.viewer.scene.camera.center = (0, *here)
        native = self.canvas.native
        for off in (3, 0):
            QTest.mouseMove(native, native.rect().center() + QPoint(off, off))
            QTest.qWait(50)
        self.watched = (float(cell["y"]), float(cell["x"]))
        self.seen.clear()
        started = time.perf_counter()
        QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=native.rect().center())
        self.wait(lambda: SHOWN_STEPS in self.seen)
        first, fine = min(self.seen.values()) - started, self.seen[SHOWN_STEPS] - started
        self.wait(lambda: not self.dock.running.busy)
        return first, fine


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Median and most of some seconds."""
    return {f"{name}_median_s": round(float(np.median(values)), 3), f"{name}_most_s": round(max(values), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument("--sample", default="simulated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PHENOLENS_SESSIONS"] = folder
        window = Viewing(options.sample)
        first, fine = window.click(0)
        report = {"cells": len(window.cells), "first_click_coarse_s": round(first, 3), "first_click_s": round(fine, 3)}
        window.settle()
        ready = [number for number, there in enumerate(window.ahead()) if there][: options.clicks // 2]
        window.dock.ahead.detach()
        report |= spread("ahead", [window.click(number)[1] for number in ready])
        waiting = window.ahead()
        left = [number for number in range(1, len(waiting)) if not waiting[number] and number not in ready]
        took = [window.click(number) for number in left[: options.clicks]]
        report |= spread("coarse", [one[0] for one in took]) | spread("fine", [one[1] for one in took])
        window.viewer.close()
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
