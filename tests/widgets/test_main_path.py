"""The path of a plate through a real window and out again: corrected, annotated, translated, exported, reopened."""

import os
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QDockWidget, QInputDialog

from map_window import MapWindow
from phenolens.annotation.files import read_annotations
from phenolens.runtime.progress import finish
from phenolens.screens.ome_zarr.plate_writing import write_plate
from phenolens.screens.table import read_screen

pytest_plugins = ["real_window"]


def drop(viewer, path):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(QPoint(300, 300)), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    viewer.window._qt_viewer.dropEvent(event)


def look(window, name):
    """Take a picture of the window where a folder for it is named; somebody looks at them."""
    if folder := os.environ.get("PHENOLENS_TEST_PICTURES"):
        window.qtbot.wait(300)
        window.viewer.window.screenshot(str(Path(folder) / f"{name}.png"), flash=False, canvas_only=False)


@pytest.fixture
def ours(monkeypatch):
    from napari._qt.dialogs import qt_reader_dialog

    chosen = lambda *_, **__: ("Phenolens", False)  # noqa: E731
    monkeypatch.setattr(qt_reader_dialog.QtReaderDialog, "get_user_choices", chosen)


def state(viewer):
    """All that a layer is, by its name."""
    found = {}
    for layer in viewer.layers:
        data, meta, kind = layer.as_layer_data_tuple()
        facts = meta["metadata"].get("phenolens", {})
        found[layer.name] = {
            "kind": kind,
            "data": [np.asarray(one) for one in data] if kind == "shapes" else np.asarray(data),
            "place": [np.asarray(meta[name], float).tolist() for name in ("scale", "translate", "rotate")],
            "units": [str(unit) for unit in meta["units"]],
            "synthetic": facts.get("synthetic"),
            "features": columns(layer.features) if hasattr(layer, "features") else None,
            "limits": meta.get("contrast_limits"),
            "colour": np.asarray(layer.colormap.colors).tolist() if isinstance(layer, Image) else None,
        }
    return found


def columns(table):
    return table.astype(object).where(table.notna(), "").to_dict("list")


def key(window, which):
    native = window.viewer.window._qt_viewer.canvas.native
    native.setFocus()
    window.qtbot.keyClick(native, which)


def point_at(window, row):
    layer = window.dock.field_layers.channels[0]
    native = window.viewer.window._qt_viewer.canvas.native
    wanted = layer.data_to_world((row["y"], row["x"]))
    window.viewer.scene.camera.center = (0, *wanted)
    window.qtbot.wait(50)

    def there():
        for off in (3, 0):
            window.qtbot.mouseMove(native, native.rect().center() + QPoint(off, off))
        window.qtbot.wait(20)
        return np.allclose(window.viewer.cursor.position[-2:], wanted, atol=2)

    window.wait(there, 5000)


def to_front(dock):
    """Bring a dock before those that it shares its place with."""
    while not isinstance(dock, QDockWidget):
        dock = dock.parent()
    dock.raise_()


def here(window):
    table = window.session.cells.table
    return table[table["field"] == window.session.field.key].reset_index(drop=True)


def test_a_plate_is_corrected_annotated_translated_exported_and_comes_back(
    window, ours, make_napari_viewer, small_screen, small_adapter, tmp_path, monkeypatch
):
    session, dock, viewer = window.session, window.dock, window.viewer
    viewer.window.resize(1280, 800)
    drop(viewer, finish(write_plate(tmp_path / "plate.zarr", read_screen(small_screen))))
    window.wait(lambda: session.field is not None and not dock.running.busy)
    look(window, "1_dropped")

    # cells corrected with the brush: half of one erased, and one that was missed
    window.find_cells()
    look(window, "2_found")
    layer, rows = dock.field_layers.labels, here(window)
    first = int(rows["label"][0])
    viewer.layers.selection.active = layer
    layer.selected_label, layer.brush_size, layer.mode = 0, 6, "erase"
    layer.paint((float(rows["y"][0]), float(rows["x"][0])), 0)
    window.wait(lambda: here(window).set_index("label")["area"][first] < rows["area"][0], 3000)
    layer.mode = "pan_zoom"
    window.press(dock.cells_panel.new_cell)
    missed = int(layer.selected_label)
    look(window, "3_brush")
    empty = np.argwhere(np.asarray(layer.data)[20:-20, 20:-20] == 0)[0] + 20
    layer.paint(tuple(map(float, empty)), missed)
    window.wait(lambda: missed in set(here(window)["label"]), 3000)
    layer.mode = "pan_zoom"

    # three cells annotated by key, one with a note
    dock.sections[1].unfold(False)
    dock.annotate.unfold()
    dock.annotate_panel.new_name.setText("mitotic")
    window.press(dock.annotate_panel.add)
    viewer.layers.selection.active = dock.field_layers.channels[0]
    some = [(session.field.key, int(label)) for label in here(window)["label"][1:4]]
    for row in range(1, 4):
        point_at(window, here(window).iloc[row])
        key(window, Qt.Key.Key_1)
    assert all(session.annotations.class_of(cell).name == "mitotic" for cell in some)
    session.annotations.set_note(some[:1], "look again, µ")
    look(window, "4_annotated")

    # a lasso on the map made a class
    maps = MapWindow(window)
    window.press(maps.dock.head.embed_button)
    window.wait(lambda: maps.session.data is not None and not maps.dock.running.busy)
    window.wait(lambda: maps.native.isVisible() and maps.native.width() > 100)
    window.qtbot.wait(100)
    look(window, "5_map")
    window.press(maps.dock.view.tools.lasso_button)
    middle, height = maps.native.width() / 2, maps.native.height()
    maps.draw([(1, 1), (middle, 1), (middle, height - 1), (1, height - 1)])
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("left of the map", True))
    look(window, "6_lasso")
    maps.dock.selecting.to_class.fill()
    choices = maps.dock.selecting.to_class.choices.actions()
    next(one for one in choices if one.text() == "new class…").trigger()
    assert session.annotations.counts()["left of the map"] == int(maps.session.selected.sum()) > 1
    for cell in some:  # those in the lasso are mitotic all the same
        session.annotations.annotate([cell], "mitotic")
    look(window, "7_class_of_the_lasso")

    # the rest suggested, and the suggestions accepted
    to_front(dock)
    window.qtbot.wait(100)
    window.press(dock.annotate_panel.suggest)
    window.wait(lambda: session.annotations.suggested is not None and not dock.running.busy)
    look(window, "8_suggested")
    window.press(dock.annotate_panel.accept_all)
    assert sum(session.annotations.counts().values()) == len(session.cells.table)

    # one cell translated, columns and points of the user's own, and all exported
    dock.load_adapter(small_adapter)
    window.wait(lambda: session.translator is not None and not dock.running.busy)
    window.press(dock.translate_panel.click)
    cell = window.click_cell(0)
    window.wait(lambda: cell.translation is not None and not dock.running.busy)
    viewer.add_points([[30, 40]], name="seen", features={"why": ["bright"]}, units=("um", "um"))
    features = layer.features.copy()
    features["mine"] = np.arange(len(features)) * 1.5
    layer.features = features
    dock.field_layers.channels[0].contrast_limits = (321, 1234)
    look(window, "9_translated")
    exports = {name: tmp_path / name for name in ("ome-zarr", "ome-tiff")}
    for name, folder in exports.items():
        dock.export(folder, name)
        window.wait(lambda folder=folder: list(folder.glob("*/provenance.json")) and not dock.running.busy)
        (exports[name],) = folder.iterdir()
    look(window, "10_exported")
    before = {name: one for name, one in state(viewer).items() if name not in ("selected on the map", "on the map")}
    for exported in exports.values():
        said = read_annotations(exported / "annotations.csv")
        assert (said.class_of(some[0]).name, said.of(some[0]).note) == ("mitotic", "look again, µ")
        assert said.counts() == session.annotations.counts()
        assert set(said.counts()) == {"mitotic", "left of the map"}
    assert list(exports["ome-zarr"].glob("*__translated.ome.zarr"))
    assert list(exports["ome-tiff"].glob("*__translated.ome.tif"))
    assert list(exports["ome-tiff"].glob("*__cells.csv"))
    assert all("Exported" in message for message in window.messages)
    thick = layer.contour
    assert thick
    viewer.close()

    for name, exported in exports.items():
        again = make_napari_viewer(show=True)
        again.window.resize(1280, 800)
        window.viewer = again
        drop(again, exported)
        window.wait(lambda again=again: again.layers["cells"].contour == thick, 3000)
        look(window, f"11_dropped_back_{name}")
        came_back(before, state(again))
        again.close()


def came_back(before, after):
    """Compare layers after an export was dropped with those that were exported."""
    assert set(before) <= set(after)
    places = [{"image": 0, "labels": 1}.get(layer["kind"], 2) for layer in after.values()]
    assert places == sorted(places), "outlines lie above the pictures, which would be added to their colours"
    for name, was in before.items():
        now = after[name]
        for what, value in was.items():
            if what == "data":
                np.testing.assert_equal(now[what], value, err_msg=name)
            elif what == "features" and value is not None:
                assert {column: now[what][column] for column in value} == value, name
            elif what == "colour" and value is not None:
                np.testing.assert_allclose(now[what], value, err_msg=name)
            elif what == "place":
                for one, other in zip(now[what], value, strict=True):
                    np.testing.assert_allclose(one, other, err_msg=name)
            else:
                assert now[what] == value, (name, what)
    cells = after["cells"]["features"]
    assert cells["mine"] == before["cells"]["features"]["mine"]
    assert "look again, µ" in cells["note"]
    assert "mitotic" in cells["class"], "of the field on display; those of all fields are in annotations.csv"
