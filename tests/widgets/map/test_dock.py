"""The map in a real window: points, colours, lasso, neighbours, translated cells and structures, with a mouse."""

import time
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from cli_run import run
from phenolens.profiling.atlas.atlas import Atlas
from phenolens.profiling.atlas.projection import fit_projection
from phenolens.profiling.atlas.structure_search import search_structure
from phenolens.profiling.encoders.embedding import embed_screen
from phenolens.profiling.tables.profile_files import write_profiles
from phenolens.profiling.training.training import MiconSettings, train_encoder
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.crops import cut, window_at
from phenolens.screens.table import read_screen
from phenolens.simulation.compound_screen import simulate_compound_screen
from phenolens.translation.apply.cell_translation import CellTranslation
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.widgets.map.dock import MapDock
from phenolens.widgets.map.drawing.lasso import points_within
from phenolens.widgets.map.session import CELL, COMPOUND, DIRECT, SELECTION, TRANSLATED
from phenolens.widgets.state.session import TranslatedCell
from phenolens.widgets.state.workplace import workplace
from phenolens.widgets.translation.dock import PhenolensDock
from plain_encoder import ASPIRIN, CAFFEINE, PlainEncoder, made_up_atlas

pytest_plugins = ["real_window", "map_window"]


@pytest.fixture
def with_screen(map_window, small_screen, small_atlas):
    """The small screen, its cells and its atlas, open in both docks."""
    map_window.window.open(small_screen)
    map_window.window.find_cells()
    map_window.open(small_atlas)
    return map_window


def rows_of_field(w, other=False):
    key = w.window.session.field.key
    fields = w.session.data.atlas.profiles.metadata["Metadata_Field"]
    return np.flatnonzero(fields != key if other else fields == key)


def translate(w, row, change, strength=1.0):
    """Give the main dock a translated cell, as a finished translation does."""
    main = w.window.session
    y, x = w.session.data.places.centre(row)
    cell = TranslatedCell(main.field.key, y, x, "cell", ("Metadata_Role=negative control", "Metadata_Role=treated"))
    main.add_cell(cell)
    box = window_at(y, x, 32)
    difference = np.full((1, len(main.plane), 32, 32), change, np.float32)
    translation = CellTranslation(
        window=box,
        settings=TranslationSettings(strengths=(strength,)),
        difference=difference,
        conditions=cell.conditions,
        crop=cut(main.plane, box),
    )
    main.update_cell(cell, translation)
    return cell


def test_a_point_leads_to_its_cell_and_a_cell_to_its_point(with_screen):
    w = with_screen
    assert w.session.in_screen
    assert w.dock.head.about.text() == "small · 32 cells · PCA"
    shown = w.window.session.field.key
    row = int(rows_of_field(w, other=True)[0])
    w.click_point(row)
    assert w.session.marks[CELL].row == row
    w.wait(lambda: w.window.session.field.key != shown)
    assert w.window.session.field.key == w.session.data.places.field(row)
    layer = w.window.dock.field_layers.channels[0]
    centre = layer.data_to_world(w.session.data.places.centre(row))
    w.wait(lambda: np.allclose(w.viewer.scene.camera.center[-2:], centre))
    assert w.window.dock.screen_panel.field.currentData() == w.window.session.field.key

    tiles = [tile for tile in w.dock.neighbours.left.tiles if not tile.isHidden()]
    assert [tile.content.row for tile in tiles] == w.session.marks[CELL].neighbours["row"].tolist()
    w.wait(lambda: all(tile.picture is not None for tile in (w.dock.neighbours.left.own, *tiles)))
    field = w.window.session.screen[w.session.data.places.field(tiles[0].content.row)]
    y, x = w.session.data.places.centre(tiles[0].content.row)
    crop = cut(field.image().plane(), window_at(y, x, 48))
    assert np.array_equal(tiles[0].picture, w.dock.pictures.of_crop(crop)), "the screen's one contrast"
    assert all("distance" in tile.content.lines[1] and tile.content.smiles for tile in tiles)

    w.idle()
    other = int(rows_of_field(w)[1])
    w.window.click_pixel(*w.session.data.places.centre(other))
    w.wait(lambda: w.session.marks[CELL].row == other, 5000)
    w.idle()
    wanted = tiles[2].content.row
    w.dock.parts.widget(1).ensureWidgetVisible(tiles[2])
    w.qtbot.mouseClick(tiles[2], Qt.MouseButton.LeftButton)
    w.wait(lambda: w.session.marks[CELL].row == wanted)
    w.wait(lambda: w.window.session.field.key == w.session.data.places.field(wanted))
    w.idle()
    assert w.window.messages == []


def test_neighbours_are_listed_within_150_ms_and_many_points_are_drawn(map_window, tmp_path, monkeypatch):
    w = map_window
    w.open(made_up_atlas(20_000, dimension=24).save(tmp_path / "large"))
    taken = []
    for row in range(8):
        start = time.perf_counter()
        w.session.focus(row)
        taken.append(time.perf_counter() - start)
        assert w.dock.neighbours.left.tiles[0].content.row == w.session.marks[CELL].neighbours["row"][0]
        w.qtbot.wait(20)
    assert min(taken) < 0.15
    assert not w.session.in_screen
    colours = w.session.grouping.colour_points()
    seen = []
    for most in (30_000, 1_000):  # as markers, and as a picture
        monkeypatch.setattr("phenolens.widgets.map.drawing.points.MOST_MARKERS", most)
        w.canvas.colour(colours)
        w.qtbot.wait(50)
        seen.append(w.canvas.canvas.render()[..., :3].astype(float))
    assert np.abs(seen[0] - seen[1]).mean() < 0.25 * seen[0].mean()
    w.click_point(3)
    assert "open its screen" in w.dock.state.text()


def test_the_legend_dims_and_the_lasso_selects(map_window, tmp_path):
    w = map_window
    w.open(made_up_atlas(400).save(tmp_path / "made up"))
    legend = w.dock.view.legend
    colours = w.dock.view.tools.colours
    assert [colours.itemText(i) for i in range(colours.count())] == ["Compound", "Plate", "Role"]
    assert legend.count() == 5
    place = legend.visualItemRect(legend.item(1)).center()
    w.qtbot.mouseClick(legend.viewport(), Qt.MouseButton.LeftButton, pos=place)
    codes = w.session.grouping.codes
    assert w.session.entries == {1}
    assert int((w.canvas.points.colours[:, 3] > 127).sum()) == (codes == 1).sum()
    assert f"{(codes == 1).sum():,} of 400 selected" in w.dock.view.selection.text()
    w.qtbot.mouseClick(legend.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert w.session.selected is None
    colours.setCurrentIndex(1)
    colours.activated.emit(1)
    assert {legend.item(i).text().split()[0] for i in range(legend.count())} == {"P1", "P2"}

    w.window.press(w.dock.view.tools.lasso_button)
    camera = str(w.canvas.view.camera.rect)
    w.qtbot.wait(50)
    middle, height = w.native.width() / 2, w.native.height()
    across = np.array([w.canvas.screen_position(row)[0] for row in range(400)])
    w.draw([(1, 1), (middle, 1), (middle, height - 1), (1, height - 1)])
    sure = np.abs(across - middle) > 2
    assert np.array_equal(w.session.lassoed[sure], across[sure] < middle)
    assert str(w.canvas.view.camera.rect) == camera, "drawing does not pan"
    assert set(w.session.marks[SELECTION].neighbours["row"]) <= set(np.flatnonzero(w.session.lassoed))
    assert w.dock.neighbours.left.kind == SELECTION
    w.window.press(w.dock.view.tools.lasso_button)
    assert w.session.selected is None


@pytest.mark.slow
def test_a_translated_cell_is_embedded_and_moves_with_the_slider(with_screen, monkeypatch):
    w = with_screen
    row = int(rows_of_field(w)[0])
    main = w.window.session
    low, high = np.array(main.intensity.low), np.array(main.intensity.high)
    wider = type(main.intensity)("affine", main.intensity.channel_names, tuple(low - 9), tuple(high + 9))
    monkeypatch.setattr(main, "intensity", wider)
    cell = translate(w, row, 2000)
    assert w.session.marks[CELL].row == row
    w.wait(lambda: TRANSLATED in w.session.marks and DIRECT in w.session.marks)
    start, first = w.canvas.marks.shown[CELL], w.canvas.marks.shown[TRANSLATED]
    assert np.array_equal(start, w.session.data.atlas.coordinates[row])
    assert any(np.array_equal(line[1], first) and np.array_equal(line[0], start) for line in w.canvas.marks.arrows)
    right = w.dock.neighbours.right
    assert right.isVisible()
    assert right.kind == TRANSLATED
    assert right.own.content.synthetic
    assert "synthetic" in right.own.content.lines[0]
    assert right.own.picture is not None
    assert not any(tile.content.synthetic for tile in right.tiles)
    assert "direct prediction" in w.dock.comparison.text()
    assert "cells of translocation are usually" in w.dock.comparison.text()

    w.window.session.set_strength(0.0)
    w.wait(lambda: not np.array_equal(w.canvas.marks.shown[TRANSLATED], first))
    w.wait(lambda: np.allclose(w.session.marks[TRANSLATED].vector, w.session.marks[CELL].vector, atol=1e-3))
    w.idle()
    w.session.focus(int(rows_of_field(w)[1]))
    assert TRANSLATED not in w.session.marks
    w.session.focus(row)
    w.wait(lambda: TRANSLATED in w.session.marks and not w.dock.running.busy)
    w.window.session.remove_cell(cell)
    assert set(w.session.marks) == {CELL}
    assert not w.dock.comparison.isVisible()


def test_a_structure_is_placed_and_a_wrong_one_changes_nothing(map_window, tmp_path):
    w = map_window
    w.open(made_up_atlas(6000).save(tmp_path / "made up"))
    box = w.dock.smiles
    w.type_smiles(ASPIRIN, "2,5")
    w.wait(lambda: COMPOUND in w.session.marks)
    assert "Near" in box.trust.text()
    assert "aspirin" in box.trust.text()
    assert w.dock.neighbours.right.kind == COMPOUND
    placed = w.session.marks[COMPOUND]
    assert placed.title.endswith("at 2.5")
    atlas, encoder = w.session.data.atlas, w.session.encoder
    by_command = finish(search_structure(atlas, encoder, ASPIRIN, dose=2.5)).prediction.vector
    assert np.array_equal(placed.vector, by_command), "one compound, one vector"
    w.type_smiles("CC(C", "2.5")
    w.wait(lambda: box.state.text() not in ("", "Predicting…"))
    assert "cannot be read as SMILES" in box.state.text()
    assert (box.smiles.text(), w.session.marks[COMPOUND]) == ("CC(C", placed)
    w.type_smiles(CAFFEINE, "much")
    assert "no number" in box.state.text()
    w.type_smiles("CCO")
    w.wait(lambda: w.session.marks[COMPOUND] is not placed)
    assert "Far" in box.trust.text()
    assert box.state.text() == ""
    w.window.press(box.clear)
    assert COMPOUND not in w.session.marks
    assert w.window.messages == []


def test_the_box_says_why_it_is_of_no_use(map_window, tmp_path, encoders):
    w = map_window
    encoders["plain"] = PlainEncoder()
    w.open(made_up_atlas(50).save(tmp_path / "made up"))
    assert not w.dock.smiles.place.isEnabled()
    assert "without compounds" in w.dock.smiles.state.text()
    encoders["other"] = PlainEncoder()
    encoders["other"].dimension = 3
    w.dock.encoder.load(tmp_path / "other")
    w.wait(lambda: "3 numbers" in w.dock.encoder.about.text())
    assert w.session.encoder is encoders["plain"]


def test_a_screen_is_embedded_from_the_main_dock(map_window, small_screen):
    w = map_window
    assert w.dock.empty.isVisible()
    assert not w.dock.head.embed_button.isEnabled()
    w.window.open(small_screen)
    assert "Find the cells" in w.dock.head.embed_button.toolTip()
    w.window.find_cells()
    w.window.press(w.dock.head.embed_button)
    w.wait(lambda: w.session.data is not None and not w.dock.running.busy)
    assert len(w.session.data.atlas) == len(w.window.session.cells)
    assert w.session.in_screen
    assert "without compounds" in w.dock.smiles.state.text()


def test_profiles_become_a_map_and_what_is_none_changes_nothing(map_window, tmp_path):
    w = map_window
    write_profiles(made_up_atlas(80).profiles, tmp_path / "cells.parquet")
    w.open(tmp_path / "cells.parquet")
    data = w.session.data
    assert w.dock.head.about.text() == "cells · 80 cells · PCA"
    w.dock.open_path(tmp_path)
    w.wait(lambda: "is not an atlas" in w.dock.head.about.text())
    assert w.session.data is data
    assert w.dock.head.open_button.isEnabled()


def test_another_projection_moves_the_points_and_nothing_else(map_window, tmp_path, monkeypatch):
    from phenolens.profiling.atlas import atlas as engine

    def mirrored(vectors, name="pca", seed=0):
        """UMAP is no part of what the tests need."""
        fitted: Any = yield from fit_projection(vectors, "pca", seed)
        return fitted if name == "pca" else replace(fitted, axes=-fitted.axes)

    w = map_window
    monkeypatch.setattr(engine, "fit_projection", mirrored)
    write_profiles(made_up_atlas(80).profiles, tmp_path / "cells.parquet")
    w.open(tmp_path / "cells.parquet")
    w.session.focus(3)
    w.session.select(np.arange(80) < 20)
    before, marks = w.session.data.atlas, dict(w.session.marks)
    box = w.dock.projection
    assert not box.box.isVisible()
    w.window.press(box.advanced.line)
    assert box.box.currentText() == "PCA"
    absent = [name for name, package in (("umap", "umap"), ("tsne", "openTSNE")) if find_spec(package) is None]
    model = box.box.model()
    assert [box.box.itemData(row) for row in range(3) if not model.item(row).isEnabled()] == absent
    box.box.setCurrentIndex(1)
    box.box.activated.emit(1)
    w.wait(lambda: "UMAP" in w.dock.head.about.text())
    after = w.session.data.atlas
    np.testing.assert_allclose(after.coordinates, -before.coordinates, atol=1e-4)
    assert after.vectors is before.vectors
    assert w.session.lassoed.sum() == 20
    for kind, mark in w.session.marks.items():
        np.testing.assert_allclose(mark.position, -marks[kind].position, atol=1e-4)
        assert mark.neighbours.equals(marks[kind].neighbours)
    x, y = w.canvas.screen_position(3)
    assert 0 <= x <= w.native.width()
    assert 0 <= y <= w.native.height()


def test_docks_find_each_other_and_part(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    before = list(viewer.mouse_drag_callbacks)
    map_dock = MapDock(viewer)
    viewer.window.add_dock_widget(map_dock, name="map")
    place = workplace(viewer)
    assert place.dock is None
    main = PhenolensDock(viewer)
    qtbot.addWidget(main)
    assert place.session is main.session
    assert len(main.session.cells_changed) > 0
    newer = PhenolensDock(viewer)
    qtbot.addWidget(newer)
    main.close()
    assert place.session is newer.session
    newer.close()
    assert place.dock is None
    assert "Open a screen" in map_dock.head.embed_button.toolTip()
    map_dock.close()
    assert viewer.mouse_drag_callbacks == before


def test_both_themes_and_a_narrow_dock_show_the_map(map_window, tmp_path):
    from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit

    w = map_window
    w.open(made_up_atlas(50).save(tmp_path / "made up"))
    w.click_point(4)
    w.session.place(TRANSLATED, "synthetic", w.session.data.atlas.vectors[7])
    w.type_smiles(CAFFEINE)
    w.wait(lambda: COMPOUND in w.session.marks)
    for theme, behind in (("dark", 0), ("light", 255)):
        w.viewer.theme = theme
        w.qtbot.wait(200)
        picture = w.canvas.canvas.render()[..., :3].astype(int)
        assert np.median(picture) == behind
        assert picture.std() > 5
    assert w.dock.width() < 420
    area = w.dock.parts.widget(1)
    assert area.widget().width() == area.viewport().width(), "nothing is cut off at the side"
    for widget in w.dock.findChildren((QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit)):
        inner = isinstance(widget.parent(), (QAbstractSpinBox, QComboBox))
        assert inner or widget.toolTip(), f"{widget} has no tooltip"
        if widget.isVisible() and not inner:
            left = widget.mapTo(w.dock, widget.rect().topLeft()).x()
            assert left >= 0
            assert left + widget.width() <= w.dock.width(), f"{widget.toolTip()} is cut off"


def test_lines_of_density_are_drawn_once_a_map_and_follow_legend_and_theme(map_window, tmp_path):
    w = map_window
    button, drawn = w.dock.view.tools.density_button, w.canvas.contours
    w.open(made_up_atlas(50).save(tmp_path / "few"))
    assert not button.isEnabled()
    assert "no group has 30 points" in button.toolTip()
    w.open(made_up_atlas(900, compounds=5).save(tmp_path / "made up"))
    assert not drawn.shown
    w.window.press(button)
    w.wait(lambda: drawn.shown)
    grouping, codes = w.session.grouping, w.session.grouping.codes
    assert [one.colour for one in drawn.shown] == list(grouping.colours), "of five groups the middle lines"
    places = np.asarray(w.session.data.atlas.coordinates)
    for code, one in enumerate(drawn.shown):
        inside = np.logical_xor.reduce([points_within(places[codes == code], line) for line in one.lines])
        assert inside.mean() == pytest.approx(0.5, abs=0.03)
    # panning and zooming draws no line anew, and computes none
    times = drawn.drawn
    w.canvas.view.camera.zoom(0.5)
    w.qtbot.wait(100)
    assert drawn.drawn == times
    seen = {}
    for theme in ("light", "dark"):
        w.viewer.theme = theme
        w.qtbot.wait(100)
        with_lines = w.canvas.canvas.render()[..., :3].astype(int)
        kept = drawn.shown
        drawn.hide()
        without = w.canvas.canvas.render()[..., :3].astype(int)
        drawn.draw(kept, *(("#ffffff", "#000000") if theme == "dark" else ("#000000", "#ffffff")))
        seen[theme] = np.abs(with_lines - without).max(2) > 60
        assert seen[theme].sum() > 300, "lines are told from the points of their colour"
    place = w.dock.view.legend.visualItemRect(w.dock.view.legend.item(1)).center()
    w.qtbot.mouseClick(w.dock.view.legend.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert [one.colour for one in drawn.shown] == [grouping.colours[1]] * 3, "all lines of the one that is chosen"
    w.session.colour_by("Plate")
    w.wait(lambda: len(drawn.shown) == 6)
    w.window.press(button)
    assert not drawn.shown
    assert w.window.messages == []


def test_the_shipped_encoder_and_a_trained_one(window, tmp_path, monkeypatch):
    from rdkit import Chem

    from map_window import MapWindow
    from phenolens.profiling.atlas import structure_search

    made = simulate_compound_screen(
        tmp_path / "screen", compounds=2, batches=1, wells=1, control_wells=3, cells=5, shape=(112, 112), seed=1
    )
    folder = finish(made)
    w = MapWindow(window)
    w.window.open(folder)
    w.window.find_cells()
    w.window.press(w.dock.head.embed_button)
    w.wait(lambda: w.session.data is not None and not w.dock.running.busy)
    atlas = w.session.data.atlas
    assert len(atlas) == len(w.window.session.cells)
    assert atlas.profiles.card["encoder"] == w.session.encoder.card.name == "default"
    assert "negative controls" in w.dock.head.about.toolTip()
    assert "without compounds" in w.dock.smiles.state.text()
    row = int(rows_of_field(w)[0])
    w.window.click_pixel(*w.session.data.places.centre(row))
    w.wait(lambda: CELL in w.session.marks, 5000)
    assert w.session.marks[CELL].row == row
    assert row not in set(w.session.marks[CELL].neighbours["row"])
    w.wait(lambda: w.dock.neighbours.left.tiles[0].picture is not None)
    w.idle()

    screen = read_screen(folder)
    cells = finish(find_cells(screen, folder / "labels"))
    few = MiconSettings(steps=1, items=2, bag=2, views=1)
    encoder = finish(train_encoder(screen, cells, tmp_path / "encoder", settings=few, device="cpu"))
    profiles = finish(embed_screen(encoder, screen, cells))
    w.dock.open_path(finish(Atlas.fit(profiles)).save(tmp_path / "atlas"))
    w.wait(lambda: w.session.knows_compounds and not w.dock.running.busy)
    assert w.dock.encoder.about.text() == "Encoder: encoder"
    w.type_smiles(encoder.compounds["SMILES"].iloc[0], "10")
    w.wait(lambda: COMPOUND in w.session.marks)
    assert encoder.compounds["Metadata_Compound"].iloc[0] in w.dock.smiles.trust.text()
    assert "Near" in w.dock.smiles.trust.text()
    w.idle()
    # one compound, one vector, to the last bit: from the command line, however its structure is written
    placed, matches = w.session.marks[COMPOUND], []
    monkeypatch.setattr(structure_search, "search_structure", _noting(structure_search.search_structure, matches))
    smiles = encoder.compounds["SMILES"].iloc[0]
    for written in (smiles, Chem.MolToSmiles(Chem.MolFromSmiles(smiles), canonical=False, rootedAtAtom=1)):
        asked = ("--smiles", written, "--dose", "10", "--encoder", tmp_path / "encoder", "--json")
        ran = run("micon", "search", tmp_path / "atlas", *asked)
        assert ran.status == 0, ran.error
        assert ran.facts["query"]["place"] == placed.position.tolist()
        assert matches[-1].prediction.vector.tobytes() == placed.vector.tobytes()
        distances = [one["distance"] for one in ran.facts["neighbours"]]
        np.testing.assert_allclose(distances[:5], placed.neighbours["distance"][:5], rtol=1e-9)
    # what is no encoder and no map says what it is
    before = w.session.data
    w.dock.encoder.load(folder)
    w.wait(lambda: "is a screen, and not an encoder: open it as a screen" in w.dock.encoder.about.text())
    w.idle()
    assert w.window.messages == []
    w.dock.open_path(tmp_path / "encoder")
    w.wait(lambda: "is an encoder, and not an atlas: load it in the Phenolens map" in w.dock.head.about.text())
    w.idle()
    assert w.session.data is before


def _noting(search, matches):
    """`search` as it is, which also notes what it finds."""

    def noted(*given, **how):
        matches.append((yield from search(*given, **how)))
        return matches[-1]

    return noted
