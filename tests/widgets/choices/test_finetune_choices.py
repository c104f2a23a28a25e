"""Wells that are left out by default, what a device has, and the CPU where memory ends, in a real window."""

import re
import time
from dataclasses import replace

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from phenolens.runtime.choices.costs import Cost, remember_cost
from phenolens.runtime.errors import DeviceError, MemoryEnded
from phenolens.runtime.progress import Progress, finish
from phenolens.simulation.screen import simulate_screen
from phenolens.widgets.choices import device_row
from phenolens.widgets.translation import finetune_panel, jobs

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


def test_a_gpu_gives_memory_back_and_too_little_is_said_before_the_start(window, small_screen, monkeypatch):
    panel, session = window.dock.finetune_panel, window.session
    assert not panel.where.free.isVisible()
    window.open(small_screen)
    window.find_cells()
    for module in (device_row, finetune_panel):
        monkeypatch.setattr(module, "memory_of", lambda device: (3 * 10**9, 8 * 10**9))
    monkeypatch.setattr(device_row, "give_back", lambda device: 2 * 10**9)
    monkeypatch.setattr(device_row, "why_no_gpu", lambda: "")
    monkeypatch.setattr(session, "queue", lambda: "cuda")
    monkeypatch.setattr(session, "devices", ["cpu", "cuda"])
    remember_cost(("finetune", "cuda", "compact", "lora", "batch 16"), Cost(0.1, 5 * 10**9))
    session.devices_changed.emit()
    assert panel.where.about.text() == "cuda: 3.0 of 8.0 GB free"
    assert panel.cost.text().startswith("About 90 s and 5.0 GB, as the last time here. Only 3.0 GB are free: close")
    window.wait(lambda: panel.where.free.height() > 10)  # it has its place
    window.press(panel.where.free)
    assert panel.where.about.text().endswith("2.0 GB were given back")


def test_wells_are_left_out_and_the_cpu_is_one_click_where_memory_ends(window, small_adapter, tmp_path, monkeypatch):
    panel = window.dock.finetune_panel
    assert "GB free" in panel.where.about.text()
    assert panel.where.about.text().startswith("cpu")
    assert not panel.choices.advanced.panel.isVisible()
    screen = simulate_screen(tmp_path / "screen", "translocation", wells=6, cells=3, shape=(128, 128), seed=3)
    window.open(finish(screen))
    window.find_cells()
    assert panel.choices.leave_out.isChecked()
    assert panel.choices.wells.text() == "Left out: A05 of the control, A06 of the treated."
    monkeypatch.setattr(window.session, "devices", ["cpu", "mps"])
    window.session.devices_changed.emit()
    window.session.set_device("mps")
    asked = []

    def finetune(screen, source, target, cells, **how):
        """Memory ends but on the CPU."""
        asked.append((source, target, how["device"]))
        held = np.ones(40_000_000)  # 320 MB
        for step in range(3):
            yield Progress(step + 1, 3, "", values={"loss": 1.0})
            time.sleep(0.01)
        del held
        if len(asked) == 1:
            raise DeviceError("There is no device 'mps' here.")
        if how["device"] == "mps":
            raise MemoryEnded("mps has no memory left for even one of the crops.")
        return replace(small_adapter, source=source, target=target)

    monkeypatch.setattr(jobs, "finetune", finetune)
    panel.out.setText(str(tmp_path / "adapter"))
    assert "known once it has run" in panel.cost.text()
    window.press(panel.start)
    window.wait(lambda: not panel.job.busy)
    assert "no device" in panel.job.state.text()
    assert not panel.on_cpu.isVisible()
    window.press(panel.start)
    window.wait(lambda: not panel.job.busy)
    assert "no memory" in panel.job.state.text()
    window.press(panel.on_cpu)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    assert not panel.on_cpu.isVisible()
    assert [device for *_, device in asked] == ["mps", "mps", "cpu"]
    assert panel.where.box.currentText() == "cpu"
    source, target = window.session.adapter.conditions
    assert "Metadata_Well!=A05" in source
    assert "Metadata_Well!=A06" in target
    screen = window.session.screen
    assert [field.key for field in screen.select(asked[1][0])] == ["plate1_A01_1", "plate1_A03_1"]
    assert [field.key for field in screen.select(asked[1][1])] == ["plate1_A02_1", "plate1_A04_1"]
    assert "A05" not in window.dock.translate_panel.adapter.text()
    assert re.search(r"0\.[3-6] GB, as the last time here\.$", panel.cost.text())
    # a treated well that was left out is translated back to the control, as those that were trained on are
    window.session.ask_for_field("plate1_A06_1")
    window.wait(lambda: window.session.field.key == "plate1_A06_1")
    assert window.session.direction() == (target, source)
    panel.choices.leave_out.setChecked(False)
    assert "none to judge on" in panel.choices.wells.text()
