"""Axes are read from names and units; where those say nothing, the guess says that it is one."""

import pytest

from phenolens.screens.axes import AxesGuess, guess_axes, misfit

UM = "micrometer"


@pytest.mark.parametrize(
    ("shape", "names", "units", "axes", "sure"),
    [
        ((64, 64), (), (), "YX", True),
        ((3, 64, 64), (), (), "CYX", False),
        ((30, 64, 64), (), (), "ZYX", False),
        ((5, 3, 64, 64), (), (), "ZCYX", False),
        ((3, 5, 64, 64), (), (), "CZYX", False),
        ((40, 12, 64, 64), (), (), "TZYX", False),
        ((9, 20, 3, 64, 64), (), (), "TZCYX", False),
        ((5, 3, 64, 64), ("z", "c", "y", "x"), (), "ZCYX", True),
        ((3, 64, 64), ("t", "y", "x"), (), "TYX", True),
        ((3, 64, 64), (), ("second", UM, UM), "TYX", True),
        ((3, 64, 64), (), (UM, UM, UM), "ZYX", True),
        ((3, 64, 64), (), ("pixel", UM, UM), "CYX", False),
        ((3, 64, 64), ("-3", "-2", "-1"), ("pixel", UM, UM), "CYX", False),
        ((5, 3, 64, 64), ("Depth", "-3", "-2", "-1"), (), "ZCYX", False),
        ((7, 64, 64), ("position", "y", "x"), (), "SYX", True),
        ((64, 48, 3), (), (), "YXC", False),
        ((64, 48, 5), ("y", "x", "channel"), (), "YXC", True),
        ((64, 48, 5), ("-3", "-2", "c"), (), "YXC", True),
        ((48, 64, 5), ("x", "y", "z"), (), "XYZ", True),
        ((5, 64, 48), (), (UM, UM, UM), "ZYX", True),
        ((2, 3, 4, 64, 48), ("t", "z", "c", "y", "x"), (), "TZCYX", True),
        ((2, 3, 4, 64, 48), (), ("second", UM, "pixel", UM, UM), "TZCYX", False),
        ((12, 12, 12), (), (), "ZYX", False),
    ],
)
def test_axes_are_guessed(shape, names, units, axes, sure) -> None:
    assert guess_axes(shape, names, units) == AxesGuess(axes, sure)


def test_no_letter_is_given_twice() -> None:
    for shape in [(2, 2, 2, 2, 8, 8), (3, 3, 3, 8, 8), (99, 99, 99, 8, 8)]:
        axes = guess_axes(shape).axes.replace("S", "")
        assert len(set(axes)) == len(axes)
        assert {"Y", "X"} <= set(axes)


def test_what_cannot_be_used_is_said() -> None:
    assert misfit("TCZYX") == ""
    assert misfit("CSYX") == ""
    assert "Two axes are depth" in misfit("ZZYX")
    assert "only be the channels" in misfit("SZYX")
    assert "No axis is X, the width" in misfit("CYZ")
    assert misfit("YXC") == ""
