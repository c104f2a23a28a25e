"""Nothing is removed that the command did not write, and what cannot be written is one sentence."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile

from cli_run import run
from phenolens.runtime import outputs
from phenolens.runtime.csv_tables import read_text_csv, write_csv
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import is_temporary, writing, writing_folder
from phenolens.runtime.output_kinds import (
    ADAPTER,
    ATLAS,
    ENCODER,
    EVALUATION,
    FLOOR,
    KINDS,
    SCREEN,
    UNFINISHED_FLOOR,
)
from phenolens.runtime.outputs import MARK, check_output, read_mark, remove_output, unfinished, writing_output
from phenolens.screens.keys import safe_name, unique_keys

SIMULATE = ("simulate", "--treatment", "null", "--wells", "2", "--cells", "2", "--out")
REPLACING = """
import os, signal, sys
from pathlib import Path
from phenolens.runtime.output_kinds import ADAPTER
from phenolens.runtime.outputs import writing_output
replace, left = os.replace, int(sys.argv[2])
def killed(source, target):
    global left
    if ".replaced-" in f"{source}{target}" or Path(target).name == "adapter":
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killed
with writing_output(Path(sys.argv[1]) / "adapter", ADAPTER, overwrite=True) as folder:
    (folder / "card.json").write_text("new")
"""


def make(folder: Path, kind, *names: str, overwrite: bool = False) -> Path:
    """An output with files of these names, which hold "made"."""
    with writing_output(folder, kind, overwrite) as new:
        for name in names:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text("made")
    return folder


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != MARK}


def test_simulate_keeps_a_real_screen(shared_data, tmp_path):
    real = tmp_path / "screen"
    (real / "images").mkdir(parents=True)
    shutil.copy(shared_data / "translocation" / "screen.csv", real)
    (real / "images" / "a.png").write_text("pixels")
    (real / "notes.txt").write_text("mine")
    before = files(real)
    for more in ((), ("--overwrite",)):
        ran = run(*SIMULATE, real, *more)
        assert ran.status == 2
        assert "screen.csv" in ran.error
        assert files(real) == before
    assert "exists and is not a simulated screen" in run(*SIMULATE, real).error


def test_another_kind_of_output_is_not_replaced(tmp_path):
    encoder = make(tmp_path / "model", ENCODER, "card.json", "encoder.safetensors")
    with pytest.raises(OutputError, match=r"is not an adapter.*is an encoder, with card\.json, encoder\.safetensors"):
        check_output(encoder, ADAPTER)
    assert files(encoder) == {"card.json", "encoder.safetensors"}
    make(encoder, ADAPTER, "card.json", "intensity.json", overwrite=True)
    assert files(encoder) == {"card.json", "intensity.json"}
    assert read_mark(encoder)["kind"] == "adapter"


def test_files_of_others_are_named_and_stay(tmp_path):
    adapter = make(tmp_path / "adapter", ADAPTER, "card.json", "widened_ends.safetensors")
    (adapter / "notes").mkdir()
    (adapter / "notes" / "lab.txt").write_text("mine")
    (adapter / "empty").mkdir()
    with pytest.raises(OutputError, match=r"holds more than that: empty/, notes/lab\.txt"):
        check_output(adapter, ADAPTER)
    make(adapter, ADAPTER, "card.json", overwrite=True)
    assert files(adapter) == {"card.json", "notes/lab.txt"}
    assert (adapter / "empty").is_dir()
    assert (adapter / "notes" / "lab.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_file_of_another_is_never_written_over(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "card.json").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"card\.json"):
            check_output(tmp_path / "a", ADAPTER, overwrite)


def test_what_appears_meanwhile_stays(tmp_path):
    adapter = make(tmp_path / "adapter", ADAPTER, "card.json")
    with writing_output(adapter, ADAPTER) as new:
        (new / "card.json").write_text("new")
        (adapter / "notes.txt").write_text("mine")
    assert files(adapter) == {"card.json", "notes.txt"}
    (tmp_path / "fresh").mkdir()
    with (
        pytest.raises(OutputError, match=r"card\.json appeared in .*fresh-2"),
        writing_output(tmp_path / "fresh", ADAPTER) as new,
    ):
        (new / "card.json").write_text("long work")
        (tmp_path / "fresh" / "card.json").write_text("mine")
    assert (tmp_path / "fresh" / "card.json").read_text() == "mine"
    assert (tmp_path / "fresh-2" / "card.json").read_text() == "long work", "nor is the new result lost"


def test_a_noise_floor_goes_with_its_adapter_by_overwrite_alone(tmp_path):
    adapter = make(tmp_path / "adapter", ADAPTER, "card.json")
    make(adapter / "noise_floor", FLOOR, "maxima.npz")
    make(adapter / "evaluation", EVALUATION, "report.json")
    with pytest.raises(OutputError, match=r"noise_floor/maxima\.npz"):
        check_output(adapter, ADAPTER)
    make(adapter, ADAPTER, "card.json", overwrite=True)
    assert files(adapter) == {"card.json", "evaluation/report.json"}
    assert read_mark(adapter / "evaluation") is not None


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_kill_while_a_folder_is_replaced_loses_nothing(tmp_path, moment):
    adapter = make(tmp_path / "adapter", ADAPTER, "card.json")
    (adapter / "notes.txt").write_text("mine")
    ended = subprocess.run([sys.executable, "-c", REPLACING, tmp_path, str(moment)], check=False)
    assert ended.returncode == -signal.SIGKILL
    outputs.finish_replacing(tmp_path)
    assert files(adapter) == {"card.json", "notes.txt"}
    make(adapter, ADAPTER, "card.json", overwrite=True)
    assert files(adapter) == {"card.json", "notes.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_replaces_its_own(kind, tmp_path):
    for _ in range(2):
        make(tmp_path / "out", kind, "a.txt")
    assert files(tmp_path / "out") == {"a.txt"}


def test_folders_from_before_there_were_marks(tmp_path):
    old = tmp_path / "old"
    (old / "images").mkdir(parents=True)
    for name in ("screen.csv", "cells.csv", "images/plate1_A01_1.ome.tif"):
        (old / name).write_text("made")
    (old / "provenance.json").write_text(json.dumps({"made_by": "simulate_screen"}))
    assert check_output(old, SCREEN) == old
    (old / "images" / "mine.ome.tif").write_text("mine")
    with pytest.raises(OutputError, match=r"images/mine\.ome\.tif"):
        check_output(old, SCREEN)
    (old / "images" / "mine.ome.tif").unlink()
    (old / "provenance.json").write_text(json.dumps({"made_by": "somebody"}))
    with pytest.raises(OutputError, match="is not a simulated screen"):
        check_output(old, SCREEN)
    (old / "provenance.json").write_text("{")
    with pytest.raises(OutputError, match="is not a simulated screen"):
        check_output(old, SCREEN)


def test_a_mark_is_believed_about_its_own_folder_only(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    folder = make(tmp_path / "atlas", ATLAS, "atlas.json")
    mark = json.loads((folder / MARK).read_text())
    (folder / MARK).write_text(json.dumps(mark | {"files": ["atlas.json", "../mine.txt", str(tmp_path / "mine.txt")]}))
    make(folder, ATLAS, "atlas.json")
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("out", [".", "..", "/", "here/..", "x" * 300])
def test_places_that_cannot_be_an_output(out, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    ran = run(*SIMULATE, out)
    assert ran.status == 2
    assert "folder" in ran.error
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_a_folder_that_was_removed_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    assert "was removed" in run(*SIMULATE, "screen").error


def test_the_parent_vanishes_while_an_image_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parent").mkdir()
    with (
        pytest.raises(OutputError, match=r"Cannot write to parent/out: its folder was removed"),
        writing_folder("parent/out") as folder,
    ):
        shutil.rmtree(tmp_path / "parent")
        tifffile.imwrite(folder / "a.tif", b"", shape=(1, 1), dtype="uint8")


@pytest.mark.parametrize(
    "error",
    [
        OSError("786432 requested and 524176 written"),
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_whatever_the_library_calls_it(error, tmp_path):
    for write in (writing, writing_folder):
        with pytest.raises(OutputError, match=r"no space is left on the disk\. Free some"), write(tmp_path / "a"):
            raise error
    assert not list(tmp_path.iterdir())


def test_a_full_disk_within_a_folder_names_what_was_to_be_written(tmp_path):
    with (
        pytest.raises(OutputError, match=rf"Cannot write to {tmp_path}/export/cells\.parquet: no space"),
        writing_folder(tmp_path / "export") as folder,
        writing(folder / "cells.parquet"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_writing_on_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 30, 1 << 30, 0))
    with pytest.raises(OutputError, match="no space"), writing(tmp_path / "checkpoint.pt"):
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
    with pytest.raises(ValueError, match="a bug"), writing(tmp_path / "checkpoint.pt"):
        raise ValueError("a bug")


def test_everything_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append(os.fstat(file).st_ino), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(Path(b).name), replace(a, b)))
    with writing(tmp_path / "a.txt") as partial:
        partial.write_text("text")
    assert done == [(tmp_path / "a.txt").stat().st_ino, "a.txt", tmp_path.stat().st_ino]
    done.clear()
    make(tmp_path / "out", ADAPTER, "b.txt", "deep/c.txt")
    flushed = [(tmp_path / "out" / name).stat().st_ino for name in ("b.txt", "deep/c.txt", MARK, "deep", ".")]
    assert set(flushed) <= set(done[: done.index("out")])


def make_unfinished_floor(folder):
    (folder / "split0").mkdir(parents=True)
    (folder / "split0" / "card.json").write_text("{}")
    (folder / "run.json").write_text('{"control": "a", "settings": {}, "splits": []}')


def test_a_folder_is_removed_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    def killed(*given, **named):
        raise KeyboardInterrupt

    make_unfinished_floor(tmp_path / "floor.partial")
    monkeypatch.setattr(shutil, "rmtree", killed)
    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_output(tmp_path / "floor.partial", UNFINISHED_FLOOR)
    assert [is_temporary(path.name) for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize("done", [0, 1])
def test_what_is_removed_beside_files_of_others_is_known_until_the_end(tmp_path, monkeypatch, done):
    make_unfinished_floor(tmp_path / "floor.partial")
    (tmp_path / "floor.partial" / "notes.txt").write_text("mine")
    unlink, left = Path.unlink, [done]

    def interrupted(path, *given, **named):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        unlink(path, *given, **named)

    monkeypatch.setattr(Path, "unlink", interrupted)
    with pytest.raises(KeyboardInterrupt):
        remove_output(tmp_path / "floor.partial", UNFINISHED_FLOOR)
    monkeypatch.undo()
    remove_output(tmp_path / "floor.partial", UNFINISHED_FLOOR)
    assert [path.name for path in (tmp_path / "floor.partial").rglob("*")] == ["notes.txt"]


def test_an_unfinished_folder_is_kept_to_go_on_from_and_not_what_nobody_could_go_on_from(tmp_path):
    folder = tmp_path / "floor.partial"
    make_unfinished_floor(folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt), unfinished(folder, UNFINISHED_FLOOR):
        raise KeyboardInterrupt
    assert (folder / "split0" / "card.json").is_file()
    with pytest.raises(KeyboardInterrupt), unfinished(folder, UNFINISHED_FLOOR):
        (folder / "run.json").unlink()  # as where all of it was removed, and a part was written after that
        raise KeyboardInterrupt
    assert [path.name for path in folder.rglob("*")] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    make_unfinished_floor(folder)
    with unfinished(folder, UNFINISHED_FLOOR):
        (folder / "run.json").unlink()
    assert not folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_outputs_keep_the_users_umask(tmp_path):
    before = os.umask(0o027)
    try:
        folder = make(tmp_path / "out", ADAPTER, "deep/card.json")
    finally:
        os.umask(before)
    made = (folder, folder / "deep", folder / MARK, folder / "deep" / "card.json")
    modes = [path.stat().st_mode & 0o777 for path in made]
    assert modes == [0o750, 0o750, 0o640, 0o640]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_what_a_library_writes_for_the_owner_alone_can_be_read_by_others(tmp_path):
    def write_private(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))

    before = os.umask(0o022)
    try:
        with writing_output(tmp_path / "out", ADAPTER) as new:
            write_private(new / "weights.safetensors")
        with writing(tmp_path / "alone.safetensors") as partial:
            write_private(partial)
    finally:
        os.umask(before)
    for path in (tmp_path / "out" / "weights.safetensors", tmp_path / "alone.safetensors"):
        assert path.stat().st_mode & 0o777 == 0o644


def test_names_of_fields_can_be_written_whatever_their_script(tmp_path):
    keys = unique_keys(["漢" * 150, "漢" * 150 + "b", "x" * 300])
    assert len(set(keys)) == 3
    for key in keys:
        with writing(tmp_path / f"{key}__significant_difference.ome.tif") as partial:
            partial.write_text("pixels")
    assert safe_name("plate1_A01_1") == "plate1_A01_1"


def test_no_cell_of_a_table_is_a_formula(tmp_path):
    import pandas as pd

    names = ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(A1)", "'=quoted", "\t=1", "DMSO", "'plain", "(+)-x", ""]
    table = pd.DataFrame({"Metadata_Compound": names, "=head": "a", "number": -1.5})
    write_csv(table, tmp_path / "compounds.csv")
    text = (tmp_path / "compounds.csv").read_text()
    assert text.splitlines()[0] == "Metadata_Compound,'=head,number"
    for line in text.splitlines()[1:]:
        assert line.lstrip('"')[:1] not in tuple("=+-@\t"), line
    read = read_text_csv(tmp_path / "compounds.csv")
    assert list(read["Metadata_Compound"]) == names
    assert list(read.columns) == list(table.columns)
    assert set(read["number"]) == {"-1.5"}
