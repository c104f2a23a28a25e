"""A real napari window with the dock, a small simulated screen and a tiny base, for tests that click."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox

from phenolens.runtime.progress import finish
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import read_screen
from phenolens.simulation.screen import simulate_screen
from phenolens.widgets.opening import main_dock
from tiny_base import make_tiny_adapter, make_tiny_base

LONG = 1000 * int(os.environ.get("PHENOLENS_TEST_SECONDS", "120"))


class Window:
    """The viewer and its dock, with what a person would do to them."""

    def __init__(self, viewer, qtbot):
        self.viewer, self.qtbot = viewer, qtbot
        viewer.window.resize(1400, 900)
        self.dock = main_dock(viewer)
        self.session = self.dock.session
        self.wait(lambda: self.session.devices)
        notification_manager.records.clear()

    def wait(self, until, timeout=LONG):
        self.qtbot.waitUntil(lambda: bool(until()), timeout=timeout)

    def press(self, button):
        assert button.isEnabled(), button.text()
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def open(self, path):
        self.dock.open_screen(path)
        self.wait(lambda: self.session.field is not None and not self.dock.running.busy)

    def find_cells(self):
        self.press(self.dock.cells_panel.find_button)
        self.wait(lambda: self.session.cells is not None and not self.dock.running.busy)

    def tune(self, base, out, steps=4):
        panel = self.dock.finetune_panel
        self.session.set_base(str(base))
        panel.steps.setValue(steps)
        panel.rank.setValue(2)
        panel.out.setText(str(out))
        self.press(panel.start)
        self.wait(lambda: self.session.translator is not None and not self.dock.running.busy)

    def click_pixel(self, y, x):
        """Centre the camera on a pixel of the field and click the middle of the canvas, as a mouse does."""
        layer = self.dock.field_layers.channels[0]
        self.viewer.scene.camera.center = (0, *layer.data_to_world((*(0,) * (layer.ndim - 2), y, x))[-2:])
        self.qtbot.wait(50)
        canvas = self.viewer.window._qt_viewer.canvas.native
        self.qtbot.mouseMove(canvas, canvas.rect().center() + QPoint(1, 1))
        self.qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())

    def click_cell(self, index=0):
        """Click the `index`-th cell of the shown field; return what the session knows of it."""
        table = self.session.cells.table
        here = table[table["field"] == self.session.field.key]
        cell = here.iloc[index]
        self.click_pixel(cell["y"] + 1, cell["x"] - 1)
        self.wait(lambda: (cell["y"], cell["x"]) in self.session.here(), 2000)
        return self.session.here()[cell["y"], cell["x"]]

    @property
    def messages(self):
        """What the notifications said."""
        return [record.message for record in notification_manager.records]


@pytest.fixture(scope="session")
def small_screen(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("screens") / "small"
    return finish(simulate_screen(folder, "translocation", wells=4, cells=6, shape=(192, 192), seed=3))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def small_adapter(small_screen, tiny, tmp_path_factory):
    """An adapter of random weights that fits the small screen."""
    image = read_screen(small_screen).fields[0].image()
    limits = IntensityMap.fit([image.plane()], image.channel_names)
    made = make_tiny_adapter(tiny, channels=image.n_channels)
    made = replace(made, channel_names=image.channel_names, intensity=limits)
    made.save(tmp_path_factory.mktemp("adapters") / "small")
    return made


@pytest.fixture
def window(make_napari_viewer, qtbot, monkeypatch, tmp_path):
    """A window whose dialogs fail the test unless it says what they answer."""

    def unexpected(*args, **kwargs):
        raise AssertionError(f"an unexpected dialog: {args[1:]}")

    for dialog, names in (
        (QMessageBox, ("question", "information", "warning", "critical")),
        (QFileDialog, ("getOpenFileName", "getExistingDirectory")),
    ):
        for name in names:
            monkeypatch.setattr(dialog, name, unexpected)
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PHENOLENS_SESSIONS", str(tmp_path / "sessions"))
    made = Window(make_napari_viewer(show=True), qtbot)
    yield made
    made.dock.running.stop()
    made.wait(lambda: not made.dock.running.busy)


def pixels(layer):
    """A layer's data as a plain copy."""
    return np.array(layer.data)
