"""The colours of many cells are those that napari gives them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Labels
from napari.utils import DirectLabelColormap

from phenolens.widgets.layers.cell_colours import CellColours, recolour

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


@settings(max_examples=50, deadline=None)
@given(
    numbers=st.dictionaries(st.integers(1, 300), st.integers(0, len(COLOURS) - 1), max_size=30),
    cells=st.lists(st.integers(0, 400), max_size=350, unique=True),
)
def test_cells_with_numbers_of_their_own_have_the_same_colours(numbers, cells):
    labels = np.random.default_rng(len(cells)).integers(0, 400, (20, 30)).astype(np.int32)
    ours, napari = (
        CellColours.of_cells(cells, colours_of(numbers)),
        DirectLabelColormap(color_dict=colours_of(numbers)),
    )
    np.testing.assert_array_equal(ours.map(labels), napari.map(labels))
    colours = ours._values_mapping_to_minimum_values_set()[1]
    drawn = ours._data_to_texture(labels)
    np.testing.assert_array_equal(np.array([colours[code] for code in drawn.ravel()]), napari.map(labels.ravel()))
    kept = [label for label in {*cells, *numbers} if label]
    assert len({int(ours._data_to_texture(np.full(1, label, np.int32))[0]) for label in kept}) == len(kept)


@pytest.mark.parametrize("selected", [None, 290])
def test_other_colours_of_the_same_cells_are_seen_and_no_pixel_is_drawn_anew(make_napari_viewer, monkeypatch, selected):
    labels = np.kron(np.arange(1, 401).reshape(20, 20), np.ones((10, 10))).astype(np.int32)
    viewer = make_napari_viewer(show=True)
    first, then = ({label: (label * factor) % len(COLOURS) for label in range(1, 396)} for factor in (1, 3))
    layer = viewer.add_labels(labels, colormap=CellColours.of_cells(range(1, 400), colours_of(first)), opacity=1.0)
    layer.selected_label, layer.show_selected_label = selected or 1, selected is not None
    seen = [viewer.screenshot(flash=False)]
    drawn = []
    original = Labels._raw_to_displayed
    monkeypatch.setattr(Labels, "_raw_to_displayed", lambda *some, **how: drawn.append(1) or original(*some, **how))
    recolour(layer, CellColours.of_cells(range(1, 400), colours_of(then)))
    assert layer.show_selected_label == layer.colormap.use_selection
    seen.append(viewer.screenshot(flash=False))
    assert not drawn
    thumbnail = layer.thumbnail
    recolour(layer, CellColours.of_cells(range(1, 401), colours_of(then)))  # another cell: the numbers are others
    assert drawn
    np.testing.assert_array_equal(layer.thumbnail, thumbnail)
    seen.append(viewer.screenshot(flash=False))
    for number, wanted in ((0, first), (1, then), (2, then)):
        colours = DirectLabelColormap(color_dict=colours_of(wanted))
        colours.use_selection, colours.selection = selected is not None, layer.selected_label
        if selected is None:  # with a selection among many colours napari's own takes another's
            layer.colormap = colours
            np.testing.assert_array_equal(seen[number], viewer.screenshot(flash=False))
    assert (seen[0] != seen[1]).any()
