"""A user's mistakes on the command line: status 2, one sentence that says what to do, and nothing lost."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cli_run import run

ROLES = ("negative control", "treated")


@pytest.fixture(scope="module")
def made(tiny_base, tmp_path_factory):
    """A table of four small images of two channels, and an adapter for them that takes each as one cell."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "screen").mkdir()
    rng = np.random.default_rng(0)
    rows = ["Metadata_Well,Metadata_Role,Metadata_Compound,Image"]
    for number in range(4):
        name = f"A{number}.ome.tif"
        pixels = rng.integers(0, 4000, (2, 64, 64), dtype=np.uint16)
        metadata = {"axes": "CYX", "Channel": {"Name": ["DNA", "Actin"]}}
        tifffile.imwrite(folder / "screen" / name, pixels, ome=True, metadata=metadata)
        rows.append(f"A{number},{ROLES[number % 2]},drug{number % 2},{name}")
    (folder / "screen" / "screen.csv").write_text("\n".join(rows))
    ran = run(*finetune(folder / "screen", tiny_base, folder / "adapter"), "--json")
    assert ran.status == 0
    return folder


@pytest.fixture
def screen(made, tmp_path):
    return shutil.copytree(made / "screen", tmp_path / "screen")


@pytest.fixture
def adapter(made, tmp_path):
    return shutil.copytree(made / "adapter", tmp_path / "adapter")


def finetune(screen, base, out, source="Metadata_Role=negative control", target="Metadata_Role=treated"):
    return (
        *("finetune", screen, "--source", source, "--target", target, "--out", out, "--base", base),
        *("--rank", "2", "--steps", "1", "--cells", "whole", "--device", "cpu"),
    )


def refused(ran, *words):
    """The command ended as a user's mistake does, in a sentence with these words."""
    assert ran.status == 2
    assert ran.error.startswith("phenolens: ")
    assert ran.error.endswith((".", ")"))
    for word in words:
        assert str(word) in ran.error


def test_wrong_column(screen, tiny_base, tmp_path):
    refused(run(*finetune(screen, tiny_base, tmp_path / "a", source="Metadata_Rol=x")), "Metadata_Rol", "Metadata_Role")
    assert not (tmp_path / "a").exists()


def test_empty_condition(screen, tiny_base, tmp_path):
    refused(run(*finetune(screen, tiny_base, tmp_path / "a", target="Metadata_Role=healed")), "healed", "treated")


def test_conditions_that_overlap(screen, tiny_base, tmp_path):
    refused(run(*finetune(screen, tiny_base, tmp_path / "a", target="drug0")), "share")


def test_missing_screen(tiny_base, tmp_path):
    refused(run(*finetune(tmp_path / "nowhere.csv", tiny_base, tmp_path / "a")), "nowhere.csv")


def test_missing_image(screen, tiny_base, tmp_path):
    (screen / "A2.ome.tif").unlink()
    refused(run(*finetune(screen, tiny_base, tmp_path / "a")), "A2.ome.tif")


def test_corrupt_image(screen, tiny_base, tmp_path):
    whole = (screen / "A2.ome.tif").read_bytes()
    (screen / "A2.ome.tif").write_bytes(whole[: len(whole) // 2])
    refused(run(*finetune(screen, tiny_base, tmp_path / "a")), "A2")


def test_missing_base(screen, tmp_path):
    refused(run(*finetune(screen, tmp_path / "no_base", tmp_path / "a")), "no_base")


def test_unknown_method(screen, tiny_base, tmp_path):
    refused(run(*finetune(screen, tiny_base, tmp_path / "a"), "--method", "dreambooth"), "dreambooth", "svdiff")


def test_unknown_device(screen, tiny_base, tmp_path):
    refused(run(*finetune(screen, tiny_base, tmp_path / "a"), "--device", "abacus"), "abacus", "cpu")


def test_missing_folder_of_cells(screen, tiny_base, tmp_path):
    refused(run(*finetune(screen, tiny_base, tmp_path / "a"), "--cells", tmp_path / "labels"), "labels", "whole")


def test_adapter_for_other_channels(screen, adapter, tmp_path):
    one = tmp_path / "one.tif"
    tifffile.imwrite(one, np.zeros((96, 96), np.uint8))
    refused(run("translate", adapter, one, "--out", tmp_path / "out"), "2 channels", "1 (")


def test_missing_adapter(screen, tmp_path):
    refused(run("translate", tmp_path / "no_adapter", screen, "--out", tmp_path / "out"), "no_adapter")


def test_broken_adapter(screen, adapter, tmp_path):
    (adapter / "adapter_model.safetensors").write_bytes(b"not weights")
    refused(run("translate", adapter, screen, "--out", tmp_path / "out"), str(adapter))


def test_unknown_solver(screen, adapter, tmp_path):
    refused(run("translate", adapter, screen, "--solver", "magic", "--out", tmp_path / "out"), "magic", "ddim")


def test_strength_out_of_range(screen, adapter, tmp_path):
    refused(run("translate", adapter, screen, "--strength", "0", "7", "--out", tmp_path / "out"), "7")


def test_a_file_where_the_output_folder_should_be(screen, adapter, tmp_path):
    (tmp_path / "out").write_text("mine")
    refused(run("translate", adapter, screen, "--out", tmp_path / "out"), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_read_only_output_folder(screen, adapter, tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        # the superuser, as whom tests may run, is refused nowhere
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    refused(run("translate", adapter, screen, "--out", tmp_path / "out"), "read-only", tmp_path / "out")
    refused(run("simulate", "--treatment", "null", "--out", tmp_path / "out"), "read-only")


def test_output_folder_with_other_results(screen, adapter, tmp_path):
    options = ("--steps", "1", "--cells", "whole", "--out", tmp_path / "out")
    assert run("translate", adapter, screen, "--strength", "1", *options).status == 0
    refused(run("translate", adapter, screen, "--strength", "0.5", *options), "strengths")


def test_screen_among_images(screen, adapter, tmp_path):
    refused(run("translate", adapter, screen / "A0.ome.tif", screen, "--out", tmp_path / "out"), "one screen alone")


def test_finetune_over_something_else(screen, tiny_base, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("mine")
    refused(run(*finetune(screen, tiny_base, tmp_path / "a")), "is not an adapter")
    assert (tmp_path / "a" / "thesis.tex").read_text() == "mine"


def test_resume_with_other_settings(screen, tiny_base, tmp_path, monkeypatch):
    import signal

    import phenolens.translation.training.training_set as engine

    unbroken = engine.finetune_screen

    def interrupted(*given, **named):
        for progress in (job := unbroken(*given, **named)):
            if progress.message == "Fine-tuning":
                signal.raise_signal(signal.SIGINT)
            try:
                yield progress
            except GeneratorExit:
                job.close()
                raise

    monkeypatch.setattr(engine, "finetune_screen", interrupted)
    more = ("--steps", "3")
    assert run(*finetune(screen, tiny_base, tmp_path / "a"), *more).status == 130
    monkeypatch.setattr(engine, "finetune_screen", unbroken)
    refused(run(*finetune(screen, tiny_base, tmp_path / "a"), *more, "--seed", "9", "--resume"), "settings")
    refused(run(*finetune(screen, tiny_base, tmp_path / "a"), *more), "unfinished training of a at step 1 of 3")
    assert run(*finetune(screen, tiny_base, tmp_path / "a"), *more, "--seed", "9", "--start-over").status == 0


def test_export_needs_a_field(screen, adapter, tmp_path):
    refused(run("export", adapter, screen, "--out", tmp_path / "e"), "A0", "A3")
    refused(run("export", adapter, screen, "--field", "Z9", "--out", tmp_path / "e"), "Z9", "A0")


def test_export_of_an_unknown_cell(screen, adapter, tmp_path):
    refused(run("export", adapter, screen, "--field", "A0", "--cell", "99", "--out", tmp_path / "e"), "99")


def test_export_needs_a_screen(screen, adapter, tmp_path):
    refused(run("export", adapter, "--out", tmp_path / "e"), "screen")
    refused(run("export", screen, "--out", tmp_path / "e"), "neither an adapter")


def test_error_as_json(tmp_path):
    ran = run("translate", tmp_path / "none", tmp_path, "--out", tmp_path / "out", "--json")
    refused(ran)
    assert ran.facts == {"command": "translate", "error": ran.error.removeprefix("phenolens: "), "status": 2}


def test_from_the_shell(tmp_path):
    command = [sys.executable, "-m", "phenolens", "simulate", "--treatment", "magic", "--out", "s", "--json"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("phenolens: There is no treatment 'magic'")
    assert json.loads(ended.stdout)["status"] == 2
