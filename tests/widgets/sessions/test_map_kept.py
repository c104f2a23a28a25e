"""The map comes back with its session: atlas, colours, lasso, the marked cell."""

import numpy as np
import pytest

from map_window import MapWindow, encoders, small_atlas  # noqa: F401 fixtures
from phenolens.widgets.map.session import CELL
from phenolens.widgets.state.workplace import workplace
from real_window import Window, small_adapter, small_screen, tiny, window  # noqa: F401 fixtures


@pytest.mark.slow
@pytest.mark.parametrize("made_here", [True, False])
def test_a_map_comes_back(window, made_here, small_screen, small_atlas, encoders, make_napari_viewer, qtbot):  # noqa: F811
    window.open(small_screen)
    window.find_cells()
    here = MapWindow(window)
    if made_here:
        here.dock.embed()
        here.wait(lambda: here.session.data is not None and not here.dock.running.busy)
    else:
        here.open(small_atlas)
    session = here.session
    mask = np.zeros(len(session.data.atlas), bool)
    mask[[1, 3, 4]] = True
    title = list(session.ways)[-1]
    session.colour_by(title)
    session.show_contours(True)
    session.select(mask)
    here.dock.neighbours.set_count(5, True)
    session.focus(2)
    assert window.dock.sessions.memory.flush()
    folder = window.dock.sessions.memory.folder
    coordinates = np.array(session.data.atlas.coordinates)
    window.dock.close()
    again = Window(make_napari_viewer(show=True), qtbot)
    again.dock.take_up(folder)
    again.wait(lambda: again.session.field is not None and not again.dock.running.busy)
    back = MapWindow(again)
    back.wait(lambda: back.session.data is not None and CELL in back.session.marks)
    assert np.array_equal(back.session.data.atlas.coordinates, coordinates)
    assert np.array_equal(back.session.lassoed, mask)
    assert back.session.grouping.title == title
    assert back.session.marks[CELL].row == 2
    assert back.session.contours
    assert (back.session.count, back.session.other_wells) == (5, True)
    assert workplace(again.viewer).memory is again.dock.sessions.memory
    back.dock.running.stop()
