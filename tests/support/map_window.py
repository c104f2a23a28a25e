"""A real napari window with the map dock, an atlas of a small screen, and an encoder that needs no training."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from phenolens.profiling.atlas.atlas import Atlas
from phenolens.profiling.encoders.embedding import embed_screen
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.table import read_screen
from phenolens.widgets.map import jobs as map_jobs
from phenolens.widgets.map.dock import open_map
from phenolens.widgets.translation import jobs
from plain_encoder import CAFFEINE, PlainEncoder, known_compounds


@pytest.fixture(scope="session")
def small_atlas(small_screen, tmp_path_factory):
    """Folder of an atlas of the cells of `small_screen`; the treated ones have a structure."""
    screen = read_screen(small_screen)
    cells = finish(find_cells(screen, "auto"))
    intensity = finish(jobs.fit_intensity(screen))
    profiles = finish(embed_screen(PlainEncoder(), screen, cells, crop=48, intensity=intensity))
    metadata = profiles.metadata
    treated = metadata["Metadata_Role"] != "negative control"
    metadata["Metadata_SMILES"] = np.where(treated, CAFFEINE, "CS(C)=O")
    profiles = Profiles(metadata, profiles.vectors, profiles.card)
    return finish(Atlas.fit(profiles)).save(tmp_path_factory.mktemp("atlases") / "small")


class MapWindow:
    """The map dock beside the main one, with what a person would do to it."""

    def __init__(self, window):
        self.window, self.viewer, self.qtbot, self.wait = window, window.viewer, window.qtbot, window.wait
        self.dock = open_map(window.viewer)
        self.session, self.canvas = self.dock.session, self.dock.view.canvas
        self.native = self.canvas.canvas.native

    def idle(self):
        self.wait(lambda: not self.dock.running.busy and not self.window.dock.running.busy)

    def open(self, path):
        self.dock.open_path(path)
        self.wait(lambda: self.session.data is not None and not self.dock.running.busy)
        self.wait(lambda: self.native.isVisible() and self.native.width() > 100)
        self.qtbot.wait(50)

    def click_point(self, row):
        x, y = self.canvas.screen_position(row)
        self.qtbot.mouseClick(self.native, Qt.MouseButton.LeftButton, pos=QPoint(round(x), round(y)))

    def draw(self, corners):
        """Drag along corners in pixels of the canvas."""
        first, *rest = [QPoint(round(x), round(y)) for x, y in corners]
        self.qtbot.mousePress(self.native, Qt.MouseButton.LeftButton, pos=first)
        for corner in rest:
            self.qtbot.mouseMove(self.native, corner)
            self.qtbot.wait(10)
        self.qtbot.mouseRelease(self.native, Qt.MouseButton.LeftButton, pos=rest[-1])

    def type_smiles(self, text, dose=""):
        box = self.dock.smiles
        self.dock.compound.unfold()
        box.smiles.setText(text)
        box.dose.setText(dose)
        self.window.press(box.place)


@pytest.fixture
def encoders(monkeypatch):
    """What `load_encoder` finds, by name."""
    from phenolens.runtime.errors import ModelError

    found = {"plain": PlainEncoder(known_compounds()), "default": PlainEncoder()}

    def load(name):
        if getattr(name, "name", name) not in found:
            raise ModelError(f"There is no encoder {name}.")
        return found[getattr(name, "name", name)]

    monkeypatch.setattr(map_jobs, "load_encoder", load)
    return found


@pytest.fixture
def map_window(window, encoders):
    made = MapWindow(window)
    yield made
    made.dock.running.stop()
    made.wait(lambda: not made.dock.running.busy)
