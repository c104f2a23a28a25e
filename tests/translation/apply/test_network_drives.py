"""Translating to a network drive that answers late or twice: nothing is lost, and nothing is silently wrong."""

import errno
import io
import os
import shutil
from pathlib import Path

import pytest

from phenolens.runtime.drives import network
from tiny_plates import assert_same_files
from translated_plates import translate

TWICE = {
    "replace": errno.ENOENT, "link": errno.EEXIST, "unlink": errno.ENOENT, "mkdir": errno.EEXIST, "rmdir": errno.ENOENT,
}  # fmt: skip
"""What a server answers that is asked again to do what it has done."""


class Drive:
    """A folder on a drive on which every `every`-th operation of a kind is answered otherwise than it went."""

    def __init__(self, folder, monkeypatch, every=2):
        self.folder, self.monkeypatch, self.every = folder, monkeypatch, every
        self.seen: dict[str, int] = {}

    def is_hit(self, name, path):
        if not os.path.abspath(os.fspath(path)).startswith(str(self.folder)):
            return False
        self.seen[name] = self.seen.get(name, 0) + 1
        return self.seen[name] % self.every == 0

    def answers_twice(self):
        for name, code in TWICE.items():
            self._changed(os, name, code, before=False)

    def is_stale_once(self):
        """What was opened before is opened on the second try alone."""
        self._changed(io, "open", errno.ESTALE, before=True)

    def loses_what_it_took(self):
        """A flush tells that what was written is lost."""
        usual = os.fsync

        def broken(handle):
            self.seen["fsync"] = self.seen.get("fsync", 0) + 1
            if self.seen["fsync"] == self.every:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            usual(handle)

        self.monkeypatch.setattr(os, "fsync", broken)

    def _changed(self, owner, name, code, before):
        usual = getattr(owner, name)

        def otherwise(path, *more, **how):
            read = not more or "r" in str(more[0])
            hit = (
                isinstance(path, str | Path)
                and "dir_fd" not in how
                and (read or not before)
                and self.is_hit(name, path)
            )
            if hit and before:
                raise OSError(code, os.strerror(code), str(path))
            found = usual(path, *more, **how)
            if hit:
                raise OSError(code, os.strerror(code), str(path))
            return found

        self.monkeypatch.setattr(owner, name, otherwise)


@pytest.fixture
def drive(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "PAUSES", (0.01, 0.02, 0.05, 0.1))
    return Drive(tmp_path, monkeypatch)


def by_jobs(adapter, plate, out):
    """Every part of an array, and what gathers them."""
    for part in ("1/2", "2/2"):
        ran = translate(adapter, plate, out, "--job", part)
        assert (ran.status, ran.facts["failed"]) == (0, {}), ran.error
    ran = translate(adapter, plate, out, "--gather")
    assert (ran.status, ran.facts["kept"]) == (0, 6), ran.error


@pytest.mark.parametrize("how", ["answers_twice", "is_stale_once"])
def test_what_is_answered_twice_or_stale_is_carried_through(plate_adapter, plate, expected, tmp_path, drive, how):
    getattr(drive, how)()
    ran = translate(plate_adapter, plate, tmp_path / "out")
    assert (ran.status, ran.facts["failed"]) == (0, {}), ran.error
    assert sum(drive.seen.values()) > 50
    by_jobs(plate_adapter, plate, tmp_path / "jobs")
    again = translate(plate_adapter, plate, tmp_path / "out")
    assert (again.status, again.facts["kept"]) == (0, 6), "nothing is made again"
    drive.monkeypatch.undo()
    for made in ("out", "jobs"):
        assert_same_files(tmp_path / made, expected)
        left = [path.name for path in (tmp_path / made).rglob("*") if path.name.startswith(".partial-")]
        assert left == []
        assert not list((tmp_path / made).rglob("*.lock"))


@pytest.mark.parametrize("at", [5, 23, 40])
def test_what_the_drive_loses_is_said_and_made_again(plate_adapter, plate, expected, tmp_path, drive, at):
    drive.every = at
    drive.loses_what_it_took()
    ran = translate(plate_adapter, plate, tmp_path / "out")
    assert ran.status == 2
    assert "its disk or network drive failed (Input/output error). Start again once that works." in ran.error
    drive.monkeypatch.undo()
    assert translate(plate_adapter, plate, tmp_path / "out").status == 0
    assert_same_files(tmp_path / "out", expected)


@pytest.mark.parametrize(
    ("seen", "said"), [(False, "a network drive may show a minute later"), (True, "try again in a minute")]
)
def test_what_another_computer_wrote_last_is_not_seen_yet(plate_adapter, plate, expected, tmp_path, seen, said):
    """Gathering says so, and does not write a table that lacks a field; a minute later it is all there."""
    out, later = tmp_path / "out", tmp_path / "later"
    for part in ("1/2", "2/2"):
        assert translate(plate_adapter, plate, out, "--job", part).status == 0
    hidden = [out / ".phenolens" / "P1_A03_s2.json", *([] if seen else out.glob("P1_A03_s2__*"))]
    later.mkdir()
    for path in hidden:
        shutil.move(path, later / path.name)
    ran = translate(plate_adapter, plate, out, "--gather")
    assert ran.status == 2
    assert "P1_A03_s2" in ran.error
    assert said in ran.error
    assert not (out / "cells.parquet").exists()
    for path in hidden:
        shutil.move(later / path.name, path)
    assert translate(plate_adapter, plate, out, "--gather").status == 0
    assert_same_files(out, expected)
