"""The path of the dock in a real window: from a sample to an exported cell, with a mouse."""

import json
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from qtpy.QtCore import Qt

from phenolens.runtime.checkpoints import Checkpoints
from phenolens.runtime.progress import Progress
from phenolens.runtime.queue import device_queue
from phenolens.translation.apply.settings import SHOWN_STEPS
from phenolens.translation.model.adapter_card import AdapterCard
from phenolens.widgets.opening import get_ready
from real_window import pixels

pytest_plugins = ["real_window"]


@pytest.mark.slow
@pytest.mark.parametrize("sample", ["simulated", "plate"])
def test_a_sample_comes_ready_so_that_the_next_click_translates(window, sample):
    """Menu, sample, cell: three clicks; whatever is computed meanwhile, nothing else is to be pressed."""
    session, dock = window.session, window.dock
    window.viewer.open_sample("napari-phenolens", sample)
    window.wait(lambda: session.translator is not None and dock.translate_panel.click.isChecked())
    assert len(session.screen) == 8
    assert session.cells is not None
    assert dock.sections[3].unfolded
    cell = window.click_cell(0)
    window.wait(lambda: cell.translation is not None)


def test_a_sample_that_is_left_before_it_is_ready_loads_no_adapter(window, small_screen, monkeypatch):
    asked = []
    monkeypatch.setattr(window.dock, "load_adapter", asked.append)
    get_ready(window.dock, small_screen)
    button = window.dock.cells_panel.find_button
    window.dock.open_screen(small_screen)
    window.wait(lambda: "Cancel" in button.text())
    window.press(button)
    window.wait(lambda: not window.dock.running.busy)
    window.open(small_screen)
    window.find_cells()
    assert not asked


@pytest.mark.slow
def test_from_the_sample_to_an_exported_cell(window, tiny, tmp_path, monkeypatch):
    session, dock, panel = window.session, window.dock, window.dock.translate_panel
    layers = window.viewer.open_sample("napari-phenolens", "nocodazole")
    window.wait(lambda: session.field is not None and not dock.running.busy)
    assert [layer.name for layer in layers] == list(session.screen.channel_names)
    assert dock.field_layers.channels == list(layers), "the dock takes over the sample's layers"
    assert str(layers[0].units[0]) == "micrometer"
    assert layers[0].scale[0] == pytest.approx(session.screen.pixel_size[0])
    assert session.source is not None
    assert session.target is not None
    assert not dock.finetune_panel.start.isEnabled()
    assert dock.finetune_panel.job.why.text() == "Find cells first."

    window.find_cells()
    assert len(session.cells) > 20
    assert dock.field_layers.labels.data.max() > 0
    assert "cells in 8 fields" in dock.cells_panel.why.text()

    assert not panel.click.isEnabled()
    window.tune(tiny, tmp_path / "adapter", steps=3)
    assert (tmp_path / "adapter" / "card.json").is_file()
    assert [step for step, _ in dock.finetune_panel.curve.points] == [1, 2, 3]
    assert len(dock.finetune_panel.strip.rows) == 2

    window.press(panel.click)
    raw = [pixels(layer) for layer in dock.field_layers.channels]
    before = time.perf_counter()
    cell = window.click_cell(0)
    assert dock.synthetic.outlines.data, "outlined at once"
    assert time.perf_counter() - before < 30, "also where a click compiles something first and the machine is busy"
    window.wait(lambda: cell.translation is not None and cell.translation.steps == SHOWN_STEPS)
    window.wait(lambda: not dock.running.busy)
    made = dock.synthetic
    assert made.view == "translated"
    box = cell.translation.window
    for source, translated, difference in zip(
        dock.field_layers.channels, made.translated, made.differences, strict=True
    ):
        assert np.array_equal(translated.scale, source.scale)
        assert translated.units == source.units == difference.units
        assert translated.contrast_limits == source.contrast_limits
        assert translated.data.dtype == source.data.dtype
        assert difference.contrast_limits[0] == -difference.contrast_limits[1]
        assert translated.metadata["phenolens"]["synthetic"] is True
        assert "synthetic" in translated.name
        assert np.array_equal(source.data, raw[dock.field_layers.channels.index(source)]), "the source is not touched"
    changed = np.argwhere(np.any([layer.data != 0 for layer in made.differences], axis=0))
    assert len(changed)
    assert (changed.min(0) >= (box.y, box.x)).all()
    assert (changed.max(0) < (box.y + box.size, box.x + box.size)).all()

    count = len(window.viewer.layers)
    second = window.click_cell(1)
    window.wait(lambda: second.translation is not None and not dock.running.busy)
    assert len(window.viewer.layers) == count, "further cells go into the same layers"
    assert len(made.outlines.data) == 2

    at_one = pixels(made.differences[0])
    panel.slider.set_value(0.0)
    assert not any(layer.data.any() for layer in made.differences)
    assert all(np.array_equal(layer.data, old) for layer, old in zip(made.translated, raw, strict=True))
    panel.slider.set_value(1.3)
    assert "extrapolation" in panel.value.text()
    window.wait(lambda: cell.has(1.3) and second.has(1.3) and not dock.running.busy)
    panel.slider.set_value(1.0)
    assert np.allclose(made.differences[0].data, at_one)
    window.qtbot.mouseClick(panel.views.button(2), Qt.MouseButton.LeftButton)
    assert [layer.visible for layer in made.differences].count(True) == 1
    assert not any(layer.visible for layer in [*made.translated, *dock.field_layers.channels])

    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getExistingDirectory", lambda *_: str(tmp_path / "out"))
    assert panel.export.isEnabled()
    panel.export.menu().actions()[0].trigger()
    window.wait(lambda: "Exported" in panel.state.text())
    (folder,) = (tmp_path / "out").iterdir()
    key = session.field.key
    names = {path.name for path in folder.iterdir()}
    kinds = ("source", "translated", "difference")
    assert names == {
        *(f"{key}__{kind}.ome.tif" for kind in kinds),
        *(f"{key}__{drawn}" for drawn in ("cells.ome.tif", "cells__cells.csv", "synthetic_cells.geojson")),
        "annotations.csv",
        "cells.csv",
        "cells.parquet",
        "provenance.json",
        ".phenolens.json",
    }
    assert np.array_equal(tifffile.imread(folder / f"{key}__source.ome.tif"), np.stack(raw))
    translated = np.stack([layer.data for layer in made.translated])
    assert np.array_equal(tifffile.imread(folder / f"{key}__translated.ome.tif"), translated)
    with tifffile.TiffFile(folder / f"{key}__translated.ome.tif") as file:
        assert "synthetic" in file.ome_metadata
    assert len(pd.read_parquet(folder / "cells.parquet")) == 2
    known = json.loads((folder / "provenance.json").read_text())
    assert known["synthetic"] is True
    assert known["adapter_sha256"]

    for ending, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        drawn = tmp_path / f"figure.{ending}"
        monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getSaveFileName", lambda *_, to=drawn: (str(to), ""))
        panel.figure.menu().actions()[0].trigger()
        window.wait(lambda name=drawn.name: name in panel.state.text() and not dock.running.busy)
        assert drawn.read_bytes().startswith(start)
    words = drawn.read_text()
    assert words.count(">synthetic<") == 3 * len(raw)  # half of the strength, all of it, and the difference
    low, high = dock.field_layers.channels[0].contrast_limits
    assert f"contrast {low:.5g} to {high:.5g}" in words
    assert window.messages == [m for m in window.messages if m.startswith(("The fine-tuning", "Exported"))]


@pytest.mark.slow
def test_cancel_keeps_a_checkpoint_and_resume_ends_the_run(window, small_screen, tiny, tmp_path):
    dock, panel = window.dock, window.dock.finetune_panel
    window.open(small_screen)
    window.find_cells()
    window.session.set_base(str(tiny))
    panel.steps.setValue(400)
    panel.rank.setValue(2)
    panel.out.setText(str(tmp_path / "adapter"))
    window.press(panel.start)
    window.wait(lambda: len(panel.curve.points) >= 3)
    window.press(panel.cancel)
    window.wait(lambda: not panel.job.busy)
    assert panel.job.state.text() == "Cancelled (resumable)."
    assert (tmp_path / "adapter.partial" / "checkpoint.pt").is_file()
    assert not (tmp_path / "adapter").exists()
    reached = panel.curve.points[-1][0]
    assert (
        panel.start.text()
        == f"Resume at step {Checkpoints(tmp_path / 'adapter.partial' / 'checkpoint.pt').about().step}"
    )
    panel.seed.setValue(7)
    assert panel.start.text() == "Fine-tune", "another seed is another run"
    assert not panel.start.isEnabled(), "which must not replace the unfinished one unasked"
    assert "unfinished run of another screen, conditions or settings, at step" in panel.job.why.text()
    assert (panel.cancel.text(), panel.cancel.isEnabled()) == ("Start over", True)
    panel.out.setText(str(tmp_path / "elsewhere"))
    assert panel.start.isEnabled()
    panel.seed.setValue(0)
    # the same screen and cells anew, as after a restart of napari
    window.open(small_screen)
    window.find_cells()
    assert panel.start.text() == "Fine-tune"
    panel.out.setText(str(tmp_path / "adapter"))
    assert panel.start.text().startswith("Resume at step ")
    panel.out.setText(str(tmp_path / "elsewhere"))
    panel.out.setText(str(tmp_path / "adapter"))
    said = []
    say = panel.job.state.say
    panel.job.state.say = lambda text, *kind: (said.append(text), say(text, *kind))
    window.press(panel.start)
    window.wait(lambda: panel.curve.points[-1:] and panel.curve.points[-1][0] > reached)
    assert any(text.startswith("Going on from step") for text in said)
    assert [text for text in said if text.startswith("Encoding cells ")][-1] == "Encoding cells 16/16"
    first = next(text for text in said if text.startswith("loss"))
    assert first.endswith(" steps left"), "the time of a step is known from the second one on"
    # the step during which it was cancelled is in the checkpoint, though not on the curve
    assert panel.curve.points[0][0] in (1, reached + 1, reached + 2), "it goes on where it stopped"
    window.press(panel.cancel)
    window.wait(lambda: not dock.running.busy)


@pytest.mark.slow
def test_the_path_of_another_field_and_back(window, small_screen, small_adapter):
    session, dock = window.session, window.dock
    window.open(small_screen)
    window.find_cells()
    dock.load_adapter(small_adapter)
    window.wait(lambda: session.translator is not None and not dock.running.busy)
    window.press(dock.translate_panel.click)
    cell = window.click_cell(0)
    window.wait(lambda: cell.translation is not None and not dock.running.busy)
    change = pixels(dock.synthetic.differences[0])
    first, limits = session.field.key, [layer.contrast_limits for layer in dock.field_layers.channels]
    dock.screen_panel._step(1)
    window.wait(lambda: session.field.key != first)
    assert not dock.synthetic.translated, "no cell of this field was translated"
    assert [layer.contrast_limits for layer in dock.field_layers.channels] == limits, "one contrast for the screen"
    dock.screen_panel._step(-1)
    window.wait(lambda: session.field.key == first)
    assert np.array_equal(dock.synthetic.differences[0].data, change)


@pytest.mark.slow
def test_a_channel_is_held_where_it_is_ticked(window, small_screen, small_adapter):
    session, dock, panel = window.session, window.dock, window.dock.translate_panel
    window.open(small_screen)
    window.find_cells()
    telling = {"DNA": 0.5, "Reporter": 0.97, "Organelle": 0.52}
    dock.load_adapter(replace(small_adapter, held=("DNA", "Organelle"), card=AdapterCard(discriminative=telling)))
    window.wait(lambda: session.translator is not None and not dock.running.busy)
    assert [tick.isChecked() for tick in panel.held.ticks] == [True, False, True]
    assert "tells apart" in panel.held.ticks[0].text()
    for tick in panel.held.ticks:
        if tick.isChecked():
            tick.trigger()
    assert panel.held.whole() == "no channel"
    window.press(panel.click)
    cell = window.click_cell(0)
    window.wait(lambda: cell.has(1.5) and not dock.running.busy)
    assert all(layer.data.any() for layer in dock.synthetic.differences)
    panel.held.ticks[0].trigger()
    window.wait(lambda: cell.translation.held == ("DNA",) and cell.has(1.5) and not dock.running.busy)
    assert panel.held.whole() == "DNA"
    first, *others = dock.synthetic.differences
    assert not first.data.any()
    assert all(layer.data.any() for layer in others)

    window.viewer.theme = "light"
    window.viewer.reset_view()
    for view in ("original", "translated", "difference"):
        panel.show_view(view)
        window.qtbot.wait(100)
        canvas = window.viewer.screenshot(flash=False)[..., :3]
        high, wide = (side // 4 for side in canvas.shape[:2])
        middle = canvas[high:-high, wide:-wide]
        assert np.median(middle) < 100, f"{view} is drawn on white"
    layers = window.viewer.layers
    assert layers.index(dock.field_layers.labels) > layers.index(dock.synthetic.differences[-1]), "outlines on top"


@pytest.mark.slow
def test_the_viewer_closes_while_a_job_runs(window, small_screen, tiny, tmp_path):
    panel = window.dock.finetune_panel
    window.open(small_screen)
    window.find_cells()
    window.session.set_base(str(tiny))
    panel.steps.setValue(5000)
    panel.out.setText(str(tmp_path / "adapter"))
    window.press(panel.start)
    window.wait(lambda: len(panel.curve.points) >= 2)
    window.viewer.close()
    window.wait(lambda: (tmp_path / "adapter.partial" / "checkpoint.pt").is_file())
    window.wait(lambda: not window.dock.running.busy)


def test_the_event_loop_turns_while_a_job_computes(window):
    ticks = []

    def busy():
        until = time.perf_counter() + 2
        while time.perf_counter() < until:
            np.linalg.svd(np.random.default_rng(0).random((150, 150)))
            yield Progress(0, 0, "computing")

    window.dock.running.start(busy(), "computing", finished=lambda: ticks.append(None))
    last = time.perf_counter()
    while None not in ticks:
        window.qtbot.wait(1)
        now = time.perf_counter()
        ticks.append(now - last)
        last = now
    waits = [tick for tick in ticks if tick is not None]
    assert len(waits) > 20
    assert np.median(waits) < 0.25


def test_an_error_that_is_no_mistake_keeps_its_traceback(window):
    def broken():
        yield Progress(0, 0)
        raise RuntimeError("a bug")

    failed = []
    window.dock.running.start(broken(), "breaking", failed=failed.append)
    window.wait(lambda: failed)
    assert isinstance(failed[0], RuntimeError)
    assert failed[0].__traceback__ is not None
    window.wait(lambda: "a bug" in str(window.messages), 5000)


def test_cancelling_closes_the_job_on_its_device(window):
    closed = []

    def endless():
        try:
            while True:
                time.sleep(0.01)
                yield Progress(0, 0)
        finally:
            closed.append(device_queue("cpu") is not None)

    seen = []
    worker = window.dock.running.start(endless(), "going on", cancelled=lambda: seen.append("cancelled"))
    window.wait(lambda: worker.is_running)
    worker.quit()
    window.wait(lambda: seen)
    assert closed == [True]


def test_layers_that_are_open_make_a_screen(window):
    rng = np.random.default_rng(0)
    for name in ("DNA", "GFP"):
        image = rng.integers(0, 200, (90, 80), dtype=np.uint8)
        window.viewer.add_image(image, name=name, scale=(0.5, 0.5), units=("um", "um"), rotate=20)
    window.viewer.layers.selection.clear()
    window.dock.screen_panel.open_layers()
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    assert window.session.screen.channel_names == ("DNA", "GFP")
    assert window.session.screen.pixel_size == (0.5, 0.5)
    assert [layer.name for layer in window.viewer.layers] == ["DNA", "GFP"], "they are their own display"
    assert window.dock.field_layers.channels == list(window.viewer.layers)


def test_a_labels_layer_of_ones_own_gives_the_cells(window, small_screen):
    window.open(small_screen)
    labels = np.zeros(window.session.plane.shape[1:], int)
    labels[20:40, 30:60] = 1
    labels[90:120, 100:130] = 5
    window.viewer.add_labels(labels, name="mine")
    panel = window.dock.cells_panel
    panel.way.setCurrentIndex(panel.way.findData("labels"))
    panel.own.field.setCurrentIndex(panel.own.field.findData(window.session.field.key))
    window.find_cells()
    assert window.session.cells.table["label"].tolist() == [1, 5]
    assert window.session.cell_at(31, 44)[:2] == (29.5, 44.5)


def test_every_button_and_field_says_what_it_is_for(window):
    from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox

    for kind in (QAbstractButton, QAbstractSpinBox, QComboBox):
        for widget in window.dock.findChildren(kind):
            assert widget.toolTip(), f"{type(widget).__name__} {getattr(widget, 'text', str)()} has no tooltip"


def test_the_window_has_a_picture(window, small_screen):
    window.open(small_screen)
    window.qtbot.wait(200)
    picture = window.viewer.window.screenshot(flash=False, canvas_only=False)
    assert picture[..., :3].std() > 5
    assert window.dock.width() >= 290


@pytest.mark.slow
def test_settings_of_a_run_go_to_its_card(window, small_screen, tiny, tmp_path):
    window.open(small_screen)
    window.find_cells()
    window.dock.finetune_panel.seed.setValue(11)
    window.tune(tiny, tmp_path / "adapter", steps=2)
    card = json.loads((tmp_path / "adapter" / "card.json").read_text())
    assert card["settings"]["seed"] == 11
    assert card["settings"]["steps"] == 2
    assert card["settings"]["crop"] == window.session.crop
