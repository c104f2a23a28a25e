"""The row of a class: renamed, given another key, deleted, and legible with a long name."""

from qtpy.QtCore import Qt

from phenolens.annotation.classes import CellClass
from phenolens.widgets.kit.class_row import ClassRow

LONG = "mitotic or shortly before, a name as long as people write them"


def test_a_class_is_renamed_keyed_and_deleted(qtbot):
    row, heard = ClassRow(), []
    qtbot.addWidget(row)
    for signal in (row.renamed, row.keyed, row.deleted, row.given):
        signal.connect(lambda *said: heard.append(said))
    row.show_class(CellClass(number=1, name=LONG, colour="#e69f00", shortcut=3), 1234, {3, 5}, "1,234 cells")
    row.resize(300, 26)
    row.show()
    qtbot.waitExposed(row)
    assert "…" in row.edit.text()
    assert row.edit.toolTip().startswith(LONG)
    assert row.count.text() == "1,234"
    assert row.key.text() == "3"
    assert row.minimumSizeHint().width() < 300

    row.edit.setFocus()
    row._begin_name()
    row.activateWindow()
    qtbot.waitUntil(row.edit.hasFocus)
    assert row.edit.text() == LONG
    qtbot.keyClick(row.edit, Qt.Key.Key_End)
    qtbot.keyClicks(row.edit, "!")
    qtbot.keyClick(row.edit, Qt.Key.Key_Return)
    assert heard == [(LONG, f"{LONG}!")]
    assert "…" in row.edit.text()

    heard.clear()
    row._begin_name()
    qtbot.keyClick(row.edit, Qt.Key.Key_Return)
    assert heard == [], "nothing was typed"

    row._fill_menu()
    entries = {entry.text(): entry for entry in row.menu.actions()}
    keys = {entry.text(): entry for entry in entries["Key"].menu().actions()}
    assert not keys["5"].isEnabled(), "another class has it"
    keys["4"].trigger()
    keys["none"].trigger()
    next(entry for text, entry in entries.items() if text.startswith("Delete")).trigger()
    qtbot.mouseClick(row.key, Qt.MouseButton.LeftButton)
    assert heard == [(LONG, 4), (LONG, 0), (LONG,), (LONG,)]
