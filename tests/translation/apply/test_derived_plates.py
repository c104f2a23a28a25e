"""What translate makes of a plate is a plate again, of the same wells, that other programs open as it is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaozarrs

from cli_run import run
from phenolens.evaluation.noise.noise_floor import NoiseFloor
from phenolens.screens.images import read_image
from phenolens.screens.ome_zarr.images import read_labels
from phenolens.screens.ome_zarr.tables import read_table_inside
from phenolens.screens.table import read_screen
from phenolens.translation.model.adapter import Adapter
from tiny_base import make_tiny_adapter
from tiny_plates import COMPOUNDS, a_cluster, a_plate

OPTIONS = ("--strength", "0", "1", "--steps", "2", "--cells", "inside", "--alpha", "0", "--json")
PLATES = ["P1__difference.zarr", "P1__s0.00.zarr", "P1__s1.00.zarr"]


@pytest.fixture(scope="module")
def adapter(tiny_base, tmp_path_factory):
    return make_tiny_adapter(tiny_base).save(tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    return a_plate(tmp_path_factory.mktemp("plate") / "plate.zarr", wells=2, acquisitions=True)


def translate(adapter, plate, out, *more):
    return run("translate", adapter, plate, "--out", out, *OPTIONS, "--format", "zarr", *more)


@pytest.fixture(scope="module")
def expected(adapter, plate, tmp_path_factory):
    out = tmp_path_factory.mktemp("here") / "out"
    ran = translate(adapter, plate, out)
    assert (ran.status, len(ran.facts["fields"])) == (0, 4)
    return out


def contents(out):
    """Every file of the plates, by its path."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for plate in out.glob("*.zarr") for path in plate.rglob("*") if path.is_file()
    }  # fmt: skip


def assert_same(out, expected):
    made, wanted = contents(out), contents(expected)
    assert made.keys() == wanted.keys()
    tables = {name for name in wanted if name.endswith(".parquet")}
    assert [name for name in wanted.keys() - tables if made[name] != wanted[name]] == []
    for name in tables:
        pd.testing.assert_frame_equal(pd.read_parquet(out / name), pd.read_parquet(expected / name))


def test_the_plates_hold_the_same_pixels_as_files_would(adapter, plate, expected, tmp_path):
    assert sorted(path.name for path in expected.glob("*.zarr")) == PLATES
    assert run("translate", adapter, plate, "--out", tmp_path / "files", *OPTIONS).status == 0
    for name, kind in (("P1__s1.00", "s1.00"), ("P1__difference", "difference"), ("P1__s0.00", "s0.00")):
        derived = read_screen(expected / f"{name}.zarr")
        assert len(derived) == 4
        for source, made in zip(read_screen(plate), derived, strict=True):
            image, file = made.image(), read_image(tmp_path / "files" / f"{source.key}__{kind}.ome.tif")
            np.testing.assert_array_equal(np.asarray(image.data), np.asarray(file.data))
            assert (image.dtype, image.pixel_size) == (file.dtype, (0.5, 0.5))
            assert image.details.synthetic == (kind != "s0.00")
            assert image.channel_names == file.channel_names


def test_a_derived_plate_is_a_screen_with_its_wells_conditions_labels_and_tables(adapter, plate, expected):
    source, derived = read_screen(plate), read_screen(expected / "P1__s1.00.zarr")
    same = ["Metadata_Well", "Metadata_Row", "Metadata_Column", "Metadata_Site", "Metadata_Acquisition",
            "Metadata_Compound", "Metadata_Concentration"]  # fmt: skip
    assert derived.table[same].to_numpy().tolist() == source.table[same].to_numpy().tolist()
    assert set(derived.table["Metadata_Synthetic"].astype(str)) == {"True"}
    assert set(derived.table["Metadata_Target"]) == {"treated"}
    for before, field in zip(source, derived, strict=True):
        outlines = np.asarray(read_labels(field.address, "cells").pixels)
        np.testing.assert_array_equal(outlines, np.asarray(read_labels(before.address, "nuclei").pixels))
        table = read_table_inside(field.address, "cells")
        plane = field.image().plane()
        assert table["label"].tolist() == [1, 4]
        assert table["area"].tolist() == [120, 140]
        named = field.image().channel_names[0].removeprefix("synthetic ")
        np.testing.assert_allclose(table[f"{named} mean"], [plane[0][outlines == label].mean() for label in (1, 4)])
        assert set(table["Metadata_Compound"]) == {field.metadata["Metadata_Compound"]} <= set(COMPOUNDS)
        assert table[["source", "target", "strength", "synthetic"]].iloc[0].tolist() == [
            "control", "treated", 1.0, True,
        ]  # fmt: skip


def test_other_programs_open_the_plates_as_they_are(plate, expected):
    import zarr
    from ngio import open_ome_zarr_plate
    from ome_zarr_models import open_ome_zarr

    original = json.loads((plate / "zarr.json").read_text())["attributes"]["ome"]["plate"]
    for name in PLATES:
        model = open_ome_zarr(zarr.open_group(expected / name, mode="r"))
        assert type(model).__name__ == "HCS"
        made = json.loads((expected / name / "zarr.json").read_text())["attributes"]["ome"]["plate"]
        for part in ("rows", "columns", "wells", "acquisitions", "field_count"):
            assert made[part] == original[part], part
        yaozarrs.validate_zarr_store(str(expected / name))
        opened = open_ome_zarr_plate(expected / name)
        images = opened.get_images()
        assert sorted(images) == ["A/1/1", "A/1/2", "A/2/1", "A/2/2"]
        image = images["A/2/1"]
        assert image.list_labels() == ["cells"]
        assert image.list_tables() == ["cells"]
        assert image.get_table("cells").dataframe.index.tolist() == [1, 4]
        assert image.get_image().get_as_numpy().shape[-2:] == (64, 64)
        assert opened.get_table("conditions").dataframe["Compound"].tolist() == ["drug A", "drug B"]


@pytest.mark.slow
def test_the_jobs_of_an_array_make_the_same_plates(adapter, plate, expected, tmp_path):
    for job in ("2/2", "1/2"):
        assert translate(adapter, plate, tmp_path, "--job", job).status == 0
        assert not (tmp_path / "P1__s1.00.zarr" / "zarr.json").exists(), "what the plates say is written once"
    assert translate(adapter, plate, tmp_path, "--gather").status == 0
    assert_same(tmp_path, expected)


@pytest.mark.slow
def test_processes_make_the_same_plates(adapter, plate, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # a thread each
    assert translate(adapter, plate, tmp_path / "processes", "--workers", "2").status == 0
    assert_same(tmp_path / "processes", expected)
    with a_cluster() as cluster:
        assert translate(adapter, plate, tmp_path / "cluster", "--scheduler", cluster.scheduler_address).status == 0
    assert_same(tmp_path / "cluster", expected)


def test_an_image_that_is_lost_or_was_changed_is_made_again(adapter, plate, expected, tmp_path):
    out = shutil.copytree(expected, tmp_path / "out")
    shutil.rmtree(out / "P1__s1.00.zarr" / "A" / "1" / "2")
    chunk = next(
        path for path in (out / "P1__difference.zarr/A/2/1/0").rglob("*") if path.is_file() and "c" in path.parts
    )
    chunk.write_bytes(chunk.read_bytes()[:-4])
    ran = translate(adapter, plate, out)
    assert (ran.status, ran.facts["kept"], ran.facts["made_again"]) == (0, 2, 2)
    assert_same(out, expected)


@pytest.mark.slow
def test_plates_and_files_are_not_mixed(adapter, plate, expected, tmp_path):
    out = shutil.copytree(expected, tmp_path / "out")
    refused = run("translate", adapter, plate, "--out", out, *OPTIONS)
    assert refused.status == 2
    assert "made with another file format" in refused.error
    assert run("translate", adapter, plate, "--out", out, *OPTIONS, "--overwrite").status == 0
    assert not [path for path in out.glob("*.zarr/**/*") if path.is_file() and "0" in path.parts]


@pytest.mark.slow
def test_a_field_that_failed_is_not_in_the_plate(adapter, plate, tmp_path):
    copied = shutil.copytree(plate, tmp_path / "plate.zarr")
    (chunk,) = [path for path in (copied / "A/2/1/0/c/0").rglob("*") if path.is_file()]
    chunk.write_bytes(chunk.read_bytes()[:40])
    assert translate(adapter, copied, tmp_path / "out").status == 3
    derived = read_screen(tmp_path / "out" / "P1__s1.00.zarr")
    assert derived.table[["Metadata_Well", "Metadata_Site"]].to_numpy().tolist() == [["A01", 1], ["A01", 2], ["A02", 2]]


@pytest.mark.slow
def test_a_plate_of_the_older_version_gives_one_and_fields_without_cells_or_wells_too(adapter, tmp_path):
    older = a_plate(tmp_path / "plate.zarr", wells=5, sites=2, version="0.4")
    assert translate(adapter, older, tmp_path / "out", "--subset", "2").status == 0
    derived = tmp_path / "out" / "P1__s1.00.zarr"
    assert (derived / ".zattrs").is_file()
    assert read_screen(derived).table["Metadata_Well"].tolist() == ["A01", "A01", "A05", "A05"]
    image = read_screen(older).fields[0].address
    assert translate(adapter, image, tmp_path / "single").status == 0
    assert sorted(path.name for path in (tmp_path / "single").glob("*.zarr"))[-1].endswith("__s1.00.ome.zarr")


def test_translated_plates_are_exported(adapter, plate, expected, tmp_path):
    key = read_screen(plate).fields[1].key
    assert run("export", expected, "--field", key, "--out", tmp_path / "exported").status == 0
    made = np.asarray(read_image(tmp_path / "exported" / f"{key}__translated.ome.tif").data)
    np.testing.assert_array_equal(made, np.asarray(read_image(expected / "P1__s1.00.zarr" / "A" / "1" / "2").data))


def test_files_of_others_are_never_replaced(adapter, plate, tmp_path):
    foreign = tmp_path / "out" / "P1__s1.00.zarr" / "A" / "1" / "1"
    Path(foreign).mkdir(parents=True)
    (foreign / "mine.txt").write_text("mine")
    refused = translate(adapter, plate, tmp_path / "out")
    assert refused.status == 2
    assert "did not write" in refused.error
    assert (foreign / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_what_is_beyond_the_noise_floor_is_a_plate_too(adapter, plate, tmp_path):
    copied = shutil.copytree(adapter, tmp_path / "adapter")
    maxima = np.random.default_rng(0).uniform(0.01, 0.02, (1, 39, 2))
    names = Adapter.load(copied).channel_names
    NoiseFloor((1.0,), maxima, np.zeros(39, int), np.full(39, "w"), names, (), 1.0, 1.0).save(copied / "noise_floor")
    ran = run("translate", copied, plate, "--out", tmp_path / "out", *OPTIONS, "--format", "zarr", "--guidance", "1",
              "--alpha", "0.05")  # fmt: skip
    assert ran.status == 0
    (first, *_) = marked = read_screen(tmp_path / "out" / "P1__significant.zarr").fields
    assert len(marked) == 4
    mask = np.asarray(first.image().data)
    assert first.image().details.synthetic
    assert set(np.unique(mask)) <= {0, 1}
    difference = read_screen(tmp_path / "out" / "P1__difference.zarr").fields[0].image().plane()
    kept = read_screen(tmp_path / "out" / "P1__significant_difference.zarr").fields[0].image().plane()
    np.testing.assert_array_equal(kept, np.where(mask > 0, difference, 0))


def test_a_trial_after_a_whole_run_leaves_the_whole_plate(adapter, plate, expected, tmp_path):
    out = tmp_path / "out"
    tried = translate(adapter, plate, out, "--subset", "1")
    assert len(read_screen(out / "P1__s1.00.zarr")) == len(tried.facts["fields"]) == 2
    assert translate(adapter, plate, out).facts["kept"] == 2
    again = translate(adapter, plate, out, "--subset", "1")
    assert (again.status, len(again.facts["fields"]), again.facts["kept"]) == (0, 2, 2)
    assert_same(out, expected)
    made, wanted = (pd.read_parquet(folder / "cells.parquet") for folder in (out, expected))
    pd.testing.assert_frame_equal(made, wanted)
    assert len(json.loads((out / "provenance.json").read_text())["inputs"]) == 4


def test_overwriting_leaves_no_empty_groups(adapter, plate, expected, tmp_path):
    out = shutil.copytree(expected, tmp_path / "out")
    less = a_plate(tmp_path / "less.zarr", wells=1)
    ran = run("translate", adapter, less, "--out", out, "--strength", "1", "--steps", "1", "--cells", "inside",
              "--alpha", "0", "--json", "--format", "zarr", "--overwrite")  # fmt: skip
    assert (ran.status, len(ran.facts["fields"])) == (0, 2)
    assert sorted(path.name for path in out.glob("*.zarr")) == ["P1__difference.zarr", "P1__s1.00.zarr"]
    for name in ("P1__difference.zarr", "P1__s1.00.zarr"):
        assert sorted(path.name for path in (out / name / "A").iterdir() if path.is_dir()) == ["1"]
