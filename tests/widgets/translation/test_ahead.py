"""Cells in view are translated while nothing else goes on, and a click on one of them shows it at once."""

import threading
import time

import numpy as np
import pytest
from qtpy.QtCore import Qt

from phenolens.runtime.progress import Progress, finish
from phenolens.runtime.queue import BACKGROUND
from phenolens.screens.crops import window_at
from phenolens.translation.apply.settings import SHOWN_STEPS
from phenolens.widgets.state.session import TranslatedCell

pytest_plugins = ["real_window"]


@pytest.fixture
def ready(window, small_screen, small_adapter):
    """A window in which a click would translate."""
    window.open(small_screen)
    window.find_cells()
    window.dock.load_adapter(small_adapter)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    window.press(window.dock.translate_panel.click)
    return window


def known_cells(window):
    session = window.session
    table = session.cells.table
    return [
        TranslatedCell(session.field.key, float(c.y), float(c.x), f"cell {c.label}", session.direction())
        for c in table[table["field"] == session.field.key].itertuples()
    ]


def held(window):
    return [cell for cell in known_cells(window) if window.dock.ahead.holds(cell)]


def point_at(window, y, x):
    """Move the pointer over the canvas to a pixel of the field."""
    layer = window.dock.field_layers.channels[0]
    viewer = window.viewer
    viewer.mouse_over_canvas = True
    viewer.cursor.position = tuple(layer.data_to_world((y, x)))


def endless(stepped):
    """A job of the kind that fine-tuning is."""
    while True:
        stepped.append(time.monotonic())
        time.sleep(0.01)
        yield Progress(len(stepped), 0, "training")


@pytest.mark.slow
def test_a_cell_that_was_translated_ahead_is_there_at_once(ready):
    session, dock, ahead = ready.session, ready.dock, ready.dock.ahead
    cells = known_cells(ready)
    assert len(cells) > 3
    ready.wait(lambda: len(held(ready)) == len(cells))
    assert not session.here(), "nothing shows before it is clicked"
    assert not dock.running.busy
    canvas = ready.viewer.window._qt_viewer.canvas.native
    waited = []
    for number, cell in enumerate(cells[:4]):
        layer = dock.field_layers.channels[0]
        ready.viewer.scene.camera.center = (0, *layer.data_to_world((cell.y, cell.x)))
        ready.qtbot.wait(50)
        start = time.perf_counter()
        ready.qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
        shown = session.here()[cell.id]
        assert shown.translation is not None
        assert np.abs(dock.synthetic.composite.difference).max() > 0
        waited.append(time.perf_counter() - start)
        assert shown.translation.steps == SHOWN_STEPS
        assert session.current is shown
        assert not ahead.holds(cell)
        assert len(session.here()) == number + 1
    # The first makes the layers; other programs may hold up one or another. Nothing is computed: this is drawing alone,
    # in software, on one thread of a busy machine.
    assert min(waited[1:]) <= 0.25
    ready.wait(lambda: all(cell.has(1.5) for cell in session.here().values()))

    # the same numbers as without
    cell = session.here()[cells[1].id]
    translator = session.translator
    right = finish(
        translator.translate_crops(
            [session.plane], [window_at(cell.y, cell.x, translator.adapter.crop)], source=cell.conditions[0],
            target=cell.conditions[1],
        )
    )[0]  # fmt: skip
    # random weights make much of the rounding, which depends on how many cells are computed at once
    off = np.linalg.norm(cell.translation.difference_at(1.0) - right.difference[-1])
    assert off < 0.05 * np.linalg.norm(right.difference[-1])


@pytest.mark.slow
def test_those_nearest_to_the_pointer_come_first(ready, monkeypatch):
    asked = []
    from phenolens.widgets.translation import jobs

    translate = jobs.translate

    def noted(translator, plane, cell, strength, coarse):
        asked.append(cell.id)
        return translate(translator, plane, cell, strength, coarse)

    cells = known_cells(ready)
    last = cells[-1]
    monkeypatch.setattr("phenolens.widgets.translation.ahead.jobs.translate", noted)
    point_at(ready, last.y, last.x)
    ready.session.set_held([])  # gives up what was made already
    ready.wait(lambda: len(asked) == len(cells))
    away = [np.hypot(y - last.y, x - last.x) for y, x in asked]
    assert away == sorted(away)
    assert away[0] == 0


def test_only_what_is_in_view_is_translated(ready):
    cells = known_cells(ready)
    ready.session.set_held(["DNA"])
    camera = ready.viewer.scene.camera
    layer = ready.dock.field_layers.channels[0]
    camera.zoom *= 40
    camera.center = (0, *layer.data_to_world((cells[0].y, cells[0].x)))
    ready.viewer.mouse_over_canvas = False
    ready.wait(lambda: held(ready))
    ready.qtbot.wait(1000)
    assert [cell.id for cell in held(ready)] == [cells[0].id]


def test_a_job_ends_it_at_once_and_it_goes_on_when_all_is_still(ready):
    dock, session, ahead = ready.dock, ready.session, ready.dock.ahead
    started = threading.Event()
    slow = session.translator.base.predict

    def predict(*about):
        started.set()
        time.sleep(0.05)
        return slow(*about)

    session.translator.base.predict = predict
    session.set_held([])
    ready.wait(started.is_set)
    assert ahead._worker is not None
    stepped = []
    began = time.monotonic()
    worker = dock.running.start(endless(stepped), "Training", priority=BACKGROUND)
    assert ahead._worker is None, "cancelled at once"
    ready.wait(lambda: len(stepped) > 20)
    assert stepped[0] - began < 1, "one step of the network at most, on a machine that is busy"
    assert not held(ready)
    worker.quit()
    ready.wait(lambda: not dock.running.busy)
    session.translator.base.predict = slow
    ready.wait(lambda: held(ready))


@pytest.mark.slow
def test_it_never_steps_while_training_waits_for_the_device(ready):
    """Also where another dock's job, of which this one does not know, is what goes on."""
    from phenolens.runtime.queue import device_queue

    stepped = []
    other = device_queue("cpu").run(endless(stepped), priority=BACKGROUND)
    next(other)
    ready.session.set_held([])
    ready.qtbot.wait(700)
    begun = len(held(ready))
    count = len(stepped)
    ready.qtbot.wait(700)
    assert len(stepped) > count
    assert len(held(ready)) == begun == 0
    other.close()
    ready.wait(lambda: held(ready))


@pytest.mark.slow
def test_memory_stays_within_its_budget(ready, monkeypatch):
    ahead = ready.dock.ahead
    ready.wait(lambda: len(held(ready)) == len(known_cells(ready)))
    assert ahead.bytes <= 128 * 2**20
    one = ahead.bytes // len(held(ready))
    monkeypatch.setenv("PHENOLENS_MAX_AHEAD_MB", "1")
    monkeypatch.setattr("phenolens.widgets.translation.ahead._bytes", lambda _: 400 * 2**10)
    assert one > 0
    ready.session.set_held([])
    ready.wait(lambda: held(ready))
    ready.qtbot.wait(1500)
    assert len(held(ready)) == 2
    assert ahead.bytes <= 2**20


@pytest.mark.slow
def test_what_is_out_of_date_is_given_up(ready, small_adapter):
    session, dock = ready.session, ready.dock
    ready.wait(lambda: len(held(ready)) == len(known_cells(ready)))
    first = held(ready)[0]
    session.set_held(["DNA"])
    assert not held(ready)
    ready.wait(lambda: dock.ahead.holds(first))
    assert dock.ahead.take(first).held == ("DNA",)
    dock.load_adapter(small_adapter)
    before = session.translator
    ready.wait(lambda: session.translator is not before and not dock.running.busy)
    assert not held(ready)


def test_the_first_click_finds_everything_ready(window, small_screen, small_adapter, monkeypatch):
    """Loading an adapter exports its networks and makes the sessions, so that no click does."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from phenolens.translation.model import fast_networks

    monkeypatch.setenv(fast_networks.VARIABLE, "onnx")
    monkeypatch.setattr("phenolens.runtime.threads.thread_count", lambda: 1)
    monkeypatch.setattr("phenolens.widgets.translation.ahead.TranslatingAhead._next", lambda _: None)
    window.open(small_screen)
    window.dock.load_adapter(small_adapter)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    fast = window.session.translator.base.fast
    assert {part: len(known) for part, known in fast._networks.items()} == {"unet": 1, "encoder": 1, "decoder": 1}
    sessions = [set(network._sessions) for known in fast._networks.values() for network in known.values()]

    def made(*_, **__):
        raise AssertionError("made at the click")

    monkeypatch.setattr(fast_networks, "_Network", made)
    window.press(window.dock.translate_panel.click)
    window.click_pixel(90, 90)
    window.wait(lambda: window.session.here() and not window.dock.running.busy)
    (cell,) = window.session.here().values()
    assert cell.translation.steps == SHOWN_STEPS
    assert not fast.failed
    assert sessions == [set(network._sessions) for known in fast._networks.values() for network in known.values()]
