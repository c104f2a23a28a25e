"""The colours of many cells are those that napari gives them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Labels
from napari.utils import DirectLabelColormap

from phenolens.widgets.layers.cell_colours import CellColours

COLOURS = [np.array([red, green, 0.5, alpha], np.float32) for red in (0, 1) for green in (0, 1) for alpha in (0.25, 1)]


def colours_of(numbers):
    drawn = {label: COLOURS[number] for label, number in numbers.items()}
    return {0: np.zeros(4, np.float32), None: COLOURS[3], **drawn}


@settings(max_examples=50, deadline=None)
@given(
    numbers=st.dictionaries(st.integers(1, 300), st.integers(0, len(COLOURS) - 1), max_size=30),
    dtype=st.sampled_from([np.int32, np.int64, np.uint16]),
)
def test_they_are_drawn_as_napari_draws_them(numbers, dtype):
    labels = np.random.default_rng(len(numbers)).integers(0, 400, (20, 30)).astype(dtype)
    ours, napari = CellColours(color_dict=colours_of(numbers)), DirectLabelColormap(color_dict=colours_of(numbers))
    np.testing.assert_array_equal(ours.map(labels), napari.map(labels))
    codes, theirs = ours._data_to_texture(labels), napari._data_to_texture(labels)
    np.testing.assert_array_equal(codes, theirs)
    assert codes.dtype == theirs.dtype
    for label in (0, 1, 299, 5000):
        np.testing.assert_array_equal(ours.map(label), napari.map(label))


@pytest.mark.parametrize("shown", [None, 7])
def test_a_layer_takes_them(shown):
    labels = np.array([[0, 7, 8, 9]], np.int32)
    layer = Labels(labels, colormap=CellColours(color_dict=colours_of({7: 1, 8: 2})))
    layer.selected_label = shown or 1
    layer.show_selected_label = shown is not None
    other = Labels(labels, colormap=DirectLabelColormap(color_dict=colours_of({7: 1, 8: 2})))
    other.selected_label, other.show_selected_label = layer.selected_label, layer.show_selected_label
    np.testing.assert_array_equal(layer._slice.image.view, other._slice.image.view)
    assert layer.thumbnail.shape == other.thumbnail.shape
    np.testing.assert_array_equal(layer.thumbnail, other.thumbnail)
