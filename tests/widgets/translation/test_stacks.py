"""Z-stacks and time series in a real window: what is found, clicked and exported is the plane in view."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Progress, finish
from phenolens.screens.cells import find_cells
from phenolens.screens.crops import cut
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.images import read_image
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import read_screen
from phenolens.translation.apply.settings import SHOWN_STEPS, TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.base import load_base
from real_window import pixels
from tiny_base import make_tiny_adapter

pytest_plugins = ["real_window"]
DEPTH, FOCUS = 5, 1


@pytest.fixture(scope="module")
def stack(small_screen, tmp_path_factory):
    """One field as a stack that is in focus at `FOCUS`, with noise of its own in each plane."""
    field = read_screen(small_screen).fields[0].image()
    rng = np.random.default_rng(0)
    blurs = [3 * abs(z - FOCUS) for z in range(DEPTH)]
    planes = [gaussian_filter(field.plane().astype(float), (0, blur, blur)) for blur in blurs]
    noisy = np.stack([plane + rng.normal(0, 2, plane.shape) for plane in planes]).clip(0).astype(field.dtype)
    path = tmp_path_factory.mktemp("stacks") / "stack.ome.tif"
    return write_ome_tiff(path, noisy, "ZCYX", field.channel_names, (0.3, 0.3), synthetic=False, z_spacing=1.5)


@pytest.fixture(scope="module")
def adapter(stack, tiny_base, tmp_path_factory):
    image = read_image(stack)
    made = make_tiny_adapter(tiny_base, channels=image.n_channels)
    limits = IntensityMap.fit([image.plane()], image.channel_names)
    made = replace(made, channel_names=image.channel_names, intensity=limits)
    made.save(tmp_path_factory.mktemp("adapter") / "tiny")
    return made


def brightest(window):
    """The brightest value in the middle of the canvas, without outlines."""
    window.dock.field_layers.labels.visible = window.dock.synthetic.outlines.visible = False
    window.qtbot.wait(50)
    canvas = window.viewer.screenshot(flash=False)[..., :3]
    high, wide = (side // 3 for side in canvas.shape[:2])
    return int(canvas[high:-high, wide:-wide].max())


def go_to(window, z):
    """Drag the slider of depth to a plane."""
    window.viewer.dims.set_current_step(0, z)
    window.qtbot.wait(20)
    assert window.session.position == (0, z)


def load(window, adapter):
    window.dock.load_adapter(adapter)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)


def translated(window, cell):
    window.wait(
        lambda: cell.translation is not None and cell.translation.steps == SHOWN_STEPS and not window.dock.running.busy
    )


@pytest.mark.slow
def test_the_plane_in_view_is_found_clicked_and_exported(window, stack, adapter, tmp_path):
    session, dock, made = window.session, window.dock, window.dock.synthetic
    image = read_image(stack)
    window.open(stack)
    channels = dock.field_layers.channels
    assert [layer.data.shape for layer in channels] == [(DEPTH, 192, 192)] * image.n_channels
    assert channels[0].scale.tolist() == pytest.approx([1.5, 0.3, 0.3])
    assert session.position == (0, DEPTH // 2), "not an end of the stack, which is seldom in focus"

    go_to(window, FOCUS)
    window.find_cells()
    sharp = finish(find_cells(read_screen(stack).at_plane(0, FOCUS)))
    pd.testing.assert_frame_equal(session.cells.table, sharp.table)
    assert "z 1" in dock.cells_panel.why.text()
    assert dock.field_layers.labels.ndim == 2, "the outlines show in every plane"

    load(window, adapter)
    session.set_limit("crop")
    window.press(dock.translate_panel.click)
    go_to(window, 2)
    cell = window.click_cell(0)
    translated(window, cell)
    np.testing.assert_array_equal(cell.translation.crop, cut(image.plane(z=2), cell.translation.window))
    translator = Translator(load_base(adapter.base), adapter, TranslationSettings(steps=SHOWN_STEPS))
    alone = finish(translator.translate_cell(image.plane(z=2), cell.y, cell.x))
    # the number of threads changes the rounding, and random weights make much of it
    off = np.abs(cell.translation.difference[cell.translation.strengths.index(1.0)] - alone.difference[0])
    assert off.mean() < 0.1 * np.abs(alone.difference).mean()
    expected = cell.translation.at(image.plane(z=2), cell.translation.strengths.index(1.0))
    shown = np.stack([pixels(layer) for layer in made.translated])
    assert np.abs(shown[:, 2].astype(int) - expected).max() <= 1
    raw = np.moveaxis(np.asarray(image.data), 1, 0)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(shown[:, others], raw[:, others])
    differences = np.stack([pixels(layer) for layer in made.differences])
    assert differences[:, 2].any()
    assert not differences[:, others].any()
    assert made.outlines.data[0][:, 0].tolist() == [2] * 4
    dock.translate_panel.show_view("difference")
    assert brightest(window) > 20
    go_to(window, 3)
    assert brightest(window) == 0, "nothing is translated here"

    other = window.click_cell(0)
    assert other is not cell
    translated(window, other)
    assert (other.y, other.x) == (cell.y, cell.x)
    assert all(layer.data[3].any() for layer in made.differences)
    np.testing.assert_array_equal(np.stack([layer.data[2] for layer in made.differences]), differences[:, 2])
    dock.translate_panel.slider.set_value(0.0)
    assert all(np.array_equal(layer.data, source.data) for layer, source in zip(made.translated, channels, strict=True))
    dock.translate_panel.slider.set_value(1.0)

    dock.export(tmp_path)
    window.wait(lambda: "Exported" in dock.translate_panel.state.text())
    (folder,) = (one for one in tmp_path.iterdir() if (one / "provenance.json").is_file())
    images = {f"stack__z{z}__{kind}.ome.tif" for z in (2, 3) for kind in ("source", "translated", "difference")}
    drawn = {"stack__cells.ome.tif", "stack__cells__cells.csv", "stack__synthetic_cells.geojson", "annotations.csv"}
    told = {"cells.csv", "cells.parquet", "provenance.json", ".phenolens.json"}
    assert {path.name for path in folder.iterdir()} == images | drawn | told
    np.testing.assert_array_equal(tifffile.imread(folder / "stack__z2__source.ome.tif"), image.plane(z=2))
    np.testing.assert_array_equal(tifffile.imread(folder / "stack__z2__translated.ome.tif"), shown[:, 2])
    assert pd.read_parquet(folder / "cells.parquet")["z"].tolist() == [2, 3]

    window.press(dock.translate_panel.clear)
    assert not session.in_field()
    assert not made.there


def test_fine_tuning_takes_the_plane_that_the_cells_were_found_in(window, stack, tiny_base, tmp_path, monkeypatch):
    asked = []

    def finetune(screen, *_, **__):
        asked.append(screen)
        yield Progress(0, 0)
        raise ScreenError("asked")

    monkeypatch.setattr("phenolens.widgets.translation.jobs.finetune", finetune)
    folder = tmp_path / "screen"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.ome.tif").write_bytes(stack.read_bytes())
    pd.DataFrame({"Image": ["a.ome.tif", "b.ome.tif"], "Metadata_Compound": ["DMSO", "drug"]}).to_csv(
        folder / "screen.csv", index=False
    )
    window.open(folder)
    go_to(window, 3)
    window.find_cells()
    go_to(window, 0)
    window.press(window.dock.finetune_panel.start)
    window.wait(lambda: asked and not window.dock.running.busy)
    (screen,) = asked
    image = read_image(stack)
    np.testing.assert_array_equal(screen.fields[1].image().plane(), image.plane(z=3))


def test_layers_of_a_series_are_one_field_and_go_on_showing_it(window):
    series = np.random.default_rng(0).integers(0, 200, (4, 60, 50), dtype=np.uint8)
    labels = {"axis_labels": ("time", "y", "x"), "scale": (10, 0.5, 0.5), "units": ("s", "um", "um")}
    layers = [window.viewer.add_image(series + number, name=name, **labels) for number, name in enumerate("ab")]
    window.viewer.layers.selection.clear()
    window.dock.screen_panel.open_layers()
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    assert window.dock.field_layers.channels == layers == list(window.viewer.layers)
    image = window.session.image
    assert (image.axes, image.shape, image.pixel_size) == ("CTYX", (2, 4, 60, 50), (0.5, 0.5))
    window.viewer.dims.set_current_step(0, 3)
    assert window.session.position == (3, 0)
    np.testing.assert_array_equal(window.session.plane, np.stack([series[3], series[3] + 1]))


def correct(asked, axes):
    """Choose what each axis is, as a person does."""
    assert asked.isVisible()
    for chip, letter in zip(asked.chips.chips, axes, strict=False):
        chip.setCurrentIndex(chip.findData(letter))
        chip.activated.emit(chip.currentIndex())


@pytest.mark.parametrize("names", [None, ("z", "c", "y", "x")])
def test_channels_of_a_layer_are_never_taken_for_depth_in_silence(window, names):
    pixels = np.random.default_rng(0).integers(0, 200, (5, 3, 60, 50), dtype=np.uint8)
    layer = window.viewer.add_image(pixels, name="zstack.ome", axis_labels=names)
    panel = window.dock.screen_panel
    panel.open_layers()
    asked = panel.layer_axes
    assert asked.chips.axes == "ZCYX"
    if names is None:
        assert window.session.screen is None
        assert "Correct the guess" in asked.question.text()
        window.press(asked.use)
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    assert not asked.use.isVisible()
    image = window.session.image
    assert (image.axes, image.shape) == ("CZYX", (3, 5, 60, 50))
    assert image.channel_names == ("Channel 1", "Channel 2", "Channel 3")
    np.testing.assert_array_equal(image.plane(z=4), pixels[4])
    assert layer in window.viewer.layers
    assert not layer.visible
    # and what was read can be corrected
    correct(asked, "TCYX")
    window.press(asked.use)
    window.wait(
        lambda: (
            window.session.image is not None and window.session.image.axes == "CTYX" and not window.dock.running.busy
        )
    )
    correct(asked, "TTYX")
    assert "Two axes are time" in asked.question.text()
    assert not asked.use.isEnabled()


def test_each_slice_of_a_layer_can_be_a_field(window):
    window.viewer.add_image(np.random.default_rng(0).integers(0, 200, (3, 60, 50), dtype=np.uint8), name="a")
    panel = window.dock.screen_panel
    panel.open_layers()
    correct(panel.layer_axes, "SYX")
    window.press(panel.layer_axes.use)
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    assert window.session.screen.table["Metadata_Index"].tolist() == [1, 2, 3]
    assert window.session.image.shape == (1, 60, 50)
