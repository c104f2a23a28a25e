"""What is saved comes back as it was: pixels, place, look, marks and features."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari.layers import Image, Labels, Layer, Points, Shapes

from layer_places import places
from phenolens.runtime.errors import OutputError
from phenolens.widgets.layers.appearance import appearance
from phenolens.widgets.reader import get_reader, read_export
from phenolens.widgets.writer import write_layers

DTYPES = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@st.composite
def images(draw):
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=2, max_size=4)))
    dtype = draw(st.sampled_from(DTYPES))
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 100, shape).astype(dtype)
    return Image(
        pixels,
        name=draw(st.text("ABab µ·_1", min_size=1, max_size=12)),
        colormap=draw(st.sampled_from(["gray", "magma", "cyan"])),
        contrast_limits=(draw(st.floats(0, 10)), draw(st.floats(11, 500))),
        gamma=draw(st.floats(0.2, 2)),
        blending=draw(st.sampled_from(["additive", "translucent"])),
        visible=draw(st.booleans()),
        metadata={"phenolens": {"synthetic": draw(st.booleans()), "kind": "translated", "field": "A01"}},
        **draw(places(len(shape))),
    )


ENDINGS = (".ome.tif", ".ome.zarr")


def saved(layer, folder, ending=".ome.tif"):
    write_layers(str(folder / f"saved{ending}"), [layer.as_layer_data_tuple()])
    ((data, how, kind),) = read_export(folder)
    return Layer.create(np.asarray(data) if kind in ("image", "labels") else data, how, kind)


def assert_same_look(one, other):
    for first, second in zip(
        *(appearance(dict(layer.as_layer_data_tuple()[1]), layer._type_string).items() for layer in (one, other)),
        strict=True,
    ):
        assert first[0] == second[0]
        if first[0] in ("rotate", "affine", "scale", "translate"):
            np.testing.assert_allclose(first[1], second[1], atol=1e-9, err_msg=first[0])
        else:
            assert first[1] == second[1], first[0]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=images())
def test_an_image_comes_back(ending, image, tmp_path_factory):
    back = saved(image, tmp_path_factory.mktemp("image"), ending)
    assert back.data.dtype == image.data.dtype
    np.testing.assert_array_equal(back.data, image.data)
    assert_same_look(image, back)


@st.composite
def labels(draw):
    shape = tuple(draw(st.lists(st.integers(2, 5), min_size=2, max_size=4)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int32]))
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 9, shape).astype(dtype)
    table = draw(tables(len(np.unique(pixels))))
    table.insert(0, "index", np.unique(pixels))
    return Labels(pixels, name="cells", features=table, opacity=draw(st.floats(0, 1)), **draw(places(len(shape))))


@st.composite
def tables(draw, rows):
    """Columns of words, numbers and truth values, as they are written into features."""
    kinds = {
        "class": st.text("ab µ,;\"'\n=-+", max_size=6),
        "score": st.floats(allow_nan=True, allow_infinity=False, width=32).map(float),
        "count": st.integers(-(2**53), 2**53),
        "seen": st.booleans(),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), unique=True, min_size=1))
    return pd.DataFrame({name: draw(st.lists(kinds[name], min_size=rows, max_size=rows)) for name in chosen})


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=labels())
def test_labels_come_back_with_their_columns(ending, cells, tmp_path_factory):
    back = saved(cells, tmp_path_factory.mktemp("labels"), ending)
    assert back.data.dtype == cells.data.dtype
    np.testing.assert_array_equal(back.data, cells.data)
    pd.testing.assert_frame_equal(back.features, cells.features)
    assert_same_look(cells, back)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16])
def test_labels_come_back_with_their_classes_and_colours(tmp_path, dtype, ending):
    table = pd.DataFrame(
        {
            "index": [0, 1, 3],
            "class": ["", "=cmd|'/C calc'!A0", 'odd, "quoted"'],
            "note": ["", "µ\nnew line", "x"],
            "area": [0.0, 2.5, np.nan],
        }
    )
    labels = Labels(
        np.array([[0, 1], [3, 3]], dtype), features=table, colormap={1: "red", 3: "#112233", None: "transparent"}
    )
    back = saved(labels, tmp_path, ending)
    if ending == ".ome.tif":
        assert "'=cmd|" in (tmp_path / "saved__Labels__Labels.csv").read_text(), "no formula for a spreadsheet"
    assert back.data.dtype == dtype
    np.testing.assert_array_equal(back.data, labels.data)
    pd.testing.assert_frame_equal(back.features, labels.features)
    assert_same_look(labels, back)


@pytest.mark.parametrize("ndim", [2, 3])
def test_points_come_back(tmp_path, ndim):
    points = Points(
        np.random.default_rng(0).normal(size=(3, ndim)) * 40,
        features={"class": ["a", "b", "b"], "score": [1, 2, 3], "sure": [True, False, True]},
        symbol=["disc", "cross", "star"],
        size=[3, 4, 5],
        face_color=["red", "blue", "#00ff0080"],
        scale=[0.5] * ndim,
        units=["um"] * ndim,
    )
    back = saved(points, tmp_path)
    np.testing.assert_array_equal(back.data, points.data)
    pd.testing.assert_frame_equal(back.features, points.features)
    assert_same_look(points, back)


def test_shapes_come_back(tmp_path):
    shapes = Shapes(
        [np.array([[0, 0], [0, 9], [9, 9], [9, 0]]), np.array([[1, 2], [8, 4]]), np.array([[1, 1], [2, 5], [7, 3]])],
        shape_type=["rectangle", "line", "polygon"],
        edge_color=["red", "yellow", "blue"],
        edge_width=[1, 2, 3],
        features={"note": ["a", "", "c"]},
    )
    back = saved(shapes, tmp_path)
    for one, other in zip(shapes.data, back.data, strict=True):
        np.testing.assert_array_equal(one, other)
    pd.testing.assert_frame_equal(back.features, shapes.features)
    assert_same_look(shapes, back)


def test_geometry_is_plain_geojson_with_x_before_y(tmp_path):
    points = Points([[10.0, 20.0]], features={"class": ["a"]})
    write_layers(str(tmp_path / "saved.ome.tif"), [points.as_layer_data_tuple()])
    found = json.loads((tmp_path / "saved__Points.geojson").read_text())
    (feature,) = found["features"]
    assert feature["geometry"] == {"type": "Point", "coordinates": [20.0, 10.0]}
    assert feature["properties"]["class"] == "a"


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_of_layers_that_differ_is_lost(tmp_path, ending):
    layers = [
        Image(np.zeros((8, 9), np.uint8), name="DNA"),
        Image(np.full((8, 9), 0.25, np.float32), name="ratio"),
        Image(np.zeros((4, 4), np.uint8), name="crop"),
        Labels(np.ones((8, 9), int), name="mine"),
        Points(np.empty((0, 2)), name="none yet"),
    ]
    write_layers(str(tmp_path / f"all{ending}"), [layer.as_layer_data_tuple() for layer in layers])
    back = {how["name"]: np.asarray(data) for data, how, _ in read_export(tmp_path)}
    assert set(back) == {"DNA", "ratio", "crop", "mine", "none yet"}
    for layer in layers:
        np.testing.assert_array_equal(back[layer.name], layer.data)
        assert back[layer.name].dtype == layer.data.dtype


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_cannot_be_saved_is_said(tmp_path, ending):
    colours = Image(np.zeros((8, 9, 3), np.uint8), name="picture", rgb=True).as_layer_data_tuple()
    with pytest.raises(OutputError, match="picture holds colours"):
        write_layers(str(tmp_path / f"a{ending}"), [colours])
    two = [Labels(np.ones((8, 9), int), name="mine").as_layer_data_tuple()] * 2
    with pytest.raises(OutputError, match="rename one"):
        write_layers(str(tmp_path / f"b{ending}"), two)
    assert list(tmp_path.iterdir()) == []


def test_other_programs_files_are_not_taken_for_ours(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((2, 8, 9), np.uint8), metadata={"axes": "CYX"})
    (tmp_path / "b.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "c.tif").write_bytes(b"")
    assert get_reader(str(tmp_path / "b.geojson")) is None
    assert get_reader(str(tmp_path / "c.tif")) is None
    assert get_reader([str(tmp_path / "a.ome.tif"), str(tmp_path / "c.tif")]) is None


def test_a_part_of_labels_is_saved_with_the_whole_alone_once(tmp_path):
    def made(name, kind):
        about = {"phenolens": {"made": True, "synthetic": False, "kind": kind}}
        return Labels(np.ones((8, 9), int), name=name, metadata=about).as_layer_data_tuple()

    whole, part = made("cells", "cells"), made("cells here", "cells of a part")
    write_layers(str(tmp_path / "all" / "a.ome.tif"), [whole, part])
    assert {how["name"] for _, how, _ in read_export(tmp_path / "all")} == {"cells"}
    write_layers(str(tmp_path / "part" / "a.ome.tif"), [part])
    assert {how["name"] for _, how, _ in read_export(tmp_path / "part")} == {"cells here"}
