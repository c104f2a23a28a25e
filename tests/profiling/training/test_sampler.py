"""What a training step compares: the promises of the sampler."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenolens.profiling.training.sampler import CompoundSampler
from phenolens.runtime.errors import ScreenError


def layout(batches=3, wells=2, cells=5, compounds=4, controls=True):
    """Every compound in `wells` wells of each batch, one plate a batch."""
    numbers, plates, batch, well = [], [], [], []
    for b in range(batches):
        for number in range(0 if controls else 1, compounds + 1):
            for w in range(wells):
                numbers += [number] * cells
                plates += [f"plate{b}"] * cells
                batch += [f"batch{b}"] * cells
                well += [f"{number}-{w}"] * cells
    return np.array(numbers), np.array(plates), np.array(batch), np.array(well)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 8), st.integers(0, 10**6))
def test_positives_cross_batches_and_controls_share_the_plate(batches, wells, bag, seed):
    numbers, plates, batch, well = layout(batches, wells)
    sampler = CompoundSampler(numbers, plates, batch, well)
    draw = sampler.draw(12, bag, np.random.default_rng(seed))
    assert draw.treated.shape == draw.controls.shape == (2, 12, bag)
    for item, number in enumerate(draw.compounds):
        one, other = draw.treated[:, item]
        assert (numbers[draw.treated[:, item]] == number).all()
        assert len(set(batch[one])) == len(set(batch[other])) == 1, "a bag is of one well"
        assert batch[one[0]] != batch[other[0]]
        assert len(set(well[one])) == 1
        assert (numbers[draw.controls[:, item]] == 0).all()
        for view in (0, 1):
            assert set(plates[draw.controls[view, item]]) == {plates[draw.treated[view, item, 0]]}
    assert sampler.notes == []


def test_every_compound_takes_its_turn():
    sampler = CompoundSampler(*layout(compounds=7))
    drawn = sampler.draw(14, 2, np.random.default_rng(0)).compounds
    assert sorted(drawn) == sorted([*range(1, 8)] * 2)
    distinct = sampler.draw(100, 2, np.random.default_rng(0), distinct=True).compounds
    assert sorted(distinct) == list(range(1, 8))


def test_one_batch_falls_back_to_plates_and_then_to_wells():
    numbers, plates, _, well = layout(batches=2)
    draw = CompoundSampler(numbers, plates, ["one"] * len(numbers), well).draw(8, 3, np.random.default_rng(1))
    assert all(plates[a[0]] != plates[b[0]] for a, b in zip(*draw.treated, strict=True))
    numbers, plates, batch, well = layout(batches=1)
    draw = CompoundSampler(numbers, plates, batch, well).draw(8, 3, np.random.default_rng(1))
    assert all(well[a[0]] != well[b[0]] for a, b in zip(*draw.treated, strict=True))


def test_one_well_is_halved():
    numbers, plates, batch, well = layout(batches=1, wells=1, cells=6)
    draw = CompoundSampler(numbers, plates, batch, well).draw(8, 3, np.random.default_rng(1))
    assert all(not set(a) & set(b) for a, b in zip(*draw.treated, strict=True))


def test_without_controls_the_plates_other_compounds_are_the_reference():
    numbers, plates, batch, well = layout(controls=False)
    sampler = CompoundSampler(numbers, plates, batch, well)
    assert sampler.notes == ["3 of 3 plates have no control: their other compounds serve as reference"]
    draw = sampler.draw(12, 4, np.random.default_rng(0))
    for item, number in enumerate(draw.compounds):
        assert (numbers[draw.controls[:, item]] != number).all()
        for view in (0, 1):
            assert set(plates[draw.controls[view, item]]) == {plates[draw.treated[view, item, 0]]}


def test_a_screen_of_controls_alone_is_refused():
    with pytest.raises(ScreenError, match="No field of this screen has a compound"):
        CompoundSampler(np.zeros(4, int), ["p"] * 4, ["b"] * 4, ["w"] * 4)
