"""Wells that are left out by default, what a device has, and the smaller try where memory ends, in a real window."""

import time
from dataclasses import replace

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from phenolens.runtime.errors import DeviceError
from phenolens.runtime.progress import Progress, finish
from phenolens.simulation.screen import simulate_screen
from phenolens.widgets.translation import jobs

pytest_plugins = ["real_window"]


def test_another_base_is_typed_chosen_or_a_folder(window, tiny, monkeypatch, tmp_path):
    from phenolens.runtime.choices.preferences import cache_folder

    (cache_folder() / "bases" / "somebody--their-base").mkdir(parents=True)
    (cache_folder() / "bases" / ".partial-somebody--other-0123").mkdir()
    panel, session = window.dock.finetune_panel, window.session
    row = panel.choices.base
    session.set_base("elsewhere")
    assert [row.box.itemText(i) for i in range(row.box.count())] == ["compact", "somebody/their-base", "elsewhere"]
    window.press(panel.choices.advanced.line)
    row.box.lineEdit().selectAll()
    window.qtbot.keyClicks(row.box.lineEdit(), "somebody/their-base")
    window.qtbot.keyClick(row.box.lineEdit(), Qt.Key.Key_Return)
    assert session.base == "somebody/their-base"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(tiny))
    window.press(row.browse)
    assert session.base == str(tiny) == row.box.currentText() == panel.settings()["base"]


def test_wells_are_left_out_by_default_and_a_smaller_try_is_one_click(window, small_adapter, tmp_path, monkeypatch):
    panel = window.dock.finetune_panel
    assert "GB free" in panel.where.about.text()
    assert panel.where.about.text().startswith("cpu")
    assert not panel.choices.advanced.panel.isVisible()
    screen = simulate_screen(tmp_path / "screen", "translocation", wells=6, cells=3, shape=(128, 128), seed=3)
    window.open(finish(screen))
    window.find_cells()
    assert panel.choices.leave_out.isChecked()
    assert panel.choices.wells.text() == "Left out: A05 of the control, A06 of the treated."
    asked = []

    def finetune(screen, source, target, cells, **how):
        """Memory ends at a batch above 4."""
        asked.append((source, target, how["settings"]["batch"]))
        for step in range(3):
            yield Progress(step + 1, 3, "", values={"loss": 1.0})
            time.sleep(0.01)
        if how["settings"]["batch"] > 4:
            raise DeviceError("cpu has no memory left.")
        return replace(small_adapter, source=source, target=target)

    monkeypatch.setattr(jobs, "finetune", finetune)
    panel.choices.batch.setValue(8)
    panel.out.setText(str(tmp_path / "adapter"))
    assert "known once it has run" in panel.cost.text()
    window.press(panel.start)
    window.wait(lambda: not panel.job.busy)
    assert "no memory" in panel.job.state.text()
    assert panel.smaller.isVisible()
    window.press(panel.smaller)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    assert not panel.smaller.isVisible()
    assert [batch for *_, batch in asked] == [8, 4]
    source, target = window.session.adapter.conditions
    assert "Metadata_Well!=A05" in source
    assert "Metadata_Well!=A06" in target
    screen = window.session.screen
    assert [field.key for field in screen.select(asked[1][0])] == ["plate1_A01_1", "plate1_A03_1"]
    assert [field.key for field in screen.select(asked[1][1])] == ["plate1_A02_1", "plate1_A04_1"]
    assert "A05" not in window.dock.translate_panel.adapter.text()
    assert "as the last time" in panel.cost.text()
    # a treated well that was left out is translated back to the control, as those that were trained on are
    window.session.ask_for_field("plate1_A06_1")
    window.wait(lambda: window.session.field.key == "plate1_A06_1")
    assert window.session.direction() == (target, source)
    panel.choices.leave_out.setChecked(False)
    assert "none to judge on" in panel.choices.wells.text()
