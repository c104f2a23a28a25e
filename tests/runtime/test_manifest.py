"""A result belongs to its inputs: translated fields are kept only where they are what would be made now."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cli_run import run
from phenolens.runtime.files import temporary_name
from phenolens.runtime.locks import LOCK, holding
from phenolens.runtime.manifest import RECORDS, Manifest, open_manifest
from phenolens.runtime.output_kinds import TRANSLATION
from phenolens.runtime.outputs import MARK
from phenolens.runtime.processes import start_mark
from phenolens.screens.cells import Cells
from phenolens.screens.fingerprints import field_fingerprint
from phenolens.screens.table import read_screen, screen_from_arrays
from tiny_base import make_tiny_adapter

KEYS = ("A0", "A1", "A2")


@pytest.fixture(scope="module")
def adapter(tiny_base, tmp_path_factory):
    made = make_tiny_adapter(tiny_base)
    return made.save(tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture
def screen(tmp_path):
    folder = tmp_path / "screen"
    folder.mkdir()
    for number, key in enumerate(KEYS):
        write_field(folder, key, number)
    write_table(folder)
    return folder


def write_field(folder, key, seed):
    pixels = np.random.default_rng(seed).integers(0, 4000, (2, 64, 64), dtype=np.uint16)
    metadata = {"axes": "CYX", "Channel": {"Name": ["DNA", "Actin"]}}
    tifffile.imwrite(folder / f"{key}.ome.tif", pixels, ome=True, metadata=metadata)


def write_table(folder, **doses):
    rows = [f"{key},{doses.get(key, 0)},{key}.ome.tif" for key in KEYS]
    (folder / "screen.csv").write_text("\n".join(["Metadata_Well,Metadata_Dose,Image", *rows]))


def translate(adapter, screen, out, *more):
    options = ("--strength", "0", "1", "--steps", "1", "--cells", "whole", "--alpha", "0", "--json")
    return run("translate", adapter, screen, "--out", out, *options, *more)


def states(out):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path(out).glob("*.ome.tif")}


def redone(before, after):
    return {name.split("__")[0] for name in after if after[name] != before.get(name)}


@pytest.fixture
def done(adapter, screen, tmp_path):
    ran = translate(adapter, screen, tmp_path / "out")
    assert ran.status == 0
    assert len(states(tmp_path / "out")) == 9
    return tmp_path / "out"


def test_nothing_is_made_again_where_nothing_has_changed(adapter, screen, done):
    before = states(done)
    ran = translate(adapter, screen, done)
    assert states(done) == before
    assert ran.facts["kept"] == 3
    moved = shutil.copytree(screen, screen.parent / "moved")
    assert translate(adapter, moved, done).facts["kept"] == 3, "wherever the screen lies"


@pytest.mark.parametrize("what", ["image", "row", "labels"])
def test_a_field_is_made_again_when_its_inputs_have_changed(what, adapter, screen, tmp_path):
    out, labels = tmp_path / "out", tmp_path / "labels"
    labels.mkdir()
    for key in KEYS:
        tifffile.imwrite(labels / f"{key}.tif", np.pad(np.ones((20, 20), np.uint16), 22))
    cells = ("--cells", labels)
    assert translate(adapter, screen, out, *cells).status == 0
    before = states(out)
    if what == "image":
        write_field(screen, "A1", 9)
    elif what == "row":
        write_table(screen, A1=5)
    else:
        tifffile.imwrite(labels / "A1.tif", np.pad(np.ones((20, 20), np.uint16), ((12, 32), (22, 22))))
    ran = translate(adapter, screen, out, *cells)
    assert redone(before, states(out)) == {"A1"}
    assert ran.error.startswith("phenolens: 1 of 3 fields were made again")
    assert (ran.facts["kept"], ran.facts["made_again"]) == (2, 1)


@pytest.mark.parametrize("damage", ["cut", "other", "gone"])
def test_a_damaged_result_is_made_again(damage, adapter, screen, done):
    file = done / "A2__s1.00.ome.tif"
    whole = tifffile.imread(file)
    before, size = states(done), file.stat().st_size
    if damage == "cut":
        os.truncate(file, 100)
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"x" * size)
    ran = translate(adapter, screen, done)
    assert redone(before, states(done)) == {"A2"}
    assert ran.facts["made_again"] == 1
    assert np.array_equal(tifffile.imread(file), whole)


def test_other_settings_are_refused_and_overwritten_when_asked(adapter, screen, done):
    before = states(done)
    ran = translate(adapter, screen, done, "--guidance", "4")
    assert ran.status == 2
    assert "holds results made with another guidance" in ran.error
    assert "--overwrite" in ran.error
    assert states(done) == before
    (done / "notes.txt").write_text("mine")
    assert translate(adapter, screen, done, "--guidance", "4", "--overwrite").status == 0
    assert redone(before, states(done)) == set(KEYS)
    assert json.loads((done / "provenance.json").read_text())["guidance"] == 4
    assert (done / "notes.txt").read_text() == "mine"


def test_results_that_are_no_longer_made_go_with_overwrite(adapter, screen, done):
    options = ("--strength", "0.5", "--steps", "1", "--cells", "whole", "--alpha", "0", "--out", done, "--overwrite")
    assert run("translate", adapter, screen, *options).status == 0
    assert {name.split("__")[1] for name in states(done)} == {"s0.50.ome.tif", "difference.ome.tif"}


def test_another_adapter_or_base_is_another_setting(adapter, screen, done, tmp_path):
    other = shutil.copytree(adapter, tmp_path / "other")
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps(card | {"note": "trained again"}))
    assert "made with another adapter" in translate(other, screen, done).error


def test_files_of_others_are_not_written_over(adapter, screen, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "A1__s1.00.ome.tif").write_text("mine")
    (out / "letter.txt").write_text("mine")
    for more in ((), ("--overwrite",)):
        ran = translate(adapter, screen, out, *more)
        assert ran.status == 2
        assert "A1__s1.00.ome.tif" in ran.error
        assert "letter" not in ran.error
    assert (out / "A1__s1.00.ome.tif").read_text() == "mine"


def test_an_adapters_folder_is_no_place_for_results(adapter, screen):
    assert "is an adapter" in translate(adapter, screen, adapter).error


def test_damaged_records_do_no_harm(adapter, screen, done):
    (done / "provenance.json").write_text('{"steps": ')
    (done / RECORDS / "A0.json").write_text("[" * 5000)
    (done / RECORDS / "A1.json").write_text('{"files": [], "inputs": 1}')
    # Without their records these may be anybody's.
    ran = translate(adapter, screen, done)
    assert ran.status == 2
    assert "A0__difference.ome.tif" in ran.error
    for path in done.glob("A[01]__*"):
        path.unlink()
    assert translate(adapter, screen, done).status == 0
    assert json.loads((done / "provenance.json").read_text())["steps"] == 1


def test_a_damaged_provenance_is_a_sentence(adapter, screen, done):
    shutil.rmtree(done / RECORDS)
    (done / MARK).unlink()
    (done / "provenance.json").write_text('{"steps": ')
    ran = translate(adapter, screen, done)
    assert ran.status == 2
    assert "of which the record is lost" in ran.error
    assert "is neither an adapter nor" in run("export", done, "--out", done.parent / "e").error


def test_results_from_before_there_were_records_are_made_again(adapter, screen, done):
    shutil.rmtree(done / RECORDS)
    (done / MARK).unlink()
    before = states(done)
    assert "another guidance" in translate(adapter, screen, done, "--guidance", "4").error
    assert translate(adapter, screen, done).status == 0
    assert redone(before, states(done)) == set(KEYS)


def test_what_an_interrupted_run_left_is_known(tmp_path):
    manifest = Manifest(tmp_path, {"steps": 1})
    manifest.begin("a", ["a.tif"])
    (tmp_path / "a.tif").write_text("half the files of a field")
    opened = open_manifest(tmp_path, TRANSLATION, {"steps": 1}, {}, ["a.tif"], ["provenance.json"])
    assert opened.changed("a", "inputs") == "missing"


def test_a_record_that_was_being_written_is_none(tmp_path):
    """A run that is killed leaves it half done, under another name."""
    manifest = Manifest(tmp_path)
    manifest.begin("A", ["a.tif"])
    record = tmp_path / RECORDS / "A.json"
    shutil.copyfile(record, temporary_name(record))
    manifest.discard("A")
    assert manifest.files() == set()


def test_a_record_reaches_no_other_folder(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    out = tmp_path / "out"
    (out / RECORDS).mkdir(parents=True)
    (out / RECORDS / "a.json").write_text(
        json.dumps({"files": {"../mine.txt": {}}, "with_it": [str(tmp_path / "mine.txt")]})
    )
    Manifest(out).clear()
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_second_run_is_refused_while_the_first_one_lasts(adapter, screen, tmp_path):
    with holding(tmp_path / "out"):
        for more in ((), ("--workers", "2")):
            ran = translate(adapter, screen, tmp_path / "out", *more)
            assert ran.status == 2
            assert f"process {os.getpid()} on " in ran.error
    assert [path.name for path in (tmp_path / "out").iterdir()] == []


def test_fingerprints_of_files_and_of_arrays(screen):
    opened = read_screen(screen)
    first = field_fingerprint(opened["A0"], None)
    assert first == field_fingerprint(read_screen(screen)["A0"], None)
    assert first != field_fingerprint(opened["A1"], None)
    pixels = {"a": np.zeros((1, 8, 8), np.uint16), "b": np.zeros((1, 8, 8), np.uint16)}
    arrays = screen_from_arrays(pixels, ["DNA"])
    same, changed = field_fingerprint(arrays["a"], None), pixels["a"].copy()
    assert field_fingerprint(arrays["b"], None) == same
    changed[0, 0, 0] = 1
    assert field_fingerprint(screen_from_arrays({"a": changed}, ["DNA"])["a"], None) != same
    assert field_fingerprint(screen_from_arrays(pixels, ["DNA"], {"a": {"Dose": 1}})["a"], None) != same
    import pandas as pd

    cells = Cells(pd.DataFrame({"field": ["a"], "label": [1], "y": [4.0], "x": [4.0], "area": [9.0]}))
    seen = {field_fingerprint(arrays["a"], one) for one in (None, cells, Cells(cells.table.assign(x=5.0)))}
    seen.add(field_fingerprint(arrays["a"], Cells(cells.table, {"a": np.ones((8, 8), np.int32)})))
    assert len(seen) == 4


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_end_with_a_parent_that_is_killed(adapter, screen, tmp_path):
    command = [sys.executable, "-m", "phenolens", "translate", adapter, screen, "--out", tmp_path / "out"]
    options = ["--cells", "whole", "--steps", "200", "--workers", "2"]
    # The workers, and what keeps count of shared memory for them.
    with (tmp_path / "log").open("w") as log:
        parent = subprocess.Popen([str(part) for part in [*command, *options]], stdout=log, stderr=log)
    children: set[int] = set()
    deadline = time.monotonic() + 240
    while len(children) < 3 and time.monotonic() < deadline and parent.poll() is None:
        time.sleep(0.1)
        children = {int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()}
    assert len(children) >= 3, (tmp_path / "log").read_text()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while any(start_mark(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in children if start_mark(pid)]
    assert (tmp_path / "out" / LOCK).is_file(), "it was killed"
    with holding(tmp_path / "out"):
        pass
