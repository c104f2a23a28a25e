"""Files and folders appear whole or not at all, and a refusal is one sentence."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import writable_folder, write_json, writing, writing_folder
from phenolens.runtime.output_kinds import ADAPTER
from phenolens.runtime.outputs import MARK, writing_output


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def old_adapter(folder: Path) -> Path:
    """An adapter's folder with one file."""
    with writing_output(folder / "adapter", ADAPTER) as partial:
        (partial / "weights").write_text("old")
    return folder / "adapter"


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "image.ome.tif"
    with writing(target) as partial:
        partial.write_text("half")
        assert not target.exists()
        assert partial.parent == target.parent
        assert partial.name.endswith(".ome.tif")
    assert target.read_text() == "half"
    assert names(target.parent) == ["image.ome.tif"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "cells.csv"
    target.write_text("old")
    with pytest.raises(ValueError, match="bug"), writing(target) as partial:
        partial.write_text("ha")
        raise ValueError("bug")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["cells.csv"]


def test_a_closed_generator_leaves_nothing(tmp_path: Path) -> None:
    def job():  # type: ignore[no-untyped-def]
        with writing(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            yield

    running = job()
    next(running)
    running.close()
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence(tmp_path: Path, code: int) -> None:
    target = tmp_path / "a.bin"
    target.write_text("old")
    with pytest.raises(OutputError, match="no space is left") as caught, writing(target) as partial:
        partial.write_bytes(b"half")
        raise OSError(code, os.strerror(code))
    assert str(target) in str(caught.value)
    assert ".partial" not in str(caught.value)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.bin"]


def test_errors_of_what_is_read_meanwhile_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path / "a.txt"):
        (tmp_path / "missing input").read_bytes()
    assert names(tmp_path) == []


def test_a_folder_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    for content in ("first", "second"):
        with writing_output(target, ADAPTER) as partial:
            (partial / f"{content}.txt").write_text(content)
        assert names(target) == [MARK, f"{content}.txt"]
    assert names(tmp_path) == ["adapter"]


def test_a_folder_with_something_in_it_is_not_replaced_without_a_kind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with writing_folder(tmp_path / "folder") as partial:
        (partial / "a.txt").write_text("a")
    with pytest.raises(OutputError, match="is not empty"), writing_folder(tmp_path / "folder"):
        pytest.fail("the block must not run")
    assert names(tmp_path / "folder") == ["a.txt"]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    target = old_adapter(tmp_path)
    with pytest.raises(OutputError, match="no space"), writing_output(target, ADAPTER) as partial:
        (partial / "weights").write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device", str(partial / "weights"))
    assert (target / "weights").read_text() == "old"
    assert names(tmp_path) == ["adapter"]


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = old_adapter(tmp_path)
    replace = os.replace
    calls = []

    def second_fails(source: Path, goal: Path) -> None:
        calls.append(Path(goal).name)
        if calls.count("adapter") == 1 and calls[-1] == "adapter" and ".partial" in str(source):
            raise PermissionError(errno.EACCES, "Permission denied", str(source), None, str(goal))
        replace(source, goal)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OutputError, match="read-only"), writing_output(target, ADAPTER) as partial:
        (partial / "weights").write_text("new")
    assert (target / "weights").read_text() == "old"
    assert names(tmp_path) == ["adapter"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    # the administrator, who may run this, can write anywhere: so the refusal is made here
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    for attempt in (writing, writing_folder):
        with (
            pytest.raises(OutputError, match=r"read-only for you\. Choose") as caught,
            attempt(tmp_path / "a"),
        ):
            pytest.fail("the block must not run")
        assert str(tmp_path) in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind the administrator")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="read-only"):
            writable_folder(tmp_path / "out")
    finally:
        tmp_path.chmod(0o700)


def test_below_a_file_there_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="a file is where a folder is needed"):
            writable_folder(path)


def test_a_folder_is_not_taken_for_a_file_nor_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(OutputError, match="a folder of that name"), writing(tmp_path / "folder"):
        pytest.fail("the block must not run")
    with pytest.raises(OutputError, match="a file of that name"), writing_folder(tmp_path / "file"):
        pytest.fail("the block must not run")


def test_writable_folder_makes_parents_and_leaves_no_trace(tmp_path: Path) -> None:
    assert writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(tmp_path / "a" / "b") == []


def test_long_names_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 120 + ".txt")
    with writing(target) as partial:
        partial.write_text("text")
    assert target.read_text() == "text"


def test_json_of_numbers_paths_and_arrays(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_json(path, {"n": np.int64(3), "x": np.array([1.5, np.nan]), "folder": Path("a"), 4: (True, None, "µm")})
    assert json.loads(path.read_text("utf-8")) == {
        "n": 3,
        "x": [1.5, None],
        "folder": "a",
        "4": [True, None, "µm"],
    }


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_json(path, [1])
    with pytest.raises(TypeError, match="object has no form in JSON"):
        write_json(path, [object()])
    assert json.loads(path.read_text()) == [1]


def test_too_long_a_name_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="too long"), writing(tmp_path / ("x" * 300)) as partial:
        partial.write_text("text")
    assert names(tmp_path) == []


def test_a_folder_that_vanishes_is_said_to_where_a_library_gives_no_errno(tmp_path):
    with pytest.raises(OutputError, match="its folder was removed meanwhile"):  # noqa: SIM117
        with writing(tmp_path / "there" / "a.csv"):
            shutil.rmtree(tmp_path / "there")
            raise OSError("Cannot save file into a non-existent directory")


def test_a_folder_that_vanishes_is_said_to_where_a_library_names_the_file_in_words_alone(tmp_path):
    table = pa.table({"a": [1]})
    with pytest.raises(OutputError, match="its folder was removed meanwhile"):  # noqa: SIM117
        with writing(tmp_path / "there" / "cells.parquet") as partial:
            shutil.rmtree(partial.parent)
            pq.write_table(table, partial)


def test_a_folder_that_vanishes_midway_is_not_taken_for_whole(tmp_path):
    with pytest.raises(OutputError, match="its folder was removed meanwhile"):  # noqa: SIM117
        with writing_folder(tmp_path / "out") as made:
            write_json(made / "a.json", {})
            shutil.rmtree(made)
            write_json(made / "b.json", {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_begins_to_remove_is_not_taken_for_whole(tmp_path):
    def removing(folder: Path) -> None:
        """As ``rm -r`` does where a file appears after it has looked: that one stays, and with it the folder."""
        for path in list(folder.iterdir()):
            path.unlink()

    with pytest.raises(OutputError, match="its folder was removed meanwhile"):  # noqa: SIM117
        with writing_folder(tmp_path / "out") as made:
            write_json(made / "a.json", {})
            removing(made)
            write_json(made / "b.json", {})
    assert list(tmp_path.iterdir()) == []
