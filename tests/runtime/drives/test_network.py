"""What a network drive answers late or twice is carried through, and what it does not answer is said."""

import errno
import os
from pathlib import Path

import pytest

from phenolens.runtime import files
from phenolens.runtime.drives import network
from phenolens.runtime.drives.network import move, patiently
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import writing, writing_folder
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.locks import LOCK, Held, holding
from phenolens.runtime.manifest import Manifest, open_manifest
from phenolens.runtime.output_kinds import CELLS


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(network, "PAUSES", (0.0, 0.0, 0.0))


def done_and_denied(monkeypatch, name, code):
    """Have an operation done, and then answered as a server answers the second time."""
    usual = getattr(os, name)

    def twice(*paths, **how):
        usual(*paths, **how)
        raise OSError(code, os.strerror(code), *map(str, paths[:1]))

    monkeypatch.setattr(os, name, twice)


def failing(monkeypatch, owner, name, code, times, wanted=""):
    """Have the first calls fail that are of a path with `wanted` in it."""
    usual, left = getattr(owner, name), [times]

    def fails(*given, **how):
        if left[0] and wanted in str(given[0]):
            left[0] -= 1
            raise OSError(code, os.strerror(code), str(given[0]))
        return usual(*given, **how)

    monkeypatch.setattr(owner, name, fails)


def test_a_renaming_that_took_effect_counts(tmp_path, monkeypatch):
    done_and_denied(monkeypatch, "replace", errno.ENOENT)
    with writing(tmp_path / "a.txt") as partial:
        partial.write_text("whole")
    with writing_folder(tmp_path / "folder") as inside:
        (inside / "a.txt").write_text("whole")
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "folder" / "a.txt").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "folder"]


def test_a_renaming_that_did_not_is_an_error_and_the_old_file_stays(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("old")
    failing(monkeypatch, os, "replace", errno.ENOENT, 1)
    with pytest.raises(OutputError, match="Cannot write to"), writing(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]
    (tmp_path / "b.txt").write_text("other")
    with pytest.raises(FileNotFoundError):
        move(tmp_path / "none", tmp_path / "b.txt")


@pytest.mark.parametrize(("name", "code"), [("unlink", errno.ENOENT), ("mkdir", errno.EEXIST), ("rmdir", errno.ENOENT)])
def test_what_was_made_or_removed_by_another_answer_is_no_error(tmp_path, monkeypatch, name, code):
    (tmp_path / "folder").mkdir()
    done_and_denied(monkeypatch, name, code)
    with holding(tmp_path), writing(tmp_path / "sub" / "a.txt") as partial:
        partial.write_text("whole")
    with writing_folder(tmp_path / "folder") as inside:
        (inside / "a.txt").write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "sub"]


def test_a_lock_that_was_made_by_another_answer_is_ours(tmp_path, monkeypatch):
    done_and_denied(monkeypatch, "link", errno.EEXIST)
    with holding(tmp_path) as lock:
        lock.check()
        with pytest.raises(Held), holding(tmp_path):
            pytest.fail("two hold it")
    assert not (tmp_path / LOCK).exists()


def test_a_lock_whose_handle_is_stale_is_neither_lost_nor_broken(tmp_path, monkeypatch):
    with holding(tmp_path) as lock:
        failing(monkeypatch, Path, "read_bytes", errno.ESTALE, 2, LOCK)
        lock.check()
        failing(monkeypatch, Path, "read_bytes", errno.ESTALE, 2, LOCK)
        os.utime(lock.file, (1, 1))  # as if no sign of life had come through
        with pytest.raises(Held), holding(tmp_path):
            pytest.fail("it was broken")
        failing(monkeypatch, Path, "read_bytes", errno.EIO, 9, LOCK)
        with pytest.raises(OutputError, match=r"network drive failed \(Input/output error\)"):
            lock.check()
        monkeypatch.undo()
        lock.check()
    assert not (tmp_path / LOCK).exists()


def test_what_is_read_is_read_again_where_its_handle_is_stale(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text('{"a": 1}')
    failing(monkeypatch, Path, "read_bytes", errno.ESTALE, 2)
    assert read_json_object(tmp_path / "a.json") == {"a": 1}
    with pytest.raises(FileNotFoundError):
        patiently(lambda: (tmp_path / "none").read_bytes())


def test_a_file_that_is_not_seen_just_after_it_was_written_is_recorded(tmp_path, monkeypatch):
    manifest = Manifest(tmp_path)
    (tmp_path / "a.npy").write_bytes(b"whole")
    failing(monkeypatch, Path, "stat", errno.ENOENT, 2, "a.npy")
    manifest.record("a", "inputs", ["a.npy"])
    assert manifest.changed("a", "inputs") is None


def test_results_of_another_computer_are_known_as_ours_although_the_listing_is_old(tmp_path, monkeypatch):
    first = open_manifest(tmp_path, CELLS, {}, {}, ["a_cells.parquet"], ())
    first.begin("a", ["a_cells.parquet"])
    (tmp_path / "a_cells.parquet").write_bytes(b"half")
    records, usual = tmp_path / ".phenolens", os.scandir
    known = records.stat().st_mtime_ns

    def old(place="."):
        """A listing without what was written last, until the folder is changed from here."""
        if Path(str(place)) == records and records.stat().st_mtime_ns == known:
            return usual(tmp_path / "empty")
        return usual(place)

    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(os, "scandir", old)
    assert not first.files()
    assert open_manifest(tmp_path, CELLS, {}, {}, ["a_cells.parquet"], ()).files() == {"a_cells.parquet"}


def test_a_flush_that_fails_late_is_said_and_nothing_of_it_is_kept(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("old")
    with monkeypatch.context() as patched:

        def broken(handle):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patched.setattr(os, "fsync", broken)
        with (
            pytest.raises(OutputError, match=r"a\.txt: its disk or network drive failed"),
            writing(tmp_path / "a.txt") as partial,
        ):
            partial.write_text("new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]
    files.flush(tmp_path)
