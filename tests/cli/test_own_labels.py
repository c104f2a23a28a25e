"""Labels of the user's own on the command line: a folder, or inside the OME-Zarr, for each command that takes cells."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from cli_run import run
from phenolens.profiling.tables.profile_files import read_profiles
from phenolens.runtime.progress import finish
from phenolens.screens.label_images import write_label_image
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.ome_zarr.plate_writing import write_plate
from phenolens.screens.table import read_screen
from phenolens.simulation.screen import simulate_screen

CONTROL, TREATED = "Metadata_Role=negative control", "Metadata_Role=treated"
# far from where any nucleus would be found, and other ones in each field
CORNERS = [(20, 20), (20, 80), (80, 20), (80, 80)]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A screen, the same as an OME-Zarr plate with labels inside, and label images in a folder: of one cell a field."""
    folder = tmp_path_factory.mktemp("own")
    made = finish(simulate_screen(folder / "screen", "translocation", wells=4, cells=3, shape=(112, 112), seed=3))
    screen, images = read_screen(made), {}
    for field, (y, x) in zip(screen, CORNERS, strict=True):
        labels = np.zeros((112, 112), np.int32)
        labels[y : y + 15, x : x + 15] = 3
        labels[y, 50:60] = 4
        images[field.key] = labels
        (folder / "mine").mkdir(exist_ok=True)
        write_label_image(folder / "mine" / f"{field.key}.tif", labels, field.key)
    inside = lambda field: {"nuclei": LabelImage(images[field.key], "YX")}  # noqa: E731
    finish(write_plate(folder / "plate.zarr", screen, labels=inside))
    return folder


def places(labelled):
    """Well and centre of each cell that was drawn."""
    screen = read_screen(labelled / "screen")
    drawn = set()
    for field, (y, x) in zip(screen, CORNERS, strict=True):
        drawn |= {(field.metadata["Metadata_Well"], y + 7, x + 7), (field.metadata["Metadata_Well"], y, 54)}
    return drawn


def wells_of(where, cells):
    """Well and centre of each row of a table of cells."""
    wells = {field.key: field.metadata["Metadata_Well"] for field in read_screen(where)}
    rows = zip(cells["field"], cells["y"], cells["x"], strict=True)
    return {(wells[field], int(y), int(x)) for field, y, x in rows}


@pytest.fixture(scope="module", params=["folder", "inside"])
def given(request, labelled):
    """The screen, and what ``--cells`` is given."""
    if request.param == "folder":
        return labelled / "screen", labelled / "mine"
    return labelled / "plate.zarr", "inside"


@pytest.mark.slow
def test_every_command_takes_these_cells_and_no_other(labelled, given, tiny_base, tmp_path):
    screen, cells = given
    done = run(
        *("finetune", screen, "--source", CONTROL, "--target", TREATED, "--out", tmp_path / "adapter"),
        *("--base", tiny_base, "--rank", "2", "--steps", "1", "--crop", "32", "--device", "cpu", "--cells", cells),
        "--json",
    )
    assert done.status == 0, done.error
    assert done.facts["cells"] == {CONTROL: 4, TREATED: 4}
    drawn = places(labelled)
    for how in (("--cells", cells), ()):  # given, and as the adapter was trained
        out = tmp_path / f"translated{len(how)}"
        done = run("translate", tmp_path / "adapter", screen, "--out", out, "--steps", "1", "--strength", "1", *how)
        assert done.status == 0, done.error
        assert wells_of(screen, pd.read_parquet(out / "cells.parquet")) == drawn
    judged = run(
        *("evaluate", tmp_path / "adapter", screen, "--out", tmp_path / "e", "--cells", cells),
        *("--unseen", "--most", "8", "--steps", "1", "--json"),
    )
    assert judged.status == 0, judged.error
    assert wells_of(screen, pd.read_parquet(tmp_path / "e" / "cells.parquet")) <= drawn
    done = run(
        *("micon", "embed", "default", screen, "--out", tmp_path / "p.parquet", "--cells", cells, "--crop", "32")
    )
    assert done.status == 0, done.error
    table = read_profiles(tmp_path / "p.parquet").metadata
    found = zip(table["Metadata_Well"], table["Metadata_Y"], table["Metadata_X"], strict=True)
    assert {(well, int(y), int(x)) for well, y, x in found} == drawn


def test_labels_of_another_field_are_refused(labelled, tmp_path):
    wrong = tmp_path / "mine"
    shutil.copytree(labelled / "mine", wrong)
    first, second, *_ = sorted(wrong.iterdir())
    shutil.copyfile(first, second)
    done = run("micon", "embed", "default", labelled / "screen", "--cells", wrong, "--out", tmp_path / "p.parquet")
    assert done.status == 3, "the others are embedded"
    assert f"says that it is of field {first.stem}, and not of {second.stem}" in done.error
    (tmp_path / "p.parquet").unlink()
    second.unlink()
    done = run("micon", "embed", "default", labelled / "screen", "--cells", wrong, "--out", tmp_path / "p.parquet")
    assert (done.status, f"has no label image for field {second.stem}" in done.error) == (2, True)
    done = run("micon", "embed", "default", labelled / "screen", "--cells", "inside", "--out", tmp_path / "p.parquet")
    assert (done.status, "holds no labels" in done.error) == (2, True)
    assert not (tmp_path / "p.parquet").exists()
    assert json.loads((labelled / "plate.zarr" / "zarr.json").read_text())["attributes"]["ome"]
