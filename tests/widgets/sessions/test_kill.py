"""A window that is killed at any moment gives back all but the last second."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phenolens.runtime.checkpoints import Checkpoints
from phenolens.sessions.places import last_sessions
from phenolens.sessions.reading import read_session
from phenolens.translation.training.finetune_settings import checkpoint_of
from phenolens.widgets.translation.translating import Translating
from real_window import Window, small_adapter, small_screen, tiny  # noqa: F401 fixtures
from working_child import state_of

SUPPORT = Path(__file__).resolve().parents[2] / "support"
KILLS = int(os.environ.get("PHENOLENS_TEST_KILLS", "5"))
START_S = 240


def kill_at_work(place: Path, seed: int, screen: Path, adapter: Path, base: Path) -> list[dict]:
    """Have a window worked in for some seconds and killed; return what it wrote down."""
    log = place / "log.jsonl"
    log.touch()
    paths = os.pathsep.join([str(SUPPORT), *sys.path])
    surroundings = {**os.environ, "PHENOLENS_SESSIONS": str(place / "sessions"), "PYTHONPATH": paths}
    worker = [sys.executable, "-X", "faulthandler", str(SUPPORT / "working_child.py")]
    command = [*worker, *map(str, (screen, adapter, base, log, seed))]
    with (place / "child.txt").open("w") as said:
        child = subprocess.Popen(command, env=surroundings, stdout=said, stderr=said)
    try:
        until = time.time() + START_S
        while '"ready"' not in log.read_text():
            assert child.poll() is None, (place / "child.txt").read_text()[-3000:]
            assert time.time() < until, "the window did not get ready"
            time.sleep(0.05)
        time.sleep(random.Random(seed).uniform(0.2, 8))
        assert child.poll() is None, (place / "child.txt").read_text()[-3000:]
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    lines = [line for line in log.read_text().split("\n")[:-1] if line]
    return [json.loads(line) for line in lines]


def allowed(steps: list[dict]) -> dict[str, set[str]]:
    """The values that each part may have: those of the last second, and the one that it had before.

    Of a second in which the window answered: while it draws its first layers nobody can work in it.
    """
    beats = [step["beat"] for step in steps if "beat" in step]
    answered, since = 0.0, 0.0
    for before, after in zip(reversed(beats[:-1]), reversed(beats[1:]), strict=True):
        answered += min(after - before, 0.1)
        since = before
        if answered >= 1:
            break
    found: dict[str, set[str]] = {}
    for step in steps:
        for name, value in step.items():
            if name not in ("at", "ready", "beat"):
                found[name] = {value} if step["at"] <= since else found.get(name, set()) | {value}
    return found


def check_nothing_is_half_written(place: Path) -> None:
    for made in (place / "exports").iterdir():
        whole = (made / "provenance.json").is_file() and (made / "cells.parquet").is_file()
        assert whole or made.name.startswith("."), made


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 100 + KILLS))
def test_a_killed_window_gives_back_all_but_the_last_second(
    seed,
    make_napari_viewer,
    qtbot,
    monkeypatch,
    tmp_path,
    small_screen,  # noqa: F811
    small_adapter,  # noqa: F811
    tiny,  # noqa: F811
):
    steps = kill_at_work(tmp_path, seed, small_screen, small_adapter.folder, tiny)
    check_nothing_is_half_written(tmp_path)
    monkeypatch.setenv("PHENOLENS_SESSIONS", str(tmp_path / "sessions"))
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "cache"))
    (folder,) = last_sessions()
    saved = read_session(folder)
    assert not saved.closed
    assert not saved.problems
    # what was clicked and had no result yet would be translated again: here, only what was saved is looked at
    monkeypatch.setattr(Translating, "go_on", lambda self: None)
    monkeypatch.setattr(Translating, "_start_moves", lambda *_, **__: None)
    again = Window(make_napari_viewer(show=True), qtbot)
    again.wait(lambda: again.dock.sessions.box.take_up.isVisible())
    again.press(again.dock.sessions.box.take_up)
    again.wait(lambda: again.session.field is not None and not again.dock.running.busy)
    assert not again.dock.sessions.box.problem.text()
    found, fine = state_of(again.dock), allowed(steps)
    for name, values in fine.items():
        assert found[name] in values, (name, found[name], values)
    left = Checkpoints(checkpoint_of(tmp_path / "tuned")).about()
    if left is not None:
        panel = again.dock.finetune_panel
        assert (
            panel.start.text() == f"Resume at step {left.step}" or "another screen, conditions" in panel.job.why.text()
        )
    again.dock.running.stop()
    again.wait(lambda: not again.dock.running.busy)
