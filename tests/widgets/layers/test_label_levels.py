"""Cells of a large field: shown by levels that take no room, annotated and exported as others, and not painted."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from qtpy.QtCore import Qt

from phenolens.runtime.progress import finish
from phenolens.screens.cell_editing import apply_labels
from phenolens.widgets.layers import label_levels
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


def test_cells_of_a_large_field_are_shown_and_annotated_and_not_painted(window, small_screen, tmp_path, monkeypatch):
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
    assert "too large for the brush" in panel.why.text()
    assert not panel.new_cell.isVisible()
    assert layers.cells.begin_cell() is None
    assert not layers.cells.delete(1)

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
