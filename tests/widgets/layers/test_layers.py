"""Layers lie exactly where their source lies, and say what they are."""

import json

import numpy as np
import pytest
import tifffile
from napari.layers import Image

from phenolens.widgets.kit.channel_colours import channel_colours, composite
from phenolens.widgets.layers.field_layers import like
from phenolens.widgets.layers.plane_stack import PlaneStack
from phenolens.widgets.writer import write_layers


@pytest.fixture
def turned():
    return Image(
        np.zeros((30, 40), np.uint16),
        scale=(0.65, 0.7),
        translate=(12, -7),
        rotate=30,
        shear=[0.2],
        units=("µm", "µm"),
        axis_labels=("y", "x"),
    )


@pytest.mark.parametrize("pixel", [(0, 0), (29, 39), (-4, 17.5)])
def test_a_layer_like_another_lies_where_it_lies(turned, pixel):
    copy = Image(np.ones((30, 40), np.float32), **like(turned))
    assert np.allclose(copy.data_to_world(pixel), turned.data_to_world(pixel))
    assert copy.units == turned.units
    assert copy.axis_labels == turned.axis_labels


def test_an_affine_is_taken_over_too(turned):
    turned.affine = np.array([[1.1, 0.1, 3], [-0.2, 0.9, 5], [0, 0, 1]])
    copy = Image(np.ones((30, 40), np.float32), **like(turned))
    assert np.allclose(copy.data_to_world((3, 8)), turned.data_to_world((3, 8)))


def test_a_plane_of_a_stack_lies_on_the_stack():
    turn = np.eye(3)
    turn[1:, 1:] = [[0.8, -0.6], [0.6, 0.8]]
    place = {"scale": (2, 0.65, 0.7), "translate": (1, 12, -7), "rotate": turn, "shear": [0, 0, 0.2]}
    stack = Image(np.zeros((5, 30, 40)), **place)
    copy = Image(np.ones((30, 40)), **like(stack, 2))
    for pixel in ((0, 0), (29, 39)):
        assert np.allclose(copy.data_to_world(pixel), stack.data_to_world((3, *pixel))[1:])


def test_a_stack_makes_the_planes_that_are_looked_at():
    pixels = np.random.default_rng(0).integers(0, 99, (3, 4, 5, 6))
    asked = []

    def read(index):
        asked.append(index)
        return pixels[index]

    stack = PlaneStack((3, 4), (5, 6), pixels.dtype, read)
    assert (stack.shape, stack.ndim, stack.size, len(stack)) == (pixels.shape, 4, pixels.size, 3)
    for key in (
        (1, 2),
        (1, 2, slice(1, 3), 4),
        2,
        (slice(None), 1),
        (0, slice(1, 3)),
        (..., 2),
        (-1, ..., 0),
        (),
        slice(1, 1),
    ):
        np.testing.assert_array_equal(stack[key], pixels[key])
    np.testing.assert_array_equal(np.asarray(stack), pixels)
    asked.clear()
    _ = stack[1, 2, 3:, :]
    assert asked == [(1, 2)]


def test_nuclei_are_blue_whatever_their_place():
    assert channel_colours(["FKHR", "DNA"])[1] == channel_colours(["DAPI", "GFP", "RFP"])[0]
    assert len(set(channel_colours(["a", "b", "c", "d"]))) == 4


def test_a_composite_uses_one_contrast_and_clips():
    low, high = np.array([0.0, 0.0]), np.array([10.0, 10.0])
    channels = np.zeros((2, 4, 4))
    channels[0] = 1000
    picture = composite(channels, low, high, ["#ff0000", "#00ff00"])
    assert picture.dtype == np.uint8
    assert picture[0, 0].tolist() == [255, 0, 0]


def layer_data(name, data, **facts):
    meta = {"name": name, "scale": (0.5, 0.5), "units": ("micrometer",) * 2, "metadata": {"phenolens": facts}}
    return data, meta, "image"


def test_the_writer_keeps_real_and_synthetic_apart(tmp_path):
    raw = np.arange(2 * 20 * 30, dtype=np.uint16).reshape(2, 20, 30)
    layers = [
        layer_data("DNA", raw[0], synthetic=False),
        layer_data("FKHR", raw[1], synthetic=False),
        layer_data("DNA · synthetic", raw[0] + 1, synthetic=True, kind="translated"),
        layer_data("DNA · difference", np.ones((20, 30), np.float32), synthetic=True, kind="difference"),
        (np.ones((20, 30), np.int32), {"name": "cells", "scale": (0.5, 0.5), "metadata": {}}, "labels"),
        ([], {"name": "outlines", "ndim": 2, "metadata": {}}, "shapes"),
    ]
    written = write_layers(str(tmp_path / "out.ome.tif"), layers)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.ome.tif",
        "out__cells.ome.tif",
        "out__difference.ome.tif",
        "out__outlines.geojson",
        "out__provenance.json",
        "out__synthetic.ome.tif",
    ]
    assert len(written) == 6
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert np.array_equal(file.asarray(), raw)
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata
        assert "synthetic DNA" not in file.ome_metadata
    with tifffile.TiffFile(tmp_path / "out__synthetic.ome.tif") as file:
        assert "synthetic" in file.ome_metadata
    known = json.loads((tmp_path / "out__provenance.json").read_text())
    assert known["files"]["out__difference.ome.tif"]["DNA · difference"]["synthetic"] is True
    assert "versions" in known
