"""A plate is embedded the same wherever that is done, and one bad field holds nobody up."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cli_run import run
from phenolens.profiling.encoders.embedding import embed_screen
from phenolens.profiling.encoders.encoder import load_encoder
from phenolens.profiling.encoders.plate_embedding import embed_on, partial_folder
from phenolens.profiling.tables.profile_files import read_profiles
from phenolens.runtime.progress import finish
from phenolens.screens.cells import cell_finder, find_cells
from phenolens.screens.fingerprints import screen_fingerprint
from phenolens.screens.table import read_screen
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


def test_the_jobs_of_an_array_give_the_same_rows(plate, expected, tmp_path):
    out = tmp_path / "cells.parquet"
    refused = embed(plate, out, "--job", "1/2")
    assert refused.status == 2
    assert "give --crop" in refused.error
    crop = ("--crop", str(expected.card["crop"]))
    assert embed(plate, out, "--job", "2/2", *crop).facts["fields"] == ["P1_A01_s2", "P1_A02_s2", "P1_A03_s2"]
    early = embed(plate, out, "--gather", *crop)
    assert early.status == 2
    assert "3 of 6 fields are not embedded yet" in early.error
    assert embed(plate, out, "--job", "1/2", *crop).status == 0
    assert not out.exists()
    assert embed(plate, out, "--gather", *crop).status == 0
    assert_same(out, expected)
    assert not partial_folder(out).exists()


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
