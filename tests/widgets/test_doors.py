"""Every door of the window opens every format, and says what it is where it does not: a cell of the table each."""

from contextlib import ExitStack

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QFileDialog, QInputDialog

from doors import ADAPTER, FORMATS, IN_WINDOW, tables
from phenolens.widgets.opening import open_dock
from phenolens.widgets.translation.layer_axes import LayerAxes
from project import ROOT

pytest_plugins = ["real_window"]

IDS = [one.name for one in FORMATS]
DOORS = [door if door == "drop" else pytest.param(door, marks=pytest.mark.slow) for door in IN_WINDOW]
_FOUND: dict[str, dict[str, object]] = {}
"""What came of each format, by door: all of a door are opened in one window, when the first of them is asked for."""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Path or URL of each format."""
    from zarr_files import served

    with ExitStack() as stack:
        found = {}
        for one in FORMATS:
            folder = tmp_path_factory.mktemp("doors")
            path = one.make(folder)
            if one.what == "url":
                address, _ = stack.enter_context(served(folder))
                path = f"{address}/{path.name}"
            found[one.name] = path
        yield found


def drop(window, path):
    mime = QMimeData()
    mime.setUrls([QUrl(path) if isinstance(path, str) else QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(QPoint(300, 300)), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    window.viewer.window._qt_viewer.dropEvent(event)


def through_menu(window, path, monkeypatch):
    """File > Open Files and File > Open Folder, with the dialog answered."""
    qt_viewer = window.viewer.window._qt_viewer
    if isinstance(path, str):
        window.viewer.open(path, plugin="napari-phenolens")
    elif path.is_dir():
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(path))
        qt_viewer._open_folder_dialog()
    else:
        monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_, **__: ([str(path)], ""))
        qt_viewer._open_files_dialog()


def through_dock(window, path, monkeypatch):
    """The menu of the dock's button, with the dialog answered."""
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(path))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(path), ""))
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: (str(path), True))
    words = "address" if isinstance(path, str) else "Folder" if path.is_dir() else "file"
    menu = window.dock.screen_panel.open_button.menu()
    next(action for action in menu.actions() if words in action.text()).trigger()


def idle(window):
    window.wait(lambda: not any(one.running.busy for one in (window.dock, window.map, window.evaluation)))


def use_layers(window, axes):
    """Make a screen of the layers that napari's own reader has opened, as a person does."""
    panel = window.dock.screen_panel
    panel.open_layers()
    asked: LayerAxes = panel.layer_axes
    if not asked._opened:
        assert "Correct the guess" in asked.question.text()
        for chip, letter in zip(asked.chips.chips, axes, strict=True):
            chip.setCurrentIndex(chip.findData(letter))
            chip.activated.emit(chip.currentIndex())
        window.press(asked.use)


def of_screen(window):
    """What is known of the open screen and its layers."""
    session, image = window.session, window.session.image
    layers = window.dock.field_layers.channels
    first = layers[0]
    shared = [[low, high] for low, high in zip(session.intensity.low, session.intensity.high, strict=True)]
    return {
        "fields": len(session.screen),
        "axes": image.axes,
        "names": tuple(session.screen.channel_names),
        "layers": tuple(layer.name for layer in layers),
        "size": image.pixel_size,
        "spacing": image.z_spacing,
        "seconds": image.scale("T").seconds,
        "scale": tuple(round(float(step), 6) for step in first.scale),
        "units": tuple(str(unit) for unit in first.units),
        "colours": tuple(_hex(layer) for layer in layers),
        "one contrast": [layer.contrast_limits for layer in layers] == shared,
        "columns": tuple(session.screen.table.columns),
        "pixels": np.array_equal(np.asarray(first.data), np.asarray(image.channel(0))),
        "no more layers": [x for x in window.viewer.layers if isinstance(x, Image) and x.visible] == layers,
    }


def _hex(layer):
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in layer.colormap.colors[-1][:3])


def open_all(window, door, made, monkeypatch, found):
    """Open every format by a door, one after the other, and write what came of each into `found`."""
    window.map, window.evaluation = (open_dock(window.viewer, f"Phenolens {name}") for name in ("map", "evaluation"))
    for one in FORMATS:
        if one.kept is not None or one.what == "export":
            window.viewer.layers.clear()
        screen, path = window.session.screen, made[one.name]
        if door == "drop":
            drop(window, path)
        elif door == "dock":
            through_dock(window, path, monkeypatch)
        else:
            through_menu(window, path, monkeypatch)
        if door in one.asked:
            use_layers(window, one.kept.axes)
        idle(window)
        if one.kept is not None:
            window.wait(lambda screen=screen: window.session.screen is not screen and window.session.field is not None)
            idle(window)
            found[one.name] = of_screen(window)
        else:
            found[one.name] = _OTHERS[one.what](window)
    found["messages"] = list(window.messages)


def _cells(window):
    cells = window.session.cells
    return None if cells is None else (set(cells.table["label"]), cells.table["field"].nunique())


def _adapter(window):
    window.wait(lambda: window.session.adapter is not None and not window.dock.running.busy)
    return window.session.adapter.conditions


_OTHERS = {
    "labels": _cells,
    "adapter": _adapter,
    "atlas": lambda window: len(window.map.session.data.atlas.profiles),
    "encoder": lambda window: window.map.session.encoder.card.name,
    "evaluation": lambda window: window.evaluation.answers.evaluation.name,
    "session": lambda window: (len(window.session.screen), window.session.field.key, window.session.strength),
    "export": lambda window: {
        layer.name: (layer.contrast_limits, layer.metadata["phenolens"]["synthetic"], str(layer.units[-1]))
        for layer in window.viewer.layers
    },
}
_EXPECTED = {
    "labels": ({7, 9}, 2),
    "adapter": ADAPTER,
    "atlas": 60,
    "encoder": "default",
    "evaluation": None,
    "session": (2, "treated1", 0.4),
    "export": {
        f"{name} {kind}": ([3, 77], kind != "source", "micrometer")
        for kind in ("source", "translated", "difference")
        for name in ("DNA", "actin")
    },
}


@pytest.fixture
def found(request, made, monkeypatch):
    """What came of the formats at a door."""

    def at(door):
        if door not in _FOUND:
            from napari._qt.dialogs import qt_reader_dialog

            ours = lambda *_, **__: ("Phenolens", False)  # noqa: E731
            monkeypatch.setattr(qt_reader_dialog.QtReaderDialog, "get_user_choices", ours)
            _FOUND[door] = {}
            open_all(request.getfixturevalue("window"), door, made, monkeypatch, _FOUND[door])
        return _FOUND[door]

    return at


@pytest.mark.window
@pytest.mark.parametrize("one", FORMATS, ids=IDS)
@pytest.mark.parametrize("door", DOORS)
def test_it_opens(found, door, one):
    came = found(door)[one.name]
    if one.kept is None:
        expected = _EXPECTED[one.what]
        assert came == expected if expected is not None else came
        return
    kept = one.kept
    stack = [(60.0, "second")] * ("T" in kept.axes) + [(0.7, "micrometer")] * ("Z" in kept.axes)
    plane = [(1.0, "pixel")] * 2 if kept.size is None else [(side, "micrometer") for side in kept.size]
    scale, units = zip(*stack, *plane, strict=True)
    assert set(kept.columns) <= set(came["columns"])
    assert {name: value for name, value in came.items() if name != "columns"} == {
        "fields": kept.fields,
        "axes": kept.axes,
        "names": kept.names,
        "layers": kept.names,
        "size": kept.size,
        "spacing": kept.spacing,
        "seconds": kept.seconds,
        "scale": scale,
        "units": units,
        "colours": kept.colours,
        "one contrast": True,
        "pixels": True,
        "no more layers": True,
    }


@pytest.mark.window
@pytest.mark.parametrize("door", DOORS)
def test_nothing_is_complained_of(found, door):
    assert found(door)["messages"] == []


def test_the_page_has_these_tables():
    assert tables() in (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
