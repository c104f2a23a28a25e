"""A real napari window with the map dock, an atlas of a small screen, and an encoder that needs no training."""

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, Qt

from phenolens.profiling.atlas import Atlas
from phenolens.profiling.embedding import embed_screen
from phenolens.profiling.profiles import Profiles
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.table import read_screen
from phenolens.widgets import jobs, map_jobs
from phenolens.widgets.map_dock import open_map

ASPIRIN, CAFFEINE = "CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C"


class PlainEncoder:
    """Embeds a crop as a few statistics of its channels; a compound moves them by its number of atoms."""

    dimension = 10
    intensity = None
    channel_names = None

    def __init__(self, compounds=None):
        self.card = {"name": "plain"}
        self.compounds = compounds

    def check_channels(self, names):
        pass

    def features(self, mapped, size=None):
        middle = mapped[..., 16:-16, 16:-16]
        parts = [mapped.mean((2, 3)), mapped.std((2, 3)), middle.mean((2, 3)), middle.std((2, 3)), mapped.max((2, 3))]
        return np.stack(parts, axis=2).astype(np.float32)

    def pool(self, features):
        return np.concatenate([features.min(1), features.max(1)], axis=1)

    def embed(self, crops, intensity=None, size=64):
        from phenolens.screens.crops import resample

        mapped = np.stack([intensity.forward(crop) for crop in crops])
        return self.pool(self.features(resample(mapped, size)))

    def counterfactual(self, controls, smiles, dose=None):
        return controls + 0.1 * len(smiles) * np.sin(np.arange(self.dimension)).astype(np.float32)


def known_compounds():
    return pd.DataFrame({"Metadata_Compound": ["aspirin", "caffeine"], "SMILES": [ASPIRIN, CAFFEINE]})


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


def made_up_atlas(rows, compounds=5, seed=0, dimension=16):
    """An atlas of `rows` cells that are in no screen."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, compounds, rows)
    vectors = rng.normal(size=(compounds, dimension))[which] * 2 + rng.normal(size=(rows, dimension))
    names = [f"compound {i}" if i % 2 else f"4-[(3-chloro-4-fluorophenyl)amino]-7-methoxy {i}" for i in range(compounds)]
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": rng.choice(["P1", "P2"], rows),
            "Metadata_Well": rng.choice(["A01", "B02", "C03"], rows),
            "Metadata_Compound": np.array(names, object)[which],
            "Metadata_SMILES": np.array([ASPIRIN, CAFFEINE, "CCO", "c1ccccc1", "CS(C)=O"], object)[which % 5],
            "Metadata_Role": np.where(which == 0, "negative control", "treated"),
        }
    )
    return finish(Atlas.fit(Profiles(metadata, vectors.astype(np.float32), {"level": "cell", "encoder": "plain"})))


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
