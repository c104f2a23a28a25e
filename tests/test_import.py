"""Importing the package is quick, and brings in nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "peft", "pandas", "skimage", "rdkit", "napari", "qtpy")
SCRIPT = f"""
import sys, time
start = time.process_time()
import phenolens
taken = time.process_time() - start
print(taken, [name for name in {HEAVY} if name in sys.modules])
"""


def fresh(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_import_is_quick_and_light() -> None:
    seconds = []
    for _ in range(5):
        taken, heavy = fresh(SCRIPT).split(" ", 1)
        assert heavy == "[]"
        seconds.append(float(taken))
    assert min(seconds) < 0.3


@pytest.mark.parametrize("module", ["phenolens.runtime.queue", "phenolens.runtime.devices", "phenolens.runtime.models"])
def test_the_runtime_is_light(module: str) -> None:
    assert fresh(f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_the_surface_is_there_before_anything_heavy_is() -> None:
    script = f"""
import sys
import phenolens as ph
ph.finetune, ph.evaluate, ph.jobs.embed, ph.errors.PhenolensError, ph.Condition, ph.read_screen, dir(ph)
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert fresh(script) == "[]"
