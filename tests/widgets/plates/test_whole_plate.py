"""A whole plate from the window: a run of its own that is followed, found again and ended."""

import os
import sys

import pytest

from phenolens.runtime.choices.known_runs import known_runs
from phenolens.widgets.plates.whole_plate import WholePlate

pytest_plugins = ["real_window"]


@pytest.mark.slow
def test_a_run_is_followed_found_again_after_a_restart_and_ended(window, small_screen, small_adapter, tmp_path):
    dock, session = window.dock, window.session
    panel = dock.whole_plate_panel
    assert panel.why.text() == "Open a screen first."
    window.open(small_screen)
    assert panel.why.text() == "Fine-tune, or load an adapter."
    dock.load_adapter(small_adapter.folder)
    window.wait(lambda: session.translator is not None and not dock.running.busy)
    dock.whole_plate.unfold()
    assert panel.out.text().endswith("small-translated")
    out = tmp_path / "a folder with a long name, as people have them" / "translated"
    panel.out.setText(str(out))
    panel.wells.setValue(1)
    window.press(panel.start)
    assert panel.busy
    assert not panel.start.isEnabled()
    run = panel._run
    if sys.platform != "win32":
        assert os.getsid(run.process.pid) == run.process.pid, "it is no part of what ends with the viewer"
    again = WholePlate(session)  # as after a restart
    window.qtbot.addWidget(again)
    assert again.busy
    assert again.out.text() == str(out)
    window.wait(lambda: panel.bar.maximum() > 0 or not panel.busy)
    window.wait(lambda: not panel.busy and not again.busy)
    assert panel.state.text() == again.state.text() == f"Translated 1 field to {out}."
    assert panel.open.isVisible()
    assert len(list(out.glob("*__difference.ome.tif"))) == 1
    assert known_runs() == [], "it was seen"

    panel.wells.setValue(0)
    window.press(panel.start)
    window.wait(lambda: panel._run.total > 0 or not panel.busy)
    window.press(panel.cancel)
    window.wait(lambda: not panel.busy)
    assert panel.state.text().startswith("Stopped; what was finished is kept"), panel.state.text()
    assert panel.start.isEnabled()
    assert list(out.glob("*__difference.ome.tif"))
