"""Labels of the user's own in the window, for all fields: they are what is fine-tuned on, translated and judged."""

import numpy as np
import pandas as pd
import pytest

from phenolens.runtime.progress import finish
from phenolens.screens.label_images import write_label_image
from phenolens.screens.ome_zarr.images import LabelImage
from phenolens.screens.ome_zarr.plate_writing import write_plate
from phenolens.screens.table import read_screen
from phenolens.translation.model.adapter import Adapter
from phenolens.widgets.evaluation.dock import open_evaluation

pytest_plugins = ["real_window"]

# one corner a field, far from where nuclei would be found
CORNERS = [(30, 30), (30, 120), (120, 30), (120, 120)]


def drawn(screen):
    """Label images by field: two cells each, in another corner of each field."""
    images = {}
    for field, (y, x) in zip(screen, CORNERS, strict=True):
        images[field.key] = np.zeros((192, 192), np.int32)
        images[field.key][y : y + 21, x : x + 21] = 5
        images[field.key][y : y + 21, x + 30 : x + 41] = 8
    return images


def centres(screen):
    """Field and centre of each of these cells."""
    found = set()
    for field, (y, x) in zip(screen, CORNERS, strict=True):
        found |= {(field.key, y + 10, x + 10), (field.key, y + 10, x + 35)}
    return found


def places(table):
    return {(field, int(y), int(x)) for field, y, x in zip(table["field"], table["y"], table["x"], strict=True)}


@pytest.fixture
def folder(small_screen, tmp_path):
    for key, labels in drawn(read_screen(small_screen)).items():
        (tmp_path / "mine").mkdir(exist_ok=True)
        write_label_image(tmp_path / "mine" / f"{key}.tif", labels, key)
    return tmp_path / "mine"


@pytest.mark.slow
def test_hand_drawn_cells_are_trained_on_translated_and_judged(window, small_screen, folder, tiny, tmp_path):
    session, dock = window.session, window.dock
    window.open(small_screen)
    wanted = centres(session.screen)
    dock.cells_panel.use_folder(folder)
    window.wait(lambda: session.cells is not None and not dock.running.busy)
    assert places(session.cells.table) == wanted

    window.tune(tiny, tmp_path / "adapter", steps=2)
    card = Adapter.load(tmp_path / "adapter").card
    assert card.cells_found == str(folder)
    assert sum(card.cells.values()) == len(wanted)

    window.press(dock.translate_panel.click)
    cell = window.click_cell(1)
    window.wait(lambda: cell.translation is not None and not dock.running.busy)
    assert (cell.field, round(cell.y), round(cell.x)) in wanted
    window.press(dock.translate_panel.all)
    window.wait(lambda: len(session.here()) == 2 and not dock.running.busy)
    window.wait(lambda: all(one.translation is not None for one in session.here().values()))

    evaluation = open_evaluation(window.viewer)
    panel = evaluation.panel
    panel.choice.unseen.setChecked(True)
    window.wait(lambda: panel.choice.wells.held_out is not None and not evaluation.running.busy)
    panel.out.setText(str(tmp_path / "judged"))
    panel.most.setValue(panel.most.minimum())
    window.press(panel.start)
    window.wait(lambda: evaluation.answers.evaluation is not None and not panel.job.busy)
    judged = places(pd.read_parquet(tmp_path / "judged" / "cells.parquet"))
    assert judged
    assert judged <= wanted


def test_one_layer_a_field_gives_the_cells_of_each(window, small_screen):
    session, dock = window.session, window.dock
    window.open(small_screen)
    panel, images = dock.cells_panel, drawn(session.screen)
    keys = list(images)
    layers = [window.viewer.add_labels(images[key], name=f"{key} by hand") for key in keys[:3]]
    panel.way.setCurrentIndex(panel.way.findData("labels"))
    panel.own.layer.setCurrentText("All that name their field")
    assert panel.own.field.isHidden() or not panel.own.field.isVisibleTo(panel.own)
    window.press(panel.find_button)
    window.wait(lambda: session.cells is not None and not dock.running.busy)
    wanted = {place for place in centres(session.screen) if place[0] in keys[:3]}
    assert places(session.cells.table) == wanted
    assert not any(layer.visible for layer in layers)

    # two layers of one field are not added up, nor is one of them chosen
    window.viewer.add_labels(images[keys[3]], name=f"{keys[0]} again")
    panel.own.layer.setCurrentText("All that name their field")
    window.press(panel.find_button)
    assert f"say that they are of {keys[0]}" in panel.why.text()
    assert places(session.cells.table) == wanted
    # of labels without a unit beside images in micrometres napari has something to say
    assert all(message.startswith("Inconsistent units") for message in window.messages)


@pytest.mark.slow
def test_labels_inside_the_plate_and_a_folder_that_is_dropped(window, small_screen, folder, tmp_path):
    session, dock = window.session, window.dock
    panel = dock.cells_panel
    screen = read_screen(small_screen)
    images = drawn(screen)
    at = panel.way.findData("inside")
    window.open(small_screen)
    assert not panel.way.model().item(at).isEnabled(), "these images are no OME-Zarr"
    inside = lambda field: {"cells": LabelImage(images[field.key], "YX")}  # noqa: E731
    plate = finish(write_plate(tmp_path / "plate.zarr", screen, labels=inside))
    dock.open_screen(plate)
    window.wait(lambda: session.screen_name == "plate.zarr" and session.field is not None and not dock.running.busy)
    assert panel.way.model().item(at).isEnabled()
    panel.way.setCurrentIndex(at)
    window.press(panel.find_button)
    window.wait(lambda: session.cells is not None and not dock.running.busy)
    wells = {field.key: field.metadata["Metadata_Well"] for field in (*screen, *session.screen)}
    of_well = lambda found: {(wells[key], y, x) for key, y, x in found}  # noqa: E731
    assert of_well(places(session.cells.table)) == of_well(centres(screen))

    window.open(small_screen)
    window.wait(lambda: session.screen_name == "small" and session.field is not None and not dock.running.busy)
    assert panel.way.currentData() == "auto"
    window.viewer.open(str(folder), plugin="napari-phenolens")
    window.wait(lambda: session.cells is not None and not dock.running.busy)
    assert places(session.cells.table) == centres(screen)
    first = next(folder.iterdir())
    first.rename(first.with_name("of no field.tif"))
    window.viewer.open(str(folder), plugin="napari-phenolens")
    window.wait(lambda: "has no label image for field" in panel.why.text() and not dock.running.busy)
    assert places(session.cells.table) == centres(screen), "what was there stays"
