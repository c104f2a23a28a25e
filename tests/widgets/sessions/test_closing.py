"""Closing while long work goes on asks what is to become of it; a fine-tuning is resumed after a restart."""

from unittest.mock import patch

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QApplication

from phenolens.runtime.checkpoints import Checkpoints
from phenolens.translation.training.finetune_settings import checkpoint_of
from phenolens.widgets.kit.closing import FINISH, STAY, STOP
from real_window import Window, small_adapter, small_screen, tiny, window  # noqa: F401 fixtures


def begin(window, base, out, steps):  # noqa: F811
    panel = window.dock.finetune_panel
    window.session.set_base(str(base))
    panel.steps.setValue(steps)
    panel.rank.setValue(2)
    panel.out.setText(str(out))
    window.press(panel.start)
    window.wait(lambda: panel.job.bar.value() > 2)


@pytest.fixture
def asked(window):  # noqa: F811
    """What is asked, what is answered, and whether the window was closed."""
    said, answers = [], [STAY]

    def ask(doing):
        said.append(doing)
        return answers[0]

    closed = []
    # napari deletes a window that closes, and its test fixture wants to close it itself: by then nothing is patched
    with (
        patch.object(window.dock.closing, "ask", ask),
        patch.object(window.viewer.window._qt_window, "close", lambda: closed.append(True)),
    ):
        yield said, answers, closed


def close(window):  # noqa: F811
    """Close the window as a menu does, while events turn; return whether it closes at once."""
    accepted = []

    def send():
        event = QCloseEvent()
        QApplication.sendEvent(window.viewer.window._qt_window, event)
        accepted.append(event.isAccepted())

    QTimer.singleShot(0, send)
    window.wait(lambda: accepted)
    return accepted[0]


@pytest.mark.slow
def test_closing_asks_and_one_can_stay(window, small_screen, tiny, tmp_path, asked):  # noqa: F811
    said, answers, closed = asked
    window.open(small_screen)
    window.find_cells()
    begin(window, tiny, tmp_path / "adapter", 20_000)
    assert not close(window)
    assert window.dock.finetune_panel.job.busy
    assert window.viewer.window._qt_window.isVisible()
    assert said[0].startswith("Fine-tuning, ")
    assert "of 20000" in said[0]
    answers[0] = STOP
    assert not close(window)
    assert not close(window)  # asked once is enough
    assert len(said) == 2
    window.wait(lambda: closed)
    left = Checkpoints(checkpoint_of(tmp_path / "adapter")).about()
    assert left.step > 2


@pytest.mark.slow
def test_it_is_finished_in_the_background(window, small_screen, tiny, tmp_path, asked):  # noqa: F811
    said, answers, closed = asked
    window.open(small_screen)
    window.find_cells()
    begin(window, tiny, tmp_path / "adapter", 60)
    answers[0] = FINISH
    assert not close(window)
    assert not closed
    window.wait(lambda: closed)
    assert (tmp_path / "adapter" / "card.json").is_file()
    assert len(said) == 1


@pytest.mark.slow
def test_resume_is_offered_after_a_restart(window, small_screen, tiny, tmp_path, make_napari_viewer, qtbot):  # noqa: F811
    window.open(small_screen)
    window.find_cells()
    begin(window, tiny, tmp_path / "adapter", 300)
    window.press(window.dock.finetune_panel.cancel)
    window.wait(lambda: not window.dock.running.busy)
    left = Checkpoints(checkpoint_of(tmp_path / "adapter")).about()
    window.dock.close()
    again = Window(make_napari_viewer(show=True), qtbot)
    box = again.dock.sessions.box
    again.wait(lambda: box.take_up.isVisible())
    assert f"a fine-tuning to resume at step {left.step} of 300" in box.take_up.toolTip()
    again.press(box.take_up)
    again.wait(lambda: again.session.field is not None and not again.dock.running.busy)
    panel = again.dock.finetune_panel
    assert panel.start.text() == f"Resume at step {left.step}"
    assert again.dock.sections[2].unfolded
    panel.steps.setValue(300)
    again.press(panel.start)
    again.wait(lambda: panel.job.bar.value() > left.step)
    again.press(panel.cancel)
    again.wait(lambda: not again.dock.running.busy)
    assert Checkpoints(checkpoint_of(tmp_path / "adapter")).about().step > left.step
