"""A screen that somebody labelled by hand is fine-tuned, translated and evaluated on those very cells."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

from cli_run import run
from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.table import read_screen
from phenolens.simulation.screen import simulate_screen
from phenolens.translation.model.adapter import Adapter

CONTROL, TREATED = "Metadata_Role=negative control", "Metadata_Role=treated"
# far from where any nucleus would be found: a person's own idea of the cells
CENTRES = [(40, 40), (40, 110), (110, 40), (110, 110)]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    screen = finish(simulate_screen(folder / "screen", "translocation", wells=4, cells=6, shape=(160, 160), seed=3))
    (folder / "labels").mkdir()
    y, x = np.mgrid[:160, :160]
    labels = np.zeros((160, 160), np.uint16)
    for number, (cy, cx) in enumerate(CENTRES, start=1):
        labels[(abs(y - cy) < 9) & (abs(x - cx) < 9)] = number
    for field in read_screen(screen):
        tifffile.imwrite(folder / "labels" / f"{field.key}.tif", labels)
    return folder


@pytest.fixture(scope="module")
def adapter(labelled, tiny_base):
    done = run(
        *("finetune", labelled / "screen", "--source", CONTROL, "--target", TREATED, "--out", labelled / "adapter"),
        *("--base", tiny_base, "--rank", "2", "--steps", "1", "--crop", "48", "--device", "cpu"),
        *("--cells", labelled / "labels", "--json"),
    )
    assert done.status == 0, done.error
    return labelled / "adapter"


def places(table: pd.DataFrame) -> set[tuple[int, int]]:
    return {(round(y), round(x)) for y, x in zip(table["y"], table["x"], strict=True)}


@pytest.mark.slow
def test_translating_and_judging_take_the_cells_that_it_was_trained_on(labelled, adapter, tmp_path):
    made = run("translate", adapter, labelled / "screen", "--out", tmp_path / "t", "--strength", "1", "--steps", "1")
    assert made.status == 0, made.error
    assert places(pd.read_parquet(tmp_path / "t" / "cells.parquet")) == set(CENTRES)
    judged = run(
        *("evaluate", adapter, labelled / "screen", "--out", tmp_path / "e"),
        *("--unseen", "--most", "8", "--steps", "1", "--json"),
    )
    assert judged.status == 0, judged.error
    assert places(pd.read_parquet(tmp_path / "e" / "cells.parquet")) == set(CENTRES)


@pytest.mark.slow
def test_labels_that_are_gone_are_asked_for(labelled, adapter):
    screen, loaded = read_screen(labelled / "screen"), Adapter.load(adapter)
    assert loaded.card.cells_found == str((labelled / "labels").resolve())
    assert places(finish(loaded.cells_as_trained(screen)).table) == set(CENTRES)
    loaded.card = replace(loaded.card, cells_found=str(labelled / "nowhere"))
    with pytest.raises(CellError, match=r"label images in .*nowhere, which are not there now.*--cells FOLDER"):
        finish(loaded.cells_as_trained(screen))
    loaded.card = replace(loaded.card, cells_found="given")
    with pytest.raises(CellError, match="somebody outlined or corrected"):
        finish(loaded.cells_as_trained(screen))
    assert places(finish(loaded.cells_as_trained(screen, labelled / "labels")).table) == set(CENTRES)


@pytest.mark.parametrize("how", ["auto", "whole"])
def test_cells_remember_how_they_were_found(labelled, how):
    assert finish(find_cells(read_screen(labelled / "screen"), how)).found == how
