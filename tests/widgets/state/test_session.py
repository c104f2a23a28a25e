"""What the session says of the open screen, without a window."""

from types import SimpleNamespace

import numpy as np
import pytest

from phenolens.screens.crops import Window
from phenolens.screens.image_details import ChannelDisplay, ImageDetails
from phenolens.screens.images import FieldImage
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import screen_from_arrays
from phenolens.translation.apply.cell_translation import CellTranslation
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.widgets.kit.channel_colours import channel_colours
from phenolens.widgets.state.session import Session
from phenolens.widgets.state.translated_cell import TranslatedCell

NAMES = ("DNA", "actin", "ER")


@pytest.mark.parametrize("asked", [20, 6])
def test_a_coarse_result_that_comes_late_replaces_nothing(asked):
    def result(trajectory, steps, *strengths):
        how = TranslationSettings(steps=steps, strengths=strengths)
        return CellTranslation(
            window=Window(0, 0, 4), settings=how, conditions=("a", "b"), crop=np.zeros((1, 4, 4), np.uint8),
            difference=np.full((len(strengths), 1, 4, 4), float(steps), np.float32), trajectory=trajectory,
        )  # fmt: skip

    session, coarse, fine = Session(), object(), object()
    translator = SimpleNamespace(settings=TranslationSettings(steps=asked), held=())
    session.set_adapter(SimpleNamespace(crop=4), translator, "cpu")
    cell = TranslatedCell("A01", 2, 2, "cell 1", ("a", "b"))
    session.add_cell(cell)
    session.update_cell(cell, result(coarse, 8, 1.0))
    session.update_cell(cell, result(fine, asked, 1.0))
    session.update_cell(cell, result(coarse, 8, 0.5))  # of the coarse one, computed before the fine one was known
    assert (cell.translation.steps, cell.translation.strengths) == (asked, (1.0,))
    session.update_cell(cell, result(fine, asked, 0.25))
    assert cell.translation.strengths == (0.25, 1.0)
    assert (cell.translation.difference == asked).all()


def test_colours_are_those_that_the_shown_field_states_and_else_those_of_the_names():
    session = Session()
    assert session.colours == []
    pixels = np.zeros((3, 8, 8), np.uint8)
    limits = IntensityMap("affine", NAMES, (0.0,) * 3, (9.0,) * 3)
    screen = screen_from_arrays({"A01": pixels}, NAMES)
    session.set_screen(screen, limits, "s")
    named = channel_colours(NAMES)
    assert session.colours == named, "before a field is read"
    stated = tuple(ChannelDisplay(colour) for colour in ("FF8000", None, "00FF00"))
    shown = FieldImage(pixels, "CYX", NAMES, details=ImageDetails(displays=stated))
    session.set_field(screen.fields[0], shown)
    assert session.colours == ["#ff8000", named[1], "#00ff00"]
    session.set_screen(screen_from_arrays({"A01": pixels[:2]}, NAMES[:2]), limits, "other")
    assert session.colours == named[:2], "those of one screen are not another's"
