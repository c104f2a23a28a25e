"""Runs a benchmark and takes what it prints."""

import json
import subprocess
import sys

from project import ROOT


def output(name: str, *arguments: object) -> str:
    """What a benchmark prints."""
    command = [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run(name: str, *arguments: object) -> list[dict]:
    """The JSON lines that a benchmark prints."""
    return [json.loads(line) for line in output(name, *arguments).splitlines() if line.startswith("{")]
