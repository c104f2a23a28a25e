"""Frame time of the viewer while an adapter is fine-tuned on the CPU, beside the same viewer idle.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python benchmarks/frame_time.py [--seconds 20] [--everything]

A timer asks for a redraw every 16 ms; a frame is the time between two finished redraws of the canvas. With
``--everything`` the dock is open on a sample with its cells outlined, and frames are taken idle, while a few cells are
translated ahead, while a whole plate is translated by a run of its own, and while that, a fine-tuning and the clicked
cells go on at once. Prints a line of JSON.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from pictures import Viewing


def frames(viewer, seconds: float) -> np.ndarray:
    """Milliseconds between redraws over `seconds`."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    canvas = viewer.window._qt_viewer.canvas
    drawn: list[float] = []
    canvas._scene_canvas.events.draw.connect(lambda _: drawn.append(time.perf_counter()))
    timer = QTimer()
    step = [0]
    centre = viewer.scene.camera.center

    def move() -> None:
        step[0] += 1
        viewer.scene.camera.center = (0, centre[1] + 20 * np.sin(step[0] / 10), centre[2])

    timer.timeout.connect(move)
    timer.start(16)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)
    timer.stop()
    viewer.scene.camera.center = centre
    return 1000 * np.diff(drawn)


def figures(taken: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Median, 95th percentile and number of some frames."""
    return {
        name: {
            "median_ms": round(float(np.median(f)), 1),
            "p95_ms": round(float(np.percentile(f, 95)), 1),
            "frames": len(f),
        }
        for name, f in taken.items()
    }


def everything(seconds: float) -> None:
    """Frames of the dock's own window."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PHENOLENS_SESSIONS"] = str(folder / "sessions")
        window = Viewing("simulated")
        dock, viewer = window.dock, window.viewer
        taken = {"translating_ahead": frames(viewer, seconds / 2)}
        window.settle()
        taken["idle"] = frames(viewer, seconds / 2)
        plate = dock.whole_plate_panel
        plate.out.setText(str(folder / "translated"))
        plate.begin()
        window.wait(lambda: plate.bar.maximum() > 0 or not plate.busy, 120)
        taken["whole_plate"] = frames(viewer, seconds)
        panel = dock.finetune_panel
        panel.steps.setValue(50_000)
        panel.out.setText(str(folder / "tuned"))
        panel.begin()
        window.wait((folder / "tuned.partial").exists, 300)
        for cell in window.cells.iloc[:6].itertuples():
            dock.translating.translate(float(cell.y), float(cell.x))
        assert plate.busy, "the plate was done before: ask for fewer seconds"
        taken["everything"] = frames(viewer, seconds)
        assert dock.running.busy
        print(json.dumps(figures(taken)), flush=True)
        plate.stop()
        dock.running.stop()
        window.wait(lambda: not plate.busy and not dock.running.busy, 120)
        viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--everything", action="store_true")
    options = parser.parse_args()
    if options.everything:
        everything(options.seconds)
    else:
        beside_fine_tuning(options.seconds)


def beside_fine_tuning(seconds: float) -> None:
    """Frames of a bare viewer beside the engine."""
    import napari
    from napari.qt.threading import create_worker

    from phenolens.runtime.queue import BACKGROUND, device_queue
    from phenolens.translation.model.base import load_base
    from phenolens.translation.training.finetuning import FinetuneSettings, finetune

    rng = np.random.default_rng(0)
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    for name, colormap in (("DNA", "blue"), ("Reporter", "green"), ("Organelle", "magenta")):
        viewer.add_image(
            rng.integers(0, 255, (512, 512)).astype(np.uint8), name=name, colormap=colormap, blending="additive"
        )
    frames(viewer, 2)
    idle = frames(viewer, seconds / 2)
    crops = [rng.normal(level, 0.3, (100, 3, 64, 64)).astype(np.float32) for level in (-0.3, 0.3)]
    job = finetune(
        load_base("compact"),
        *crops,
        ("DNA", "Reporter", "Organelle"),
        FinetuneSettings(steps=100_000, preview_every=0),
        Path(tempfile.mkdtemp()) / "checkpoint.pt",
    )
    steps = [0]

    def run():
        for progress in (proxy := device_queue("cpu").run(job, BACKGROUND, "fine-tuning")):
            steps[0] = progress.step
            yield progress
            if stop:
                proxy.close()
                return

    stop: list[bool] = []
    worker = create_worker(run)
    worker.start()
    while steps[0] < 3:
        frames(viewer, 0.2)
    before, start = steps[0], time.perf_counter()
    busy = frames(viewer, seconds)
    rate = (steps[0] - before) / (time.perf_counter() - start)
    stop.append(True)
    while worker.is_running:
        frames(viewer, 0.2)
    report = figures({"idle": idle, "fine_tuning": busy})
    print(json.dumps({**report, "steps_per_second": round(rate, 2)}))
    viewer.close()


if __name__ == "__main__":
    main()
