"""Signals end a command within a second, with status 130, and what must not be left half done is finished first."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from phenolens.cli.console import Console, Interrupted
from phenolens.runtime.interrupts import stopping, unbroken
from phenolens.runtime.progress import Progress

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows sends no signal to one process")
# What is interrupted would last for a minute; the rest is room for a machine that is busy with other things.
SOON = 10.0
PROGRAM = """
import sys, time
from pathlib import Path
import typer
from phenolens.cli.console import reporting
from phenolens.runtime.files import writing
from phenolens.runtime.interrupts import as_command, saved_on_closing, unbroken
from phenolens.runtime.progress import Progress

begun = Path(sys.argv[1])
app = typer.Typer()

@app.command()
def main():
"""


STARTED: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def nothing_runs_on():
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def starts(tmp_path: Path, body: str, before: object = signal.SIG_DFL, **options) -> subprocess.Popen:
    """Start a program that says by a file that it has come to the place where it is to be interrupted."""

    def as_asked() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, before if number == signal.SIGINT else signal.SIG_DFL)

    code = PROGRAM + textwrap.indent(textwrap.dedent(body), "    ") + "\nwith as_command():\n    app(args=[])\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "begun"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=as_asked, **options,
    )  # fmt: skip
    STARTED.append(process)
    until = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def ends(process: subprocess.Popen, status: int = 130) -> str:
    """Wait for the end; the last line on stderr."""
    try:
        _, error = process.communicate(timeout=SOON)
    finally:
        process.kill()
    assert process.returncode == status, error
    return error.splitlines()[-1]


BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])

IMPORTING = """
    begun.touch()
    time.sleep(60)
"""
PREPARING = """
    with reporting("test", False):
        begun.touch()
        time.sleep(60)
"""
IMPORT_FAILS = """
    with reporting("test", False):
        try:
            begun.touch()
            time.sleep(60)
        except KeyboardInterrupt:
            raise ImportError("as C extensions make of it")
"""
LONG_STEP = """
    def job():
        try:
            yield Progress(1, 2)
            begun.touch()
            time.sleep(60)
            yield Progress(2, 2)
        finally:
            print("kept", flush=True)

    with reporting("test", False) as console:
        console.follow(job(), lambda: "step 1 is kept")
"""
FINISHING = """
    def job():
        yield Progress(1, 2)
        with unbroken():
            begun.touch()
            for _ in range(20):
                time.sleep(0.1)
            print("whole", flush=True)
        time.sleep(60)
        yield Progress(2, 2)

    with reporting("test", False) as console:
        console.follow(job(), lambda: "all is kept")
"""
# one call into C, which lets other threads run and hears no signal
IN_C = """
    import hashlib

    def job():
        with writing(begun.with_name("result.txt")) as partial:
            partial.write_text("half")
            begun.touch()
            hashlib.pbkdf2_hmac("sha256", b"a", b"b", 1_000_000_000)
        yield Progress(1, 1)

    with reporting("test", AS_JSON) as console:
        console.follow(job())
"""
SAVED = """
    import hashlib

    def job():
        with saved_on_closing(lambda: print("saved", flush=True)):
            begun.touch()
            hashlib.pbkdf2_hmac("sha256", b"a", b"b", ROUNDS)
            yield Progress(1, 1)

    with reporting("test", False) as console:
        console.follow(job())
"""
SWALLOWED = """
    with reporting("test", False):
        begun.touch()
        while True:
            try:
                time.sleep(60)
            except BaseException:  # as in a callback or a destructor
                pass
"""
ENDED = """
    import atexit

    atexit.register(lambda: (begun.touch(), time.sleep(2)))
    with reporting("test", False) as console:
        console.done("the result")
"""


@BOTH
def test_while_it_is_imported_and_prepared(tmp_path, number):
    for name, body in (("a", IMPORTING), ("b", PREPARING), ("c", IMPORT_FAILS)):
        (tmp_path / name).mkdir()
        process = starts(tmp_path / name, body)
        process.send_signal(number)
        assert ends(process) == "phenolens: interrupted: nothing was written"


@BOTH
def test_in_the_middle_of_a_long_step(tmp_path, number):
    process = starts(tmp_path, LONG_STEP)
    process.send_signal(number)
    out, error = process.communicate(timeout=SOON)
    assert process.returncode == 130
    assert out == "kept\n"
    assert error.splitlines()[-1] == "phenolens: interrupted: step 1 is kept"


def test_what_must_be_whole_is_finished_first(tmp_path):
    process = starts(tmp_path, FINISHING)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SOON)
    assert process.returncode == 130
    assert out == "whole\n"


@BOTH
def test_a_call_into_c_is_ended_and_leaves_nothing_half_written(tmp_path, number):
    process = starts(tmp_path, IN_C.replace("AS_JSON", "True"))
    process.send_signal(number)
    out, error = process.communicate(timeout=SOON)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "phenolens: interrupted: nothing was written"
    assert json.loads(out) == {"command": "test", "error": "interrupted: nothing was written", "status": 130}
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


def test_a_keyboard_interrupt_that_is_swallowed_ends_the_command_all_the_same(tmp_path):
    process = starts(tmp_path, SWALLOWED)
    process.send_signal(signal.SIGTERM)
    assert ends(process) == "phenolens: interrupted: nothing was written"


def test_what_is_saved_on_closing_is_waited_for(tmp_path):
    process = starts(tmp_path, SAVED.replace("ROUNDS", "4_000_000"))
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=SOON)
    assert process.returncode == 130
    assert out == "saved\n", error


def test_a_second_signal_waits_for_nothing(tmp_path):
    process = starts(tmp_path, SAVED.replace("ROUNDS", "1_000_000_000"))
    process.send_signal(signal.SIGTERM)
    time.sleep(2)
    assert process.poll() is None, "it would save what it has learnt"
    process.send_signal(signal.SIGTERM)
    assert ends(process) == "phenolens: interrupted: nothing was written"


def test_a_command_that_has_ended_keeps_its_status(tmp_path):
    process = starts(tmp_path, ENDED)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SOON)
    assert process.returncode == 0
    assert out == "the result\n"


def test_in_the_background_of_a_shell_sigterm_alone_is_heard(tmp_path):
    process = starts(tmp_path, LONG_STEP, before=signal.SIG_IGN)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None, "what a shell starts with & ignores SIGINT, as the shell asks"
    process.send_signal(signal.SIGTERM)
    assert ends(process) == "phenolens: interrupted: step 1 is kept"


def test_a_quick_step_is_finished(capfd):
    steps = []

    def job():
        for step in (1, 2, 3):
            if step == 2:
                signal.raise_signal(signal.SIGTERM)
            steps.append(step)
            yield Progress(step, 3)

    with pytest.raises(Interrupted):
        Console("test", as_json=False).follow(job())
    assert steps == [1, 2]
    assert "what is finished is kept" in capfd.readouterr().err


def test_handlers_are_put_back_and_nothing_is_left_pending():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), stopping():
        with unbroken(), unbroken():
            signal.raise_signal(signal.SIGTERM)
            finished = True
        raise AssertionError("it breaks in at the end of the outer block")
    assert finished
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with unbroken():
        pass
