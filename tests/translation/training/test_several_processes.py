"""Fine-tuning by several processes gives the curve of one, goes on with another number, and waits for no dead one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phenolens.screens.export import write_ome_tiff
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.training.process_group import ProcessGroup
from project import ROOT

CHILD = ROOT / "tests" / "support" / "curve_child.py"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo and signals are those of Linux")


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rows = tmp_path_factory.mktemp("screen"), []
    rng = np.random.default_rng(0)
    for level, compound in enumerate(("DMSO", "drug A")):
        for number in range(3):
            name = f"{'AB'[level]}0{number + 1}.ome.tif"
            pixels = rng.integers(60 * level, 60 * level + 60, (2, 64, 64)).astype(np.uint16)
            write_ome_tiff(folder / name, pixels, "CYX", ("DNA", "Actin"), 0.5, synthetic=False)
            rows.append({"Image": name, "Metadata_Well": name[:3], "Metadata_Compound": compound})
    pd.DataFrame(rows).to_csv(folder / "screen.csv", index=False)
    return folder


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PHENOLENS_THREADS": "1", "PHENOLENS_RUNTIME": "torch"} | more


def curve(base, screen, out, processes, stop=8, *resume):
    """Loss by step, and the adapter where there is one."""
    file = out.with_suffix(".json")
    several = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", free_port()]
    command = [sys.executable, *(several if processes > 1 else ())]
    ran = subprocess.run(
        [*command, CHILD, base, screen, out, file, str(stop), *resume],
        env=environment(), timeout=300, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = {int(step): loss for step, loss in json.loads(file.read_text()).items()}
    return found, Adapter.load(out) if out.is_dir() else None


def assert_alike(one, other):
    (losses, adapter), (other_losses, other_adapter) = one, other
    assert losses.keys() == other_losses.keys()
    np.testing.assert_allclose(list(losses.values()), list(other_losses.values()), rtol=1e-4)
    np.testing.assert_allclose(adapter.tokens, other_adapter.tokens, rtol=0, atol=1e-4)
    for name, value in adapter.weights.items():
        np.testing.assert_allclose(value.float(), other_adapter.weights[name].float(), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one_and_go_on_as_one(tiny_base, screen, tmp_path):
    alone = curve(tiny_base, screen, tmp_path / "alone", 1)
    two = curve(tiny_base, screen, tmp_path / "two", 2)
    assert len(alone[0]) == 8
    assert_alike(alone, two)
    begun, adapter = curve(tiny_base, screen, tmp_path / "both", 2, 4)
    assert (list(begun), adapter) == ([1, 2, 3, 4], None)
    rest, adapter = curve(tiny_base, screen, tmp_path / "both", 1, 8, "resume")
    assert_alike(alone, (begun | rest, adapter))


@pytest.mark.slow
def test_accelerate_launches_the_command(tiny_base, screen, tmp_path):
    out = tmp_path / "adapter"
    launch = [
        "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no", "--main_process_port", free_port(), "--num_cpu_threads_per_process", "1",
    ]  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-m", *launch, "-m", "phenolens", "finetune", screen, "--source", "DMSO", "--target", "drug A",
         "--out", out, "--base", tiny_base, "--cells", "whole", "--all-wells", "--crop", "64", "--steps", "2",
         "--rank", "2", "--device", "cpu", "--json"],
        env=environment(), timeout=300, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    (said,) = ran.stdout.splitlines()
    assert json.loads(said)["adapter"] == str(out)
    assert Adapter.load(out).conditions == ("DMSO", "drug A")


@pytest.mark.slow
def test_a_killed_process_ends_the_others_with_a_sentence_and_the_run_goes_on(tiny_base, screen, tmp_path):
    out, port = tmp_path / "adapter", free_port()
    command = [
        sys.executable, "-m", "phenolens", "finetune", screen, "--source", "DMSO", "--target", "drug A", "--out", out,
        "--base", tiny_base, "--cells", "whole", "--crop", "64", "--rank", "2", "--device", "cpu",
    ]  # fmt: skip
    several = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_WORLD_SIZE": "2"}
    progress = tmp_path / "progress.json"
    both = [
        subprocess.Popen(
            [*command, "--steps", "5000", "--progress", progress],
            env=environment(**several, RANK=str(rank), LOCAL_RANK=str(rank)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        end = time.monotonic() + 180
        while "Fine-tuning" not in (progress.read_text() if progress.exists() else ""):
            assert time.monotonic() < end
            assert both[0].poll() is None, both[0].stderr.read()[-3000:]
            time.sleep(0.1)
        both[1].send_signal(signal.SIGKILL)
        _, said = both[0].communicate(timeout=60)
    finally:
        for one in both:
            one.kill()
            one.wait()
    assert both[0].returncode == 2
    assert said.splitlines()[-1].startswith("phenolens: Another process of this fine-tuning has ended")
    assert "Traceback" not in said
    assert (tmp_path / "adapter.partial" / "checkpoint.pt").is_file()


def test_rows_are_shared_out_without_rest():
    for count in (1, 2, 3, 5):
        rows = [row for number in range(count) for row in ProcessGroup(number, count).share(16)]
        assert sorted(rows) == list(range(16))
