"""Annotating in the real window: keys on the canvas, undo, the user's own columns, suggestions."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from phenolens.widgets.kit.style import rgb
from phenolens.widgets.layers.class_colours import pale

pytest_plugins = ["real_window"]


@pytest.fixture
def cells(window, small_screen):
    """The small screen with its cells found."""
    window.open(small_screen)
    window.find_cells()
    window.dock.annotate.unfold()
    return window


def here(window):
    table = window.session.cells.table
    return table[table["field"] == window.session.field.key].reset_index(drop=True)


def canvas(window):
    return window.viewer.window._qt_viewer.canvas.native


def point_at(window, row):
    """Move the pointer onto a cell, with the camera on it."""
    layer = window.dock.field_layers.channels[0]
    window.viewer.scene.camera.center = (0, *layer.data_to_world((row["y"], row["x"])))
    window.qtbot.wait(50)
    native = canvas(window)
    window.qtbot.mouseMove(native, native.rect().center() + QPoint(3, 3))
    window.qtbot.mouseMove(native, native.rect().center())
    window.qtbot.wait(50)


def key(window, which, modifier=Qt.KeyboardModifier.NoModifier):
    window.viewer.window._qt_viewer.canvas.native.setFocus()
    window.qtbot.keyClick(canvas(window), which, modifier)


def add_class(window, name):
    panel = window.dock.annotate_panel
    panel.new_name.setText(name)
    window.press(panel.add)


def colour_of(layer, label):
    return np.asarray(layer.colormap.color_dict[label])[:3]


def test_keys_annotate_undo_and_columns_stay(cells):
    window, session, dock = cells, cells.session, cells.dock
    add_class(window, "mitotic")
    add_class(window, "dead, or so round that it will be soon, in a name that is long")
    rows = here(window)
    first, second = (session.field.key, int(rows["label"][0])), (session.field.key, int(rows["label"][1]))
    layer = dock.field_layers.labels
    for active in (dock.field_layers.channels[0], layer, None):
        window.viewer.layers.selection.active = active
        point_at(window, rows.iloc[0])
        key(window, Qt.Key.Key_1)
        assert session.annotations.class_of(first).name == "mitotic", active
        key(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert session.annotations.class_of(first) is None, active
        key(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
        assert session.annotations.class_of(first).name == "mitotic", active
        key(window, Qt.Key.Key_0)
        assert session.annotations.class_of(first) is None, active

    window.viewer.layers.selection.active = dock.field_layers.channels[0]
    key(window, Qt.Key.Key_1)
    point_at(window, rows.iloc[1])
    key(window, Qt.Key.Key_2)
    key(window, Qt.Key.Key_3)  # no class has it
    features = layer.features.set_index("index")
    assert features.loc[first[1], "class"] == "mitotic"
    assert features.loc[second[1], "class"].startswith("dead")
    red = session.annotations.named("mitotic").colour
    assert np.allclose(colour_of(layer, first[1]), [int(red[i : i + 2], 16) / 255 for i in (1, 3, 5)], atol=1e-3)
    assert [row.count.text() for row in dock.annotate_panel.rows] == ["1", "1"]
    assert dock.annotate._summary.text() == "2 in 2 classes"

    dock.annotate_panel.note.setText("two spindles?")
    dock.annotate_panel.note.editingFinished.emit()
    assert session.annotations.of(second).note == "two spindles?"

    # columns that the user writes into napari's own table
    layer.features["checked by"] = [f"Ada {i}" for i in layer.features["index"]]
    shown = session.field.key
    window.press_field = dock.screen_panel._step(1)
    window.wait(lambda: session.field.key != shown and not dock.running.busy)
    assert set(layer.features.get("class", [])) == {""}, "what is said of one field is not said of another"
    dock.screen_panel._step(-1)
    window.wait(lambda: session.field.key == shown and not dock.running.busy)
    features = layer.features.set_index("index")
    assert features.loc[first[1], "class"] == "mitotic"
    assert features.loc[second[1], "note"] == "two spindles?"
    assert features["checked by"].tolist() == [f"Ada {i}" for i in features.index]
    assert session.annotations.of(first).own == {"checked by": f"Ada {first[1]}"}

    # while one draws, the keys are napari's: 1 is the eraser
    window.viewer.layers.selection.active = layer
    layer.mode = "paint"
    before = session.annotations.class_of(second)
    key(window, Qt.Key.Key_1)
    assert session.annotations.class_of(second) == before
    assert str(layer.mode) == "erase"
    layer.mode = "pan_zoom"
    assert window.messages == []


def test_suggestions_are_pale_until_they_are_accepted(cells):
    window, session, dock = cells, cells.session, cells.dock
    panel = dock.annotate_panel
    add_class(window, "control")
    add_class(window, "treated")
    assert not panel.suggest.isEnabled()
    role = {one.key: one.metadata["Metadata_Role"] for one in session.screen}
    table = session.cells.table
    of_control = table[[role[key] == "negative control" for key in table["field"]]]
    others = table[[role[key] != "negative control" for key in table["field"]]]
    for name, some in (("control", of_control), ("treated", others)):
        chosen = some.groupby("field").head(2)
        session.annotations.annotate(list(zip(chosen["field"], chosen["label"], strict=True)), name)
    given = set(session.annotations.cells)
    window.press(panel.suggest)
    assert panel.suggest.text() == "Cancel"
    window.wait(lambda: session.annotations.suggested is not None and not dock.running.busy)
    suggested = session.annotations.suggested
    assert len(suggested) == len(table) - len(given)
    assert "annotated cells" in panel.score.text()
    layer = dock.field_layers.labels
    label = next(int(i) for i in here(window)["label"] if (session.field.key, int(i)) not in given)
    name, _ = suggested.of((session.field.key, label))
    assert np.allclose(colour_of(layer, label), pale(session.annotations.named(name).colour), atol=1e-3)
    dashed = next(one for one in window.viewer.layers if one.name == "suggested classes")
    assert np.allclose(colour_of(dashed, label), rgb(session.annotations.named(name).colour), atol=1e-3)
    drawn = np.asarray(dashed.data) == label
    assert drawn.any()
    assert (np.asarray(layer.data)[drawn] == label).all()
    assert not colour_of(dashed, None).any()
    row = layer.features.set_index("index").loc[label]
    assert (row["class"], row["suggested_class"]) == ("", name)

    # another click: suggested anew, without embedding again
    cell = next(iter(suggested.rows()))[0]
    session.annotations.annotate([cell], "control")
    window.wait(lambda: len(session.annotations.suggested) == len(suggested) - 1, 1000)
    unsure = panel.suggesting.next_unsure()
    window.viewer.layers.selection.active = dock.field_layers.channels[0]
    key(window, Qt.Key.Key_N)
    assert session.pen.chosen == unsure
    window.wait(lambda: session.field.key == unsure[0] and not dock.running.busy)
    window.press(panel.accept_one)
    assert session.annotations.class_of(unsure) is not None
    session.annotations.annotate([panel.suggesting.next_unsure()], "treated")
    window.wait(lambda: "accepted" in panel.score.text(), 2000)
    assert "1 accepted suggestion is not among them" in panel.score.text(), "it agrees with itself"
    assert f" of {len(given) + 2} " in panel.score.text()
    panel.least.setValue(0.6)
    sure = sum(p >= 0.6 for c, _, p in session.annotations.suggested.rows() if session.annotations.class_of(c) is None)
    if sure:
        window.press(panel.accept)
    window.press(panel.accept_all)
    assert sum(session.annotations.counts().values()) == len(table)
    assert not dashed.visible
    assert session.annotations.undo().startswith("accepting")
    assert sum(session.annotations.counts().values()) < len(table)
    assert window.messages == []
