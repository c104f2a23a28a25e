"""Cells of a plate are found the same wherever that is done, and are the cells of the screen afterwards."""

import shutil

import numpy as np
import pandas as pd
import pytest

from cli_run import run
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.label_images import write_label_image
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_screen
from tiny_plates import a_cluster, a_plate, assert_same_files


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    return a_plate(tmp_path_factory.mktemp("plate") / "plate.zarr", wells=3)


def cells(screen, out, *more, how="inside"):
    return run("cells", screen, "--out", out, "--cells", how, "--json", *more)


@pytest.fixture(scope="module")
def expected(plate, tmp_path_factory):
    out = tmp_path_factory.mktemp("here") / "out"
    ran = cells(plate, out)
    assert (ran.status, ran.facts["cells"], ran.facts["kept"], ran.facts["failed"]) == (0, 12, 0, {})
    return out


def test_what_is_found_is_measured_and_is_the_cells_of_the_screen_afterwards(plate, expected):
    screen = read_screen(plate)
    table = pd.read_parquet(expected / "cells.parquet")
    first = table.iloc[1]
    plane = screen[first["field"]].image().plane()[:, 36:50, 34:44]
    assert (first["field"], first["labels"], first["label"]) == ("P1_A01_s1", "P1_A01_s1_labels.ome.tif", 4)
    assert (first["y"], first["x"], first["area"]) == (42.5, 38.5, 140)
    np.testing.assert_allclose([first["DNA mean"], first["Actin mean"]], plane.mean((1, 2)))
    np.testing.assert_allclose([first["DNA spread"], first["Actin spread"]], plane.std((1, 2)))
    assert (first["Metadata_Well"], first["Metadata_Compound"]) == ("A01", "drug A")
    again, before = (finish(find_cells(screen, how)) for how in (expected, "inside"))
    pd.testing.assert_frame_equal(again.table, before.table)
    for key in before.labels:
        np.testing.assert_array_equal(again.labels[key], before.labels[key])


def test_cells_are_looked_for_in_the_pixels(tmp_path):
    screen = finish(simulate_screen(tmp_path / "screen", "translocation", wells=2, cells=5, seed=3, shape=(128, 128)))
    ran = cells(screen, tmp_path / "out", how="auto")
    assert ran.status == 0
    again, before = (finish(find_cells(read_screen(screen), how)) for how in (tmp_path / "out", "auto"))
    pd.testing.assert_frame_equal(again.table, before.table)
    refused = cells(screen, tmp_path / "out", "--channel", "GFP", how="auto")
    assert refused.status == 2
    assert "no channel 'GFP'" in refused.error


def test_the_jobs_of_an_array_write_the_same(plate, expected, tmp_path):
    out = tmp_path / "out"
    assert len(cells(plate, out, "--job", "2/2").facts["fields"]) == 3
    early = cells(plate, out, "--gather")
    assert early.status == 2
    assert "3 of 6 fields are not searched for cells yet" in early.error
    assert cells(plate, out, "--job", "1/2").status == 0
    assert cells(plate, out, "--gather").facts["kept"] == 6
    assert_same_files(out, expected)


@pytest.mark.slow
def test_processes_and_a_cluster_write_the_same(plate, expected, tmp_path):
    assert cells(plate, tmp_path / "processes", "--workers", "2").status == 0
    assert_same_files(tmp_path / "processes", expected)
    with a_cluster() as cluster:
        assert cells(plate, tmp_path / "cluster", "--scheduler", cluster.scheduler_address).status == 0
    assert_same_files(tmp_path / "cluster", expected)


def test_a_bad_field_is_named_and_the_rest_finishes_and_goes_on(plate, expected, tmp_path):
    copied, out = shutil.copytree(plate, tmp_path / "plate.zarr"), tmp_path / "out"
    shutil.rmtree(copied / "A" / "2" / "1" / "labels")
    ran = cells(copied, out)
    assert (ran.status, list(ran.facts["failed"]), ran.facts["cells"]) == (3, ["P1_A02_s1"], 10)
    assert "holds no labels" in ran.error
    (out / "P1_A01_s1_labels.ome.tif").unlink()
    shutil.rmtree(copied)
    shutil.copytree(plate, copied)
    mended = cells(copied, out, "--retry-failed")
    assert (mended.status, mended.facts["kept"]) == (0, 4), "one was lost and one was mended, the others are kept"
    assert_same_files(out, expected)


def test_a_trial_after_a_whole_run_leaves_the_whole_table(plate, expected, tmp_path):
    out = shutil.copytree(expected, tmp_path / "out")
    tried = cells(plate, out, "--subset", "1")
    assert (len(tried.facts["fields"]), tried.facts["kept"], tried.facts["cells"]) == (2, 2, 12)
    assert_same_files(out, expected)


def test_labels_that_were_changed_are_measured_again(plate, tmp_path):
    given, out = tmp_path / "given", tmp_path / "out"
    screen = read_screen(plate)
    found = finish(find_cells(screen, "inside"))
    given.mkdir()
    for key, labels in found.labels.items():
        write_label_image(given / f"{key}_labels.ome.tif", labels, key)
    assert cells(plate, out, how=given).facts["cells"] == 12
    key, labels = next(iter(found.labels.items()))
    write_label_image(given / f"{key}_labels.ome.tif", np.where(labels == 1, 0, labels), key)
    again = cells(plate, out, how=given)
    assert (again.facts["cells"], again.facts["kept"]) == (11, 5)


def test_what_cannot_be_written_is_refused(plate, expected, tmp_path):
    whole = cells(plate, tmp_path / "out", how="whole")
    assert whole.status == 2
    assert "no outlines" in whole.error
    other = cells(plate, expected, how="auto")
    assert other.status == 2
    assert "another way to find cells" in other.error
