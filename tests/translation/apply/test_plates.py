"""A plate is translated the same wherever that is done, and one bad field holds nobody up."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from phenolens.runtime.engines.parts import JOBS, Part, writing_to
from phenolens.runtime.errors import OutputError
from phenolens.runtime.progress import finish
from phenolens.screens.images import FieldImage
from phenolens.screens.ome_zarr.images import read_ome_zarr
from phenolens.screens.ome_zarr.writing import write_ome_zarr
from phenolens.screens.table import read_screen
from phenolens.translation.apply.screen_translation import translate_screen
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.model.adapter import Adapter
from project import ROOT
from tiny_plates import a_cluster, a_plate, assert_same_files, finished_fields, wait_until
from translated_plates import OPTIONS, translate

STATUS_SOME_FAILED = 3
EXAMPLES = ROOT / "docs" / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("wells", [3, pytest.param(96, marks=pytest.mark.slow)])
def test_a_cluster_gives_the_same_bytes(plate_adapter, plate, expected, tmp_path, wells):
    if wells > 3:
        plate, expected = a_plate(tmp_path / "large.zarr", wells, sites=4), tmp_path / "here"
        assert translate(plate_adapter, plate, expected).status == 0
    with a_cluster() as cluster:
        ran = translate(plate_adapter, plate, tmp_path / "out", "--scheduler", cluster.scheduler_address)
    assert ran.status == 0
    assert_same_files(tmp_path / "out", expected)


@pytest.mark.slow
def test_a_cluster_survives_the_end_of_a_worker(plate_adapter, plate, expected, tmp_path):
    out = tmp_path / "out"
    with a_cluster() as cluster:
        command = [sys.executable, "-m", "phenolens", "translate", plate_adapter, plate, "--out", out, *OPTIONS]
        started = subprocess.Popen([*map(str, command), "--scheduler", cluster.scheduler_address])
        wait_until(lambda: finished_fields(out))
        worker = psutil.Process(next(iter(cluster.workers.values())).pid)
        worker.send_signal(signal.SIGKILL)
        assert started.wait(120) == 0
    assert_same_files(out, expected)


def test_the_jobs_of_an_array_give_the_same_bytes(plate_adapter, plate, expected, tmp_path):
    out = tmp_path / "out"
    first = translate(plate_adapter, plate, out, "--job", "1/2")
    assert (first.status, len(first.facts["fields"])) == (0, 3)
    early = translate(plate_adapter, plate, out, "--gather")
    assert early.status == 2
    assert "3 of 6 fields are not translated yet" in early.error
    assert translate(plate_adapter, plate, out, "--job", "2/2").status == 0
    gathered = translate(plate_adapter, plate, out, "--gather")
    assert (gathered.status, gathered.facts["kept"]) == (0, 6)
    assert_same_files(out, expected)
    assert translate(plate_adapter, plate, out, "--job", "1/2").status == 0, (
        "a job that is started again has nothing to do"
    )


@pytest.mark.slow
def test_processes_that_share_the_fields_give_the_same_bytes(plate_adapter, plate, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # a thread each
    assert translate(plate_adapter, plate, tmp_path / "out", "--workers", "2").status == 0
    assert_same_files(tmp_path / "out", expected)


def assert_refused(folder, part, plan):
    refused = pytest.raises(OutputError, match=r"written by another run|planned otherwise")
    with refused, writing_to(folder, part, plan, lambda: pytest.fail("it began")):
        pass


def test_a_job_that_runs_is_not_started_again_and_nothing_runs_beside_it(tmp_path):
    begun = []
    with writing_to(tmp_path, Part(1, 2), "plan", lambda: begun.append("first")):
        with writing_to(tmp_path, Part(2, 2), "plan", lambda: begun.append("second")):
            pass
        for part, plan in ((Part(1, 2), "plan"), (Part(2, 3), "another plan"), (None, "plan")):
            assert_refused(tmp_path, part, plan)
    with writing_to(tmp_path, None, "plan", lambda: begun.append("whole")):
        assert_refused(tmp_path, Part(1, 2), "plan")
    assert begun == ["first", "second", "whole"]
    assert not list((tmp_path / JOBS).glob("*.lock"))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_job_that_is_none_is_refused(text):
    with pytest.raises(OutputError, match="I/N"):
        Part.parse(text)


def test_every_field_is_of_one_job():
    keys = [str(number) for number in range(23)]
    parts = [Part(number, 5).of(keys) for number in range(1, 6)]
    assert sorted([key for part in parts for key in part], key=int) == keys
    assert {len(part) for part in parts} == {4, 5}


def test_fields_that_are_too_large_to_be_held_side_by_side_give_the_same_bytes(
    plate_adapter, plate, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr("phenolens.screens.images.LAZY_BYTES", 0)
    at_once, most, usual = [0], [0], FieldImage.plane

    def counted(image, *position, **named):
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.02)
        found = usual(image, *position, **named)
        at_once[0] -= 1
        return found

    monkeypatch.setattr(FieldImage, "plane", counted)
    assert translate(plate_adapter, plate, tmp_path / "out").status == 0
    assert_same_files(tmp_path / "out", expected)
    assert most == [1]


def test_a_program_that_finds_cells_is_called_where_jobs_compute(plate_adapter, plate, tmp_path):
    """It may use the device, which no other thread shares."""
    threads = []

    class Square:
        name = title = "square"

        def unavailable(self):
            return ""

        def segment(self, planes, channel, **how):
            threads.append(threading.current_thread())
            labels = np.zeros(planes.shape[1:], np.int32)
            labels[20:40, 20:40] = 1
            return labels

    settings = TranslationSettings(strengths=(1.0,), steps=1)
    adapter, screen, out = Adapter.load(plate_adapter), read_screen(plate), tmp_path / "out"
    finish(translate_screen(adapter, screen, out, settings, cells=Square(), device="cpu"))
    assert len(threads) >= 6
    assert set(threads) == {threading.main_thread()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
@pytest.mark.parametrize("files", [1, 4, 8])
def test_a_run_that_is_killed_goes_on_with_what_is_not_finished(plate_adapter, plate, expected, tmp_path, files):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "phenolens", "translate", plate_adapter, plate, "--out", out, *OPTIONS]
    started = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    wait_until(lambda: len(list(out.glob("*.ome.tif"))) >= files)
    started.kill()
    started.wait()
    finished = len(finished_fields(out))
    again = translate(plate_adapter, plate, out)
    assert (again.status, again.facts["kept"]) == (0, finished)
    assert_same_files(out, expected)
    assert not list(out.rglob(".partial-*"))


def spoil(plate):
    """Spoil the first three fields of a copied plate, each in another way. What is said of each."""
    not_a_number, truncated, channels = fields = read_screen(plate).fields[:3]
    files = [path for path in Path(truncated.address).rglob("*") if path.is_file() and "c" in path.parts]
    chunk = max(files, key=lambda path: path.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:40])

    image = read_ome_zarr(not_a_number.address)
    pixels = np.array(image.data, np.float32)
    pixels[..., 5, 5] = np.nan
    shutil.rmtree(not_a_number.address)
    write_ome_zarr(Path(not_a_number.address), FieldImage(pixels, image.axes, image.channel_names, image.pixel_size))

    image = read_ome_zarr(channels.address)
    pixels, names = np.concatenate([np.asarray(image.data)] * 2, axis=-3), ("DNA", "Actin", "ER", "Mito")
    shutil.rmtree(channels.address)
    write_ome_zarr(Path(channels.address), FieldImage(pixels, image.axes, names, image.pixel_size))
    return dict(zip((field.key for field in fields), ("NaN|number", "damaged|broken|read", "4"), strict=True))


def test_bad_fields_are_named_and_the_rest_finishes(plate_adapter, plate, expected, tmp_path):
    copied, out = shutil.copytree(plate, tmp_path / "plate.zarr"), tmp_path / "out"
    bad = spoil(copied)
    ran = translate(plate_adapter, copied, out)
    assert ran.status == STATUS_SOME_FAILED
    assert list(ran.facts["failed"]) == list(bad)
    for key, said in bad.items():
        assert re.search(said, ran.facts["failed"][key].replace(key, ""))
    assert len(ran.facts["fields"]) == 3
    assert json.loads((out / "provenance.json").read_text())["failed"].keys() == bad.keys()
    again = translate(plate_adapter, copied, out)
    assert (again.status, again.facts["kept"]) == (STATUS_SOME_FAILED, 3), "they are left out until --retry-failed"
    shutil.rmtree(copied)
    shutil.copytree(plate, copied)
    mended = translate(plate_adapter, copied, out, "--retry-failed")
    assert (mended.status, mended.facts["kept"], mended.facts["failed"]) == (0, 3, {})
    assert_same_files(out, expected)


def test_some_wells_come_first_and_the_rest_goes_on(plate_adapter, plate, expected, tmp_path):
    tried = translate(plate_adapter, plate, tmp_path / "out", "--subset", "2")
    assert len(tried.facts["fields"]) == 4
    ran = translate(plate_adapter, plate, tmp_path / "out")
    assert (ran.status, ran.facts["kept"]) == (0, 4)
    assert_same_files(tmp_path / "out", expected)


def test_a_scheduler_that_does_not_answer_is_said(plate_adapter, plate, tmp_path, monkeypatch):
    monkeypatch.setattr("phenolens.runtime.engines.cluster._CONNECT", 1)
    ran = translate(plate_adapter, plate, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9")
    assert ran.status == 2
    assert "No scheduler answers at tcp://127.0.0.1:9" in ran.error


SBATCH = """\
import os, pathlib, re, subprocess, sys
after = pathlib.Path(os.environ["AFTER"])
arguments = sys.argv[1:]
if "--wrap" in arguments:  # waits for the array
    after.write_text(arguments[arguments.index("--wrap") + 1])
    sys.exit(0)
first, last = map(int, re.fullmatch(r"--array=(\\d+)-(\\d+)", arguments.pop(0)).groups())
for number in range(first, last + 1):
    known = {"ID": number, "MIN": first, "COUNT": last - first + 1}
    array = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in known.items()}
    subprocess.run(["bash", *arguments], check=True, env=os.environ | array | {"SLURM_ARRAY_JOB_ID": "7"})
subprocess.run(["bash", "-c", after.read_text()], check=True)
"""


def command_of(folder, name, code):
    """A command `name` that runs with this Python."""
    program = folder / f"{name}_stand_in.py"  # no module's name
    program.write_text(code)
    (folder / name).write_text(f'#!/bin/bash\nexec "{sys.executable}" "{program}" "$@"\n')
    (folder / name).chmod(0o755)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SLURM is for Linux")
def test_the_script_for_slurm_translates_a_plate(plate_adapter, plate, expected, tmp_path):
    """By a stand-in for sbatch that runs the jobs one after the other, and then what depends on them."""
    commands, out = tmp_path / "commands", tmp_path / "my output"
    commands.mkdir()
    command_of(commands, "sbatch", SBATCH)
    command_of(commands, "phenolens", "from phenolens.cli.app import app\n\napp()\n")
    known = os.environ | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "AFTER": str(tmp_path / "after")}
    script = EXAMPLES / "plate.sh"
    subprocess.run(
        ["sbatch", "--array=1-2", script, plate_adapter, plate, out, *OPTIONS],
        check=True, timeout=300, env=known | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert_same_files(out, expected)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="its rules are for a shell of Linux")
def test_the_rules_for_snakemake_translate_a_plate(plate_adapter, plate, expected, tmp_path):
    """A job that has failed is made again by the next start."""
    pytest.importorskip("snakemake")
    commands, out, broken = (tmp_path / name for name in ("commands", "my output", "broken"))
    commands.mkdir()
    code = (
        f"import os, sys\nif os.path.exists({str(broken)!r}) and '2/2' in sys.argv:\n    sys.exit(3)\n"
        "from phenolens.cli.app import app\napp()\n"
    )
    command_of(commands, "phenolens", code)
    known = os.environ | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    config = {"adapter": plate_adapter, "plate": plate, "out": out, "jobs": 2, "options": " ".join(OPTIONS)}
    start = [
        sys.executable, "-m", "snakemake", "--snakefile", EXAMPLES / "Snakefile", "--cores", "1",
        "--directory", tmp_path, "--config", *(f"{name}={value}" for name, value in config.items()),
    ]  # fmt: skip
    broken.touch()
    assert subprocess.run(start, env=known, timeout=300, capture_output=True).returncode == 1
    assert not (out / "cells.parquet").exists()
    broken.unlink()
    again = subprocess.run([*start, "--rerun-incomplete"], env=known, timeout=300, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-3000:]
    assert_same_files(out, expected)
