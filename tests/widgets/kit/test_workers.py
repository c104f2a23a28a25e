"""What arrives of a job in a real window: in order, each before the next, and all of it before its end."""

import time

from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar

from phenolens.runtime.progress import Progress

pytest_plugins = ["real_window"]
STEPS = 400


def test_a_flood_of_progress_arrives_in_order_before_the_end(window):
    heard, deep = [], []

    def flood():
        for step in range(1, STEPS + 1):
            yield Progress(step, STEPS, "flooding", preview=step)
        return "result"

    def progress(now):
        deep.append(None)
        heard.append((now.preview, len(deep)))
        if now.preview == 1:
            time.sleep(0.5)  # the viewer is busy, and all the rest waits for it
        deep.pop()

    window.dock.running.start(
        flood(),
        "Flooding",
        progress=progress,
        done=heard.append,
        finished=lambda: heard.append("end"),
    )
    window.qtbot.waitUntil(lambda: "end" in heard, timeout=20_000)
    assert heard == [*((step, 1) for step in range(1, STEPS + 1)), "result", "end"]
    assert window.messages == []


def test_the_activity_bar_follows_a_job_and_goes_with_it(window):
    bars, more = window.viewer.window._qt_window._activity_dialog, []

    def job():
        while not more:
            yield Progress(3, 8, "going on")

    def shown():
        found = [bar.qt_progress_bar for bar in bars.findChildren(QtLabeledProgressBar)]
        return [(bar.value(), bar.maximum()) for bar in found]

    window.dock.running.start(job(), "Going on")
    window.qtbot.waitUntil(lambda: shown() == [(3, 8)], timeout=10_000)
    more.append(None)
    window.qtbot.waitUntil(lambda: not window.dock.running.busy and shown() == [], timeout=10_000)


def test_a_job_does_not_wait_for_a_thread_that_follows_another(window):
    """Followers wait rather than compute: there may be many more of them than cores."""
    until = []

    def long():
        while not until:
            yield Progress(0, 0, "going on")
            time.sleep(0.01)

    def short():
        yield Progress(1, 1, "done")
        return "result"

    heard = []
    for _ in range(8):
        window.dock.running.start(long(), "Going on", device=None, bar=False)
    window.dock.running.start(short(), "At once", device=None, bar=False, done=heard.append)
    window.qtbot.waitUntil(lambda: heard == ["result"], timeout=10_000)
    until.append(None)
    window.qtbot.waitUntil(lambda: not window.dock.running.busy, timeout=10_000)
