"""Frame time of the viewer while an adapter is fine-tuned on the CPU, beside the same viewer idle.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python benchmarks/frame_time.py [--seconds 20]

A timer asks for a redraw every 16 ms; a frame is the time between two finished redraws of the canvas.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np


def frames(viewer, seconds: float) -> np.ndarray:
    """Milliseconds between redraws over `seconds`."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    canvas = viewer.window._qt_viewer.canvas
    drawn: list[float] = []
    canvas._scene_canvas.events.draw.connect(lambda _: drawn.append(time.perf_counter()))
    timer = QTimer()
    step = [0]

    def move() -> None:
        step[0] += 1
        viewer.camera.center = (0, 256 + 20 * np.sin(step[0] / 10), 256)

    timer.timeout.connect(move)
    timer.start(16)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)
    timer.stop()
    return 1000 * np.diff(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
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
    idle = frames(viewer, options.seconds / 2)
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
    busy = frames(viewer, options.seconds)
    rate = (steps[0] - before) / (time.perf_counter() - start)
    stop.append(True)
    while worker.is_running:
        frames(viewer, 0.2)
    report = {
        name: {
            "median_ms": round(float(np.median(f)), 1),
            "p95_ms": round(float(np.percentile(f, 95)), 1),
            "frames": len(f),
        }
        for name, f in (("idle", idle), ("fine_tuning", busy))
    }
    print(json.dumps({**report, "steps_per_second": round(rate, 2)}))
    viewer.close()


if __name__ == "__main__":
    main()
