"""One run at a time in a folder, and a lock that nobody dead holds."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from phenolens.runtime import locks
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import sweep, temporary_name, writing
from phenolens.runtime.locks import LOCK, holding, one_at_a_time
from phenolens.runtime.processes import start_mark, this_process
from phenolens.runtime.progress import Progress, finish

HOLD = """
import sys, time
from phenolens.runtime.locks import holding
with holding(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""
LITTER = """
import os, signal, sys
from phenolens.runtime.files import writing, writing_folder
with writing_folder(sys.argv[1] + "/adapter") as folder, writing(sys.argv[1] + "/cells.csv") as file:
    (folder / "weights").write_text("half")
    file.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def another(tmp_path):
    """A process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def forged(folder, **changes):
    """A lock file in `folder` of this process, but for `changes`."""
    me = this_process()
    facts = {
        "token": "x",
        "pid": me.pid,
        "start": me.start,
        "host": me.host,
        "name": "pc",
        "since": "2026-01-02T03:04:05",
    }
    (folder / LOCK).write_text(json.dumps(facts | changes))


def test_a_second_run_is_told_who_holds_the_folder(another, tmp_path):
    with pytest.raises(OutputError, match=rf"process {another.pid} on .*, since 20\d\d-") as caught, holding(tmp_path):
        pytest.fail("the block must not run")
    assert str(tmp_path) in str(caught.value)
    assert another.poll() is None


def test_a_killed_process_holds_nothing(another, tmp_path):
    another.kill()
    # Not waited for yet: a dead process whose parent has not asked for it counts as dead too.
    deadline = time.monotonic() + 10
    while start_mark(another.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    with holding(tmp_path) as lock:
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_was_given_again_is_another_process(tmp_path):
    forged(tmp_path, start="00000000")
    with holding(tmp_path):
        pass
    forged(tmp_path)
    with pytest.raises(OutputError, match="on pc, since 2026-01-02 03:04:05"), holding(tmp_path):
        pytest.fail("the block must not run")


def test_another_computer_holds_it_while_it_gives_signs_of_life(tmp_path):
    forged(tmp_path, host="ffffffff")
    with pytest.raises(OutputError, match="another run"), holding(tmp_path):
        pytest.fail("the block must not run")
    long_ago = time.time() - locks.SILENCE - 60
    os.utime(tmp_path / LOCK, (long_ago, long_ago))
    with holding(tmp_path):
        pass


def test_signs_of_life_are_given(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.02)
    with holding(tmp_path) as lock:
        os.utime(lock.file, (1, 1))
        deadline = time.monotonic() + 10
        while lock.file.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lock.file.stat().st_mtime > 2
        lock.check()


def test_a_damaged_lock_is_no_obstacle(tmp_path):
    (tmp_path / LOCK).write_text("{")
    os.utime(tmp_path / LOCK, (1, 1))
    with holding(tmp_path):
        pass


def test_who_lost_the_lock_writes_no_more(tmp_path):
    with holding(tmp_path) as lock:
        forged(tmp_path, host="ffffffff")
        with pytest.raises(OutputError, match="taken over by another run"):
            lock.check()
    assert (tmp_path / LOCK).is_file(), "the lock of the other one stays"


def test_a_folder_that_was_removed_is_said_to_be(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    with holding(folder) as lock:
        shutil.rmtree(folder)
        with pytest.raises(OutputError, match="was removed"):
            lock.check()


def test_file_systems_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with holding(tmp_path), pytest.raises(OutputError, match="another run"), holding(tmp_path):
        pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == []


def test_two_jobs_for_one_folder(tmp_path):
    @one_at_a_time()
    def job(screen, out):
        yield Progress(0, 1)
        (out.parent / "made").touch()
        return out

    first = job("s", tmp_path / "a")
    next(first)
    with pytest.raises(OutputError, match="another run"):
        finish(job("s", out=tmp_path / "a"))
    finish(job("s", out=tmp_path / "b"))
    first.close()
    assert finish(job("s", tmp_path / "a")) == tmp_path / "a"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    subprocess.run([sys.executable, "-c", LITTER, tmp_path], check=False)
    (tmp_path / ".partial-notes-of-mine").write_text("mine")
    elsewhere = temporary_name(tmp_path / "a").name.replace(f"-{this_process().host}-", "-ffffffff-")
    (tmp_path / elsewhere).write_text("of another computer")
    (tmp_path / temporary_name(tmp_path / "b").name).write_text("being written")
    assert len(list(tmp_path.iterdir())) == 5
    with writing(tmp_path / "new.txt") as partial:
        partial.write_text("new")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 4
    assert {"new.txt", ".partial-notes-of-mine", elsewhere} < set(left)
    sweep(tmp_path)
