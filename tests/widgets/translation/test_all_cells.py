"""All cells of a field in a real window: translated behind the clicks, cancelled, gone on with, cleared."""

import numpy as np
import pytest

from phenolens.runtime.progress import finish
from phenolens.screens.cells import Cells
from phenolens.screens.crops import window_at
from phenolens.translation.apply.settings import SHOWN_STEPS, TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.base import load_base

pytest_plugins = ["real_window"]


@pytest.mark.slow
def test_all_cells_are_translated_behind_a_click(window, small_screen, small_adapter, monkeypatch):
    monkeypatch.setattr("phenolens.widgets.translation.jobs._TOGETHER", 1)
    session, dock, panel = window.session, window.dock, window.dock.translate_panel
    window.open(small_screen)
    assert not panel.all.isEnabled()
    window.find_cells()
    table = session.cells.table
    some = table[table["field"] == session.field.key].head(4).reset_index(drop=True)
    session.set_cells(Cells(some), session.nucleus_channel)
    dock.load_adapter(small_adapter)
    window.wait(lambda: session.translator is not None and not dock.running.busy)
    known = session.cells.table[session.cells.table["field"] == session.field.key]
    assert len(known) > 3
    assert panel.all.text() == f"All cells · {len(known)}"

    # cancelled: what is done stays
    work = panel.translating_all

    def cancel_after_the_first():
        if work.running and work.done == 1:
            window.press(panel.all)

    work.changed.connect(cancel_after_the_first)
    window.press(panel.all)
    assert panel.all.text().startswith("Cancel")
    window.wait(lambda: not dock.running.busy)
    work.changed.disconnect(cancel_after_the_first)
    some = dict(session.here())
    assert len(some) == 1
    assert panel.all.text() == f"All cells · {len(known) - len(some)}"

    # gone on with; a cell that is clicked meanwhile is the click's
    window.press(panel.click)
    window.press(panel.all)
    last = next(i for i in reversed(range(len(known))) if (known.iloc[i]["y"], known.iloc[i]["x"]) not in some)
    clicked = dock.translating.translate(float(known.iloc[last]["y"]), float(known.iloc[last]["x"]))
    window.wait(lambda: not work.running and not dock.running.busy)
    here = session.here()
    assert set(here) == {(float(y), float(x)) for y, x in zip(known["y"], known["x"], strict=True)}
    assert here[clicked.id] is clicked
    assert all(here[place] is cell for place, cell in some.items())
    assert not panel.all.isEnabled()
    assert dock.synthetic.outlines.nshapes == len(known)
    assert f"{len(known)} translated cells" in panel.state.text()

    # as the library translates it
    cell = next(iter(some.values()))
    window_of = window_at(cell.y, cell.x, small_adapter.crop)
    shown = TranslationSettings(steps=SHOWN_STEPS)
    (alone,) = finish(
        Translator(load_base(small_adapter.base), small_adapter, shown).translate_crops([session.plane], [window_of])
    )
    off = np.abs(cell.difference(1.0) - alone.difference[0])
    # the number of cells in a batch changes the rounding, and random weights make much of it
    assert off.mean() < 0.1 * np.abs(alone.difference).mean()

    collected = []
    with monkeypatch.context() as patch:
        patch.setattr("gc.collect", lambda *_: collected.append(1))
        window.press(panel.clear)
    assert len(collected) == 1, "all layers go at once: napari collects garbage after each, a third of a second"
    assert not session.here()
    assert panel.all.text() == f"All cells · {len(known)}"
