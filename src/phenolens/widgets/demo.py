"""The demo in the viewer: a screen with its cells found, an adapter loaded, and one cell translated."""

from pathlib import Path

import numpy as np
from napari import Viewer

from phenolens.widgets.dock import PhenolensDock
from phenolens.widgets.samples import open_dock


def open_demo(screen: Path, adapter: Path) -> None:
    """Show the demo in a new viewer and return when its window is closed."""
    import napari

    prepare_demo(Viewer(title="napari: Phenolens demo"), screen, adapter)
    napari.run()


def prepare_demo(viewer: Viewer, screen: Path, adapter: Path) -> PhenolensDock:
    """Open the dock and have it go through the steps by itself, up to the first translated cell.

    Each step starts when the one before has told the session what it found, so that the window answers all along.
    """
    dock = open_dock(viewer)
    session = dock.session
    done: set[str] = set()

    def once(step: str) -> bool:
        fresh = step not in done
        done.add(step)
        return fresh

    def find_cells() -> None:
        if session.field is not None and once("cells"):
            dock.cells_panel.begin()

    def load_adapter() -> None:
        if session.cells is not None and once("adapter"):
            dock.load_adapter(adapter)

    def translate() -> None:
        if session.translator is not None and once("translation"):
            y, x = _most_central(dock)
            dock.translating.translate(y, x)
            dock.translate_panel.click.setChecked(True)

    session.field_changed.connect(find_cells)
    session.cells_changed.connect(load_adapter)
    session.adapter_changed.connect(translate)
    dock.open_screen(screen)
    return dock


def _most_central(dock: PhenolensDock) -> tuple[float, float]:
    """Pixel of the cell that is nearest to the middle of the shown field."""
    session = dock.session
    assert session.plane is not None
    assert session.field is not None
    assert session.cells is not None
    middle = (np.array(session.plane.shape[-2:]) - 1) / 2
    table = session.cells.table
    here = table[table["field"] == session.field.key]
    if here.empty:
        return float(middle[0]), float(middle[1])
    places = here[["y", "x"]].to_numpy(float)
    nearest = places[np.linalg.norm(places - middle, axis=1).argmin()]
    return float(nearest[0]), float(nearest[1])
