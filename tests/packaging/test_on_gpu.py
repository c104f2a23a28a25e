"""What is ready for a GPU runs on a CPU with small sizes: every part, within its time, and packed to travel."""

import os
import subprocess
import sys

import pytest

from project import ROOT


@pytest.mark.slow
def test_the_rehearsal_passes_and_packs_what_it_made(tmp_path):
    out = tmp_path / "out"
    small = {
        "DEVICE": "cpu",
        "SMALL": "1",
        "ALL_SECONDS": "240",
        "PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
    }
    ran = subprocess.run(
        [ROOT / "scripts" / "on_gpu.sh", out], env={**os.environ, **small}, capture_output=True, text=True
    )
    shown = ran.stdout + ran.stderr
    assert ran.returncode == 0, shown
    summary = (out / "summary.txt").read_text()
    for name in ("machine", "lines", "sd_base", "click", "pretraining"):
        assert f"pass  {name}" in summary, shown
    lines = (out / "lines.txt").read_text()
    assert lines.count("pass  ") == 8
    assert lines.count("skip  ") == 2
    assert "FAIL" not in lines
    parts = sorted((out / "parts").glob("results.tar.*"))
    assert parts
    assert all(part.stat().st_size < 16 * 2**20 for part in parts)

    # joined again, they hold the results and a checkpoint to go on from
    joined = tmp_path / "joined"
    joined.mkdir()
    command = (out / "parts" / "README").read_text()
    subprocess.run(["bash", "-c", f"cd {out}/parts && {command.strip()} -C {joined}"], check=True, capture_output=True)
    assert (joined / "lines.txt").read_text() == lines
    assert any((joined / "pretraining" / "checkpoint").iterdir())


def test_a_part_that_fails_is_named_and_the_rest_goes_on(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *sd_base*) echo broken; exit 3;; *) echo fine;; esac\n')
    python.chmod(0o755)
    ran = subprocess.run(
        [ROOT / "scripts" / "on_gpu.sh", tmp_path / "out"],
        env={**os.environ, "PYTHON": str(python), "ALL_SECONDS": "60"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 1
    summary = (tmp_path / "out" / "summary.txt").read_text()
    assert "FAIL  sd_base  (status 3" in summary
    assert "broken" in ran.stdout
    assert "pass  click" in summary
    assert "pass  pretraining" in summary


def test_what_there_is_no_time_for_is_skipped(tmp_path):
    ran = subprocess.run(
        [ROOT / "scripts" / "on_gpu.sh", tmp_path / "out"],
        env={**os.environ, "PYTHON": "true", "ALL_SECONDS": "31"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0
    assert "skip  lines  (no time left)" in (tmp_path / "out" / "summary.txt").read_text()
    assert (tmp_path / "out" / "parts" / "SHA256SUMS").is_file()
