"""Comparing a cell with its translation, by keys, side by side and along the slider, in a real window."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, window_at
from real_window import pixels

pytest_plugins = ["real_window"]


@pytest.fixture
def ready(window, small_screen, small_adapter):
    """A window with one cell translated at all of the strengths that are computed ahead."""
    window.open(small_screen)
    window.find_cells()
    source, target = Condition.parse("DMSO"), Condition.parse("translocation")
    window.dock.load_adapter(replace(small_adapter, source=source, target=target))
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    window.press(window.dock.translate_panel.click)
    cell = window.click_cell(0)
    window.wait(lambda: cell.has(1.0) and cell.has(0.25) and not window.dock.running.busy)
    window.press(window.dock.translate_panel.click)
    window.viewer.window._qt_viewer.canvas.native.setFocus()
    return window


def canvas(window):
    return window.viewer.window._qt_viewer.canvas.native


def key(window, what):
    window.qtbot.keyClick(canvas(window), what)
    window.qtbot.wait(20)


def visible(layers):
    return [layer.visible for layer in layers]


def test_keys_show_each_view_and_one_that_is_held_flickers(ready):
    made, source = ready.dock.synthetic, ready.dock.field_layers.channels
    key(ready, Qt.Key.Key_O)
    assert made.view == "original"
    assert any(visible(source))
    assert not any(visible(made.translated))
    key(ready, Qt.Key.Key_T)
    assert made.view == "translated"
    assert ready.dock.translate_panel.views.checkedId() == 1
    key(ready, Qt.Key.Key_D)
    assert made.view == "difference"
    assert sum(visible(made.differences)) == 1
    key(ready, Qt.Key.Key_T)
    ready.qtbot.keyPress(canvas(ready), Qt.Key.Key_F)
    assert made.view == "original", "while it is held"
    ready.qtbot.keyRelease(canvas(ready), Qt.Key.Key_F)
    assert made.view == "translated"
    # a layer of the user's own keeps its keys
    shapes = ready.viewer.add_shapes([np.array([[0, 0], [9, 9]])])
    key(ready, Qt.Key.Key_D)
    assert made.view == "translated"
    ready.viewer.layers.remove(shapes)
    # and without translated cells they are given back
    ready.press(ready.dock.translate_panel.clear)
    layer = source[0]
    ready.viewer.layers.selection.active = layer
    assert not [one for one in layer.keymap if str(one) in ("O", "T", "D", "F")]


@pytest.mark.slow
def test_groups_of_layers_are_shown_and_hidden_whole_and_channels_keep_their_own(ready):
    made, source, box = ready.dock.synthetic, ready.dock.field_layers.channels, ready.dock.compare_panel.layers
    key(ready, Qt.Key.Key_T)
    ready.press(box.folded.line)
    assert {view: len(ticks) for view, ticks in box.ticks.items()} == dict.fromkeys(box.ticks, len(source))
    assert [box.chips[view].isChecked() for view in box.chips] == [False, True, False]
    ready.press(box.ticks["translated"][0])
    assert visible(made.translated) == [False, *[True] * (len(source) - 1)]
    ready.press(box.chips["translated"])
    assert not any(visible([*source, *made.translated, *made.differences]))
    ready.press(box.chips["difference"])
    assert visible(made.differences) == [i == made.difference_channel for i in range(len(source))]
    ready.press(box.chips["translated"])
    assert visible(made.translated) == [False, *[True] * (len(source) - 1)], "beside the difference, as they were"
    key(ready, Qt.Key.Key_O)
    assert visible(source) == [False, *[True] * (len(source) - 1)], "the channels that it is compared in"
    assert not any(visible([*made.translated, *made.differences]))
    canvas(ready).setFocus()
    ready.qtbot.keyClick(canvas(ready), Qt.Key.Key_T, Qt.KeyboardModifier.ShiftModifier)
    assert visible(source) == visible(made.translated), "with Shift beside it"
    assert made.view == "original"
    source[1].visible = False  # by napari's own eye
    assert not box.ticks["original"][1].isChecked()
    ready.press(ready.dock.translate_panel.clear)
    assert not box.chips["difference"].isEnabled()
    assert box.chips["original"].isChecked()


@pytest.mark.slow
def test_brackets_move_the_slider_and_play_moves_it_alone(ready):
    session, panel = ready.session, ready.dock.compare_panel
    key(ready, Qt.Key.Key_BracketLeft)
    assert session.strength == 0.95
    assert ready.dock.translate_panel.slider.value == 0.95
    key(ready, Qt.Key.Key_BracketRight)
    key(ready, Qt.Key.Key_BracketRight)
    assert session.strength == 1.05
    session.set_strength(0.9)
    seen = []
    session.strength_changed.connect(seen.append)
    ready.press(panel.play)
    assert "Stop" in panel.play.text()
    ready.wait(lambda: len(seen) > 4 and seen[-1] < seen[-2])
    assert max(seen) == 1.0, "it turns at the treated condition, and never extrapolates by itself"
    key(ready, Qt.Key.Key_BracketLeft)
    assert not panel.playing.on, "a hand on the slider stops it"
    assert "Play" in panel.play.text()


@pytest.mark.slow
def test_side_by_side_shows_both_with_one_camera_and_puts_all_back(ready):
    viewer, made, source = ready.viewer, ready.dock.synthetic, ready.dock.field_layers.channels
    mine = viewer.add_points([[5, 5]], name="mine")
    viewer.layers.move(len(viewer.layers) - 1, 0)
    ready.dock.translate_panel.show_view("translated")
    before, seen = [layer.name for layer in viewer.layers], visible(viewer.layers)
    panel = ready.dock.compare_panel
    ready.press(panel.beside)
    grid, n = viewer.canvas.grid, len(source)
    assert grid.enabled
    assert grid.actual_shape(viewer.layers) == (1, 2)
    assert [grid.position(i, viewer.layers) for i in range(2 * n)] == [(0, 0)] * n + [(0, 1)] * n
    assert list(viewer.layers)[: 2 * n] == [*source, *made.translated]
    assert not mine.visible
    assert [layer.name for layer in viewer.layers if layer.name_overlay.visible] == ["DNA", "DNA · synthetic"]
    ready.qtbot.wait(100)
    picture = viewer.screenshot(flash=False)[..., :3].astype(int)
    left, right = np.array_split(picture[:, : picture.shape[1] // 2 * 2], 2, axis=1)
    assert left.max() > 60
    assert right.max() > 60
    assert np.abs(left - right).max() > 20, "the translated cell differs"
    ready.press(panel.beside)
    assert not grid.enabled
    assert [layer.name for layer in viewer.layers] == before
    assert not any(layer.name_overlay.visible for layer in viewer.layers)
    assert visible(viewer.layers) == seen
    viewer.layers.selection.active = source[0]
    ready.press(panel.beside)
    key(ready, Qt.Key.Key_O)
    assert not grid.enabled, "a view of its own leaves it"
    assert made.view == "original"
    assert any(visible(source))
    ready.press(panel.beside)
    ready.press(ready.dock.translate_panel.clear)
    assert not grid.enabled
    assert any(visible(source))
    assert not panel.beside.isEnabled()


@pytest.mark.slow
def test_the_strip_shows_the_cell_at_strengths_and_a_click_goes_there(ready):
    strip, session = ready.dock.compare_panel.strip, ready.session
    assert [tile.words for tile in strip.tiles] == [
        ("0", "REAL"),
        ("0.25", "synthetic"),
        ("0.50", "synthetic"),
        ("0.75", "synthetic"),
        ("1.00", "synthetic"),
    ]
    assert [tile.synthetic for tile in strip.tiles] == [False, True, True, True, True]
    pictures = [tile.picture for tile in strip.tiles]
    assert all(not np.array_equal(one, other) for one, other in pairwise(pictures))
    assert strip.marked == 4
    place = strip.tile_rect(2).center().toPoint()
    ready.qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(place.x(), place.y()))
    assert session.strength == 0.5
    assert strip.marked == 2
    session.set_strength(0.4)
    assert strip.marked is None
    # another cell, and back to the first without translating it again
    other = ready.session.current
    ready.press(ready.dock.translate_panel.click)
    new = ready.click_cell(1)
    assert session.current is new
    ready.wait(lambda: new.has(1.0) and not ready.dock.running.busy)
    ready.click_cell(0)
    assert session.current is other
    np.testing.assert_array_equal(strip.tiles[0].picture, pictures[0])
    ready.press(ready.dock.translate_panel.clear)
    assert not strip.isVisible()


def test_a_click_changes_the_clicked_cell_and_the_line_follows_it(ready):
    session, made, dock = ready.session, ready.dock.synthetic, ready.dock
    cell = session.current
    labels = session.cells.labels[session.field.key]
    number = labels[round(cell.y), round(cell.x)]
    assert cell.limit == "cell"
    difference = np.stack([pixels(layer) for layer in made.differences])
    assert np.abs(difference[:, labels == number]).max() > 0
    others = (labels != 0) & (labels != number)
    assert not difference[:, others].any(), "neighbours are not half-changed"
    assert made.outlines.features["changed part"].tolist() == ["cell"]
    assert made.translated[0].metadata["phenolens"]["changed"] == "cell"
    (line,) = made.outlines.data
    assert len(line) > 6
    rows, columns = np.nonzero(labels == number)
    assert line[:, 0].min() == pytest.approx(rows.min() - 0.5)
    assert line[:, 1].max() == pytest.approx(columns.max() + 0.5)

    panel = dock.compare_panel.limit
    panel.setCurrentIndex(panel.findData("crop"))
    panel.activated.emit(panel.currentIndex())
    assert cell.limit == "crop"
    whole = np.stack([pixels(layer) for layer in made.differences])
    assert made.outlines.features["changed part"].tolist() == ["crop"]
    assert made.translated[0].metadata["phenolens"]["changed"] == "crop"
    (box,) = made.outlines.data
    assert np.ptp(box[:, 0]) == np.ptp(box[:, 1]) == session.window_size()
    assert (whole != 0).sum() >= (difference != 0).sum()
    np.testing.assert_allclose(whole[:, labels == number].sum(), difference[:, labels == number].sum(), rtol=0.5)
    panel.setCurrentIndex(panel.findData("cell"))
    panel.activated.emit(panel.currentIndex())
    np.testing.assert_allclose(np.stack([pixels(layer) for layer in made.differences]), difference, atol=1e-5)


@pytest.mark.slow
def test_without_a_label_the_whole_crop_is_changed(window, small_screen, small_adapter):
    window.open(small_screen)
    window.dock.load_adapter(small_adapter)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    cell = window.dock.translating.translate(60.0, 70.0)
    assert cell.limit == "crop"
    window.wait(lambda: cell.has(1.0) and not window.dock.running.busy)
    # cells that are found later say what the cell is
    window.find_cells()
    table = window.session.cells.table
    assert cell.limit == ("cell" if window.session.cells.labels[cell.field][60, 70] else "crop")
    assert len(table)


def test_the_difference_has_a_colour_bar_in_intensity_units_and_a_poor_inversion_is_said(ready):
    made, badge = ready.dock.synthetic, ready.dock.compare_panel.inversion
    noise = ready.session.current.translation.inverted_noise
    assert noise.warning is not None, "weights at random know no cell"
    assert badge.isVisible()
    assert badge.text() == f"⚠ Poorly inverted: {ready.session.current.name}. Rest the pointer here for the reason."
    assert badge.toolTip() == noise.warning
    ready.session.choose_cell(None)
    assert badge.text() == ""
    assert all(layer.colorbar.visible for layer in made.differences)
    ready.dock.translate_panel.show_view("original")
    ready.qtbot.wait(50)
    without = ready.viewer.screenshot(flash=False)
    ready.dock.translate_panel.show_view("difference")
    ready.qtbot.wait(50)
    bar = ready.viewer.screenshot(flash=False)[:200, -150:, :3].astype(int)
    blue = (bar[..., 2] > bar[..., 0] + 80).sum()
    orange = (bar[..., 0] > bar[..., 2] + 80).sum()
    assert blue > 200
    assert orange > 200
    assert without.shape


@pytest.mark.slow
def test_real_cells_stand_under_the_slider(ready):
    box, session = ready.dock.compare_panel.real, ready.session
    assert not box.row.isVisible()
    ready.press(box.button)
    ready.wait(lambda: len(box.row.tiles) == 5)
    tiles = box.row.tiles
    assert all(tile.words[0] == "REAL" and not tile.synthetic for tile in tiles)
    assert "classifier of other wells" in box.note.text()
    real = box._real
    places = real.axis.positions[box._shown]
    assert np.all(np.diff(places) >= 0), "control to treated"
    cell = session.current
    mine = real.row_of(cell.field, cell.y, cell.x)
    assert mine not in box._shown
    # at another strength those nearest to that place
    strengths = sorted(box._places)
    session.set_strength(0.0)
    at = np.interp(0.0, strengths, [box._places[one] for one in strengths])
    assert set(box._shown) == set(real.axis.nearest(at, 5, but=mine).tolist())
    # the pixels are those of the file
    row = box._shown[0]
    field = session.screen[real.table["field"].iloc[row]]
    y, x = real.table[["y", "x"]].iloc[row]
    np.testing.assert_array_equal(real.crops[row], cut(field.image().plane(), window_at(y, x, real.crops.shape[-1])))
    place = box.row.tile_rect(0).center().toPoint()
    ready.qtbot.mouseClick(box.row, Qt.MouseButton.LeftButton, pos=place)
    ready.wait(lambda: session.field.key == field.key and not ready.dock.running.busy)
    ready.press(box.button)
    assert not box.row.isVisible()


@pytest.mark.slow
def test_what_changed_is_measured_for_the_cell_and_for_all(ready):
    changed, session = ready.dock.compare_panel.what_changed, ready.session
    ready.press(changed.button)
    ready.wait(lambda: changed.chart.moves)
    assert "One cell" in changed.note.text()
    assert "1.00" in changed.note.text()
    moves = changed.chart.moves
    assert 0 < len(moves) <= 8
    assert all(move.cell == pytest.approx(move.mean) for move in moves)
    assert all(np.isnan(move.low) for move in moves)
    session.set_strength(0.5)
    assert not changed.chart.moves, "it was measured at another strength"
    session.set_strength(1.0)
    ready.press(ready.dock.translate_panel.all)
    ready.wait(lambda: len(session.here()) > 2 and not ready.dock.running.busy)
    ready.press(changed.button)
    ready.wait(lambda: changed.chart.moves)
    moves = changed.chart.moves
    assert any(move.low < move.mean < move.high for move in moves)
    sizes = [abs(move.mean) for move in moves]
    assert sizes == sorted(sizes, reverse=True)
    assert "of one well" in changed.note.text()
    ready.press(changed.more)
    assert len(changed.chart.moves) > 8
    # the null: at strength 0 nothing has changed
    session.set_strength(0.0)
    ready.press(changed.button)
    ready.wait(lambda: changed.chart.moves)
    assert all(move.mean == move.cell == 0 for move in changed.chart.moves)
