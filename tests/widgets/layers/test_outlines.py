"""The boxes around translated cells: what the user writes on them stays, and deleting one deletes its translation."""

import pytest

pytest_plugins = ["real_window"]


def ready(window, small_screen, small_adapter):
    """Two translated cells."""
    window.open(small_screen)
    window.find_cells()
    window.dock.load_adapter(small_adapter)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    window.press(window.dock.translate_panel.click)
    cells = [window.click_cell(index) for index in range(2)]
    window.wait(lambda: all(cell.translation for cell in cells) and not window.dock.running.busy)
    return cells, window.dock.synthetic.outlines


@pytest.mark.slow
def test_columns_of_the_user_stay_on_their_cells(window, small_screen, small_adapter):
    cells, outlines = ready(window, small_screen, small_adapter)
    outlines.features = outlines.features.assign(verdict=["odd", "fine"])
    window.session.set_strength(0.5)
    assert outlines.features["verdict"].tolist() == ["odd", "fine"]
    third = window.click_cell(2)
    window.wait(lambda: third.translation and not window.dock.running.busy)
    assert outlines.features["verdict"].tolist()[:2] == ["odd", "fine"]
    assert outlines.features["verdict"].isna().tolist() == [False, False, True]
    first = window.session.field.key
    panel = window.dock.screen_panel
    panel._step(1)
    window.wait(lambda: window.session.field.key != first and not window.dock.running.busy)
    panel._step(-1)
    window.wait(lambda: window.session.field.key == first and not window.dock.running.busy)
    back = window.dock.synthetic.outlines
    assert back.features["verdict"].tolist()[:2] == ["odd", "fine"]
    assert [note.split(" ·")[0] for note in back.features["note"]] == [*(cell.name for cell in cells), third.name]


@pytest.mark.slow
def test_a_deleted_box_takes_its_cell_along(window, small_screen, small_adapter):
    (gone, kept), outlines = ready(window, small_screen, small_adapter)
    outlines.features = outlines.features.assign(verdict=["odd", "fine"])
    outlines.selected_data = {0}
    outlines.remove_selected()
    window.wait(lambda: gone.id not in window.session.here())
    assert list(window.session.here()) == [kept.id]
    window.session.set_strength(0.7)
    assert len(outlines.data) == 1
    assert outlines.features["verdict"].tolist() == ["fine"]
    changed = window.dock.synthetic.composite.difference
    window_of = gone.translation.window
    assert not changed[:, window_of.y + 5, window_of.x + 5].any() or kept.translation.window.y <= window_of.y + 5
