"""The folder of a session: any part of its journal is the state of a moment, and a kill loses nothing saved."""

import contextlib
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenolens.annotation.annotations import Annotations
from phenolens.runtime.errors import OutputError, ScreenError
from phenolens.sessions import folder as folder_module
from phenolens.sessions.autosave import Autosave
from phenolens.sessions.folder import JOURNAL, SessionFolder, shortened
from phenolens.sessions.places import last_sessions, new_session_folder
from phenolens.sessions.reading import read_session
from phenolens.sessions.values import UNKNOWN, Kept, Later, files_of

KEYS = st.sampled_from(["strength", "field", "labels/A", "translated/B 0 0", "view"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) |
    st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
MOMENTS = st.lists(
    st.tuples(st.dictionaries(KEYS, PLAIN, max_size=4), st.lists(st.integers(0, 9), max_size=2)), min_size=1, max_size=8
)


def array_of(number: int) -> Kept:
    """A kept value with an array of its own."""
    array = np.full((4, 4), number, np.float32)
    return Kept(of=array, stem="translated", facts={"number": number}, arrays=lambda: {"pixels": array})


@settings(max_examples=40, deadline=None)
@given(MOMENTS, st.data())
def test_any_part_of_the_journal_is_the_state_of_a_moment(moments, data):
    with Scratch() as place:
        session = SessionFolder(place / "s")
        ends, states = [(place / "s" / JOURNAL).stat().st_size], [({}, [])]
        for values, said in moments:
            session.save(values, [{"number": number} for number in said])
            size = (place / "s" / JOURNAL).stat().st_size
            assert (size > ends[-1]) == ((dict(session.state.values), list(session.state.said)) != states[-1])
            if size > ends[-1]:
                ends.append(size)
                states.append((dict(session.state.values), list(session.state.said)))
        session.close()
        content = (place / "s" / JOURNAL).read_bytes()
        cut = data.draw(st.integers(ends[0], len(content)))
        (place / "s" / JOURNAL).write_bytes(content[:cut])
        # the line before is whole without its break, too
        whole = max(number for number, end in enumerate(ends) if end <= cut + 1)
        found = read_session(place / "s")
        assert (found.state.values, found.state.said) == states[whole]
        assert not found.problems
        again = SessionFolder(place / "s")  # and one can go on from there
        again.save({"strength": 0.25})
        again.close()
        assert read_session(place / "s").state.values == {"strength": 0.25}


class Scratch:
    """A folder for one example."""

    def __enter__(self) -> Path:
        import tempfile

        self.path = Path(tempfile.mkdtemp())
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def test_every_line_speaks_of_files_that_are_there(tmp_path):
    session = SessionFolder(tmp_path / "s")
    for number in range(6):
        session.save({f"translated/{n}": array_of(n) for n in range(max(0, number - 2), number + 1)})
    session.close()
    content = (tmp_path / "s" / JOURNAL).read_bytes()
    for cut in range(len(content)):
        if content[cut : cut + 1] == b"\n" and cut:
            part = tmp_path / f"part{cut}"
            shutil.copytree(tmp_path / "s", part)
            (part / JOURNAL).write_bytes(content[:cut])
            saved = read_session(part)
            for _, value in saved.under("translated"):
                assert (saved.arrays(value)["pixels"] == value["number"]).all()


def test_what_is_the_same_is_written_once(tmp_path):
    session = SessionFolder(tmp_path / "s")
    value = array_of(1)
    assert session.save({"translated/a": value})
    calls = []
    counted = Kept(of=value.of, stem="translated", facts={"number": 1}, arrays=lambda: calls.append(1) or {})
    assert not session.save({"translated/a": counted})
    assert not calls
    assert session.save({"translated/a": counted, "translated/b": array_of(1)})
    assert len(list((tmp_path / "s").glob("translated-*.npz"))) == 1
    session.close()
    again = SessionFolder(tmp_path / "s")
    before = (tmp_path / "s" / JOURNAL).stat().st_size
    assert not again.save({"translated/a": array_of(1), "translated/b": array_of(1)})
    assert (tmp_path / "s" / JOURNAL).stat().st_size == before
    assert not again.save({"translated/a": UNKNOWN, "translated/b": UNKNOWN})


def test_a_long_journal_becomes_a_snapshot_and_unneeded_files_go(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "_LONG", 3000)
    session = SessionFolder(tmp_path / "s")
    annotations = Annotations()
    said = []
    annotations.recorded.connect(lambda record: said.append(record))
    annotations.add_class("mitotic")
    (tmp_path / "s" / "mine.txt").write_text("not of the session")
    for number in range(100):
        annotations.annotate([("A", number)], "mitotic")
        session.save({"translated/a": array_of(number)}, said)
        said.clear()
    session.close()
    assert (tmp_path / "s" / JOURNAL).stat().st_size < 40_000
    saved = read_session(tmp_path / "s")
    assert saved.value("translated/a")["number"] == 99
    assert len(list((tmp_path / "s").glob("translated-*.npz"))) < 40
    assert files_of(saved.state.values) <= {path.name for path in (tmp_path / "s").iterdir()}
    assert (tmp_path / "s" / "mine.txt").is_file()
    again = Annotations()
    for record in saved.state.said:
        again.repeat(record)
    assert again.same_as(annotations)


def test_files_that_nothing_speaks_of_do_not_pile_up(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "_UNNEEDED", 4000)
    place = tmp_path / "s"

    def size():
        return sum(path.stat().st_size for path in place.glob("translated-*.npz"))

    session = SessionFolder(place)
    most = 0
    for number in range(60):
        session.save({"translated/a": array_of(number)})
        most = max(most, size())
    session.close()
    one = (place / read_session(place).value("translated/a")["file"]).stat().st_size
    assert most <= 4000 + 2 * one
    (place / f"translated-{0:016x}.npz").write_bytes(bytes(5000))  # left by a kill
    again = SessionFolder(place)
    again.save({"translated/a": array_of(99)})
    again.close()
    assert [path.name for path in place.glob("translated-*.npz")] == [read_session(place).value("translated/a")["file"]]


def test_a_shortened_history_is_undone_and_redone_as_the_long_one():
    made, said = Annotations(), []
    made.recorded.connect(lambda record: said.append(record))
    made.add_class("a")
    for number in range(300):
        made.annotate([("A", number)], "a")
    made.set_note([("A", 7)], "odd")
    made.rename_class("a", "b")
    for _ in range(5):
        made.undo()
    short = shortened(said)
    assert len(short) < len(said)
    again = Annotations()
    for record in short:
        again.repeat(record)
    while True:
        assert again.same_as(made)
        assert (again.undoable, again.redoable) == (made.undoable, made.redoable)
        if not made.redo():
            break
        again.redo()
    while made.undo():
        again.undo()
        assert again.same_as(made)
    assert again.add_class("next").number == made.add_class("next").number


@pytest.mark.parametrize(
    "value",
    [{"file": "../../secret.npz"}, {"file": "/etc/passwd"}, {"file": "translated-0123.npz"}, {"file": 3}, {}],
)
def test_a_session_opens_no_file_but_its_own(tmp_path, value):
    session = SessionFolder(tmp_path / "s")
    np.savez(tmp_path / "secret.npz", pixels=np.zeros(2))
    session.save({"translated/a": value})
    session.close()
    saved = read_session(tmp_path / "s")
    assert saved.arrays(value) is None


def test_what_follows_a_damaged_line_is_left_out_and_said(tmp_path):
    session = SessionFolder(tmp_path / "s")
    for strength in (0.1, 0.2, 0.3):
        session.save({"strength": strength})
    session.close()
    journal = tmp_path / "s" / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'h":0.2', b'h":0.9'))  # still JSON: the checksum tells
    saved = read_session(tmp_path / "s")
    assert saved.state.values == {"strength": 0.1}
    assert len(saved.problems) == 1
    assert "Line 3" in saved.problems[0]
    with pytest.raises(OutputError, match="broken"):
        SessionFolder(tmp_path / "s")


def test_values_of_strangers_are_taken_by_their_kind(tmp_path):
    session = SessionFolder(tmp_path / "s")
    session.save({"strength": True, "cells": [1], "screen": {"name": 3}})
    session.close()
    saved = read_session(tmp_path / "s")
    assert saved.value("strength", (int, float), 1.0) == 1.0
    assert saved.value("cells") is None
    assert saved.title == "3"
    with pytest.raises(ScreenError, match="no session"):
        read_session(tmp_path)


def test_another_folder_is_not_taken_for_a_session(tmp_path):
    (tmp_path / "thesis.docx").write_text("mine")
    with pytest.raises(OutputError, match="something else"):
        SessionFolder(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.docx"]


def test_one_program_at_a_time_writes(tmp_path):
    session = SessionFolder(tmp_path / "s")
    with pytest.raises(OutputError, match="Another program"):
        SessionFolder(tmp_path / "s")
    session.close()


def test_the_last_session_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_SESSIONS", str(tmp_path))
    assert last_sessions() == []
    first = new_session_folder("my screen/№1")
    SessionFolder(first).close()
    second = new_session_folder("my screen/№1")
    assert first != second
    SessionFolder(second).close()
    os.utime(first / JOURNAL, (1, 1))
    assert last_sessions() == [second, first]


def test_what_is_put_is_written_in_time_and_in_order(tmp_path):
    saving = Autosave(lambda: SessionFolder(tmp_path / "s"))
    for number in range(50):
        saving.put({"strength": number, "inputs": Later(tmp_path, lambda: {"A": "mark"})}, [{"number": number}])
    assert saving.flush(10)
    assert saving.close()
    saved = read_session(tmp_path / "s")
    assert saved.state.values["strength"] == 49
    assert [record["number"] for record in saved.state.said] == list(range(50))
    assert saved.state.values.get("inputs") in (None, {"A": "mark"})


def test_a_slider_does_not_wait_for_the_pixels_of_many_cells(tmp_path):
    def slow(number):
        def arrays():
            time.sleep(0.3)
            return {"pixels": np.full(4, number)}

        return Kept(of=object(), stem="translated", arrays=arrays)

    saving = Autosave(lambda: SessionFolder(tmp_path / "s"))
    cells = {f"translated/{number}": slow(number) for number in range(10)}
    saving.put({"strength": 0.5, **cells})
    time.sleep(0.2)
    saving.put({"strength": 1.2, **cells}, [{"number": 1}])
    time.sleep(0.8)
    lines = (tmp_path / "s" / JOURNAL).read_text()
    assert '"strength":1.2' in lines.replace(" ", "")
    assert saving.flush(10)
    assert saving.close()
    saved = read_session(tmp_path / "s")
    assert saved.state.said == [{"number": 1}]
    assert all((saved.arrays(saved.value(key))["pixels"] == number).all() for number, key in enumerate(cells))


def test_values_that_belong_together_come_together(tmp_path):
    together = {
        key: Kept(of=object(), stem="labels", arrays=lambda: {"a": np.zeros(2)}, together="cells") for key in ("a", "b")
    }
    with contextlib.closing(SessionFolder(tmp_path / "s")) as session:
        steps = session.saving({"strength": 1, **together})
        assert next(steps)
        assert read_session(tmp_path / "s").state.values.keys() == {"strength"}
        assert next(steps)
        assert read_session(tmp_path / "s").state.values.keys() == {"strength", "a", "b"}


def test_a_disk_that_refuses_is_told_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("phenolens.sessions.autosave._AGAIN_S", 0.05)
    refused = [True]

    def open_folder():
        if refused[0]:
            raise OutputError("Cannot write: no space is left.")
        return SessionFolder(tmp_path / "s")

    saving = Autosave(open_folder)
    saving.put({"strength": 1}, [{"a": 1}])
    assert not saving.flush(0.3)
    assert "no space" in saving.problem
    refused[0] = False
    assert saving.flush(10)
    assert not saving.problem
    saving.close()
    assert read_session(tmp_path / "s").state.said == [{"a": 1}]


@pytest.mark.skipif(sys.platform == "win32", reason="forks and kills as POSIX does")
@pytest.mark.parametrize("seed", range(12))
def test_a_kill_at_any_moment_loses_the_last_second_at_most(tmp_path, seed):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            os.close(reading)
            saving = Autosave(lambda: SessionFolder(tmp_path / "s"))
            number = 0
            while True:
                number += 1
                saving.put({"number": number, "translated/a": array_of(number)}, [{"number": number}])
                os.write(writing, f"{number} {time.time()}\n".encode())
                time.sleep(0.002)
        finally:
            os._exit(1)
    os.close(writing)
    time.sleep(random.Random(seed).uniform(0.05, 1.5))
    os.kill(child, signal.SIGKILL)
    killed = time.time()
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        given = [line.split() for line in told.read().splitlines()]
    due = max((int(number) for number, at in given if float(at) < killed - 1), default=0)
    if not (tmp_path / "s" / JOURNAL).is_file():
        assert due == 0
        return
    saved = read_session(tmp_path / "s")
    assert not saved.problems
    number = saved.state.values.get("number", 0)
    assert number >= due
    assert [record["number"] for record in saved.state.said] == list(range(1, number + 1))
    value = saved.value("translated/a")
    assert value is not None or not due
    if value is not None:
        assert (saved.arrays(value)["pixels"] == value["number"]).all()
        assert due <= value["number"] <= number
    SessionFolder(tmp_path / "s").close()
