"""Keys, their sheet, the tour, the window of what is kept and diagnostics, in a real window."""

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QLabel, QMessageBox

from phenolens.widgets.compare.compare_keys import FLICKER, LAYER_KEYS, LESS, MORE, VIEW_KEYS
from phenolens.widgets.help.cheat_sheet import KEYS
from phenolens.widgets.help.walk_keys import CELLS, FIELDS
from phenolens.widgets.kit.pages import address
from phenolens.widgets.translation.dock import PhenolensDock
from project import ROOT

pytest_plugins = ["real_window"]


def test_the_sheet_has_all_keys():
    assert {*VIEW_KEYS, *LAYER_KEYS, FLICKER, LESS, MORE} == set(KEYS["Look"])
    assert {*FIELDS, *CELLS} <= set(KEYS["Go"])


def test_keys_walk_through_cells_and_fields_and_the_question_mark_opens_their_sheet(window, small_screen):
    session, qtbot = window.session, window.qtbot
    window.open(small_screen)
    window.find_cells()
    canvas = window.viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    labels = sorted(session.cells.table.query("field == @session.field.key")["label"])
    qtbot.keyClick(canvas, Qt.Key.Key_Period)
    assert session.pen.chosen == (session.field.key, labels[0])
    row = session.cells.table.query("field == @session.field.key and label == @labels[0]").iloc[0]
    layer = window.dock.field_layers.channels[0]
    centre = layer.world_to_data(window.viewer.scene.camera.center[-2:])
    assert abs(centre[0] - row["y"]) < 1, "the view goes there"
    qtbot.keyClick(canvas, Qt.Key.Key_Period)
    assert session.pen.chosen == (session.field.key, labels[1])
    qtbot.keyClick(canvas, Qt.Key.Key_Comma)
    qtbot.keyClick(canvas, Qt.Key.Key_Comma)
    assert session.pen.chosen == (session.field.key, labels[-1])
    fields = [field.key for field in session.screen.fields]
    at = fields.index(session.field.key)
    qtbot.keyClick(canvas, Qt.Key.Key_PageDown)
    window.wait(lambda: session.field.key == fields[at + 1])
    qtbot.keyClick(canvas, Qt.Key.Key_PageUp)
    window.wait(lambda: session.field.key == fields[at])
    window.viewer.window._qt_window.activateWindow()
    canvas.setFocus()
    qtbot.wait(100)
    qtbot.keyClick(canvas, Qt.Key.Key_Question, Qt.KeyboardModifier.ShiftModifier)
    window.wait(lambda: window.dock.help.sheet is not None and window.dock.help.sheet.isVisible(), 3000)
    words = [label.text() for label in window.dock.help.sheet.findChildren(QLabel)]
    assert "Next cell" in words
    window.dock.help.sheet.close()


def test_the_tour_comes_once_and_opens_each_step(window, monkeypatch):
    assert not window.dock.tour.isVisible(), "the tests' preferences say so"
    monkeypatch.setenv("PHENOLENS_TOUR", "1")
    dock = PhenolensDock(window.viewer)
    window.qtbot.addWidget(dock)
    dock.show()
    seen = []
    while dock.tour.isVisible():
        seen.append([section.unfolded for section in dock.sections].index(True))
        window.press(dock.tour.next)
    assert seen == [0, 1, 2, 3, 4]
    dock.close()


def test_what_is_kept_is_listed_and_deleted_and_diagnostics_are_copied(window, tmp_path, monkeypatch):
    base = tmp_path / "cache" / "bases" / "owner--model"
    (base / "unet").mkdir(parents=True)
    (base / "unet" / "diffusion_pytorch_model.bin").write_bytes(bytes(2_500_000))
    (base / "notes.txt").write_text("of somebody else")
    mine = tmp_path / "cache" / "mine.txt"
    mine.write_text("of somebody else")
    window.dock.help.show_kept()
    kept = window.dock.help.kept
    table = kept.table
    assert [table.item(0, column).text() for column in range(3)] == ["base model", "owner/model", "2.5 MB"]
    assert table.rowCount() == 1
    table.selectRow(0)
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    window.press(kept.delete)
    assert [path.name for path in base.iterdir()] == ["notes.txt"]
    assert kept.about.text() == f"owner/model is deleted, but for what Phenolens did not write in {base}: notes.txt."
    assert mine.exists()
    assert table.rowCount() == 0
    kept.close()
    window.dock.help.copy_diagnostics()
    text = QGuiApplication.clipboard().text()
    assert "torch " in text
    assert "device cpu" in text
    assert str(tmp_path) not in text, "paths name people"


def test_each_panel_links_to_a_page_that_is_there(window):
    for section in (*window.dock.sections, window.dock.annotate):
        page = section.docs.toolTip().removeprefix("Read about it: ")
        assert page == address(page.rpartition("/")[2].removesuffix(".md"))
        assert (ROOT / "docs" / page.rpartition("/")[2]).is_file()
