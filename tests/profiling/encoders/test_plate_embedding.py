"""A plate is embedded the same wherever that is done, and one bad field holds nobody up."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cli_run import run
from phenolens.profiling.encoders import crop_size
from phenolens.profiling.encoders.embedding import embed_screen
from phenolens.profiling.encoders.encoder import load_encoder
from phenolens.profiling.encoders.plate_embedding import embed_on, partial_folder
from phenolens.profiling.tables.profile_files import read_profiles
from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import CellFinder, cell_finder, find_cells
from phenolens.screens.fingerprints import screen_fingerprint
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.table import read_screen, screen_from_arrays
from tiny_plates import a_cluster, a_plate


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    return a_plate(tmp_path_factory.mktemp("plate") / "plate.zarr", wells=3)


@pytest.fixture(scope="module")
def expected(plate):
    """As one call embeds the whole screen."""
    screen = read_screen(plate)
    return finish(embed_screen(load_encoder(), screen, finish(find_cells(screen, "inside"))))


def embed(plate, out, *more):
    return run("micon", "embed", "default", plate, "--out", out, "--cells", "inside", "--json", *more)


def assert_same(file, expected):
    made = read_profiles(file)
    pd.testing.assert_frame_equal(made.metadata, expected.metadata)
    np.testing.assert_array_equal(made.vectors, expected.vectors)
    return made


def test_a_plate_is_embedded_as_one_call_does_it(plate, expected, tmp_path):
    out = tmp_path / "cells.parquet"
    ran = embed(plate, out)
    assert (ran.status, ran.facts["rows"], ran.facts["failed"]) == (0, 12, {})
    made = assert_same(out, expected)
    screen = read_screen(plate)
    assert made.card["inputs_sha256"] == screen_fingerprint(screen, finish(find_cells(screen, "inside")))
    assert made.card["crop"] == expected.card["crop"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.parquet"], "what was finished is gone"


def small_and_large_cells(field):
    """A square in each field, larger in the first field of each well."""
    labels, side = np.zeros((64, 64), np.int32), 14 if field.key.endswith("1") else 8
    labels[20 : 20 + side, 20 : 20 + side] = 1
    return {"nuclei": LabelImage(labels, "YX")}


def test_the_jobs_of_an_array_give_the_same_rows(tmp_path, monkeypatch):
    plate = a_plate(tmp_path / "plate.zarr", wells=3, labels=small_and_large_cells)
    monkeypatch.setattr(crop_size, "FIELDS", 3)
    screen, out = read_screen(plate), tmp_path / "cells.parquet"
    expected = finish(embed_screen(load_encoder(), screen, finish(find_cells(screen, "inside"))))
    looked, usual = [], CellFinder.cells_in
    monkeypatch.setattr(CellFinder, "cells_in", lambda self, field: looked.append(field.key) or usual(self, field))
    second, first = ([f"P1_A0{well}_s{site}" for well in (1, 2, 3)] for site in (2, 1))
    assert embed(plate, out, "--job", "2/2").facts["fields"] == second
    assert len(looked) > 3, "the size goes by fields of other jobs too"
    early = embed(plate, out, "--gather")
    assert early.status == 2
    assert "3 of 6 fields are not embedded yet" in early.error
    looked.clear()
    assert embed(plate, out, "--job", "1/2").status == 0
    assert looked == first, "the size is known, and was not looked for again"
    assert not out.exists()
    assert embed(plate, out, "--gather").status == 0
    assert embed(plate, tmp_path / "one.parquet").status == 0
    assert assert_same(out, expected).card["crop"] == expected.card["crop"]
    assert out.read_bytes() == (tmp_path / "one.parquet").read_bytes()
    assert not partial_folder(out).exists()


@pytest.mark.parametrize("large", [1, 2])
def test_the_size_of_a_crop_goes_by_a_sample_that_is_the_same_everywhere(large, monkeypatch):
    monkeypatch.setattr(crop_size, "FIELDS", 2)
    keys = [f"field{number}" for number in range(6)]
    screen = screen_from_arrays({key: np.zeros((1, 200, 200), np.uint8) for key in keys}, ("DNA",))
    areas, asked = dict.fromkeys(keys, 100), []

    def cells_of(key):
        yield from ()
        asked.append(key)
        row = {"field": key, "label": 1, "y": 99.0, "x": 99.0, "area": areas[key]}
        return None if len(asked) == 1 else pd.DataFrame([row][: 0 if len(asked) == 2 else 1])

    def size(order):
        asked.clear()
        return finish(crop_size.sampled_crop(screen.select([key in order for key in keys]), cells_of, whole=False))

    assert size(keys) == 48
    unread, without, *sample = asked
    assert len(sample) == 2
    areas.update(dict.fromkeys(sample[:large], 1000))
    assert size(keys) == {1: 104, 2: 144}[large]
    with pytest.raises(CellError, match="No cells were found in 2 fields"):
        size([unread, without])


@pytest.mark.slow
def test_processes_and_a_cluster_give_the_same_rows(plate, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # a thread each
    assert embed(plate, tmp_path / "processes.parquet", "--workers", "2").status == 0
    assert_same(tmp_path / "processes.parquet", expected)
    with a_cluster() as cluster:
        ran = embed(plate, tmp_path / "cluster.parquet", "--scheduler", cluster.scheduler_address)
    assert ran.status == 0
    assert_same(tmp_path / "cluster.parquet", expected)


def test_a_run_that_was_stopped_goes_on(plate, expected, tmp_path, monkeypatch):
    screen, out, written = read_screen(plate), tmp_path / "cells.parquet", []
    job = embed_on(load_encoder(), screen, cell_finder(screen, "inside"), out, written.append)
    for progress in job:
        if progress.message == "Finished P1_A02_s1" and list(partial_folder(out).glob("vectors/*.npy")):
            break
    job.close()
    done = list(partial_folder(out).glob("vectors/*.npy"))
    assert 0 < len(done) < 6
    assert not written
    asked = []
    usual = type(load_encoder()).features
    monkeypatch.setattr(
        "phenolens.profiling.encoders.encoder.CellEncoder.features",
        lambda self, mapped, size: asked.append(len(mapped)) or usual(self, mapped, size),
    )
    assert embed(plate, out).status == 0
    assert len(asked) == 6 - len(done)
    assert_same(out, expected)


def test_a_bad_field_is_named_and_the_rest_is_embedded(plate, expected, tmp_path):
    copied, out = shutil.copytree(plate, tmp_path / "plate.zarr"), tmp_path / "cells.parquet"
    first = Path(read_screen(copied).fields[0].address)
    chunk = max((path for path in first.joinpath("0").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:40])
    ran = embed(copied, out)
    assert (ran.status, list(ran.facts["failed"]), ran.facts["rows"]) == (3, ["P1_A01_s1"], 10)
    assert list(read_profiles(out).card["failed"]) == ["P1_A01_s1"]
    again = embed(copied, out)
    assert (again.status, again.facts["rows"]) == (3, 10), "it is left out until --retry-failed"
    shutil.rmtree(first)
    shutil.copytree(plate / first.relative_to(copied), first)
    assert embed(copied, out, "--retry-failed").status == 0
    assert_same(out, expected)
