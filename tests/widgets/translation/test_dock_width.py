"""Whatever the names are, the dock is no wider than it is: nothing is cut off, nothing scrolls sideways."""

import re

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtWidgets import QLabel, QScrollArea, QTabBar, QWidget

from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import screen_from_arrays
from phenolens.widgets.kit.dock_room import share_room
from phenolens.widgets.opening import open_dock

pytest_plugins = ["real_window"]

LONG = [f"Brightfield reference channel no. {number} of the plate" for number in range(8)]


def long_screen():
    rng = np.random.default_rng(0)
    names = [f"plate of the twenty-third of October, well {letter}01" for letter in "AB"]
    images = {name: rng.integers(0, 200, (8, 96, 96), dtype=np.uint8) for name in names}
    facts = [{"Compound": "4-[(3-chloro-4-fluorophenyl)amino]-7-methoxyquinazoline", "Role": "treated"},
             {"Compound": "dimethyl sulfoxide 0.5 % v/v in medium", "Role": "negative control"}]  # fmt: skip
    return screen_from_arrays(images, LONG, dict(zip(names, facts, strict=True)), pixel_size=0.5)


@pytest.mark.parametrize("width", [1280, 1920])
def test_nothing_is_cut_off_by_long_names(window, width):
    window.viewer.window.resize(width, 800)
    share_room(window.dock)
    screen = long_screen()
    intensity = IntensityMap.fit([screen.fields[0].image().plane()], LONG)
    window.dock.screen_panel.show_screen(screen, intensity, "a_screen_with_a_name_that_goes_on_and_on_and_on")
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    window.dock.translate_panel.held.offer(tuple(LONG), tuple(LONG), dict.fromkeys(LONG, 0.5))
    pixels = np.zeros((40, 30, 8, 64, 64), np.uint8)
    window.dock.screen_panel.layer_axes.offer([Image(pixels, name="a time series of stacks with a long name.ome.tiff")])
    for section in window.dock.sections:
        section.unfold(True)
    window.qtbot.wait(200)
    (area,) = window.dock.findChildren(QScrollArea)
    room = area.viewport().width()
    assert area.widget().width() <= room
    for widget in area.widget().findChildren(QWidget):
        if widget.isVisible():
            left = widget.mapTo(area.widget(), widget.rect().topLeft()).x()
            assert left >= 0, widget
            assert left + widget.width() <= room, (type(widget), getattr(widget, "text", str)())
            if isinstance(widget, QLabel) and widget.wordWrap():
                words = re.split(r"[\s/-]", widget.text())
                assert max(map(widget.fontMetrics().horizontalAdvance, words)) <= widget.width(), widget.text()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080), (2560, 1440)])
def test_the_image_keeps_half_of_the_window_and_eight_channels_are_readable(window, width, height):
    qt_window = window.viewer.window._qt_window
    qt_window.resize(width, height)
    share_room(window.dock)
    screen = long_screen()
    intensity = IntensityMap.fit([screen.fields[0].image().plane()], LONG)
    window.dock.screen_panel.show_screen(screen, intensity, "eight channels")
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    layers = window.dock.field_layers.channels
    assert [layer.visible for layer in layers] == [True] * 4 + [False] * 4
    assert len({tuple(layer.colormap.colors[-1]) for layer in layers}) == 8
    canvas = window.viewer.window._qt_viewer.canvas.native
    window.wait(lambda: canvas.width() >= width / 2, 3000)
    docks = [open_dock(window.viewer, f"Phenolens {name}") for name in ("map", "evaluation")]
    window.qtbot.wait(300)
    if width < 1600:
        tabs = [bar.tabText(tab) for bar in qt_window.findChildren(QTabBar) for tab in range(bar.count())]
        assert sorted(tabs) == ["Evaluation", "Map", "Phenolens"], "short enough to be read"
    for area in (area for dock in docks for area in dock.findChildren(QScrollArea)):
        assert area.widget().minimumSizeHint().width() <= docks[0].width(), "nothing is cut off"
    assert canvas.width() >= width / 2, "further docks are tabs where they would take the image's room"
