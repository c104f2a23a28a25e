"""One owner of a plane's pixels; files are read behind the window, never by it."""

import threading
import time
from types import SimpleNamespace

import dask
import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import QElapsedTimer, QTimer

from phenolens.screens.images import FieldImage
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.widgets.layers.plane_stack import PlaneStack
from phenolens.widgets.state.planes import Planes

pytest_plugins = ["real_window"]
DEPTH = 6


class SlowStack:
    """Planes (Z, C, Y, X) that take their time, each kept in a chunk of its own, as in a file on a server."""

    def __init__(self, channels=2, seconds=1.5):
        self.pixels = np.random.default_rng(0).integers(100, 900, (DEPTH, channels, 64, 64), dtype=np.uint16)
        self.seconds, self.quick = seconds, True
        self.threads = []
        self.lazy = da.map_blocks(self._read, da.from_array(self.pixels, chunks=(1, channels, 64, 64)), dtype=np.uint16)

    def _read(self, block):
        if block.size and not self.quick:
            self.threads.append(threading.current_thread())
            time.sleep(self.seconds)
        return block


@pytest.fixture
def slow(window):
    """A slow stack opened in the dock, so that its channels are layers of ours."""
    stack = SlowStack()
    source = window.viewer.add_image(
        stack.lazy, name="slow", contrast_limits=(0, 1000), axis_labels=("z", "c", "y", "x")
    )
    panel = window.dock.screen_panel
    panel.open_layers()
    window.wait(lambda: window.session.field is not None and not window.dock.running.busy)
    assert [layer.data.shape for layer in window.dock.field_layers.channels] == [(DEPTH, 64, 64)] * 2
    window.viewer.layers.remove(source)  # its own axes come before ours
    stack.quick = False
    with dask.config.set(scheduler="synchronous"):  # whoever asks reads
        yield stack


class Longest:
    """The longest time that the window's thread did not come round."""

    def __init__(self, parent):
        self.ms = 0
        self._clock = QElapsedTimer()
        self._clock.start()
        self._timer = QTimer(parent)
        self._timer.timeout.connect(self._tick)
        self._timer.start(5)

    def _tick(self):
        self.ms = max(self.ms, self._clock.restart())


@pytest.mark.slow
def test_the_window_goes_on_while_a_slider_moves_over_a_slow_file(window, slow):
    session, layer = window.session, window.dock.field_layers.channels[0]
    longest = Longest(window.dock)
    for z in (0, 1, 2, 5):
        window.viewer.dims.set_current_step(0, z)
        window.qtbot.wait(60)
    assert session.position == (0, 5)
    assert session.plane is None, "it is still being read"
    assert not layer._slice.image.raw.any(), "black, not another plane"
    window.wait(lambda: session.plane is not None)
    window.qtbot.wait(50)
    np.testing.assert_array_equal(session.plane, slow.pixels[5])
    np.testing.assert_array_equal(layer._slice.image.raw, slow.pixels[5, 0])
    assert longest.ms < 1000 * slow.seconds / 2
    assert threading.main_thread() not in slow.threads
    assert len(slow.threads) <= 4, "planes that the slider only passed are not read"
    # a script gets pixels, and no black for those that were not drawn yet
    np.testing.assert_array_equal(layer.data[3, :, :], slow.pixels[3, 0])


@pytest.mark.slow
def test_a_click_does_not_wait_for_the_file(window, slow, tiny, small_adapter, monkeypatch):
    asked, slow.seconds = [], 10.0  # far more than a busy machine holds up a window

    def translate(translator, plane, cell, strength):
        asked.append((plane(), threading.current_thread()))
        return None
        yield

    monkeypatch.setattr("phenolens.widgets.translation.jobs.translate", translate)
    monkeypatch.setattr(type(window.session), "direction", lambda self: ("a", "b"))
    monkeypatch.setattr(type(window.session), "mismatch", lambda self, adapter: "")
    window.session.set_adapter(small_adapter, SimpleNamespace(held=(), settings=TranslationSettings()), "cpu")
    window.viewer.dims.set_current_step(0, 4)
    longest = Longest(window.dock)
    monkeypatch.setattr(window.session, "update_cell", lambda *_: None)
    window.dock.translating.translate(30.0, 30.0)
    window.wait(lambda: asked)
    np.testing.assert_array_equal(asked[0][0], slow.pixels[4])
    assert asked[0][1] is not threading.main_thread()
    assert longest.ms < 1000 * slow.seconds / 2
    window.wait(lambda: not window.dock.running.busy)


def image_of(data, axes="ZCYX"):
    return FieldImage(data, axes)


def test_what_is_drawn_never_reads_and_what_is_computed_does():
    stack = SlowStack(seconds=0.2)
    stack.quick = False
    planes, asked, came = Planes(), [], []
    planes.asked.connect(asked.append)
    planes.arrived.connect(came.append)
    planes.show(image_of(stack.lazy))
    assert planes.known((0, 2)) is None
    assert planes.known((0, 2)) is None
    assert [one.position for one in asked] == [(0, 2)], "asked for once"
    assert not stack.threads
    plane = np.asarray(asked[0].read())
    planes.answered((0, 2))
    assert came == [(0, 2)]
    assert planes.known((0, 2)) is plane
    assert planes.reader((0, 2))() is plane, "read once"
    with pytest.raises(ValueError, match="read-only"):
        plane[0, 0, 0] = 1
    late = planes.reader((0, 3))
    planes.show(image_of(stack.pixels))
    np.testing.assert_array_equal(late(), stack.pixels[3])
    assert came == [(0, 2)], "of an image that is not shown any longer"
    np.testing.assert_array_equal(planes.known((0, 3)), stack.pixels[3])
    assert len(asked) == 1, "what is in memory is not asked for"


def test_planes_are_kept_as_far_as_there_is_room(monkeypatch):
    stack = SlowStack()
    monkeypatch.setattr("phenolens.widgets.state.planes._KEPT_BYTES", 3 * stack.pixels[0].nbytes)
    planes = Planes()
    planes.show(image_of(stack.lazy))
    for z in range(4):
        planes.reader((0, z))()
    assert planes.known((0, 0)) is None
    assert all(planes.known((0, z)) is not None for z in (1, 2, 3))


def test_a_reading_that_failed_can_be_asked_for_again():
    planes, asked = Planes(), []
    planes.asked.connect(asked.append)
    planes.show(image_of(SlowStack().lazy))
    planes.known((0, 1))
    planes.answered((0, 1))
    planes.known((0, 1))
    assert len(asked) == 2


def test_saving_a_stack_saves_pixels_that_were_never_drawn():
    stack = PlaneStack((3,), (2, 2), np.uint8, lambda at: np.full((2, 2), at[0] + 1, np.uint8), lambda at: None)
    assert np.asarray(stack)[:, 0, 0].tolist() == [1, 2, 3]
    assert stack[1, :, :].tolist() == [[2, 2], [2, 2]]
