"""Cells of a screen from segmentation, label images and whole crops."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells, guess_nucleus_channel, suggest_crop
from phenolens.screens.table import read_screen, screen_from_arrays
from three_nuclei import CENTRES, a_screen


def test_nuclei_are_found_measured_and_reported():
    job = find_cells(a_screen())
    steps = [next(job), next(job)]
    assert [(step.step, step.total) for step in steps] == [(1, 2), (2, 2)]
    cells = finish(job)
    assert list(cells.table.columns[:5]) == ["field", "label", "y", "x", "area"]
    assert list(cells.table["field"]) == ["f0"] * 3 + ["f1"] * 3
    found = cells.table[cells.table["field"] == "f0"].sort_values("y")
    assert np.abs(found[["y", "x"]].to_numpy() - CENTRES).max() < 1
    assert found["area"].to_numpy() == pytest.approx(np.pi * 81, rel=0.15)
    assert cells.labels["f0"].shape == (128, 144)


@pytest.mark.parametrize("names", [("GFP", "DNA"), ("a", "b"), ("reporter", "Hoechst 33342")])
def test_the_nucleus_channel_is_guessed_by_name_or_looks(names):
    assert guess_nucleus_channel(a_screen(names)) == 1


def test_whole_images_are_one_cell_each():
    screen = a_screen()
    cells = finish(find_cells(screen, "whole"))
    assert len(cells) == 2
    assert cells.table.iloc[0].to_dict() == {"field": "f0", "label": 1, "y": 63.5, "x": 71.5, "area": 128 * 144}
    assert suggest_crop(cells, screen) == 144


def test_the_suggested_crop_shows_a_nucleus_and_its_surroundings():
    screen = a_screen()
    crop = suggest_crop(finish(find_cells(screen)), screen)
    assert crop % 2 == 0
    assert 2 * 18 <= crop <= 4 * 18


def test_labels_are_given_by_mapping_or_folder(tmp_path):
    labels = np.zeros((128, 144), np.uint16)
    labels[10:20, 30:40], labels[60:70, 60:80] = 4, 17
    given = finish(find_cells(a_screen(), {"f0": labels, "f1": labels}))
    for key in ("f0", "f1"):
        tifffile.imwrite(tmp_path / f"{key}.tif", labels)
    read = finish(find_cells(a_screen(), tmp_path))
    assert given.table.equals(read.table)
    assert list(given.table["label"]) == [4, 17, 4, 17]
    assert given.table.loc[0, ["y", "x", "area"]].tolist() == [14.5, 34.5, 100]


def test_label_images_that_do_not_fit_are_explained(tmp_path):
    good = np.ones((128, 144), np.uint8)
    cases = [
        ({"f0": good}, "field f1"),
        ({"f0": good[:-1], "f1": good}, r"f0.*127.*144.*128"),
        ({"f0": good.astype(float), "f1": good}, "whole numbers"),
        (tmp_path / "none", "no folder"),
        (tmp_path, "no label image for field f0"),
        ({"f0": good * 0, "f1": good * 0}, "No cells"),
    ]
    for how, words in cases:
        with pytest.raises(CellError, match=words):
            finish(find_cells(a_screen(), how))


def test_fields_without_a_nucleus_are_an_error_that_says_what_to_do():
    blank = screen_from_arrays({"a": np.zeros((2, 64, 64), np.uint8)}, ["DNA", "GFP"])
    with pytest.raises(CellError, match="another nucleus channel"):
        finish(find_cells(blank))


def test_real_cells(shared_data: Path):
    screen = read_screen(shared_data / "translocation").select("Metadata_Well=A01")
    assert guess_nucleus_channel(screen) == 1
    cells = finish(find_cells(screen))
    assert len(cells) > 250
    assert 32 <= suggest_crop(cells, screen) <= 64
