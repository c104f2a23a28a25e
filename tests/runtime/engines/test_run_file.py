"""What a run says of itself in a file, for those who follow it."""

import subprocess
import sys

import pytest

from cli_run import run
from phenolens.runtime.choices.known_runs import forget_run, known_runs, remember_run
from phenolens.runtime.engines.run_file import LOG, PROGRESS, RunFile, last_said, read_run, start_run
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import write_json
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.progress import Progress


def test_how_far_it_is_and_how_long_it_takes(tmp_path, monkeypatch):
    clock = iter([0.0, 10.0, 11.0, 14.0, 14.1])
    monkeypatch.setattr("phenolens.runtime.engines.run_file.time.monotonic", lambda: next(clock))
    file = RunFile(tmp_path / PROGRESS)
    assert (read_run(tmp_path).state, read_run(tmp_path).left) == ("running", None)
    for step in (2, 3, 6):
        file.show(Progress(step, 10, f"field {step}"))
    seen = read_run(tmp_path)
    assert (seen.step, seen.total, seen.message) == (6, 10, "field 6")
    assert seen.left == pytest.approx(4.0), "a field a second, since the first that was counted"
    file.show(Progress(7, 10, "field 7"))
    assert read_run(tmp_path).step == 6, "it is not written for every step"
    file.end("done", "Translated 10 fields", failed=1)
    ended = read_run(tmp_path)
    assert (ended.state, ended.text, ended.failed, ended.step) == ("done", "Translated 10 fields", 1, 6)


def test_a_run_that_was_killed_is_lost_and_a_damaged_file_is_none(tmp_path):
    RunFile(tmp_path / PROGRESS)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_json(tmp_path / PROGRESS, read_json_object(tmp_path / PROGRESS) | {"pid": ended.pid})
    assert read_run(tmp_path).state == "lost"
    (tmp_path / PROGRESS).write_text("{")
    assert read_run(tmp_path) is None


def test_a_second_run_is_not_started_beside_the_first(tmp_path):
    RunFile(tmp_path / PROGRESS)
    with pytest.raises(OutputError, match="at work"):
        start_run(tmp_path, ["translate"])


def test_runs_are_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "cache"))
    for name in "ab":
        RunFile(tmp_path / name / PROGRESS)
        remember_run(tmp_path / name)
    assert known_runs() == [tmp_path / "b", tmp_path / "a"]
    forget_run(tmp_path / "b")
    assert known_runs() == [tmp_path / "a"]


def test_a_command_writes_how_it_ended(tmp_path):
    ran = run("micon", "embed", "default", tmp_path / "none", "--out", tmp_path / "a.parquet", "--progress",
              tmp_path / PROGRESS)  # fmt: skip
    assert ran.status == 2
    assert read_run(tmp_path).state == "failed"
    assert "There is no screen" in read_run(tmp_path).text
    (tmp_path / LOG).write_text("one\ntwo\n\n")
    assert last_said(tmp_path) == "two"


def test_files_of_others_are_not_replaced(tmp_path):
    table = tmp_path / "screen.csv"
    table.write_text("Image")
    said = run("translate", "demo", tmp_path, "--out", tmp_path / "out", "--progress", table, "--json")
    assert said.status == 2
    assert "does not say how far a run is" in said.error
    assert table.read_text() == "Image"
    (tmp_path / LOG).write_text("mine")
    with pytest.raises(OutputError, match="is not the log of a run"):
        start_run(tmp_path, ["--version"])
    (tmp_path / PROGRESS).write_text('{"mine": 1}')
    with pytest.raises(OutputError, match="would be replaced"):
        start_run(tmp_path, ["--version"])
    assert (tmp_path / LOG).read_text() == "mine"
    assert (tmp_path / PROGRESS).read_text() == '{"mine": 1}'
