"""Layers that other readers have opened become screens: their axes are read or asked for, and nothing is mistaken."""

import numpy as np
import pytest

pytest_plugins = ["real_window"]

LENGTHS = dict(zip("TZCYX", (4, 5, 3, 60, 50), strict=True))
NAMES = {"T": "time", "Z": "z", "C": "channel", "Y": "y", "X": "x"}
UNITS = {"T": "minute", "Z": "nm", "C": "pixel", "Y": "um", "X": "um"}
STEPS = {"T": 2.0, "Z": 500.0, "C": 1.0, "Y": 0.5, "X": 0.25}
AXES = ("ZCYX", "CYX", "TCYX", "TZCYX", "YXC", "TYX", "ZYX")


def opened(window, layer, axes, asks):
    """Open a layer as a screen; return the image, and whether the axes were asked for."""
    window.viewer.layers.selection = {layer}
    panel, before = window.dock.screen_panel, window.session.screen
    panel.open_layers()
    asked = panel.layer_axes
    assert bool(asked._opened) is not asks, axes
    if asks:
        assert window.session.screen is before, "nothing is opened before one has answered"
        assert "Correct the guess" in asked.question.text()
        assert [chip.itemText(chip.currentIndex())[:1] for chip in asked.chips.chips] == list(asked.chips.axes)
        for chip, letter in zip(asked.chips.chips, axes, strict=True):
            chip.setCurrentIndex(chip.findData(letter))
            chip.activated.emit(chip.currentIndex())
        window.press(asked.use)
    window.wait(lambda: window.session.screen is not before and window.session.field is not None)
    window.wait(lambda: not window.dock.running.busy)
    return window.session.image


@pytest.mark.slow
def test_every_order_of_axes_is_read_or_asked_for(window):
    rng = np.random.default_rng(0)
    for axes in AXES:
        pixels = rng.integers(0, 200, [LENGTHS[axis] for axis in axes], dtype=np.uint8)
        if axes == "YXC":
            pixels = np.concatenate([pixels, pixels[..., :2]], axis=2)  # five channels are no colours
        names = {"axis_labels": [NAMES[axis] for axis in axes]}
        placed = {"scale": [STEPS[axis] for axis in axes], "units": [UNITS[axis] for axis in axes]}
        known: list[tuple[dict[str, object], bool]] = [({}, True), (names | placed, False)]
        if axes in ("TYX", "TZCYX"):
            known += [({**names}, False), ({**placed}, "C" in axes)]
        for how, asks in known:
            window.viewer.layers.clear()
            layer = window.viewer.add_image(pixels, name="of another reader", rgb=False, **how)
            image = opened(window, layer, axes, asks)
            wanted = "C" + axes.replace("C", "")
            assert (image.axes, image.shape) == (
                wanted, tuple(np.moveaxis(pixels, axes.index("C"), 0).shape) if "C" in axes else (1, *pixels.shape)
            )  # fmt: skip
            moved = np.moveaxis(pixels, axes.index("C"), 0) if "C" in axes else pixels[None]
            np.testing.assert_array_equal(np.asarray(image.data), moved)
            if "units" in how:
                assert image.pixel_size == (0.5, 0.25)
                assert image.z_spacing == (pytest.approx(0.5) if "Z" in axes else None)
                assert image.scale("T").seconds == (120 if "T" in axes else None)
    # of its own layers in nanometres and minutes beside ours napari has something to say
    assert all(message.startswith("Inconsistent units") for message in window.messages)


@pytest.mark.slow
def test_colours_and_pyramids_are_channels_too(window):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 200, (60, 50, 4), dtype=np.uint8)
    layer = window.viewer.add_image(picture, name="photo", scale=(0.5, 0.5), units=("um", "um"))
    assert layer.rgb
    image = opened(window, layer, "YX", asks=False)
    assert (image.axes, image.channel_names) == ("CYX", ("red", "green", "blue"))
    np.testing.assert_array_equal(image.plane(), np.moveaxis(picture[..., :3], -1, 0))
    assert image.pixel_size == (0.5, 0.5)
    assert not layer.visible

    window.viewer.layers.clear()
    stack = rng.integers(0, 200, (5, 60, 50, 3), dtype=np.uint8)
    layer = window.viewer.add_image(stack, name="colour stack", rgb=True)
    image = opened(window, layer, "ZYX", asks=True)
    assert (image.axes, image.shape) == ("CZYX", (3, 5, 60, 50))

    window.viewer.layers.clear()
    pixels = rng.integers(0, 200, (2, 60, 50), dtype=np.uint8)
    layer = window.viewer.add_image([pixels, pixels[:, ::2, ::2]], name="pyramid", axis_labels=("c", "y", "x"))
    assert layer.multiscale
    image = opened(window, layer, "CYX", asks=False)
    np.testing.assert_array_equal(np.asarray(image.data), pixels)

    # what does not go together is said, and what is open stays
    before = window.session.screen
    window.viewer.add_image(picture, name="photo")
    window.viewer.add_image(picture[..., 0], name="grey")
    window.viewer.layers.selection = {window.viewer.layers["photo"], window.viewer.layers["grey"]}
    window.dock.screen_panel.open_layers()
    assert "holds colours" in window.dock.screen_panel.problem.text()
    assert window.session.screen is before
    assert window.messages == []
