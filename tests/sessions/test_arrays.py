"""Cells and translated cells go into a session and come back as they were."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import Cells, find_cells, measure_cells
from phenolens.screens.crops import Window
from phenolens.screens.table import read_screen
from phenolens.sessions.cells import _packed, _unpacked, kept_cells, saved_cells
from phenolens.sessions.folder import SessionFolder
from phenolens.sessions.inputs import changed_fields, field_marks
from phenolens.sessions.reading import read_session
from phenolens.sessions.translations import kept_translation, saved_translation
from phenolens.simulation.screen import simulate_screen
from phenolens.translation.apply.cell_translation import CellTranslation
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.solvers import Trajectory


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3)))
def test_outlines_are_packed_without_loss(labels):
    assert np.array_equal(_unpacked(_packed(labels), None), labels)


def test_outlines_of_another_shape_or_out_of_bounds_are_refused(monkeypatch):
    packed = _packed(np.ones((3, 4), np.int32))
    assert _unpacked(packed, (3, 4)) is not None
    assert _unpacked(packed, (4, 3)) is None
    assert _unpacked({**packed, "lengths": np.array([2**62])}, None) is None
    assert _unpacked({**packed, "shape": np.array([2**40, 2**40])}, None) is None
    assert _unpacked({**packed, "values": np.array([0.5])}, None) is None
    monkeypatch.setenv("PHENOLENS_MAX_PIXELS", "11")
    assert _unpacked(packed, None) is None


def saved_in(place, values):
    session = SessionFolder(place)
    session.save(values)
    session.close()
    return read_session(place)


def test_cells_come_back_as_they_were(tmp_path):
    screen = read_screen(
        finish(simulate_screen(tmp_path / "screen", "translocation", wells=2, cells=4, shape=(96, 96)))
    )
    for how in ("auto", "whole"):
        cells = finish(find_cells(screen, how))
        found = saved_cells(saved_in(tmp_path / how, kept_cells(cells)))
        pd.testing.assert_frame_equal(found.table, cells.table)
        assert found.found == cells.found
        assert found.labels.keys() == cells.labels.keys()
        assert all(np.array_equal(found.labels[key], cells.labels[key]) for key in cells.labels)
    marks = field_marks(screen)
    assert all(marks.values())
    image = screen.fields[0].paths[0]
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    assert changed_fields(marks, field_marks(screen)) == [screen.fields[0].key]


def test_a_correction_writes_one_small_file(tmp_path):
    labels = {key: np.zeros((512, 512), np.int32) for key in "ABCD"}
    for key in labels:
        labels[key][100:140, 100:140] = 1
    cells = Cells(pd.concat([measure_cells(*one) for one in labels.items()], ignore_index=True), labels)
    session = SessionFolder(tmp_path / "s")
    session.save(kept_cells(cells))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*.npz")}
    corrected = {**labels, "B": labels["B"].copy()}
    corrected["B"][200:220, 200:220] = 2
    session.save(kept_cells(Cells(cells.table, corrected)))
    session.close()
    after = {path.name: path for path in (tmp_path / "s").glob("*.npz")}
    new = set(after) - set(before)
    assert len(new) == 1
    assert after[new.pop()].stat().st_size < 20_000
    assert np.array_equal(saved_cells(read_session(tmp_path / "s")).labels["B"], corrected["B"])


def test_damaged_cells_are_said_and_the_others_come_back(tmp_path):
    labels = {key: np.pad(np.full((3, 3), number, np.int32), 3) for number, key in enumerate("AB", start=1)}
    cells = Cells(pd.concat([measure_cells(*one) for one in labels.items()], ignore_index=True), labels)
    saved_in(tmp_path / "s", kept_cells(cells))
    saved = read_session(tmp_path / "s")
    broken = saved.path_of(saved.value("labels/A"))
    broken.write_bytes(broken.read_bytes()[:100])
    found = saved_cells(saved)
    assert set(found.labels) == {"B"}
    assert list(found.table["field"]) == ["B"]
    assert "find them again" in saved.problems[0]
    assert saved_cells(read_session(tmp_path / "s"), {"B": (5, 5)}) is None


@pytest.fixture
def translation():
    rng = np.random.default_rng(0)
    states = torch.from_numpy(rng.normal(size=(5, 1, 3, 4, 4)).astype(np.float32))
    return CellTranslation(
        window=Window(-3, 7, 16),
        settings=TranslationSettings(strengths=(0.5, 1.0), steps=20, seed=4, held=("DNA",), guidance=1.2),
        difference=rng.normal(size=(2, 3, 16, 16)).astype(np.float32),
        conditions=("Role=negative control", "Role=treated"),
        crop=rng.integers(0, 4000, (3, 16, 16)).astype(np.uint16),
        trajectory=Trajectory(np.linspace(0.1, 9, 5), states, states * 2),
        evaluations=41,
    )


def test_a_translated_cell_comes_back_with_its_latents(tmp_path, translation):
    saved = saved_in(tmp_path / "s", kept_translation("A 0 0", translation, {"field": "A"}))
    value = saved.value("translated/A 0 0")
    found = saved_translation(saved, "A 0 0", value)
    assert value["field"] == "A"
    for name in ("window", "settings", "conditions", "evaluations"):
        assert getattr(found, name) == getattr(translation, name), name
    for name in ("difference", "crop"):
        assert getattr(found, name).dtype == getattr(translation, name).dtype
        assert np.array_equal(getattr(found, name), getattr(translation, name))
    for name in ("states", "noises"):
        assert torch.equal(getattr(found.trajectory, name), getattr(translation.trajectory, name))
    assert np.array_equal(found.trajectory.grid, translation.trajectory.grid)


@pytest.mark.parametrize(
    "change",
    [
        {"strengths": [1.0]},
        {"strengths": ["one", "two"]},
        {"strengths": [0.5, float("1e999")]},
        {"window": [0, 0, 2**40]},
        {"window": [0, 0]},
        {"conditions": ["only one"]},
        {"steps": None},
        {"held": 3},
    ],
)
def test_a_translated_cell_that_does_not_fit_together_is_refused(tmp_path, translation, change):
    saved = saved_in(tmp_path / "s", kept_translation("A", translation, {}))
    value = {**saved.value("translated/A"), **change}
    assert saved_translation(saved, "A", value) is None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
FACTS = ("window", "strengths", "conditions", "steps", "seed", "held", "evaluations", "file", "solver")


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_what_strangers_write_is_left_out_or_said_and_never_crashes(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("hostile")
    labels = {"A": np.pad(np.ones((3, 3), np.int32), 3)}
    session = SessionFolder(place / "s")
    session.save(kept_cells(Cells(measure_cells("A", labels["A"]), labels)) | kept_translation("A", made(), {}))
    values = dict(session.state.values)
    key = data.draw(st.sampled_from(sorted(values)))
    if data.draw(st.booleans()):
        values[key] = data.draw(JUNK)
    elif isinstance(values[key], dict):
        values[key] = {**values[key], data.draw(st.sampled_from(FACTS)): data.draw(JUNK)}
    session.save(values)
    session.close()
    chance = random.Random(data.draw(st.integers(0, 2**32)))  # how long files are is not the same each time
    for path in (place / "s").iterdir():
        if chance.random() < 0.3:
            content = bytearray(path.read_bytes())
            for _ in range(chance.randint(1, 6)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            path.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
    try:
        saved = read_session(place / "s")
    except PhenolensError:
        return
    assert saved.title
    assert saved.closed in (True, False)
    saved.contents()
    cells = saved_cells(saved, {"A": (9, 9)})
    assert cells is None or list(cells.table.columns) == ["field", "label", "y", "x", "area"]
    for name, value in saved.under("translated"):
        found = saved_translation(saved, name, value)
        assert found is None or found.difference.shape[1:] == found.crop.shape


def made():
    """A translated cell, as small as can be."""
    states = torch.ones(3, 1, 1, 2, 2)
    return CellTranslation(
        window=Window(0, 0, 4),
        settings=TranslationSettings(steps=2),
        difference=np.ones((1, 1, 4, 4), np.float32),
        conditions=("a", "b"),
        crop=np.ones((1, 4, 4), np.uint8),
        trajectory=Trajectory(np.linspace(0.1, 9, 3), states, states),
    )
