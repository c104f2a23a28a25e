"""A user's mistakes in the window: each is a sentence, and nothing that was there is lost."""

import hashlib
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from qtpy.QtWidgets import QFileDialog

from phenolens.screens.conditions import Condition
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.lora import inject_lora, lora_config, lora_weights

pytest_plugins = ["real_window"]


def only_message(window):
    window.wait(lambda: window.messages and not window.dock.running.busy)
    assert len(window.messages) == 1, window.messages
    return window.messages[0]


def test_a_missing_file_of_the_table_is_named_and_the_old_screen_stays(window, small_screen, tmp_path):
    window.open(small_screen)
    before = window.session.screen
    broken = tmp_path / "broken"
    shutil.copytree(small_screen, broken)
    table = pd.read_csv(broken / "screen.csv")
    (broken / table["Image"][1]).unlink()
    window.dock.open_screen(broken)
    message = only_message(window)
    assert Path(table["Image"][1]).name in message
    assert window.dock.screen_panel.problem.text() == message
    assert window.dock.screen_panel.about.text().startswith("small"), "what is open stays described"
    assert window.session.screen is before
    assert len(window.viewer.layers) == len(before.channel_names)
    assert window.dock.screen_panel.open_button.isEnabled()


def test_a_corrupt_tiff_is_named_and_the_old_screen_stays(window, small_screen, tmp_path):
    window.open(small_screen)
    before = window.session.screen
    broken = tmp_path / "broken"
    shutil.copytree(small_screen, broken)
    table = pd.read_csv(broken / "screen.csv")
    path = broken / table["Image"][2]
    path.write_bytes(path.read_bytes()[:200])
    window.dock.open_screen(broken)
    assert path.name in only_message(window)
    assert window.session.screen is before


def test_a_file_that_breaks_later_keeps_the_shown_field(window, small_screen, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small_screen, copy)
    window.open(copy)
    shown = window.session.field
    path = window.session.screen.fields[1].paths[0]
    path.write_bytes(b"gone bad")
    window.dock.screen_panel._show_field(1)
    assert path.name in only_message(window)
    assert window.session.field is shown
    assert window.dock.screen_panel.field.currentData() == shown.key


def test_a_wrong_column_or_an_empty_condition_says_what_there_is(window, small_screen):
    window.open(small_screen)
    panel = window.dock.screen_panel
    for text, words in (("Metadata_Rolle=treated", "Metadata_Role"), ("Metadata_Role=posion", "treated")):
        panel.target.setEditText(text)
        panel.target.lineEdit().editingFinished.emit()
        assert window.session.target is None
        assert words in panel.why.text()
        assert not window.dock.finetune_panel.start.isEnabled()
    panel.target.setEditText("Metadata_Role!=negative control")
    panel.target.lineEdit().editingFinished.emit()
    assert window.session.target is not None
    panel.target.setEditText(panel.source.expression())
    panel.target.lineEdit().editingFinished.emit()
    assert "both conditions" in panel.why.text()
    assert window.session.target is None
    assert window.messages == []


def make_adapter(tiny, names, folder):
    base = load_base(tiny)
    config = lora_config(2)
    inject_lora(base.unet, config)
    weights = lora_weights(base.unet)
    count = len(names)
    intensity = IntensityMap("affine", names, (0.0,) * count, (1.0,) * count)
    tokens = torch.zeros(3, base.token_size)
    return Adapter(
        source=Condition.parse("a"),
        target=Condition.parse("b"),
        channel_names=names,
        crop=48,
        pixel_size=None,
        intensity=intensity,
        tokens=tokens,
        weights=weights,
        config=config,
        base=str(tiny),
    ).save(folder)


def test_an_adapter_for_other_channels_is_refused_and_the_old_one_kept(
    window,
    small_screen,
    tiny,
    tmp_path,
):
    window.open(small_screen)
    window.dock.load_adapter(make_adapter(tiny, window.session.screen.channel_names, tmp_path / "right"))
    window.wait(lambda: window.session.adapter is not None and not window.dock.running.busy)
    kept = window.session.adapter
    window.dock.load_adapter(make_adapter(tiny, ("DNA", "RNA"), tmp_path / "wrong"))
    assert "2 channels (DNA, RNA)" in only_message(window)
    assert window.session.adapter is kept
    assert window.dock.translate_panel.click.isEnabled()


def test_a_folder_that_is_no_adapter_says_what_it_is(window, small_screen, small_adapter, tmp_path, monkeypatch):
    window.open(small_screen)
    panel = window.dock.translate_panel
    part = tmp_path / "part"
    shutil.copytree(small_adapter.folder, part)
    (part / "conditions.safetensors").unlink()
    (tmp_path / "empty").mkdir()
    wrong = {
        small_screen / "images": "is a folder of images, and not an adapter: open it as a screen",
        small_screen: "is a screen, and not an adapter: open it as a screen",
        part: "is not a whole adapter: it lacks conditions.safetensors",
        tmp_path / "empty": "is not an adapter: choose the folder that a fine-tuning wrote",
    }
    for folder, words in wrong.items():
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, folder=folder: str(folder))
        panel.load.menu().actions()[0].trigger()
        window.wait(lambda words=words: words in panel.state.text() and not window.dock.running.busy)
        assert window.messages[-1] == panel.state.text()
        assert panel.load.isEnabled()
    assert len(window.messages) == len(wrong)


# permissions do not bind the administrator
BLOCKED = ["a file"] if getattr(os, "geteuid", lambda: 1)() == 0 else ["a file", "read-only"]


@pytest.mark.parametrize("where", BLOCKED)
def test_an_output_folder_that_cannot_be_written_loses_nothing(
    window,
    small_screen,
    tiny,
    tmp_path,
    where,
):
    window.open(small_screen)
    window.find_cells()
    cells = window.session.cells
    blocked = tmp_path / "blocked"
    if where == "a file":
        blocked.write_text("in the way")
    else:
        blocked.mkdir()
        blocked.chmod(0o500)
    panel = window.dock.finetune_panel
    window.session.set_base(str(tiny))
    panel.steps.setValue(400)
    panel.out.setText(str(blocked / "adapter"))
    window.press(panel.start)
    assert "blocked" in only_message(window)
    assert panel.job.state.text() == window.messages[0]
    assert window.session.cells is cells
    assert panel.start.isEnabled()
    panel.out.setText(str(tmp_path / "good"))
    window.press(panel.start)
    window.wait(lambda: panel.curve.points)
    panel.job.stop()
    window.wait(lambda: not window.dock.running.busy)


def test_declining_the_download_changes_nothing(window, monkeypatch):
    from qtpy.QtWidgets import QMessageBox

    asked = []

    def decline(parent, title, text):
        asked.append(text)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", decline)
    with pytest.raises(Exception, match="not downloaded"):
        window.viewer.open_sample("napari-phenolens", "bbbc013")
    assert "32 MB" in asked[0]
    assert "CC BY 3.0" in asked[0]
    assert len(window.viewer.layers) == 0


def test_the_downloaded_plate_opens_in_the_dock(window, monkeypatch, tmp_path):
    from qtpy.QtWidgets import QMessageBox

    from bbbc013_server import Server, make_archive

    content = make_archive(tmp_path / "made.zip").read_bytes()
    server = Server(content)
    monkeypatch.setenv("PHENOLENS_BBBC013_URL", server.url)
    monkeypatch.setenv("PHENOLENS_BBBC013_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    try:
        layers = window.viewer.open_sample("napari-phenolens", "bbbc013")
    finally:
        server.close()
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    assert [layer.name for layer in layers] == ["FKHR", "DNA"]
    assert window.dock.screen_panel.source.expression() == "Metadata_Role=negative control"
    assert window.dock.screen_panel.target.expression() == "Metadata_Role=positive control"
