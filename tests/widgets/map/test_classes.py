"""Classes on the map in a real window: colours and legend, a lasso made a class or a layer, neighbours made a class."""

import numpy as np
import pytest
from qtpy.QtWidgets import QInputDialog

pytest_plugins = ["real_window", "map_window"]


@pytest.fixture
def with_screen(map_window, small_screen, small_atlas):
    map_window.window.open(small_screen)
    map_window.window.find_cells()
    map_window.open(small_atlas)
    return map_window


def choose(button, text):
    """Choose an entry of a button's menu."""
    button.fill()
    next(entry for entry in button.choices.actions() if entry.text() == text).trigger()


def legend(w):
    return [w.dock.view.legend.item(i).text() for i in range(w.dock.view.legend.count())]


def lasso_left(w):
    """Draw around the left half of the map."""
    if not w.dock.view.tools.lasso_button.isChecked():
        w.window.press(w.dock.view.tools.lasso_button)
    middle, height = w.native.width() / 2, w.native.height()
    w.draw([(1, 1), (middle, 1), (middle, height - 1), (1, height - 1)])


def test_a_lasso_becomes_a_class_and_a_layer(with_screen, monkeypatch):
    w = with_screen
    main = w.window.session
    colours = w.dock.view.tools.colours
    assert colours.itemText(0) == "Compound" or "Class" not in [colours.itemText(i) for i in range(colours.count())]
    assert w.dock.selecting.isHidden()
    lasso_left(w)
    selected = w.session.selected
    assert selected.any()
    assert not selected.all()
    rings = next(layer for layer in w.viewer.layers if layer.name == "selected on the map")
    metadata = w.session.data.atlas.profiles.metadata
    field = main.field.key
    here = selected & (metadata["Metadata_Field"] == field).to_numpy()
    centres = metadata.loc[here, ["Metadata_Y", "Metadata_X"]].to_numpy(float)
    assert len(rings.data) == len(centres)
    assert rings.visible == bool(len(centres))
    assert np.allclose(np.sort(rings.data, axis=0), np.sort(centres, axis=0), atol=1.5)

    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("left of the map", True))
    choose(w.dock.selecting.to_class, "new class…")
    assert main.annotations.counts() == {"left of the map": int(selected.sum())}
    assert main.annotations.undoable == f"class of {int(selected.sum())} cells"
    assert colours.itemText(0) == "Class"
    assert w.session.grouping.title == "Class"
    assert legend(w) == [f"left of the map  {selected.sum()}", f"no class  {(~selected).sum()}"]
    assert {cell[0] for cell in main.annotations.cells} == set(metadata.loc[selected, "Metadata_Field"])

    layers = len(w.viewer.layers)
    w.window.press(w.dock.selecting.to_layer)
    if here.any():
        made = w.viewer.layers[-1]
        assert len(made.data) == here.sum()
        assert set(made.features["class"]) == {"left of the map"}
    else:
        assert len(w.viewer.layers) == layers
    main.annotations.undo()
    main.annotations.undo()
    assert colours.itemText(0) != "Class"
    assert w.window.messages == []


def test_neighbours_become_a_class_and_the_rest_is_suggested_paler(with_screen):
    w = with_screen
    main, panel = w.window.session, w.window.dock.annotate_panel
    for name in ("near", "a class with a name that is far too long to be shown in a legend of this width"):
        main.annotations.add_class(name)
    w.click_point(0)
    shown = w.dock.neighbours.rows()
    choose(w.dock.neighbours.to_class, "near")
    assert main.annotations.counts()["near"] == len(shown) == w.session.count + 1
    far = np.argsort(-np.linalg.norm(w.session.data.atlas.coordinates - w.session.data.atlas.coordinates[0], axis=1))
    cells = w.dock.classes.cells(far[:4])
    main.annotations.annotate(cells, main.annotations.classes[1].name)

    # the map's embeddings serve: nothing is embedded again
    assert main.pen.embedded is not None
    w.window.dock.annotate.unfold()
    w.window.press(panel.suggest)
    assert not w.window.dock.running.busy
    assert main.annotations.suggested is not None
    names = [entry.rsplit("  ", 1)[0] for entry in legend(w)]
    assert names[0] == "near"
    assert any(name.endswith(", suggested") for name in names)
    grouping = w.session.grouping
    assert sum(grouping.counts) == len(w.session.data.atlas.profiles)
    drawn = grouping.colour_points()
    sure = np.array([not grouping.names[code].endswith("suggested") for code in grouping.codes])
    assert drawn[~sure, 3].max() < drawn[sure, 3].max()
    assert w.window.messages == []


def test_points_that_are_not_cells_of_the_screen_get_no_class(with_screen):
    w = with_screen
    main = w.window.session
    field = main.field.key
    moved = np.zeros_like(main.cells.labels[field])
    moved[:, 60:] = main.cells.labels[field][:, :-60]  # the same labels, elsewhere
    main.correct_cells(field, moved)
    lasso_left(w)
    assert field not in {cell[0] for cell in w.dock.classes.selected_cells()}
