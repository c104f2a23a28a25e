"""The adapters on this computer in a real window: listed, used, compared on a cell, deleted."""

import os
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox

from phenolens.screens.conditions import Condition
from phenolens.translation.model import known_adapters
from phenolens.translation.model.known_adapters import remember_adapter

pytest_plugins = ["real_window"]
OWN = "test of my own.txt"


def _in_use(window):
    return None if window.session.adapter is None else window.session.adapter.folder


@pytest.mark.slow
def test_adapters_are_listed_compared_on_a_cell_used_and_deleted(
    window, small_screen, small_adapter, tmp_path, monkeypatch
):
    own = tmp_path / "own"
    monkeypatch.setattr(known_adapters, "own_adapters", lambda: own)
    source, target = Condition.parse("DMSO"), Condition.parse("translocation")
    here = replace(small_adapter, source=source, target=target)
    for number, (name, channels) in enumerate(
        (("first", here.channel_names), ("second", here.channel_names), ("strange", ("a", "b", "c", "d")))
    ):
        replace(here, channel_names=channels, guidance=0.5 + number).save(own / name)
        os.utime(own / name / "card.json", (1_700_000_000 + number,) * 2)
    (own / "no adapter").mkdir()
    (own / "second" / OWN).write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    here.save(elsewhere)
    remember_adapter(tmp_path / "gone")
    panel = window.dock.translate_panel
    window.open(small_screen)
    window.find_cells()
    # what was used once is listed, wherever it lies
    for folder in (elsewhere, own / "first"):
        window.dock.load_adapter(folder)
        window.wait(lambda folder=folder: _in_use(window) == folder and not window.dock.running.busy)
    panel.load.menu().actions()[1].trigger()
    listed = panel.adapters
    assert [one.folder.name for one in listed.adapters] == ["elsewhere", "strange", "second", "first"]
    assert [listed.table.item(row, 0).font().bold() for row in range(4)] == [False, False, False, True]
    assert listed.table.item(3, 1).text() == "translocation"
    listed.table.selectRow(3)
    assert "Click a cell" in listed.compare.toolTip()
    window.press(panel.click)
    cell = window.click_cell(0)
    window.wait(lambda: cell.has(1.0) and not window.dock.running.busy)
    for row in (1, 2):
        for column in range(listed.table.columnCount()):
            listed.table.item(row, column).setSelected(True)
    window.press(listed.compare)
    window.wait(lambda: len(listed.tiles.tiles) == 4 and "…" not in [tile.words[0] for tile in listed.tiles.tiles])
    real, strange, second, first = listed.tiles.tiles
    assert (real.synthetic, real.words) == (False, (cell.name, "REAL"))
    assert strange.picture is None
    assert "channels" in strange.tip
    assert first.words == ("translocation", "first")
    assert not np.array_equal(first.picture, second.picture), "another guidance"
    assert window.session.adapter.folder == own / "first", "comparing changes nothing"
    # what is in use stays; of another, what is not ours stays
    answers = iter([QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes])
    monkeypatch.setattr(QMessageBox, "question", lambda *_: next(answers))
    window.press(listed.delete)
    assert "in use" in listed.state.text()
    listed.table.selectRow(2)
    window.press(listed.delete)
    assert (own / "second" / "card.json").is_file(), "the answer was no"
    window.press(listed.delete)
    assert [path.name for path in (own / "second").glob("[!.]*")] == [OWN]
    assert "did not write" in listed.state.text()
    assert [one.folder.name for one in listed.adapters] == ["elsewhere", "strange", "first"]
    listed.table.selectRow(0)
    window.press(listed.use)
    window.wait(lambda: window.session.adapter.folder == elsewhere and not window.dock.running.busy)
    assert listed.table.item(0, 0).font().bold()
    if picture := os.environ.get("PHENOLENS_TEST_PICTURE"):
        listed.grab().save(picture)
