"""What is annotated in a session, without a window: screens apart, cells that are found anew or corrected."""

import numpy as np
import pandas as pd
import pytest

from phenolens.annotation.suggestions import suggest
from phenolens.profiling.tables.profiles import Profiles
from phenolens.screens.cell_editing import apply_labels
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import screen_from_arrays
from phenolens.widgets.state.session import Session

KEYS = ("f0", "f1")


def drawn(places, label=1):
    labels = np.zeros((60, 60), np.int32)
    for number, (y, x) in enumerate(places, start=label):
        labels[y : y + 8, x : x + 8] = number
    return labels


@pytest.fixture
def session():
    screen = screen_from_arrays({key: np.zeros((1, 60, 60), np.uint8) for key in KEYS}, ["DNA"])
    made = Session()
    made.set_screen(screen, IntensityMap.fit([np.arange(100.0).reshape(1, 10, 10)], ("DNA",)), "s")
    places = [(5, 5), (5, 30), (30, 5), (30, 30)]
    made.set_cells(apply_labels(None, screen, {key: drawn(places) for key in KEYS}), 0)
    made.annotations.add_class("round")
    made.annotations.add_class("flat")
    return made


def embedded(session):
    table = session.cells.table
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(table), 4)) + 6.0 * (table["label"].to_numpy() % 2)[:, None]
    metadata = pd.DataFrame({"Metadata_Field": table["field"], "Metadata_Label": table["label"]})
    return Profiles(metadata, vectors.astype(np.float32), {"level": "cell"})


def test_what_was_said_of_one_screen_is_not_said_of_another(session):
    session.annotations.annotate([("f0", 1)], "round")
    other = screen_from_arrays({key: np.ones((1, 60, 60), np.uint8) for key in KEYS}, ["DNA"])
    session.set_screen(other, session.intensity, "other")
    assert not session.annotations.cells
    assert session.pen.chosen is None


def test_cells_that_are_found_anew_keep_their_class_where_they_lie(session):
    session.annotations.annotate([("f0", 1), ("f0", 4)], "round")
    session.annotations.annotate([("f1", 2)], "flat")
    again = drawn([(31, 31), (5, 6), (45, 45)], label=7)  # the last cell first, the first moved a little, a new one
    session.set_cells(apply_labels(session.cells, session.screen, {"f0": again}), 0)
    said = {key: session.annotations.class_of(key).name for key in session.annotations.cells}
    assert said == {("f0", 7): "round", ("f0", 8): "round", ("f1", 2): "flat"}
    assert (session.cells.table["field"] == "f1").sum() == 4, "other fields' cells stay"


def test_a_deleted_cell_is_not_suggested_any_longer(session):
    session.pen.set_profiles(embedded(session))
    for name, label in (("round", 1), ("flat", 2)):
        session.annotations.annotate([("f0", label), ("f1", label)], name)
    made = suggest(session.pen.embedded, session.annotations)
    session.annotations.suggest(made.suggested)
    session.pen.uncertain = made.uncertain
    session.pen.choose(("f0", 3))
    before = len(session.annotations.suggested)
    session.correct_cells("f0", np.where(session.cells.labels["f0"] == 3, 0, session.cells.labels["f0"]))
    assert session.annotations.suggested.of(("f0", 3)) is None
    assert len(session.annotations.suggested) == before - 1
    assert ("f0", 3) not in session.pen.uncertain
    assert session.pen.chosen is None
    assert session.annotations.accept() == before - 1
    assert ("f0", 3) not in session.annotations.cells


def test_a_crop_set_by_hand_stays_until_another_screen(session):
    session.set_crop(40)
    session.set_crop(56, chosen=True)
    session.set_crop(40)
    assert session.crop == 56
    session.set_screen(session.screen, session.intensity, "again")
    session.set_crop(40)
    assert session.crop == 40


def test_the_cell_at_a_pixel_is_the_one_it_is_of_else_the_nearest(session):
    session.set_field(session.screen["f0"], session.screen["f0"].image())
    session.set_crop(24)
    assert session.cell_key_at(6, 6) == ("f0", 1)
    assert session.cell_key_at(17, 8) == ("f0", 1)
    assert session.cell_key_at(55, 55) is None
