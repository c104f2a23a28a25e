"""What one does is saved by itself, and comes back in a new window."""

import shutil
import time

import numpy as np
import pytest

from phenolens.sessions.folder import JOURNAL
from phenolens.sessions.places import last_sessions
from phenolens.sessions.reading import read_session
from phenolens.widgets.reader import NO_LAYER, get_reader
from real_window import Window, pixels, small_adapter, small_screen, tiny, window  # noqa: F401 fixtures

SECOND = 1.0


@pytest.fixture
def worked(window, small_screen, small_adapter):  # noqa: F811
    """A window in which cells were found, annotated, corrected and translated."""
    window.open(small_screen)
    window.find_cells()
    window.dock.load_adapter(small_adapter.folder)
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    window.dock.translate_panel.click.setChecked(True)
    window.click_cell(0)
    window.wait(lambda: not window.dock.running.busy)
    session = window.session
    session.annotations.add_class("odd")
    session.annotations.annotate([(session.field.key, 1)], "odd")
    session.annotations.set_note([(session.field.key, 1)], "a note")
    session.annotations.set_note([(session.field.key, 1)], "undone")
    session.annotations.undo()
    labels = window.dock.field_layers.labels
    label = window.dock.field_layers.cells.begin_cell()
    labels.paint((60, 60), label)
    labels.mode = "pan_zoom"
    session.pen.collect()
    session.set_strength(0.6)
    session.set_held([session.screen.channel_names[0]])
    window.wait(lambda: not window.dock.running.busy)
    window.dock.translate_panel.show_view("difference")
    window.viewer.layers["DNA"].contrast_limits = (100, 2000)
    window.viewer.scene.camera.zoom = 3.25
    return window


def state_of(window):  # noqa: F811
    """All that has to come back, as plain values."""
    session, viewer = window.session, window.viewer
    cells = {cell.id + cell.plane: (cell.name, cell.conditions, cell.translation) for cell in session.in_field()}
    return {
        "screen": (session.screen_name, len(session.screen), session.origin),
        "conditions": (session.source.text, session.target.text),
        "place": (session.field.key, session.position),
        "table": session.cells.table.to_dict("list"),
        "labels": {key: array.tobytes() for key, array in session.cells.labels.items()},
        "found": (session.cells.found, session.nucleus_channel, session.crop, session.crop_chosen),
        "said": session.annotations._said(),
        "steps": (session.annotations.undoable, session.annotations.redoable),
        "adapter": str(session.adapter.folder),
        "held": session.translator.held,
        "strength": session.strength,
        "cells": {
            key: (name, conditions, made.strengths, made.difference.tobytes(), made.held, made.steps,
                  made.trajectory.states.numpy().tobytes())
            for key, (name, conditions, made) in cells.items()
        },
        "view": window.dock.synthetic.view,
        "layers": [(layer.name, layer.visible, layer.opacity, layer.blending) for layer in viewer.layers],
        "contrast": [tuple(layer.contrast_limits) for layer in viewer.layers if hasattr(layer, "contrast_limits")],
        "zoom": round(viewer.scene.camera.zoom, 6),
        "center": tuple(round(at, 4) for at in viewer.scene.camera.center),
        "pixels": [pixels(layer).tobytes() for layer in window.dock.synthetic.translated],
    }  # fmt: skip


def reopened(make_napari_viewer, qtbot, folder):
    """A new window in which a session was taken up."""
    again = Window(make_napari_viewer(show=True), qtbot)
    again.dock.take_up(folder)
    again.wait(lambda: again.session.field is not None and not again.dock.running.busy)
    return again


def test_all_of_it_comes_back(worked, make_napari_viewer, qtbot, tmp_path):
    worked.qtbot.wait(int(1000 * SECOND))  # and then the program is gone, as after a kill
    kept = worked.dock.sessions.memory.folder
    shutil.copytree(kept, tmp_path / "copy")
    before = state_of(worked)
    assert not list((tmp_path / "copy").glob("*.tif*"))
    assert sum(path.stat().st_size for path in (tmp_path / "copy").iterdir()) < 8e6
    again = reopened(make_napari_viewer, qtbot, tmp_path / "copy")
    after = state_of(again)
    for name in before:
        assert after[name] == before[name], name
    assert not again.dock.sessions.box.problem.text()
    assert again.dock.sessions.memory.folder == tmp_path / "copy"
    # and one goes on: the slider moves the cells from the latents that were kept
    again.session.set_strength(0.9)
    again.wait(lambda: all(cell.has(0.9) for cell in again.session.in_field()))
    again.dock.sessions.memory.flush()
    saved = read_session(tmp_path / "copy")
    assert saved.value("strength", float) == 0.9
    assert not saved.problems


@pytest.mark.slow
def test_the_last_session_is_offered_and_taken_up_by_a_button(worked, make_napari_viewer, qtbot):
    before = state_of(worked)
    worked.dock.close()
    assert read_session(last_sessions()[0]).closed
    again = Window(make_napari_viewer(show=True), qtbot)
    box = again.dock.sessions.box
    again.wait(lambda: box.take_up.isVisible())
    assert "small" in box.take_up.whole()
    again.press(box.take_up)
    again.wait(lambda: again.session.field is not None and not again.dock.running.busy)
    assert not box.take_up.isVisible()
    after = state_of(again)
    assert {name for name in before if before[name] != after[name]} <= {"center", "zoom"}


@pytest.mark.slow
def test_a_session_is_dropped_on_the_viewer(worked, make_napari_viewer, qtbot):
    worked.dock.close()
    folder = last_sessions()[0]
    again = Window(make_napari_viewer(show=True), qtbot)
    assert get_reader(str(folder))(str(folder)) == NO_LAYER
    again.wait(lambda: again.session.field is not None and not again.dock.running.busy)
    assert again.session.annotations.counts() == {"odd": 1}


@pytest.mark.slow
def test_what_is_missing_is_said_and_the_rest_comes_back(
    worked,
    make_napari_viewer,
    qtbot,
    tmp_path,
    small_adapter,  # noqa: F811
    small_screen,  # noqa: F811
):
    worked.dock.close()
    kept = last_sessions()[0]
    content = (kept / JOURNAL).read_bytes()
    screen = shutil.copytree(small_screen, tmp_path / "moved")
    folder = shutil.copytree(kept, tmp_path / "copy")
    text = (folder / JOURNAL).read_text().replace(str(small_adapter.folder), str(tmp_path / "gone"))
    # a checksum belongs to each line: without one a line is taken as it is
    lines = [line.rpartition(',"crc32"')[0] + "}" for line in text.splitlines()]
    (folder / JOURNAL).write_text("\n".join(line.replace(str(small_screen), str(tmp_path / "away")) for line in lines))
    again = Window(make_napari_viewer(show=True), qtbot)
    box = again.dock.sessions.box
    again.dock.take_up(folder)
    again.wait(lambda: box.locate.isVisible())
    assert "choose where it lies now" in box.problem.text()
    changed = next(iter(worked.session.cells.labels))
    image = next(one for one in worked.session.screen if one.key == changed).paths[0]
    image = screen / image.relative_to(small_screen)
    image.write_bytes(image.read_bytes() + b"0")
    again.dock.sessions.take_up(folder, screen)
    again.wait(lambda: again.session.field is not None and not again.dock.running.busy)
    assert "adapter could not be loaded" in box.problem.text()
    assert f"images of field {changed}" in box.problem.text()
    assert again.session.annotations.counts() == {"odd": 1}
    assert set(again.session.cells.labels) == set(worked.session.cells.labels) - {changed}
    # what could not be brought back is not lost: that folder stays, and another one is written
    assert again.dock.sessions.memory.folder != folder
    again.dock.sessions.memory.flush()
    assert (kept / JOURNAL).read_bytes() == content
    assert len(list(read_session(folder).under("translated"))) == 1


@pytest.mark.slow
def test_another_screen_is_another_session(worked, small_screen, tmp_path):  # noqa: F811
    first = worked.dock.sessions.memory.folder
    worked.session.set_strength(0.3)
    other = shutil.copytree(small_screen, tmp_path / "other")
    worked.dock.open_screen(other)
    worked.wait(lambda: worked.session.screen_name == "other" and not worked.dock.running.busy)
    saved = read_session(first)
    assert saved.closed
    assert saved.value("strength", float) == 0.3  # to the very last change
    assert worked.dock.sessions.memory.folder != first
    assert worked.dock.sessions.memory.flush()
    assert read_session(worked.dock.sessions.memory.folder).title == "other"


@pytest.mark.slow
def test_a_session_is_kept_where_one_likes(worked, tmp_path):
    first = worked.dock.sessions.memory.folder
    worked.dock.sessions.memory.flush()
    worked.dock.sessions.box.moved.emit(tmp_path / "mine")
    worked.session.annotations.annotate([(worked.session.field.key, 2)], "odd")
    assert worked.dock.sessions.memory.flush()
    saved = read_session(tmp_path / "mine")
    assert saved.contents() == read_session(first).contents()
    assert saved.state.values["labels/" + worked.session.field.key]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text.txt").write_text("mine")
    worked.dock.sessions.box.moved.emit(tmp_path / "thesis")
    assert "something else" in worked.messages[-1]
    assert worked.dock.sessions.memory.folder == tmp_path / "mine"


@pytest.mark.slow
def test_saving_keeps_nobody_waiting(worked):
    session, memory = worked.session, worked.dock.sessions.memory
    taken = []
    for number in range(30):
        session.set_strength(number / 30)
        worked.viewer.scene.camera.zoom = 1 + number / 10
        began = time.perf_counter()
        memory.hand_over()
        taken.append(time.perf_counter() - began)
    assert np.median(taken) < 0.02
    assert memory.flush()
