"""OME-Zarr out and in again: nothing is lost, other programs' validators agree, and half a file is never left."""

import json
import shutil
import tempfile
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import yaozarrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from phenolens.runtime.errors import ImageError, OutputError
from phenolens.screens.image_details import AxisScale, ChannelDisplay, ImageDetails
from phenolens.screens.images import FieldImage, read_image
from phenolens.screens.ome_zarr.images import LabelImage, label_names, read_labels
from phenolens.screens.ome_zarr.tables import read_table_inside, table_names
from phenolens.screens.ome_zarr.writing import write_ome_zarr

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">f4"]
UNITS = {"T": ["second", "millisecond", "minute", None], "C": [None]}
SPACE = ["micrometer", "nanometer", "millimeter", "angstrom", None]
finite = st.floats(-1e6, 1e6, allow_nan=False)
names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)


@st.composite
def images(draw):
    """Images of every kind that can be written."""
    axes = draw(st.sampled_from(["YX", "CYX", "ZYX", "TYX", "CZYX", "ZCYX", "TCYX", "TCZYX", "CTZYX"]))
    shape = tuple(draw(st.integers(1, 4 if axis not in "YX" else 20)) for axis in axes)
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    elements = {"allow_nan": False} if dtype.kind == "f" else {}
    data = draw(arrays(dtype, shape, elements=elements or None, fill=None if elements else st.nothing()))
    channels = shape[axes.index("C")] if "C" in axes else 1
    scales = {
        axis: AxisScale(
            draw(st.floats(1e-6, 1e6)) if axis != "C" else 1.0,
            draw(st.sampled_from(UNITS.get(axis, SPACE))),  # type: ignore[call-overload]
            draw(finite) if axis != "C" else 0.0,
        )
        for axis in axes
    }
    window = st.tuples(finite, finite).map(lambda pair: tuple(sorted(pair)))
    displays = tuple(
        ChannelDisplay(
            draw(st.sampled_from(["FF0000", "00A1B2", "FFFFFF"])), draw(window), draw(window), draw(st.booleans())
        )
        for _ in range(channels)
    )  # fmt: skip
    y, x = scales["Y"].micrometres, scales["X"].micrometres
    facts = draw(st.sampled_from([{}, {"provenance": {"seed": 3, "of": ["a", None]}}]))
    return FieldImage(
        data, axes, tuple(draw(st.lists(names, min_size=channels, max_size=channels, unique=True))),
        (y, x) if y and x else None, scales["Z"].micrometres if "Z" in axes else None,
        details=ImageDetails("an image", scales, displays, facts),
    )  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(image=images(), version=st.sampled_from(["0.5", "0.4"]))
def test_what_is_written_is_read_back(image, version):
    with tempfile.TemporaryDirectory() as folder:
        once = read_image(write_ome_zarr(Path(folder) / "a.zarr", image, version=version))
        _check_same(image, once)
        twice = read_image(write_ome_zarr(Path(folder) / "b.zarr", once, version=version))
        _check_same(once, twice)
        assert once.details == twice.details
        first, second = (
            Path(folder) / name / ("zarr.json" if version == "0.5" else ".zattrs") for name in ("a.zarr", "b.zarr")
        )
        assert json.loads(first.read_text()) == json.loads(second.read_text())


def _check_same(given, read):
    order = "".join(axis for axis in "TCZYX" if axis in given.axes)
    assert read.axes == order
    pixels = np.asarray(given.data).transpose([given.axes.index(axis) for axis in order])
    np.testing.assert_array_equal(np.asarray(read.data), pixels)
    assert read.dtype == given.dtype.newbyteorder("=")
    for name in ("channel_names", "pixel_size", "z_spacing"):
        assert getattr(read, name) == getattr(given, name), name
    for axis in given.axes:
        assert read.scale(axis) == given.scale(axis)
    assert read.details.displays == given.details.displays
    assert read.details.facts == {"format": 1, "synthetic": False, **given.details.facts}


def field(shape=(2, 300, 530), dtype=np.uint16, axes="CYX", seed=0):
    data = np.random.default_rng(seed).integers(0, 900, shape).astype(dtype)
    return FieldImage(data, axes, ("DNA", "actin")[: shape[0]], (0.5, 0.25))


def test_levels_halve_the_image_by_means(tmp_path):
    image = field()
    levels = read_image(write_ome_zarr(tmp_path / "a.zarr", image)).levels
    assert [level.shape for level in levels] == [(2, 300, 530), (2, 150, 265), (2, 75, 133)]
    means = image.data.reshape(2, 150, 2, 265, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(np.asarray(levels[1]), np.rint(means).astype(np.uint16))
    # the odd column is its own mean with itself
    np.testing.assert_array_equal(
        np.asarray(levels[2])[..., -1], np.rint(np.asarray(levels[1])[..., -1].reshape(2, 75, 2).mean(axis=2))
    )


def test_smaller_levels_lie_on_the_largest(tmp_path):
    write_ome_zarr(tmp_path / "a.zarr", field())
    datasets = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    for level, dataset in enumerate(datasets["datasets"]):
        scale, *translation = dataset["coordinateTransformations"]
        assert scale["scale"] == [1.0, 0.5 * 2**level, 0.25 * 2**level]
        expected = [0.0, 0.5 * (2**level - 1) / 2, 0.25 * (2**level - 1) / 2]
        assert [one["translation"] for one in translation] == ([expected] if level else [])


def test_pieces_of_a_large_image_are_put_together(tmp_path, monkeypatch):
    from phenolens.screens.ome_zarr import writing as ome_zarr_writing

    monkeypatch.setattr(ome_zarr_writing, "_CHUNK", 64)
    image = field()
    lazy = FieldImage(da.from_array(image.data, chunks=(1, 70, 90)), "CYX", image.channel_names)
    read = read_image(write_ome_zarr(tmp_path / "a.zarr", lazy))
    np.testing.assert_array_equal(np.asarray(read.data), image.data)
    whole = read_image(write_ome_zarr(tmp_path / "b.zarr", image))
    for one, other in zip(read.levels, whole.levels, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_labels_and_tables_lie_inside(tmp_path, version):
    labels = np.zeros((300, 530), np.int32)
    labels[20:60, 30:80], labels[100:140, 300:350] = 1, 12
    properties = pd.DataFrame({"class": ["round", None], "note": ["", "odd"]}, index=pd.Index([1, 12], name="label"))
    table = pd.DataFrame({"label": [1, 12], "area": [2000.0, 2000.0], "class": ["round", ""], "seen": [True, False]})
    path = write_ome_zarr(
        tmp_path / "a.zarr", field(), version=version, tables={"cells": table},
        labels={"nuclei": LabelImage(labels, "YX", properties, {1: "FF0000FF", 12: "0000FF80"})},
    )  # fmt: skip
    assert label_names(path) == ("nuclei",)
    read = read_labels(path, "nuclei")
    np.testing.assert_array_equal(np.asarray(read.pixels), labels)
    assert read.pixels.dtype == np.int32
    assert read.colours == {1: "FF0000FF", 12: "0000FF80"}
    assert read.properties.where(read.properties.notna(), None).to_dict() == properties.to_dict()
    assert read.details.scales["Y"] == AxisScale(0.5, "micrometer")
    assert table_names(path) == ("cells",)
    pd.testing.assert_frame_equal(read_table_inside(path, "cells"), table, check_dtype=False)
    if version == "0.5":
        yaozarrs.validate_zarr_store(str(path))
    yaozarrs.open_group(str(path)).ome_metadata()
    yaozarrs.open_group(str(path / "labels" / "nuclei")).ome_metadata()


def test_levels_of_labels_hold_labels_alone(tmp_path):
    labels = np.random.default_rng(0).choice([0, 3, 700], (300, 530)).astype(np.uint16)
    path = write_ome_zarr(tmp_path / "a.zarr", field(), labels={"cells": LabelImage(labels, "YX")})
    level = read_image(path / "labels" / "cells").levels[1]
    assert level.dtype == np.uint16
    np.testing.assert_array_equal(np.asarray(level), labels[::2, ::2])


@pytest.mark.parametrize("axes", ["YX", "ZCYX", "TCZYX"])
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_a_validator_finds_nothing_wrong(tmp_path, axes, version):
    shape = [{"T": 2, "C": 2, "Z": 3, "Y": 20, "X": 24}[axis] for axis in axes]
    image = FieldImage(np.zeros(shape, np.float32), axes, (), (0.5, 0.5), 2.0 if "Z" in axes else None)
    path = write_ome_zarr(tmp_path / "a.zarr", image, version=version)
    found = yaozarrs.open_group(str(path)).ome_metadata()
    assert found.multiscales[0].axes[-1].name == "x"
    if version == "0.5":
        yaozarrs.validate_zarr_store(str(path))


def test_what_a_model_made_says_so_to_every_reader(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", field(), synthetic=True, provenance={"adapter": "abc", "strength": 1.0})
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    assert attributes["phenolens"] == {
        "format": 1, "synthetic": True, "provenance": {"adapter": "abc", "strength": 1.0},
    }  # fmt: skip
    assert attributes["ome"]["multiscales"][0]["name"] == "synthetic a"
    image = read_image(path)
    assert image.channel_names == ("synthetic DNA", "synthetic actin")
    assert image.details.synthetic
    again = read_image(write_ome_zarr(tmp_path / "b.zarr", image))  # the mark stays, and is not put on twice
    assert (again.channel_names, again.details.synthetic) == (image.channel_names, True)


def test_contrast_comes_from_the_pixels_where_none_is_given(tmp_path):
    display = read_image(write_ome_zarr(tmp_path / "a.zarr", field())).details.displays[0]
    assert display.limits == (0.0, 65535.0)
    low, high = display.window
    assert 0 < low < high < 900


def test_a_failed_write_leaves_what_was_there(tmp_path):
    write_ome_zarr(tmp_path / "a.zarr", field(seed=1))

    def broken(block):
        raise ImageError("a block cannot be read")

    lazy = FieldImage(
        da.zeros((1, 300, 300), np.uint8, chunks=(1, 100, 100)).map_blocks(broken, meta=np.zeros((1, 1, 1), np.uint8)),
        "CYX",
    )
    for name in ("a.zarr", "b.zarr"):
        with pytest.raises(ImageError, match="a block cannot be read"):
            write_ome_zarr(tmp_path / name, lazy)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr").plane(), field(seed=1).data)


def test_what_others_wrote_is_not_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "notes.txt").write_text("mine")
    write_ome_zarr(tmp_path / "b.zarr", field())
    document = json.loads((tmp_path / "b.zarr" / "zarr.json").read_text())
    (tmp_path / "b.zarr" / "zarr.json").write_text(json.dumps(document))
    (tmp_path / "b.zarr" / "mine.txt").write_text("mine")
    for name, why in (
        ("a.zarr", "is not an OME-Zarr that phenolens wrote"),
        ("b.zarr", "holds more than that: mine.txt"),
    ):
        with pytest.raises(OutputError, match=why):
            write_ome_zarr(tmp_path / name, field())
    assert (tmp_path / "a.zarr" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "b.zarr" / "mine.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "b.zarr")
    write_ome_zarr(tmp_path / "b.zarr", field(seed=1))
    write_ome_zarr(tmp_path / "b.zarr", field(seed=2))  # its own, it does replace
    np.testing.assert_array_equal(read_image(tmp_path / "b.zarr").plane(), field(seed=2).data)


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"version": "0.3"}, "choose 0.5 or 0.4"),
        ({"labels": {"n": LabelImage(np.zeros((4, 4), np.int32), "YX")}}, "do not fit their image"),
        ({"labels": {"n": LabelImage(np.zeros((300, 530)), "YX")}}, "labels are whole numbers"),
        ({"labels": {"../n": LabelImage(np.zeros((300, 530), int), "YX")}}, "cannot be called"),
        ({"tables": {"t": pd.DataFrame({"area": [1]})}}, "needs a column label"),
        ({"tables": {"t": pd.DataFrame({"label": [1, 1]})}}, "none twice"),
    ],
)
def test_what_cannot_be_written_gets_a_sentence(tmp_path, about, sentence):
    with pytest.raises(ImageError, match=sentence):
        write_ome_zarr(tmp_path / "a.zarr", field(), **about)
    assert not list(tmp_path.iterdir())


def test_complex_pixels_are_refused(tmp_path):
    with pytest.raises(ImageError, match="whole or real numbers"):
        write_ome_zarr(tmp_path / "a.zarr", FieldImage(np.zeros((4, 4), complex), "YX"))
