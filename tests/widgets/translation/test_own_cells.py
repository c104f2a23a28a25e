"""Cells of the user's own in the real window: corrected with the brush, deleted, added, given as labels of a field."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from phenolens.screens.label_images import write_label_image

pytest_plugins = ["real_window"]


@pytest.fixture
def cells(window, small_screen):
    window.open(small_screen)
    window.find_cells()
    window.dock.sections[1].unfold()
    return window


def here(window):
    table = window.session.cells.table
    return table[table["field"] == window.session.field.key].reset_index(drop=True)


def others(window):
    table = window.session.cells.table
    return table[table["field"] != window.session.field.key].reset_index(drop=True)


def background(labels, size=9):
    """Middle of a square without a cell."""
    for y in range(size, labels.shape[0] - size, 3):
        for x in range(size, labels.shape[1] - size, 3):
            if not labels[y - size : y + size, x - size : x + size].any():
                return y, x
    raise AssertionError("no room")


def choose(panel, way):
    panel.way.setCurrentIndex(panel.way.findData(way))


def key(window, which, modifier=Qt.KeyboardModifier.NoModifier):
    native = window.viewer.window._qt_viewer.canvas.native
    native.setFocus()
    window.qtbot.keyClick(native, which, modifier)


@pytest.mark.slow
def test_cells_are_corrected_deleted_and_added_and_counted_at_once(cells):
    window, session, dock = cells, cells.session, cells.dock
    panel, layer, field = dock.cells_panel, dock.field_layers.labels, session.field.key
    rows, rest = here(window), others(window)
    first, second = int(rows["label"][0]), int(rows["label"][1])
    session.annotations.add_class("mitotic")
    session.annotations.annotate([(field, first), (field, second)], "mitotic")

    # erase half of a cell with napari's own brush
    before = int(rows["area"][0])
    layer.selected_label = 0
    layer.brush_size = 6
    layer.mode = "erase"
    layer.paint((float(rows["y"][0]), float(rows["x"][0])), 0)
    window.wait(lambda: 0 < here(window).set_index("label")["area"].get(first, 0) < before, 3000)
    assert session.annotations.class_of((field, first)).name == "mitotic", "a corrected cell stays the same cell"
    layer.mode = "pan_zoom"

    # a new cell
    count = len(rows)
    window.press(panel.new_cell)
    label = int(layer.selected_label)
    assert label == rows["label"].max() + 1
    assert str(layer.mode) == "paint"
    y, x = background(np.asarray(layer.data))
    layer.paint((y, x), label)
    window.wait(lambda: len(here(window)) == count + 1, 3000)
    assert f"{count + 1} in this one" in panel.why.text()
    layer.mode = "pan_zoom"

    # a cell deleted by key, with what was said of it, and back again
    window.viewer.layers.selection.active = layer
    session.pen.choose((field, second))
    window.viewer.mouse_over_canvas = False
    key(window, Qt.Key.Key_Delete)
    assert second not in set(here(window)["label"])
    assert session.annotations.class_of((field, second)) is None
    assert not (np.asarray(layer.data) == second).any()
    key(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert second in set(here(window)["label"])
    assert session.annotations.class_of((field, second)).name == "mitotic"

    # while one draws, Ctrl+Z is the brush's, whatever was said last
    layer.mode = "paint"
    layer.paint((y, x + 4), label)
    area = int((np.asarray(layer.data) == label).sum())
    session.annotations.set_note([(field, first)], "said after the stroke")
    key(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (np.asarray(layer.data) == label).sum() < area
    assert session.annotations.of((field, first)).note
    layer.mode = "pan_zoom"

    # the button, and a label that is not given twice
    session.pen.choose((field, label))
    window.press(panel.delete_cell)
    assert len(here(window)) == count
    window.press(panel.new_cell)
    assert int(layer.selected_label) == label + 1
    layer.mode = "pan_zoom"

    # a stroke that is not counted yet is not lost with its field
    layer.paint((y, x), label + 1)
    dock.screen_panel._step(1)
    window.wait(lambda: session.field.key != field and not dock.running.busy)
    assert label + 1 in set(session.cells.table.loc[session.cells.table["field"] == field, "label"])
    dock.screen_panel._step(-1)
    window.wait(lambda: session.field.key == field and not dock.running.busy)
    assert (np.asarray(layer.data) == label + 1).any()
    assert others(window).equals(rest), "cells of other fields stay"
    assert window.messages == []


def test_own_labels_are_of_their_field_alone(cells, tmp_path):
    window, session, dock = cells, cells.session, cells.dock
    panel, field = dock.cells_panel, session.field.key
    keys = [one.key for one in session.screen]
    rest = others(window)
    mine = np.zeros_like(session.cells.labels[field])
    mine[20:40, 20:40], mine[80:100, 90:110] = 1, 2
    layer = window.viewer.add_labels(mine, name="drawn by me")
    choose(panel, "labels")
    assert not panel.find_button.isEnabled()
    assert panel.why.text() == "Say which field these labels are of."
    other = keys[2]
    panel.own.field.setCurrentIndex(panel.own.field.findData(other))
    window.press(panel.find_button)
    window.wait(lambda: (session.cells.table["field"] == other).sum() == 2 and not dock.running.busy)
    table = session.cells.table
    assert (table["field"] == field).sum() == (rest["field"] == field).sum() + len(here(window))
    assert set(table["field"]) == set(keys)
    assert not layer.visible

    # a layer that says of which field it is, is not asked about; one of another screen is refused
    marked = window.viewer.add_labels(mine, name="marked", metadata={"phenolens": {"field": keys[3]}})
    panel.own.layer.setCurrentText("marked")
    assert panel.own.field.currentData() == keys[3]
    assert not panel.own.field.isEnabled()
    marked.metadata["phenolens"]["field"] = "of another screen"
    panel.own._ask()
    panel.own.field.setCurrentIndex(1)
    before = session.cells
    window.press(panel.find_button)
    assert "which this screen does not have" in panel.why.text()
    assert session.cells is before
    named = window.viewer.add_labels(mine, name=f"labels of {keys[1]}")
    panel.own.layer.setCurrentText(named.name)
    assert panel.own.field.currentData() == keys[1]


def test_a_folder_of_label_images_and_a_crop_set_by_hand(cells, tmp_path, monkeypatch):
    window, session, dock = cells, cells.session, cells.dock
    panel = dock.cells_panel
    suggested = session.crop
    panel.crop.setValue(suggested + 32)
    choose(panel, "auto")
    shown = session.cells
    window.press(panel.find_button)
    window.wait(lambda: session.cells is not shown and not dock.running.busy)
    assert session.crop == panel.crop.value() == suggested + 32

    for one in session.screen:
        labels = np.zeros(session.plane.shape[-2:], np.int32)
        labels[30:50, 30:50] = 7
        write_label_image(tmp_path / f"{one.key}.tif", labels, one.key)
    choose(panel, "folder")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    window.press(panel.browse)
    window.press(panel.find_button)
    window.wait(lambda: len(session.cells.table) == len(session.screen) and not dock.running.busy)
    assert set(session.cells.table["label"]) == {7}
    panel.folder.setText(str(tmp_path / "nowhere"))
    window.press(panel.find_button)
    window.wait(lambda: not dock.running.busy)
    assert "There is no folder of label images" in panel.why.text()
    assert set(session.cells.table["label"]) == {7}, "what was there stays"


def test_finding_cells_is_cancelled(window, small_screen, monkeypatch):
    from phenolens.screens.segmenters import BuiltIn

    window.open(small_screen)
    panel = window.dock.cells_panel
    slow = BuiltIn.segment

    def segment(self, *given, **how):
        window_waits.wait(0.2)
        return slow(self, *given, **how)

    import threading

    window_waits = threading.Event()
    monkeypatch.setattr(BuiltIn, "segment", segment)
    window.press(panel.find_button)
    assert panel.find_button.text() == "Cancel"
    window.wait(lambda: "/" in panel.why.text())
    window.press(panel.find_button)
    window.wait(lambda: not window.dock.running.busy)
    assert window.session.cells is None
    assert panel.why.text() == "Cancelled."
    assert panel.find_button.text() == "Find cells"
    names = [panel.way.itemText(i) for i in range(panel.way.count())]
    assert names[0] == "Segment the nuclei"
    for title in ("Cellpose", "StarDist", "InstanSeg"):
        index = next(i for i, name in enumerate(names) if name.startswith(title))
        if "not installed" in names[index]:
            assert not panel.way.model().item(index).isEnabled()
            assert "pip install" in panel.way.itemData(index, Qt.ItemDataRole.ToolTipRole)
