"""Embeddings and measurements lie in a plate of the same wells, as tables that other programs open."""

import shutil

import numpy as np
import pandas as pd
import pytest
import yaozarrs

from cli_run import run
from phenolens.profiling.tables.profile_files import read_profiles
from phenolens.screens.ome_zarr.images import read_labels
from phenolens.screens.ome_zarr.tables import read_table_inside, table_names
from phenolens.screens.table import read_screen
from tiny_plates import a_plate

CROP = ("--crop", "32")


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    return a_plate(tmp_path_factory.mktemp("plate") / "plate.zarr", wells=2)


def embed(plate, out, *more, encoder="default"):
    return run("micon", "embed", encoder, plate, "--out", out, "--format", "zarr", "--cells", "inside", "--json", *more)


@pytest.fixture(scope="module")
def expected(plate, tmp_path_factory):
    out = tmp_path_factory.mktemp("here") / "out"
    ran = embed(plate, out, *CROP)
    assert (ran.status, ran.facts["rows"], ran.facts["failed"]) == (0, 8, {})
    return out


def assert_same(out, expected):
    """Every file of the plates, but for the lock of nobody, to the byte."""
    made, wanted = (
        {path.relative_to(where).as_posix(): path.read_bytes() for path in where.rglob("*") if path.is_file()}
        for where in (out / "P1__embedded.zarr", expected / "P1__embedded.zarr")
    )
    assert made == wanted
    rows, known = (read_profiles(where / "profiles.parquet") for where in (out, expected))
    pd.testing.assert_frame_equal(rows.metadata, known.metadata)
    np.testing.assert_array_equal(rows.vectors, known.vectors)


def test_a_plate_of_the_same_wells_holds_outlines_measurements_and_embeddings(plate, expected):
    names = [path.name for path in expected.iterdir() if not path.name.startswith(".")]
    assert sorted(names) == ["P1__embedded.zarr", "profiles.parquet", "provenance.json"]
    profiles = read_profiles(expected / "profiles.parquet")
    source, derived = read_screen(plate), read_screen(expected / "P1__embedded.zarr")
    same = ["Metadata_Well", "Metadata_Site", "Metadata_Compound", "Metadata_Concentration"]
    assert derived.table[same].to_numpy().tolist() == source.table[same].to_numpy().tolist()
    for before, field in zip(source, derived, strict=True):
        np.testing.assert_array_equal(np.asarray(field.image().data), np.asarray(before.image().data))
        outlines = np.asarray(read_labels(field.address, "cells").pixels)
        np.testing.assert_array_equal(outlines, np.asarray(read_labels(before.address, "nuclei").pixels))
        assert table_names(field.address) == ("cells", "embeddings")
        cells, rows = (read_table_inside(field.address, name) for name in ("cells", "embeddings"))
        assert cells["label"].tolist() == rows["label"].tolist() == [1, 4]
        np.testing.assert_allclose(cells["DNA mean"], [before.image().plane()[0][outlines == n].mean() for n in (1, 4)])
        here = (profiles.metadata["Metadata_Field"] == before.key).to_numpy()
        np.testing.assert_array_equal(rows.filter(like="emb_").to_numpy(np.float32), profiles.vectors[here])


def test_ngio_opens_the_plate_as_it_is(plate, expected):
    import zarr
    from ngio import open_ome_zarr_plate
    from ome_zarr_models import open_ome_zarr

    where = expected / "P1__embedded.zarr"
    assert type(open_ome_zarr(zarr.open_group(where, mode="r"))).__name__ == "HCS"
    yaozarrs.validate_zarr_store(str(where))
    images = open_ome_zarr_plate(where).get_images()
    assert sorted(images) == ["A/1/1", "A/1/2", "A/2/1", "A/2/2"]
    for image in images.values():
        assert image.list_labels() == ["cells"]
        assert sorted(image.list_tables()) == ["cells", "embeddings"]
        table = image.get_table("embeddings")
        assert table.table_type() == "feature_table"
        assert table.dataframe.index.tolist() == [1, 4]
        assert all(str(name).startswith("emb_") for name in table.dataframe.columns)


def test_the_jobs_of_an_array_make_the_same_plate(plate, expected, tmp_path):
    for job in ("2/2", "1/2"):
        assert embed(plate, tmp_path, *CROP, "--job", job).status == 0
        assert not (tmp_path / "P1__embedded.zarr" / "zarr.json").exists(), "what the plate says is written once"
    assert embed(plate, tmp_path, *CROP, "--gather").status == 0
    assert_same(tmp_path, expected)


def test_a_run_that_fails_goes_on_where_it_ended(plate, expected, tmp_path, monkeypatch):
    from phenolens.runtime.errors import OutputError
    from phenolens.screens.ome_zarr.derived_plates import DerivedPlates

    usual, written = DerivedPlates.write, []

    def full(self, folder, key, *about, **more):
        if len(written) == 2:
            raise OutputError("It is full.")
        written.append(key)
        usual(self, folder, key, *about, **more)

    with monkeypatch.context() as patched:
        patched.setattr(DerivedPlates, "write", full)
        ran = embed(plate, tmp_path / "out", *CROP)
    assert ran.status == 2
    assert "It is full" in ran.error
    again = []
    monkeypatch.setattr(DerivedPlates, "write", lambda *about, **more: again.append(about[2]) or usual(*about, **more))
    assert embed(plate, tmp_path / "out", *CROP).status == 0
    assert (len(written), len(again)) == (2, 2)
    assert not set(written) & set(again)
    assert_same(tmp_path / "out", expected)


def test_a_field_that_cannot_be_read_is_not_in_the_plate(plate, tmp_path):
    copied = shutil.copytree(plate, tmp_path / "plate.zarr")
    place = copied / "A" / "2" / "2"
    chunk = max((path for path in place.joinpath("0").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:40])
    ran = embed(copied, tmp_path / "out", *CROP)
    assert (ran.status, list(ran.facts["failed"]), ran.facts["rows"]) == (3, ["P1_A02_s2"], 6)
    assert [field.key for field in read_screen(tmp_path / "out" / "P1__embedded.zarr")] == [
        "P1__embedded_A01_s1", "P1__embedded_A01_s2", "P1__embedded_A02_s1",
    ]  # fmt: skip


def test_what_does_not_go_together_is_said(plate, expected, tmp_path):
    said = embed(plate, tmp_path / "out", "--level", "well")
    assert (said.status, "leave --level out" in said.error) == (2, True)
    (tmp_path / "mine" / "P1__embedded.zarr" / "A" / "1" / "1").mkdir(parents=True)
    others = embed(plate, tmp_path / "mine", *CROP)
    assert (others.status, "phenolens did not write" in others.error) == (2, True)
    other = run("micon", "embed", "default", plate, "--out", expected, "--format", "zarr", "--cells", "whole")
    assert other.status == 2
    assert "another choice of cells" in other.error
