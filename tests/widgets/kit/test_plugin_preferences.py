"""napari's preferences reach the library and the panels, and the preferences dialog shows them."""

import napari.settings
import pytest
from napari._qt.dialogs.preferences_dialog import PreferencesDialog
from qtpy.QtWidgets import QComboBox, QSpinBox

from phenolens.runtime.choices.preferences import prefer, preferences
from phenolens.widgets.translation.dock import PhenolensDock

pytest_plugins = ["real_window"]


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.setattr(napari.settings, "_PLUGIN_SETTINGS", {})
    monkeypatch.setattr(napari.settings, "_CFG_PATH", str(tmp_path / "settings.yaml"))
    for name in ("STEPS", "METHOD", "THREADS"):
        monkeypatch.delenv(f"PHENOLENS_{name}", raising=False)
    yield napari.settings.get_plugin_settings("napari-phenolens")
    prefer({})


def test_preferences_of_napari_reach_the_library_and_the_panels(settings, window, monkeypatch, tmp_path):
    settings.defaults.steps = 120
    settings.defaults.strength = 0.5
    settings.computing.threads = 2
    assert (preferences().steps, preferences().threads) == (120, 2), "a change reaches it at once"
    second = PhenolensDock(window.viewer)
    assert second.finetune_panel.steps.value() == 120
    assert second.session.strength == 0.5
    second.close()
    assert "steps: 120" in (tmp_path / "napari-phenolens.yaml").read_text(), "it is there the next time"
    monkeypatch.setenv("PHENOLENS_STEPS", "7")
    assert preferences().steps == 7
    dialog = PreferencesDialog(window.viewer.window._qt_window)
    window.qtbot.addWidget(dialog)
    names = [dialog._list.item(row).text() for row in range(dialog._list.count())]
    page = dialog._stack.widget(names.index("Phenolens"))
    assert 120 in [box.value() for box in page.findChildren(QSpinBox)]
    assert ["lora", "svdiff", "full"] in [
        [box.itemText(i) for i in range(box.count())] for box in page.findChildren(QComboBox)
    ]
