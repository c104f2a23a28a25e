"""How fast the map of a million cells is drawn, selected from and searched; prints JSON.

Seconds, the best of several: from an atlas in memory to its first picture, to colour it by another property, to select
with a lasso, and from a chosen point to its neighbours on the screen. In software OpenGL where there is no display.

    python benchmarks/map_drawing.py [--rows 1000000] [--dimension 64]
"""

import argparse
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from display import has_display, virtual_display
from plain_encoder import made_up_atlas


def best(action, times=3):
    """Least seconds that `action` takes."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return round(min(taken), 3)


def measure(rows, dimension):
    """Seconds of what a user waits for, by name."""
    from napari import Viewer
    from qtpy.QtWidgets import QApplication

    from phenolens.widgets.map.dock import MapDock
    from phenolens.widgets.map.session import CELL, MapData

    atlas = made_up_atlas(rows, compounds=30, dimension=dimension)
    start = time.perf_counter()
    data = MapData.prepare(atlas, "made up")
    prepared = time.perf_counter() - start
    viewer = Viewer()
    viewer.window.resize(1400, 900)
    dock = MapDock(viewer)
    viewer.window.add_dock_widget(dock, name="map")
    app = QApplication.instance()
    app.processEvents()
    canvas = dock.view.canvas

    def open_map():
        dock.session.set_data(data, None)
        app.processEvents()
        canvas.canvas.render()

    first = best(open_map, 1)
    width, height = canvas.canvas.size
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    radius = 0.4 + 0.1 * np.sin(7 * angle)
    outline = np.column_stack([width * (0.5 + radius * np.cos(angle)), height * (0.5 + radius * np.sin(angle))])
    points = iter(range(100))

    def neighbours():
        row = next(points)
        dock.session.focus(row)
        dock.neighbours.repaint()
        assert dock.neighbours.left.tiles[0].content.row == dock.session.marks[CELL].neighbours["row"][0]

    found = {
        "rows": rows,
        "dimension": dimension,
        "prepared": round(prepared, 3),
        "first_draw": first,
        "recolour_and_draw": best(lambda: (dock.session.colour_by("Plate"), canvas.canvas.render())),
        "lasso": best(lambda: canvas.select_within(outline)),
        "lasso_selected": int(canvas.select_within(outline).sum()),
        "selection_to_neighbours": best(neighbours, 5),
    }
    dock.close()
    viewer.close()
    return found


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=64)
    chosen = parser.parse_args()
    with nullcontext() if has_display() else virtual_display():
        print(json.dumps(measure(chosen.rows, chosen.dimension), indent=2))


if __name__ == "__main__":
    main()
