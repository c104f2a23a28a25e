"""What is dropped on the viewer opens: a screen, a table, an image, an adapter, a report, and what was saved."""

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Labels, Points
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from phenolens.annotation.files import read_annotations
from phenolens.runtime.errors import PhenolensError, ScreenError
from phenolens.runtime.files import write_json
from phenolens.runtime.progress import finish
from phenolens.screens.ome_zarr.plate_writing import write_plate
from phenolens.screens.table import read_screen
from phenolens.widgets.reader import get_reader, read_export
from saved_reports import made_up_report

pytest_plugins = ["real_window"]


def drop(window, path):
    """Drop a file or a folder on the viewer, and let Phenolens read it where napari would ask."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    where = QPoint(300, 300)
    event = QDropEvent(
        QPointF(where), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.viewer.window._qt_viewer.dropEvent(event)


@pytest.fixture
def ours(monkeypatch):
    """napari asks which reader to take where several can; here the answer is always this plugin."""
    from napari._qt.dialogs import qt_reader_dialog

    chosen = lambda *args, **kwargs: ("Phenolens", False)  # noqa: E731
    monkeypatch.setattr(qt_reader_dialog.QtReaderDialog, "get_user_choices", chosen)


def test_a_folder_a_table_and_an_image_open_with_their_screen(window, ours, small_screen):
    screen = read_screen(small_screen)
    image = next(iter(sorted((small_screen / "images").rglob("*.tif"))))
    for path, fields in ((small_screen, len(screen)), (small_screen / "screen.csv", len(screen)), (image, 1)):
        drop(window, path)
        window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
        assert len(window.session.screen) == fields, path
        layers = window.dock.field_layers.channels
        assert [layer.name for layer in layers] == list(screen.channel_names)
        assert len([layer for layer in window.viewer.layers if isinstance(layer, Image)]) == len(layers)
        low, high = window.session.intensity.low[0], window.session.intensity.high[0]
        assert layers[0].contrast_limits == [low, high]
        assert str(layers[0].units[-1]) == "micrometer"
    assert not window.messages


def test_a_plate_of_ome_zarr_opens_by_dropping_it(window, ours, small_screen, tmp_path):
    screen = read_screen(small_screen)
    plate = finish(write_plate(tmp_path / "plate.zarr", screen))
    drop(window, plate)
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    opened = window.session.screen
    assert len(opened) == len(screen)
    assert {"Metadata_Well", "Metadata_Row", "Metadata_Column"} <= set(opened.table.columns)
    layers = window.dock.field_layers.channels
    assert [layer.name for layer in layers] == list(screen.channel_names)
    assert str(layers[0].units[-1]) == "micrometer"
    field = next(one for one in screen if one.well == window.session.field.well)
    np.testing.assert_array_equal(np.asarray(layers[0].data), field.image().plane()[0])
    assert not window.messages


def test_an_adapter_is_loaded_and_a_report_shown(window, ours, small_screen, small_adapter, tmp_path):
    drop(window, small_screen)
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    drop(window, small_adapter.folder)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    assert window.session.adapter.conditions == small_adapter.conditions
    write_json(tmp_path / "report" / "report.json", made_up_report())
    drop(window, tmp_path / "report")
    names = list(window.viewer.window.dock_widgets)
    assert any("evaluation" in name for name in names)


def test_what_is_saved_from_the_window_is_dropped_back(window, ours, small_screen, tmp_path):
    drop(window, small_screen)
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    shape = window.session.plane.shape[-2:]
    viewer = window.viewer
    viewer.add_labels(np.eye(*shape, dtype=int), name="mine", features={"index": [0, 1], "class": ["", "odd"]})  # type: ignore[type-var]
    viewer.add_points([[3, 4], [5, 6]], name="seen", features={"note": ["a", "b"]})
    before = {layer.name: layer for layer in viewer.layers}
    folder = tmp_path / "saved"
    folder.mkdir()
    viewer.layers.save(str(folder / "all.ome.tif"), plugin="napari-phenolens")
    window.viewer.layers.clear()
    drop(window, folder)
    after = {layer.name: layer for layer in viewer.layers}
    assert after.keys() == before.keys()
    for name, layer in before.items():
        back = after[name]
        assert type(back) is type(layer)
        np.testing.assert_array_equal(np.asarray(back.data), np.asarray(layer.data))
        np.testing.assert_allclose(back.scale, layer.scale)
        assert back.units == layer.units
        if isinstance(layer, Image):
            assert back.contrast_limits == layer.contrast_limits
            assert back.colormap.name == layer.colormap.name
    assert isinstance(after["mine"], Labels)
    assert after["mine"].features["class"].tolist() == ["", "odd"]
    assert isinstance(after["seen"], Points)
    assert after["seen"].features["note"].tolist() == ["a", "b"]


@pytest.mark.parametrize("file_format", [pytest.param("ome-tiff", marks=pytest.mark.slow), "ome-zarr"])
def test_from_a_plate_to_an_export_and_back(window, ours, small_screen, small_adapter, tmp_path, file_format):
    plate = finish(write_plate(tmp_path / "plate.zarr", read_screen(small_screen)))
    drop(window, plate)
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    window.find_cells()
    window.dock.load_adapter(small_adapter)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    session, viewer = window.session, window.viewer
    table = session.cells.table
    some = [(session.field.key, int(label)) for label in table[table["field"] == session.field.key]["label"][:3]]
    session.annotations.add_class("mitotic")
    session.annotations.annotate(some, "mitotic")
    session.annotations.set_note(some[:1], "look again, µ")
    session.annotations.set_value(some[1:2], "checked by", "Ada")
    viewer.add_points([[30, 40]], name="seen", features={"why": ["bright"]}, units=("um", "um"))
    window.press(window.dock.translate_panel.click)
    cell = window.click_cell(0)
    window.wait(lambda: cell.translation is not None and not window.dock.running.busy)
    window.dock.field_layers.channels[0].contrast_limits = (321, 1234)
    window.qtbot.wait(500)
    window.dock.export(tmp_path / "out", file_format)
    window.wait(lambda: list((tmp_path / "out").glob("*/provenance.json")) and not window.dock.running.busy)
    (exported,) = (tmp_path / "out").iterdir()
    ending = {"ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}[file_format]
    assert {path.name.partition("__")[2] for path in exported.glob(f"*{ending}")} >= {
        f"{kind}{ending}" for kind in ("source", "translated", "difference")
    }
    assert pd.read_csv(exported / "cells.csv")["synthetic"].all()
    before = {layer.name: (type(layer).__name__, np.array(layer.data, dtype=object if layer.name == "synthetic cells"
              else None), layer.as_layer_data_tuple()[1]) for layer in viewer.layers}  # fmt: skip
    assert read_annotations(exported / "annotations.csv").class_of(some[0]).name == "mitotic"
    assert read_annotations(exported / "annotations.csv").of(some[0]).note == "look again, µ"
    viewer.layers.clear()
    drop(window, exported)
    after = {layer.name: layer for layer in viewer.layers}
    assert after.keys() == before.keys()
    for name, (kind, data, how) in before.items():
        back = after[name]
        assert type(back).__name__ == kind
        if kind == "Image":
            np.testing.assert_array_equal(back.data, data)
            assert back.contrast_limits == list(how["contrast_limits"])
            np.testing.assert_allclose(np.asarray(back.colormap.colors), np.asarray(how["colormap"]["colors"]))
            assert back.metadata["phenolens"]["synthetic"] == how["metadata"]["phenolens"]["synthetic"]
        elif kind == "Labels":
            np.testing.assert_array_equal(back.data, data)
        np.testing.assert_allclose(back.scale, how["scale"])
        assert back.units == how["units"]
    classes = after["cells"].features
    assert classes[classes["class"] == "mitotic"]["index"].tolist() == [label for _, label in some]
    assert classes["note"].tolist() == before["cells"][2]["features"]["note"].tolist()
    checked = before["cells"][2]["features"]["checked by"]
    assert classes["checked by"].tolist() == checked.fillna("").tolist(), "a text that is missing comes back empty"
    assert after["seen"].features["why"].tolist() == ["bright"]
    assert not window.messages or all("Exported" in message for message in window.messages)


def test_drawings_are_shown_and_exported_with_their_own_field(window, ours, small_screen, tmp_path):
    drop(window, small_screen)
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    session, viewer = window.session, window.viewer
    first, second = session.field.key, next(one.key for one in session.screen if one.key != session.field.key)
    drawn = {first: viewer.add_points([[3.0, 4.0]], name="here"), second: None}

    def go_to(key):
        session.ask_for_field(key)
        window.wait(lambda: session.field.key == key and not window.dock.running.busy)

    go_to(second)
    assert not drawn[first].visible
    drawn[second] = viewer.add_shapes([[[1, 1], [1, 9], [9, 9]]], shape_type="polygon", name="there")
    go_to(first)
    assert drawn[first].visible
    assert not drawn[second].visible
    window.dock.export(tmp_path / "out", "ome-zarr")
    window.wait(lambda: list((tmp_path / "out").glob("*/provenance.json")) and not window.dock.running.busy)
    (exported,) = (tmp_path / "out").iterdir()
    assert {path.name for path in exported.glob("*.*")} >= {
        f"{first}__source.ome.zarr", f"{first}__here.geojson", f"{second}__source.ome.zarr", f"{second}__there.geojson",
    }  # fmt: skip
    viewer.layers.clear()
    drop(window, exported)
    after = {layer.name: layer for layer in viewer.layers}
    np.testing.assert_array_equal(after["here"].data, [[3, 4]])
    np.testing.assert_array_equal(after["there"].data[0], [[1, 1], [1, 9], [9, 9]])
    assert [after[name].metadata["phenolens"]["field"] for name in ("here", "there")] == [first, second]


def test_all_layers_are_saved_as_ome_zarr_by_the_menu_of_napari(window, ours, small_screen, tmp_path):
    drop(window, small_screen)
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    viewer = window.viewer
    place = {name: getattr(viewer.layers[0], name) for name in ("scale", "units")}
    viewer.add_labels(np.eye(*window.session.plane.shape[-2:], dtype=int), name="mine", **place)  # type: ignore[type-var]
    before = {layer.name: layer for layer in viewer.layers}
    viewer.layers.save(str(tmp_path / "all.ome.zarr"), plugin="napari-phenolens")
    viewer.layers.clear()
    drop(window, tmp_path / "all.ome.zarr")
    after = {layer.name: layer for layer in viewer.layers}
    assert after.keys() == before.keys()
    for name, layer in before.items():
        np.testing.assert_array_equal(np.asarray(after[name].data), np.asarray(layer.data))
        np.testing.assert_allclose(after[name].scale, layer.scale)
        assert after[name].units == layer.units
        if isinstance(layer, Image):
            assert after[name].contrast_limits == layer.contrast_limits
    assert not window.messages


def test_what_is_none_of_these_is_said(tmp_path):
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    reader = get_reader(str(tmp_path / "notes.csv"))
    with pytest.raises(PhenolensError):
        reader(str(tmp_path / "notes.csv"))
    with pytest.raises(ScreenError, match="holds no layer"):
        read_export(tmp_path)
