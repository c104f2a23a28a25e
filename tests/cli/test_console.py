"""The console of the commands: exit statuses, JSON, interruption, and flags with several values."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from phenolens.cli.app import app
from phenolens.cli.console import Console, Interrupted, reporting
from phenolens.cli.several import spread
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Progress

COMMANDS = ("demo", "simulate", "pretrain", "finetune", "translate", "export")


def counting(closed, steps=3, stop_at=None):
    try:
        for step in range(1, steps + 1):
            if step == stop_at:
                signal.raise_signal(signal.SIGINT)
            yield Progress(step, steps, "counting", {"loss": 0.5})
    finally:
        closed.append(True)
    return "counted"


def test_result_of_a_job():
    with reporting("test", as_json=False) as console:
        assert console.follow(counting([])) == "counted"


def test_signal_closes_the_job_after_its_step(capsys):
    closed = []
    with pytest.raises(typer.Exit) as end, reporting("test", as_json=True) as console:
        console.follow(counting(closed, stop_at=2), lambda: f"closed: {closed}")
    assert end.value.exit_code == 130
    assert closed == [True]
    out, err = capsys.readouterr()
    assert json.loads(out) == {"command": "test", "error": "interrupted: closed: [True]", "status": 130}
    assert err.splitlines()[-1] == "phenolens: interrupted: closed: [True]"


def test_second_signal_breaks_in_at_once():
    def stubborn():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        yield Progress(1, 2)

    with pytest.raises(Interrupted):
        Console("test", as_json=False).follow(stubborn())


def test_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with reporting("test", as_json=False) as console:
        console.follow(counting([]))
    assert signal.getsignal(signal.SIGINT) is before


def test_users_mistake_is_one_line_and_status_2(capsys):
    with pytest.raises(typer.Exit) as end, reporting("test", as_json=False):
        raise ScreenError("There is no\ncolumn.")
    assert end.value.exit_code == 2
    assert capsys.readouterr().err == "phenolens: There is no column.\n"


def test_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), reporting("test", as_json=False):
        raise ZeroDivisionError


def test_bar_shows_message_and_values(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with reporting("test", as_json=False) as console:
        console.follow(counting([]))
    shown = capsys.readouterr()
    assert "counting" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("A S --strength 0 0.5 1 --out d", "A S --strength 0 --strength 0.5 --strength 1 --out d"),
        ("--strength 0 --strength 1 A", "--strength 0 --strength 1 A"),
        ("A --strength 0 1 S", "A --strength 0 --strength 1 S"),
        ("A --strength=0 1", "A --strength=0 1"),
        ("--steps 20 30", "--steps 20 30"),
        ("--strength 1 -- 2 3", "--strength 1 -- 2 3"),
        ("--strength -1 1e-1", "--strength -1 --strength 1e-1"),
    ],
)
def test_values_after_one_flag(given, expected):
    assert spread(given.split(), frozenset({"--strength"})) == expected.split()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"phenolens {command} " in shown.stdout.split("Example:")[1]


def test_help_comes_at_once_and_imports_nothing_heavy():
    code = (
        "import sys, runpy; sys.argv = ['phenolens', '--help']\n"
        "try: runpy.run_module('phenolens', run_name='__main__')\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'napari', 'qtpy', 'skimage', 'diffusers'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "finetune" in ended.stdout
    assert ended.stdout.splitlines()[-2:] == ["0", "[]"]


def test_wrong_usage_is_status_2():
    assert CliRunner().invoke(app, ["simulate", "--nonsense"]).exit_code == 2
    assert CliRunner().invoke(app, ["finetune"]).exit_code == 2


def test_version():
    shown = CliRunner().invoke(app, ["--version"])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("phenolens 0.")


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_interrupting_a_process(tmp_path):
    # default handling, whatever this run was started with
    process = subprocess.Popen(
        [sys.executable, "-m", "phenolens", "simulate", "--treatment", "null", "--wells", "300", "--out", "screen"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        begun = time.monotonic()
        while not _images(tmp_path) and time.monotonic() - begun < 120:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "phenolens: interrupted: nothing was written"
    assert list(tmp_path.iterdir()) == []


def _images(folder: Path) -> list[Path]:
    return list(folder.glob(".partial-*/images/*"))
