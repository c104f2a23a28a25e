"""Groups of layers, without a window: what is shown, and what is kept of what is hidden."""

import numpy as np
import pytest
from napari.layers import Image

from phenolens.widgets.layers.layer_groups import VIEWS, LayerGroups


def made(channels=6):
    layers = [[Image(np.zeros((2, 2)), visible=view == "original") for _ in range(channels)] for view in VIEWS]
    return LayerGroups(lambda: tuple(layers)), dict(zip(VIEWS, layers, strict=True))


def seen(layers):
    return [index for index, layer in enumerate(layers) if layer.visible]


def test_one_alone_shows_the_channels_of_the_last_and_one_of_the_difference():
    groups, layers = made()
    for index in (0, 3):
        layers["original"][index].visible = False
    groups.show_alone("translated")
    assert seen(layers["translated"]) == [1, 2, 4, 5]
    assert seen(layers["original"]) == []
    groups.show_alone("difference", 2)
    assert [seen(layers[view]) for view in VIEWS] == [[], [], [2]]
    layers["difference"][3].visible = True
    groups.show_alone("translated")
    groups.show_alone("difference")
    assert seen(layers["difference"]) == [2]


@pytest.mark.parametrize("view", VIEWS)
def test_a_group_that_is_hidden_and_shown_is_as_it_was(view):
    groups, layers = made()
    groups.show(view, True)
    for index in (0, 2):
        layers[view][index].visible = not layers[view][index].visible
    before = seen(layers[view])
    groups.show(view, False)
    groups.show(view, False)
    assert seen(layers[view]) == []
    groups.show(view, True)
    assert seen(layers[view]) == before


def test_a_group_that_is_hidden_loses_no_channel_when_another_is_shown():
    groups, layers = made()
    groups.show_alone("translated")
    layers["translated"][1].visible = False
    groups.show("translated", False)
    groups.show_alone("original")
    assert seen(layers["original"]) == [0, 2, 3, 4, 5]


def test_of_many_channels_that_nobody_chose_four_are_shown():
    groups, layers = made(8)
    for layer in layers["original"]:
        layer.visible = False
    groups.show_alone("translated")
    assert seen(layers["translated"]) == [0, 1, 2, 3]


def test_groups_without_layers_are_no_error():
    groups = LayerGroups(lambda: ([], [], []))
    for view in VIEWS:
        groups.show(view, True)
        groups.show_alone(view)
        assert not groups.shown(view)
