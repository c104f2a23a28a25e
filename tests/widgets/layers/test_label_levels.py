"""Cells of a large field: shown by levels that take no room, painted part by part, annotated and exported as others."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from qtpy.QtCore import Qt

from phenolens.runtime.progress import finish
from phenolens.screens.cell_editing import apply_labels
from phenolens.screens.cells import measure_cells
from phenolens.widgets.layers import label_levels, part_layer
from phenolens.widgets.layers.label_levels import LabelLevel
from phenolens.widgets.reader import read_export
from phenolens.widgets.translation.export import drawn_layers, export_job, looks_of

pytest_plugins = ["real_window"]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), step=st.sampled_from([1, 2, 4, 32]))
def test_a_level_is_every_so_many_pixels(data, step):
    labels = np.random.default_rng(0).integers(0, 99, (45, 70)).astype(np.int32)
    level, whole = LabelLevel(labels, step), labels[::step, ::step]
    ends = st.one_of(st.none(), st.integers(-80, 80))
    key = tuple(slice(data.draw(ends), data.draw(ends)) for _ in range(2))
    np.testing.assert_array_equal(level[key], whole[key])
    np.testing.assert_array_equal(np.asarray(level), whole)
    assert (level.shape, level.dtype) == (whole.shape, whole.dtype)


def test_cells_of_a_large_field_are_shown_annotated_and_exported(window, small_screen, tmp_path, monkeypatch):
    session, layers, panel = window.session, window.dock.field_layers, window.dock.cells_panel
    window.open(small_screen)
    window.find_cells()
    assert not layers.labels.multiscale
    found, key = session.cells, session.field.key
    monkeypatch.setattr(label_levels, "MOST_PAINTED", 150 * 150)
    monkeypatch.setattr(label_levels, "_SMALLEST", 64)
    other = np.roll(found.labels[key], 1, axis=0)
    session.set_cells(apply_labels(found, session.screen, {key: other}), 0)
    layer = layers.labels
    assert [level.shape for level in layer.data] == [(192, 192), (96, 96), (48, 48)]
    assert layer.data[0]._labels.base is session.cells.labels[key] or layer.data[0]._labels is session.cells.labels[key]
    np.testing.assert_array_equal(np.asarray(layer.data[0]), other)
    assert sum(one.name == "cells" for one in window.viewer.layers) == 1
    assert "opens what is in view for the brush" in panel.why.text()

    # what is said of the cells is shown, and columns of the user's own are kept
    label = int(np.unique(other)[1])
    session.annotations.add_class("odd")
    session.annotations.annotate([(key, label)], "odd")
    assert layer.features.set_index("index").loc[label, "class"] == "odd"
    layer.features["seen"] = [f"by Ada {i}" for i in layer.features["index"]]
    session.pen.collect()
    assert session.annotations.of((key, label)).own == {"seen": f"by Ada {label}"}
    window.viewer.layers.selection.active = layer
    native = window.viewer.window._qt_viewer.canvas.native
    native.setFocus()
    window.qtbot.keyClick(native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    window.qtbot.keyClick(native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert session.annotations.class_of((key, label)) is None
    session.annotations.redo()

    folder = finish(
        export_job(session, tmp_path, looks_of(layers.channels, (), ()), drawn_layers(window.viewer.layers), "ome-zarr")
    )
    back = {how["name"]: (data, how) for data, how, _ in read_export(folder)}
    np.testing.assert_array_equal(np.asarray(back["cells"][0]), other)
    assert back["cells"][1]["features"].set_index("index").loc[label, "class"] == "odd"

    # smaller ones are painted again
    monkeypatch.setattr(label_levels, "MOST_PAINTED", 8192 * 8192)
    session.set_cells(found, 0)
    assert not layers.labels.multiscale
    assert panel.new_cell.isVisibleTo(panel)
    assert window.messages == []


def rows(session):
    table = session.cells.table
    return table[table["field"] == session.field.key].reset_index(drop=True)


def counted(window):
    """Whether what is painted is what the session counts, and as if all of the field had been measured."""
    session, layers = window.session, window.dock.field_layers
    labels = session.cells.labels[session.field.key]
    whole = measure_cells(session.field.key, labels)
    np.testing.assert_array_equal(rows(session)[["label", "area"]], whole[["label", "area"]])
    np.testing.assert_allclose(rows(session)[["y", "x"]], whole[["y", "x"]])
    np.testing.assert_array_equal(np.asarray(layers.labels.data[0]), labels)
    part, (top, left) = layers.brush, layers.cells._part.corner
    height, width = part.data.shape
    np.testing.assert_array_equal(part.data, labels[top : top + height, left : left + width])
    return labels


def test_a_large_field_is_painted_part_by_part(window, small_screen, monkeypatch):
    session, layers, panel = window.session, window.dock.field_layers, window.dock.cells_panel
    native = window.viewer.window._qt_viewer.canvas.native

    def press(*key):
        native.setFocus()
        window.qtbot.keyClick(native, *key)

    monkeypatch.setattr(label_levels, "MOST_PAINTED", 150 * 150)
    monkeypatch.setattr(label_levels, "_SMALLEST", 64)
    monkeypatch.setattr(part_layer, "_MOST_SIDE", 80)
    monkeypatch.setattr(part_layer, "_LEAST_SIDE", 40)
    window.open(small_screen)
    window.find_cells()
    found, key = session.cells, session.field.key
    first = rows(session).iloc[(rows(session)["y"] + rows(session)["x"]).argmax()]
    session.annotations.add_class("odd")
    session.annotations.annotate([(key, int(first["label"]))], "odd")

    # a cell that was missed is painted in what is in view, with napari's own brush
    empty = next((y, x) for y in range(20, 170) for x in range(20, 170) if not found.labels[key][y, x])
    layer = layers.channels[0]
    window.viewer.scene.camera.center = (0, *layer.data_to_world(empty))
    before = window.viewer.scene.camera.zoom
    window.press(panel.new_cell)
    part = layers.brush
    assert part is not layers.labels
    assert max(part.data.shape) <= 80
    assert window.viewer.scene.camera.zoom > before, "what is painted fills the view"
    assert (part.mode, window.viewer.layers.selection.active) == ("paint", part)
    number = part.selected_label
    assert number > found.table["label"].max()
    here = part.world_to_data(layer.data_to_world(empty))
    part.brush_size = 4
    window.qtbot.mouseClick(native, Qt.MouseButton.LeftButton, pos=native.rect().center())
    window.wait(lambda: number in set(rows(session)["label"]), 3000)
    labels = counted(window)
    assert labels[empty] == number == part.data[tuple(np.rint(here).astype(int))]
    assert (labels != found.labels[key]).sum() == (labels == number).sum() > 4
    assert found.labels[key][empty] == 0, "what others hold stays as it was"

    # undone and done again
    press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert number not in set(rows(session)["label"])
    np.testing.assert_array_equal(counted(window), found.labels[key])
    press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert number in set(rows(session)["label"])
    counted(window)

    # elsewhere: the part follows, and a cell that is gone from it takes what was said of it along
    window.viewer.scene.camera.center = (0, *layer.data_to_world((first["y"], first["x"])))
    corner = layers.cells._part.corner
    window.wait(lambda: layers.cells._part.corner != corner, 3000)
    counted(window)
    part.mode = "pan_zoom"
    window.click_pixel(first["y"], first["x"])
    window.wait(lambda: session.pen.chosen == (key, int(first["label"])), 3000)
    window.press(panel.delete_cell)
    assert (key, int(first["label"])) not in session.annotations.cells
    assert not (counted(window) == first["label"]).any()
    press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert session.annotations.class_of((key, int(first["label"]))).name == "odd"
    assert (counted(window) == first["label"]).sum() == first["area"]
    assert sum(one[1]["name"] == "cells" for one in drawn_layers(window.viewer.layers)) == 1
    assert not any(one[1]["name"] == part_layer.NAME for one in drawn_layers(window.viewer.layers))
    session.set_cells(found, 0)
    assert layers.brush is layers.labels, "the part was of cells that are others now"
    assert window.messages == []
