"""OME-TIFF out and in again."""

import json
from xml.etree import ElementTree

import dask.array
import numpy as np
import pytest
import tifffile
from npe2 import PluginManifest

from phenolens.runtime.errors import ImageError, OutputError
from phenolens.screens import export
from phenolens.screens.export import WRITERS, read_description, write_ome_tiff
from phenolens.screens.image_details import AxisScale
from phenolens.screens.images import read_image
from project import ROOT

NAMES = {"C": ("DNA", "α-tubulin")}


@pytest.mark.parametrize("axes", ["YX", "CYX", "ZCYX", "TCZYX"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
def test_what_is_written_is_read_back(tmp_path, axes, dtype):
    shape = [{"T": 3, "C": 2, "Z": 4, "Y": 16, "X": 20}[axis] for axis in axes]
    data = np.random.default_rng(0).integers(0, 120, shape).astype(dtype)
    names = NAMES["C"] if "C" in axes else ("DNA",)
    path = write_ome_tiff(
        tmp_path / "new" / "a.ome.tif", data, axes, names, (0.4, 0.325), synthetic=False, z_spacing=2.0
    )
    image = read_image(path)
    assert (image.axes, image.dtype, image.channel_names) == (axes, dtype, names)
    assert image.pixel_size == pytest.approx((0.4, 0.325))
    np.testing.assert_array_equal(image.data, data)


@pytest.mark.parametrize(
    ("scale", "stated"),
    [
        (AxisScale(60.0, "second"), ("60.0", "s")),
        (AxisScale(2.5, "minute"), ("2.5", "min")),
        (AxisScale(250.0, "ms"), ("250.0", "ms")),
        (AxisScale(3.0, "frame"), (None, None)),
    ],
)
def test_the_time_between_images_of_a_series_is_kept(tmp_path, scale, stated):
    data = np.zeros((4, 8, 9), np.uint8)
    path = write_ome_tiff(tmp_path / "a.ome.tif", data, "TYX", ["DNA"], 0.5, synthetic=False, time_scale=scale)
    pixels = ElementTree.fromstring(tifffile.TiffFile(path).ome_metadata).find(".//{*}Pixels")
    assert (pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit")) == stated
    once = read_image(path)
    again = write_ome_tiff(
        tmp_path / "b.ome.tif", data, "TYX", ["DNA"], 0.5, synthetic=False, time_scale=once.scale("T")
    )
    assert read_image(again).scale("T") == once.scale("T")
    assert once.scale("T").seconds == (pytest.approx(scale.seconds) if stated[0] else None)


def test_the_time_between_images_of_an_imagej_series_is_read(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((3, 8, 9), np.uint8), imagej=True, metadata={"axes": "TYX", "finterval": 30.0}
    )
    assert read_image(tmp_path / "a.tif").scale("T") == AxisScale(30.0, "s")


def test_what_a_model_made_says_so_in_three_places(tmp_path):
    path = write_ome_tiff(
        tmp_path / "a.ome.tif",
        np.zeros((2, 8, 9), np.uint8),
        "CYX",
        NAMES["C"],
        0.5,
        synthetic=True,
        description={"strength": 0.5},
    )
    image = ElementTree.fromstring(tifffile.TiffFile(path).ome_metadata).find("{*}Image")
    assert "synthetic" in image.get("Name")
    assert json.loads(image.find("{*}Description").text) == {"synthetic": True, "strength": 0.5}
    assert read_image(path).channel_names == ("synthetic DNA", "synthetic α-tubulin")
    assert read_image(path).pixel_size == (0.5, 0.5)


@pytest.mark.parametrize(("dtype", "stored"), [(bool, np.uint8), (np.int64, np.int32), (np.float16, np.float32)])
def test_types_that_ome_tiff_lacks_keep_their_values(tmp_path, dtype, stored):
    data = np.array([[0, 1], [1, 0]]).astype(dtype)
    image = read_image(write_ome_tiff(tmp_path / "a.ome.tif", data, "YX", ["labels"], None, synthetic=False))
    assert image.dtype == stored
    np.testing.assert_array_equal(image.data, data)


@pytest.mark.parametrize(
    ("data", "axes", "names"),
    [
        (np.zeros((2, 4, 4)), "CYX", ["one"]),
        (np.zeros((2, 4, 4)), "YX", ["one"]),
        (np.zeros((4, 4), complex), "YX", ["one"]),
        (np.full((4, 4), 2**40), "YX", ["one"]),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_no_file(tmp_path, data, axes, names):
    with pytest.raises(ImageError):
        write_ome_tiff(tmp_path / "a.ome.tif", data, axes, names, None, synthetic=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError):
        write_ome_tiff(tmp_path / "taken" / "a.ome.tif", np.zeros((4, 4)), "YX", ["a"], None, synthetic=False)


@pytest.mark.parametrize("axes", ["YX", "CYX", "TCZYX"])
@pytest.mark.parametrize(("dtype", "stored"), [(">u2", "u2"), ("i8", "i4"), ("?", "u1"), ("f4", "f4")])
def test_a_large_image_is_written_by_tiles_and_is_the_same(tmp_path, monkeypatch, axes, dtype, stored):
    monkeypatch.setattr(export, "BY_TILES", 0)
    monkeypatch.setattr(export, "_SIDE", 32)
    shape = [{"T": 2, "C": 2, "Z": 3, "Y": 70, "X": 33}[axis] for axis in axes]
    pixels = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 900, shape).astype(dtype)
    most = []
    read = dask.array.from_array(pixels, chunks=(*(1,) * (len(shape) - 2), 50, 50)).map_blocks(
        lambda block: most.append(block.shape) or block, dtype=dtype, meta=np.zeros((0,) * len(shape), dtype)
    )
    names = NAMES["C"] if "C" in axes else ("DNA",)
    how = {"synthetic": True, "description": {"strength": 0.5}, "z_spacing": 2.0}
    path, again = (
        write_ome_tiff(tmp_path / folder / "a.ome.tif", read, axes, names, (0.4, 0.325), **how) for folder in "ab"
    )
    assert path.read_bytes() == again.read_bytes(), "the same content is the same file"
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.tile == (32, 32)
        assert file.series[0].axes == axes
        assert "urn:uuid:00000000" not in file.ome_metadata
    image = read_image(path)
    assert (image.axes, image.dtype, read_description(path)["strength"]) == (axes, np.dtype(stored), 0.5)
    np.testing.assert_array_equal(image.data, pixels)
    other = write_ome_tiff(tmp_path / "c" / "a.ome.tif", read + read.dtype.type(1), axes, names, (0.4, 0.325), **how)
    assert tifffile.TiffFile(other).ome_metadata != tifffile.TiffFile(path).ome_metadata


def test_a_large_image_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "BY_TILES", 0)
    pixels = np.zeros((40, 40), np.float32)
    pixels[39, 39] = np.nan
    with pytest.raises(ImageError, match="NaN"):
        write_ome_tiff(tmp_path / "a.ome.tif", dask.array.from_array(pixels), "YX", ["a"], None, synthetic=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", sorted(WRITERS))
def test_every_format_keeps_pixels_channels_and_the_mark(ending, tmp_path):
    pixels = np.arange(2 * 12 * 10, dtype=np.uint16).reshape(2, 12, 10)
    path = WRITERS[ending](tmp_path / f"cell{ending}", pixels, "CYX", ("DNA", "actin"), 0.5, synthetic=True)
    image = read_image(path)
    np.testing.assert_array_equal(image.plane(), pixels)
    assert image.channel_names == ("synthetic DNA", "synthetic actin")


def test_the_viewer_offers_every_format():
    manifest = PluginManifest.from_file(ROOT / "src" / "phenolens" / "napari.yaml")
    offered = {one for writer in manifest.contributions.writers for one in writer.filename_extensions}
    assert set(WRITERS) <= offered
