"""The section on noise in a real window: fit a floor, outline what is beyond it, look at the autoencoder's error."""

import numpy as np
import pytest

from phenolens.evaluation.noise.significance import significant
from phenolens.evaluation.noise.uncertainty import autoencoder_error, share_of_change
from phenolens.translation.model.adapter import NOISE_FLOOR
from saved_floors import floor_of

pytest_plugins = ["real_window"]


def translated(window, small_screen, get_adapter):
    """The window with a translated cell, and nothing held."""
    window.open(small_screen)
    window.find_cells()
    get_adapter()
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    window.session.set_held([])
    window.press(window.dock.translate_panel.click)
    cell = window.click_cell(0)
    window.wait(lambda: cell.translation is not None and cell.has(1.5) and not window.dock.running.busy)
    return cell


@pytest.mark.slow
def test_what_is_beyond_the_floor_is_outlined_and_shown(window, small_screen, small_adapter):
    session, dock, panel = window.session, window.dock, window.dock.noise_panel
    assert panel.job.why.text() == "Fine-tune, or load an adapter."
    assert not panel.fit.isEnabled()
    cell = translated(window, small_screen, lambda: dock.load_adapter(small_adapter))
    dock.sections[4].unfold()
    assert panel.fit.isEnabled()
    assert not panel.outline.isEnabled()
    before = set(window.viewer.layers)
    session.set_floor(floor := floor_of(session))
    assert set(window.viewer.layers) == before, "nothing is added unasked"
    assert panel.found.text() == f"{cell.name} changes more than noise (p = 0.025)."

    panel.outline.setChecked(True)
    panel.picture.setCurrentText("difference beyond noise")
    assert len(window.viewer.layers) == len(before) + 2
    composite, channel = dock.synthetic.composite, dock.translate_panel.channel.currentIndex()
    mask = significant(composite.plane, composite.difference, session.adapter.intensity, floor)[channel]
    assert mask.any()
    assert not mask.all()
    outline, shown = dock.noise_layers.layers["significant"], dock.noise_layers.layers["significant_difference"]
    assert np.array_equal(outline.data, mask)
    assert outline.contour == 1
    assert np.array_equal(shown.data, np.where(mask, composite.difference[channel], 0))
    order = window.viewer.layers.index
    assert order(dock.synthetic.differences[-1]) < order(shown) < order(dock.synthetic.outlines) < order(outline)
    for layer in (outline, shown):
        assert "synthetic" in layer.name
        facts = layer.metadata["phenolens"]
        assert facts["synthetic"] is True
        assert facts["alpha"] == 0.05
        assert facts["adapter"] == str(session.adapter.folder)
        assert np.array_equal(layer.scale, dock.field_layers.channels[0].scale)

    dock.translate_panel.slider.set_value(0.0)
    assert not outline.data.any(), "nothing has changed at strength 0"
    dock.translate_panel.slider.set_value(1.0)
    assert np.array_equal(outline.data, mask)
    other = (channel + 1) % len(dock.field_layers.channels)
    dock.translate_panel.channel.setCurrentIndex(other)
    assert outline.name.startswith(dock.field_layers.channels[other].name)
    assert outline.metadata["phenolens"]["channel"] == dock.field_layers.channels[other].name
    session.set_floor(floor_of(session, low=100.0))
    assert not outline.data.any(), "a higher floor leaves nothing"
    assert "no more than control cells" in panel.found.text()

    panel.picture.setCurrentText("autoencoder error")
    window.wait(lambda: "autoencoder_error" in dock.noise_layers.layers)
    assert "significant_difference" not in dock.noise_layers.layers, "one picture at a time"
    expected = autoencoder_error(session.translator, cell.translation.crop[None])[0, other]
    error, box = dock.noise_layers.layers["autoencoder_error"].data, cell.translation.window
    middle = (round(cell.y), round(cell.x))
    assert error[middle] == pytest.approx(expected[middle[0] - box.y, middle[1] - box.x], rel=1e-3)

    panel.picture.setCurrentText("spread over seeds")
    window.wait(lambda: "spread_over_seeds" in dock.noise_layers.layers)
    spread = dock.noise_layers.layers["spread_over_seeds"]
    assert "autoencoder_error" not in dock.noise_layers.layers
    assert spread.metadata["phenolens"]["synthetic"] is True
    assert spread.data.min() == 0
    assert spread.data.max() > 0
    varied = dock.noise_layers.doubts["spread_over_seeds"][cell.id] * (1.0 if cell.share is None else cell.share)
    share = share_of_change(cell.translation.crop, cell.difference(1.0), varied, session.adapter.intensity)
    assert 0 < share < 10
    assert panel.doubt.text() == f"Other noise draws {share:.0%} of the change of {cell.name} otherwise."
    panel.picture.setCurrentText("autoencoder error")
    assert "autoencoder_error" in dock.noise_layers.layers, "what is known is not asked again"
    assert not panel.doubt.text(), "of the spread alone"

    session.set_held([session.screen.channel_names[0]])
    assert "hold the same channels" in panel.found.text()
    assert "significant" not in dock.noise_layers.layers, "what cannot be said is not shown"
    session.set_held([])
    window.wait(lambda: not dock.running.busy)
    assert "significant" in dock.noise_layers.layers
    window.press(dock.translate_panel.views.button(2))
    assert panel.picture.currentText() == "nothing"
    assert "autoencoder_error" not in dock.noise_layers.layers
    window.press(dock.translate_panel.clear)
    assert not dock.noise_layers.layers


@pytest.mark.slow
def test_a_floor_is_fitted_in_the_background_cancelled_resumed_and_loaded_again(window, small_screen, tiny, tmp_path):
    session, dock, panel = window.session, window.dock, window.dock.noise_panel
    cell = translated(window, small_screen, lambda: window.tune(tiny, tmp_path / "adapter", steps=2))
    dock.sections[4].unfold()
    panel.splits.setValue(1)
    window.press(panel.fit)
    window.wait(lambda: panel.job.bar.maximum() > 0 and panel.job.bar.value() > 0)
    window.press(panel.cancel)
    window.wait(lambda: not panel.job.busy)
    assert "resumable" in panel.job.state.text()
    assert panel.fit.text() == "Resume"
    window.press(panel.fit)
    window.wait(lambda: session.floor is not None and not dock.running.busy)
    floor = session.floor
    assert floor.held == ()
    assert (tmp_path / "adapter" / NOISE_FLOOR / "card.json").is_file()
    assert "With one split" in panel.job.state.text(), "what is weak is said"
    assert cell.name in panel.found.text()
    dock.load_adapter(tmp_path / "adapter")
    window.wait(lambda: not dock.running.busy and session.floor is not None and session.floor is not floor)
    assert np.array_equal(session.floor.maxima, floor.maxima), "the floor is loaded with its adapter"
