"""The strengths of one cell: those that were computed, those between them, and none beyond."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenolens.runtime.errors import ModelError
from phenolens.screens.crops import Window
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.apply.cell_translation import CellTranslation
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translated_crop import TranslatedCrop


def translation(strengths: tuple[float, ...], slope: float = 10.0) -> CellTranslation:
    """A cell whose difference at strength s is s * s * slope everywhere."""
    difference = np.stack([np.full((2, 4, 4), s * s * slope, np.float32) for s in strengths])
    crop = np.full((2, 4, 4), 100, np.uint8)
    return CellTranslation(
        window=Window(3, 5, 4),
        settings=TranslationSettings(strengths=strengths),
        difference=difference,
        conditions=("control", "treated"),
        crop=crop,
    )


def test_a_computed_strength_comes_back_as_it_is_and_0_is_the_cell_itself() -> None:
    cell = translation((0.5, 1.0))
    assert (cell.difference_at(1.0) == cell.difference[1]).all()
    assert not cell.difference_at(0.0).any()
    assert list(cell.known) == [0.0, 0.5, 1.0]
    assert cell.computed(0)
    assert cell.computed(0.5)
    assert not cell.computed(0.75)


@given(st.floats(0.01, 1.49))
def test_between_two_strengths_lies_their_weighted_mean(strength: float) -> None:
    places = (0.5, 1.0, 1.5)
    wanted = np.interp(strength, (0, *places), [s * s * 10 for s in (0, *places)])
    assert translation(places).difference_at(strength) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("strength", [-0.1, 1.01, 1.5])
def test_nothing_is_extrapolated(strength: float) -> None:
    with pytest.raises(ModelError, match=f"from 0 to 1, and {strength:g} lies outside: translate it at that strength"):
        translation((0.5, 1.0)).difference_at(strength)


def test_an_order_that_does_not_rise_is_put_in_order() -> None:
    assert list(translation((1.0, 0.25)).known) == [0.0, 0.25, 1.0]
    assert translation((1.0, 0.25)).difference_at(0.25)[0, 0, 0] == np.float32(0.625)


def test_joining_keeps_the_strengths_of_both_and_the_later_one_where_both_have_it() -> None:
    joined = translation((1.0, 0.5), slope=1).joined(translation((1.0, 1.5), slope=2))
    assert joined.strengths == (0.5, 1.0, 1.5)
    assert joined.difference[:, 0, 0, 0].tolist() == [0.25, 2.0, 4.5]


@pytest.mark.parametrize(
    ("said", "name", "value"),
    [
        ("window", "window", Window(0, 0, 4)),
        ("conditions", "conditions", ("treated", "control")),
        ("held", "settings", TranslationSettings(held=("DNA",))),
        ("solver", "settings", TranslationSettings(solver="obelm")),
    ],
)
def test_what_is_of_another_cell_or_kind_is_not_joined(said: str, name: str, value: object) -> None:
    one = translation((1.0,))
    with pytest.raises(ValueError, match=f"another {said}"):
        one.joined(replace(one, **{name: value}))


def test_a_cell_at_one_strength_has_pixels_in_the_files_dtype() -> None:
    intensity = IntensityMap("affine", ("DNA", "<actin>"), (0.0, 0.0), (200.0, 200.0))
    cell = TranslatedCrop(translation((0.5, 1.0)), 1.0, intensity)
    assert cell.image.dtype == np.uint8
    assert (cell.image == 110).all()
    assert (cell.at_strength(0.75).image == 106).all()  # halfway between 2.5 and 10, rounded to a whole number
    assert cell.at_strength(0.75).interpolated
    assert not cell.interpolated
    assert cell.at_strength(0).image.tobytes() == cell.source.tobytes()
    plane = np.full((2, 20, 20), 100, np.uint8)
    changed = cell.paste_into(plane) != plane
    assert changed.sum() == 2 * 16
    assert changed[:, 3:7, 5:9].all()
    html = cell._repr_html_()
    assert "&lt;actin&gt;" in html
    assert "Synthetic" in html
    with pytest.raises(ModelError):
        cell.at_strength(1.2)
