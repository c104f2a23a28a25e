"""Ctrl+Z takes back what was done last, of whatever kind, and Shift+Ctrl+Z does it again."""

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt, QTimer

from real_window import small_adapter, small_screen, tiny, window  # noqa: F401 fixtures


@pytest.fixture
def ready(window, small_screen, small_adapter):  # noqa: F811
    window.open(small_screen)
    window.find_cells()
    window.dock.load_adapter(small_adapter.folder)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    window.dock.translate_panel.click.setChecked(True)
    window.session.annotations.add_class("odd")
    return window


def key(window, shift=False):  # noqa: F811
    """Press Ctrl+Z on the canvas."""
    canvas = window.viewer.window._qt_viewer.canvas.native
    how = Qt.KeyboardModifier.ControlModifier
    window.qtbot.keyClick(canvas, Qt.Key.Key_Z, how | Qt.KeyboardModifier.ShiftModifier if shift else how)


def translated(window, index):  # noqa: F811
    cell = window.click_cell(index)
    window.wait(lambda: cell.translation is not None and not window.dock.running.busy)
    return cell


@pytest.mark.slow
def test_all_kinds_are_undone_in_the_order_they_were_done(ready):
    session = ready.session
    field = session.field.key
    session.annotations.annotate([(field, 1)], "odd")
    first = translated(ready, 0)
    labels = ready.dock.field_layers.labels
    new = ready.dock.field_layers.cells.begin_cell()
    labels.paint((100, 100), new)
    labels.mode = "pan_zoom"
    session.pen.collect()
    second = translated(ready, 1)
    session.annotations.annotate([(field, 2)], "odd")

    def state():
        return (
            len(session.annotations),
            first.id in session.here(),
            second.id in session.here(),
            bool((session.cells.labels[field] == new).any()),
        )

    seen = [state()]
    for _ in range(5):
        key(ready)
        ready.qtbot.wait(20)
        seen.append(state())
    assert seen == [
        (2, True, True, True),
        (1, True, True, True),
        (1, True, False, True),
        (1, True, False, False),
        (1, False, False, False),
        (0, False, False, False),
    ]
    again = [state()]
    for _ in range(5):
        key(ready, shift=True)
        ready.qtbot.wait(20)
        again.append(state())
    assert again == seen[::-1]
    assert session.here()[first.id].translation is not None


@pytest.mark.slow
def test_clearing_is_taken_back_by_key_and_by_button(ready):
    cells = [translated(ready, index) for index in (0, 1)]
    panel = ready.dock.translate_panel
    before = [layer.data.copy() for layer in ready.dock.synthetic.translated]
    ready.press(panel.clear)
    assert not ready.session.in_field()
    assert "Ctrl+Z" in panel.state.text()
    assert panel.clear.text() == "Bring back"
    key(ready)
    assert {cell.id for cell in ready.session.in_field()} == {cell.id for cell in cells}
    assert all(
        np.array_equal(layer.data, old) for layer, old in zip(ready.dock.synthetic.translated, before, strict=True)
    )
    assert ready.dock.synthetic.view == "translated"
    assert panel.clear.text() == "Clear"
    ready.press(panel.clear)
    ready.press(panel.clear)
    assert len(ready.session.in_field()) == 2


@pytest.mark.slow
def test_a_translation_under_way_is_undone(ready):
    table = ready.session.cells.table
    cell = table[table["field"] == ready.session.field.key].iloc[0]
    made = ready.dock.translating.translate(cell["y"], cell["x"])
    ready.dock.annotating.undo()
    ready.wait(lambda: not ready.dock.running.busy)
    assert not ready.session.in_field()
    ready.dock.annotating.redo()
    ready.wait(lambda: made.translation is not None and not ready.dock.running.busy)
    assert ready.session.in_field() == [made]


@pytest.mark.slow
def test_all_cells_are_one_step(ready):
    panel = ready.dock.translate_panel
    came = []

    def undo_at_the_first(cell):
        if not came:
            QTimer.singleShot(0, ready.dock.annotating.undo)
        came.append(cell)

    ready.session.cell_changed.connect(undo_at_the_first)
    ready.press(panel.all)
    ready.wait(lambda: came and not ready.dock.running.busy)
    ready.qtbot.wait(100)
    assert not ready.session.in_field()
    assert not panel.translating_all.running


@pytest.mark.slow
def test_labels_of_the_users_own_keep_their_own_undo(ready):
    own = ready.viewer.add_layer(Labels(np.zeros((192, 192), np.int32), name="mine"))
    ready.viewer.layers.selection.active = own
    translated(ready, 0)
    ready.viewer.layers.selection.active = own
    own.mode = "paint"
    own.paint((20, 20), 5)
    for mode in ("paint", "pan_zoom"):
        own.mode = mode
        key(ready)
        assert not (own.data == 5).any()
        assert len(ready.session.in_field()) == 1  # nothing of ours was undone
        key(ready, shift=True)
        assert (own.data == 5).any()


@pytest.mark.slow
def test_a_rectangle_that_is_deleted_comes_back(ready):
    cell = translated(ready, 0)
    boxes = ready.dock.synthetic.outlines
    boxes.selected_data = {0}
    boxes.remove_selected()
    ready.wait(lambda: not ready.session.in_field(), 5000)
    key(ready)
    assert ready.session.in_field() == [cell]


@pytest.mark.slow
def test_the_keys_work_in_the_dock_too(ready):
    ready.session.annotations.annotate([(ready.session.field.key, 1)], "odd")
    ready.dock.cells_panel.find_button.setFocus()
    ready.qtbot.keyClick(ready.dock.cells_panel.find_button, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert len(ready.session.annotations) == 0
