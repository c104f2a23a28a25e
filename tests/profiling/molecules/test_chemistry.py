"""Chemistry that crashes or hangs ends its own process, is one sentence about one row, and ends with its parent."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from phenolens.profiling.molecules import chemistry
from phenolens.profiling.molecules.drawing import structure_svg
from phenolens.profiling.molecules.molecules import molecule_key, read_molecules, standardise
from phenolens.runtime.errors import PhenolensError, ScreenError
from phenolens.runtime.guarded_process import GuardedProcess

INSIDE = """
import json, sys, time
from phenolens.profiling.molecules.standard_forms import standardised
standardised("C")
start = time.process_time()
for text in json.loads(sys.argv[1]):
    standardised(text)
print(time.process_time() - start)
"""
HARD = "N" + "[C@@H](Cc1ccc(O)cc1)C(=O)N" * 28 + "CC(=O)O"


@pytest.fixture
def fresh(monkeypatch):
    """Settings that hold for the process: it starts anew before and after."""
    chemistry.process.close()
    chemistry.answer.cache_clear()
    yield monkeypatch
    chemistry.process.close()
    chemistry.answer.cache_clear()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("C" * 20_000, "has 20,000 characters, more than the 4,000"),
        (".".join(["CC"] * 1000), "is of 1,000 molecules and ions, more than the 30"),
        ("C" * 500, "has 500 atoms, more than the 400"),
    ],
)
def test_structures_beyond_the_limits_are_named_by_row(text, said):
    start = time.monotonic()
    with pytest.raises(ScreenError, match=rf"Row 2 of column Metadata_SMILES: The structure '.*' {said}"):
        read_molecules(["CCO", text])
    with pytest.raises(ScreenError, match=said):
        structure_svg(text, (100, 100), "#000000")
    assert time.monotonic() - start < 30


def test_a_structure_that_takes_too_long_is_one_bad_row(fresh):
    fresh.setenv("PHENOLENS_MAX_STRUCTURE_SECONDS", "1")
    with pytest.raises(ScreenError, match=r"Row 2 of column Metadata_SMILES: .* takes more than 1 seconds"):
        read_molecules(["CCO", HARD, "CCN"])
    assert standardise("CCO") == "CCO"  # the process was started anew


def test_a_crash_is_one_bad_row(fresh):
    class Dying(GuardedProcess):
        def _exchange(self, child, text, seconds):
            if text == "CCCCl":
                os.kill(child.pid, signal.SIGSEGV)
            return super()._exchange(child, text, seconds)

    fresh.setattr(chemistry, "process", Dying(chemistry.process.function))
    with pytest.raises(ScreenError, match=r"Row 2 of column Metadata_SMILES: .*crashes the chemistry library"):
        read_molecules(["CCO", "CCCCl", "CCN"])
    assert molecule_key("CCN") == "QUSNBJAOOMFDIB-UHFFFAOYSA-N"
    chemistry.process.close()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited where /proc is")
def test_memory_is_bounded(fresh):
    fresh.setenv("PHENOLENS_MAX_STRUCTURE_MB", "1")
    fresh.setenv("PHENOLENS_MAX_STRUCTURE_SECONDS", "60")
    with pytest.raises(PhenolensError):
        standardise(HARD)


def test_the_process_is_kept_and_ends_with_its_parent(fresh):
    code = (
        "import sys, time\n"
        "from phenolens.profiling.molecules import chemistry\n"
        "from phenolens.profiling.molecules.molecules import standardise\n"
        "standardise('CCO'); first = chemistry.process._child.pid\n"
        "standardise('CCN'); assert chemistry.process._child.pid == first\n"
        "print(first, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.1)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_many_usual_structures_are_not_held_up(fresh):
    texts = [f"{'C' * (1 + number % 40)}N{'C' * (1 + number // 40)}O" for number in range(200)]
    standardise("C")  # starts the process
    ran = subprocess.run([sys.executable, "-c", INSIDE, json.dumps(texts)], capture_output=True, text=True, check=True)
    start = time.process_time()
    read_molecules(texts)
    own = time.process_time() - start
    assert own < 0.2 * float(ran.stdout) + 0.2  # what asking and answering costs beside the chemistry
