"""The demo in the viewer: a screen, its cells, an adapter, and the first cell translated."""

from pathlib import Path
from typing import TYPE_CHECKING

import napari

from phenolens.widgets.opening import get_ready, main_dock

if TYPE_CHECKING:
    from phenolens.widgets.translation.dock import PhenolensDock


def open_demo(screen: Path, adapter: Path, run: bool = True) -> "PhenolensDock":
    """Open a viewer on `screen` with `adapter` ready to click, and translate one cell.

    Parameters
    ----------
    screen
        Folder or table of a screen.
    adapter
        Folder of an adapter for its channels.
    run
        Whether to stay in the viewer until it is closed.
    """
    viewer = napari.Viewer(title="napari-phenolens demo")
    viewer.window.resize(1400, 900)
    dock = main_dock(viewer)
    get_ready(dock, adapter, lambda: _translate_one(dock))
    dock.open_screen(screen)
    if run:
        napari.run()
    return dock


def _translate_one(dock: "PhenolensDock") -> None:
    middle = _middle_cell(dock)
    if middle is not None:
        dock.translating.translate(*middle)


def _middle_cell(dock: "PhenolensDock") -> tuple[float, float] | None:
    """Centre of the cell nearest to the middle of the shown field."""
    session = dock.session
    if session.cells is None or session.field is None or session.plane_shape is None:
        return None
    table = session.cells.table
    here = table[table["field"] == session.field.key]
    if not len(here):
        return None
    height, width = session.plane_shape[-2:]
    middle = here.loc[((here["y"] - height / 2) ** 2 + (here["x"] - width / 2) ** 2).idxmin()]
    return float(middle["y"]), float(middle["x"])
