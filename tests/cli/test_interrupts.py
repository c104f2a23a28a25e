"""A signal ends each command within a second, at any moment, with status 130 and nothing half written."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from long_commands import long_commands, make_inputs
from phenolens.runtime.files import sweep

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows sends no signal to one process")
SOON = 1.0
# where other tests run beside this one
_SOON_BESIDE = 2.0 if os.environ.get("PYTEST_XDIST_WORKER") else SOON
_TRIES = 3  # a machine that is busy otherwise may hold up one of them
_LAST = 15.0  # s after its start, the last moment at which a command is interrupted
NAMES = list(long_commands(Path(), Path(), Path("out")))
DEFAULT = ("translate in processes", "export")


@pytest.fixture(scope="module")
def given(tiny_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder, tiny_base)
    return folder


def start(arguments: list[str | Path], log: Path, ignored: bool) -> subprocess.Popen:
    """Start a command; where SIGINT is `ignored`, as a shell starts what it puts into the background."""

    def as_asked() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    with log.open("w") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "phenolens", *map(str, arguments)],
            stdout=stream, stderr=stream, preexec_fn=as_asked,
        )  # fmt: skip


def interrupted(arguments: list[str | Path], folder: Path, moment: float, number: int) -> float | None:
    """Interrupt a command `moment` seconds after its start; the seconds until it ended, None where it had before."""
    folder.mkdir()
    log = folder / "log.txt"
    process = start(arguments, log, ignored=number == signal.SIGTERM)
    try:
        process.wait(moment)
        assert process.returncode == 0, log.read_text()
        return None
    except subprocess.TimeoutExpired:
        pass
    family = psutil.Process(process.pid).children(recursive=True)
    begun = time.monotonic()
    process.send_signal(number)
    try:
        process.wait(60)
    finally:
        took = time.monotonic() - begun
        process.kill()
    said = log.read_text()
    if process.returncode == 0:
        return None
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("phenolens: interrupted"), said
    _, alive = psutil.wait_procs(family, timeout=3)
    assert not alive, "its processes end with it"
    for inside in [folder, *(path for path in folder.rglob("*") if path.is_dir() and ".partial-" not in str(path))]:
        sweep(inside)  # as the next run does, where there was no time for it
    assert not list(folder.rglob(".partial-*")), "what was half written is gone"
    return took


def check(name: str, given: Path, base: Path, tmp_path: Path, moment: float, number: int, record) -> None:
    took = []
    for trial in range(2 * _TRIES):
        folder = tmp_path / f"{trial}"
        seconds = interrupted(long_commands(given, base, folder / "out")[name], folder, moment, number)
        if seconds is None:
            moment /= 2
            continue
        took.append(round(seconds, 2))
        if seconds <= _SOON_BESIDE:
            record("figure", f"{name}: {seconds:.2f} s after {signal.Signals(number).name} at {moment:.1f} s")
            return
        if len(took) == _TRIES:
            break
    raise AssertionError(f"{name} took {took} s to end")


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFAULT)
def test_a_command_ends_within_a_second(name, given, tiny_base, tmp_path, record_property):
    check(name, given, tiny_base, tmp_path, 8.0, signal.SIGTERM, record_property)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("shot", range(int(os.environ.get("PHENOLENS_SHOTS", "1"))))
@pytest.mark.parametrize("name", NAMES)
def test_each_command_ends_within_a_second_at_any_moment(name, shot, given, tiny_base, tmp_path, record_property):
    moment = _LAST / 3 * (shot % 3 + random.Random(f"{name} {shot}").random())
    number = random.Random(f"{shot} {name}").choice((signal.SIGTERM, signal.SIGINT))
    check(name, given, tiny_base, tmp_path, max(0.2, moment), number, record_property)
