"""What goes wrong on many machines: nothing is lost, and nothing is silently wrong."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from phenolens.runtime.engines.parts import JOBS
from phenolens.runtime.errors import FieldsFailed
from phenolens.runtime.locks import LOCK, SILENCE, Held, holding
from phenolens.screens.table import read_screen
from phenolens.translation.apply.screen_translation import translate_screen
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.model.adapter import Adapter
from tiny_plates import assert_same_files, finished_fields, wait_until
from translated_plates import OPTIONS, translate

HOUR = 3600


def started(plate_adapter, plate, out, *more):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "phenolens", "translate", plate_adapter, plate, "--out", out, *OPTIONS, *more]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Scheduler:
    """A scheduler and one worker, each a process of its own, as on a cluster."""

    def __init__(self, port):
        self.address = f"tcp://127.0.0.1:{port}"
        dask = [sys.executable, "-m", "dask"]
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.scheduler = subprocess.Popen(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"], **quiet
        )
        self.worker = subprocess.Popen(
            [*dask, "worker", self.address, "--nthreads", "1", "--no-dashboard", "--death-timeout", "60", "--no-nanny"],
            **quiet,
        )

    def end(self):
        for one in (self.scheduler, self.worker):
            one.kill()
            one.wait()


@pytest.mark.slow
def test_a_scheduler_that_is_lost_and_started_again(plate_adapter, plate, expected, tmp_path):
    out, port = tmp_path / "out", free_port()
    first = Scheduler(port)
    try:
        running = started(plate_adapter, plate, out, "--scheduler", first.address)
        wait_until(lambda: finished_fields(out) or running.poll() is not None, 240)
        first.scheduler.kill()
        said = running.communicate(timeout=240)[1]
    finally:
        first.end()
    assert running.returncode == 2, said
    assert "is lost: start it again" in said
    assert finished_fields(out)
    second = Scheduler(port)
    try:
        running = started(plate_adapter, plate, out, "--scheduler", second.address)
        facts = json.loads(running.communicate(timeout=240)[0])
    finally:
        second.end()
    assert (running.returncode, facts["failed"]) == (0, {})
    assert facts["kept"] > 0
    assert_same_files(out, expected)


@pytest.mark.parametrize("file_format", ["tiff", pytest.param("zarr", marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_keeps_what_was_finished(
    plate_adapter, plate, expected, tmp_path, monkeypatch, file_format
):
    from phenolens.runtime import files

    out, usual = tmp_path / "out", files.flush
    more = ("--format", file_format)

    def full(path):
        if "A02_s2" in str(path) or ".zarr/A/2/" in path.as_posix():
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        usual(path)

    monkeypatch.setattr(files, "flush", full)
    ran = translate(plate_adapter, plate, out, *more)
    assert ran.status == 2
    assert "no space is left on the disk" in ran.error
    left = [path.name for path in out.rglob("*") if path.name.startswith(".partial-")]
    assert not left, "what was half written is gone"
    monkeypatch.undo()
    again = translate(plate_adapter, plate, out, *more)
    assert again.status == 0
    assert again.facts["kept"] >= 2
    if file_format == "tiff":
        assert_same_files(out, expected)


def test_an_image_that_vanishes_between_plan_and_work(plate_adapter, plate, expected, tmp_path):
    copied, out = shutil.copytree(plate, tmp_path / "plate.zarr"), tmp_path / "out"
    settings = TranslationSettings(strengths=(0.0, 1.0), steps=2)
    job = translate_screen(Adapter.load(plate_adapter), read_screen(copied), out, settings, cells="whole", device="cpu")
    with pytest.raises(FieldsFailed, match="P1_A03_s2"):
        for now in job:
            if now.message.startswith("Finished P1_A01_s1"):
                shutil.rmtree(copied / "A" / "3" / "2")
    assert len(list(out.glob("*__difference.ome.tif"))) == 5
    assert json.loads((out / "provenance.json").read_text())["failed"].keys() == {"P1_A03_s2"}
    shutil.copytree(plate / "A" / "3" / "2", copied / "A" / "3" / "2")
    assert translate(plate_adapter, copied, out, "--retry-failed").facts["kept"] == 5
    assert_same_files(out, expected)


@pytest.mark.parametrize("wrong", [HOUR, -HOUR])
def test_the_clock_of_another_computer_does_not_matter(plate_adapter, plate, expected, tmp_path, monkeypatch, wrong):
    """Neither does ours: what counts is the clock of the file system, and what was made from what, never when."""
    out, usual = shutil.copytree(expected, tmp_path / "out"), time.time
    with holding(out):
        facts = json.loads((out / LOCK).read_text())
    elsewhere = facts | {"host": "another1", "name": "node17", "since": time.ctime(usual() + wrong)}
    monkeypatch.setattr(time, "time", lambda: usual() + wrong)
    (out / LOCK).write_text(json.dumps(elsewhere))
    with pytest.raises(Held, match="node17"), holding(out):
        pass
    silent = (out / LOCK).stat().st_mtime - SILENCE - 60
    os.utime(out / LOCK, (silent, silent))
    ran = translate(plate_adapter, plate, out)
    assert (ran.status, ran.facts["kept"]) == (0, 6), "a lock without a sign of life is free; nothing is made again"
    assert_same_files(out, expected)


@pytest.mark.slow
def test_a_job_array_that_is_submitted_again_while_it_runs(plate_adapter, plate, expected, tmp_path):
    out = tmp_path / "out"
    running = started(plate_adapter, plate, out, "--job", "1/2")
    try:
        wait_until(lambda: list(out.glob("*.ome.tif")) or running.poll() is not None, 240)
        assert (out / JOBS / "job-1-of-2.lock").is_file()
        psutil.Process(running.pid).suspend()  # so that it is at work for as long as we look
        for part in ("1/2", "1/3"):
            refused = translate(plate_adapter, plate, out, "--job", part)
            assert refused.status == 2
            assert "another run" in refused.error
        assert translate(plate_adapter, plate, out, "--job", "2/2").status == 0, "the other job goes on beside it"
        psutil.Process(running.pid).resume()
        assert running.wait(240) == 0
    finally:
        running.kill()
        running.communicate()
    assert translate(plate_adapter, plate, out, "--gather").status == 0
    assert_same_files(out, expected)
