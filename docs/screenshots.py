"""Take the pictures of the documentation from the real window.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python docs/screenshots.py [--adapter FOLDER] [--steps 300]

Writes ``docs/images/dock.png`` (a translated cell), ``difference.png``, ``slider.png`` (past 1) and, after a short
fine-tuning of ``--steps`` steps, ``finetune.png``. On a display of your own leave ``xvfb-run`` away.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
from qtpy.QtWidgets import QApplication

from phenolens.runtime.progress import finish
from phenolens.widgets.demo import open_demo
from phenolens.widgets.dock import PhenolensDock
from phenolens.widgets.samples import simulated

IMAGES = Path(__file__).parent / "images"


def wait(until: Callable[[], bool], seconds: float = 600, settle: float = 0.5) -> None:
    """Let the window work until something holds, and a moment more so that it is drawn."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise SystemExit("the window did not get there in time")
        QApplication.processEvents()
        time.sleep(0.005)
    end = time.monotonic() + settle
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def take(dock: PhenolensDock, name: str) -> None:
    """Save the whole window, and make sure that it is not black."""
    IMAGES.mkdir(exist_ok=True)
    picture = dock.viewer.window.screenshot(str(IMAGES / name), flash=False, canvas_only=False)
    if picture[..., :3].std() < 5:
        raise SystemExit(f"{name} is empty: is there a display with OpenGL?")


def translate_some(dock: PhenolensDock, count: int) -> None:
    """Translate the first cell (the demo has begun it) and some around it."""
    session = dock.session
    wait(lambda: bool(session.here()) and not dock.running.busy)
    (y, x) = next(iter(session.here()))
    table = session.cells.table
    here = table[table["field"] == session.field.key]
    order = np.argsort(np.hypot(here["y"] - y, here["x"] - x))
    for index in order[1:count]:
        cell = here.iloc[int(index)]
        dock.translating.translate(float(cell["y"]), float(cell["x"]))
    wait(lambda: not dock.running.busy)
    layer = dock.field_layers.channels[0]
    dock.viewer.scene.camera.center = (0, *layer.data_to_world((y, x)))
    dock.viewer.scene.camera.zoom *= 2


def main() -> None:
    """Go through the dock and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", type=Path, default=Path(str(files("phenolens") / "adapters" / "demo")))
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        screen = finish(simulated(Path(folder) / "screen"))
        dock = open_demo(screen, options.adapter, run=False)
        translate_some(dock, 4)
        take(dock, "dock.png")
        dock.translate_panel.show_view("difference")
        wait(lambda: not dock.running.busy)
        take(dock, "difference.png")
        dock.translate_panel.show_view("translated")
        dock.translate_panel.slider.set_value(1.25)
        wait(lambda: not dock.running.busy, settle=1)
        take(dock, "slider.png")
        panel = dock.finetune_panel
        for section, wide in zip(dock.sections, (False, True, True, False), strict=True):
            section.unfold(wide)
        panel.steps.setValue(options.steps)
        panel.out.setText(str(Path(folder) / "adapter"))
        panel.begin()
        wait(lambda: bool(panel.strip.rows), seconds=3600)
        take(dock, "finetune.png")
        panel.stop()
        wait(lambda: not dock.running.busy)
        dock.viewer.close()


if __name__ == "__main__":
    main()
