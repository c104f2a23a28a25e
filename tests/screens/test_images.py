"""Reading images: axes, names and sizes kept, broken files named."""

from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from phenolens.runtime.errors import ImageError
from phenolens.screens.images import FieldImage, read_image, stack_channels
from phenolens.screens.tiff import tiffs


def noise(*shape: int, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


def test_ome_tiff_keeps_axes_names_and_physical_size(tmp_path):
    data = noise(2, 3, 4, 16, 20)
    metadata = {
        "axes": "TCZYX",
        "Channel": {"Name": ["DNA", "α-tubulin", "actin"]},
        "PhysicalSizeX": 325.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.4,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeZUnit": "µm",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", data, photometric="minisblack", metadata=metadata)
    image = read_image(tmp_path / "a.ome.tif")
    assert (image.axes, image.shape, image.dtype) == ("TCZYX", data.shape, np.uint16)
    assert image.channel_names == ("DNA", "α-tubulin", "actin")
    assert image.pixel_size == pytest.approx((0.4, 0.325))
    assert image.z_spacing == 2.0
    np.testing.assert_array_equal(image.plane(t=1, z=2), data[1, :, 2])


def test_imagej_hyperstack_keeps_axes_names_and_physical_size(tmp_path):
    data = noise(3, 2, 16, 20)
    tifffile.imwrite(
        tmp_path / "a.tif",
        data,
        imagej=True,
        resolution=(4.0, 2.0),
        metadata={
            "axes": "ZCYX",
            "unit": "um",
            "spacing": 1.5,
            "Labels": ["c:1/2 z:1/3 - DNA", "c:2/2 z:1/3 - GFP"] * 3,
        },
    )
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.channel_names) == ("ZCYX", ("DNA", "GFP"))
    assert image.pixel_size == pytest.approx((0.5, 0.25))
    assert image.z_spacing == 1.5
    np.testing.assert_array_equal(image.plane(z=1), data[1])


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((16, 20), "YX"), ((3, 16, 20), "CYX"), ((30, 16, 20), "ZYX"), ((30, 4, 16, 20), "ZCYX")],
)
def test_axes_without_names_are_channels_when_few_and_depth_when_many(tmp_path, shape, axes):
    tifffile.imwrite(tmp_path / "a.tif", noise(*shape), photometric="minisblack")
    image = read_image(tmp_path / "a.tif")
    assert image.axes == axes
    assert image.plane().shape == (image.n_channels, 16, 20)


def test_colour_tiff_becomes_channels_without_transparency(tmp_path):
    data = noise(16, 20, 4, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", extrasamples=["unassalpha"])
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.channel_names) == ("CYX", ("red", "green", "blue"))
    np.testing.assert_array_equal(image.data, data[..., :3].transpose(2, 0, 1))


@pytest.mark.parametrize("compression", ["lzw", "zlib", None])
def test_big_endian_and_compressed_files_give_native_pixels(tmp_path, compression):
    data = noise(2, 16, 20)
    tifffile.imwrite(tmp_path / "a.tif", data, byteorder=">", compression=compression, photometric="minisblack")
    plane = read_image(tmp_path / "a.tif").plane()
    assert plane.dtype.isnative
    np.testing.assert_array_equal(plane, data)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}])
def test_large_files_are_read_plane_by_plane_when_asked(tmp_path, monkeypatch, options):
    data = noise(2, 3, 4, 16, 20)
    axes = {"axes": "TZCYX"} if options.get("imagej") else {}
    tifffile.imwrite(
        tmp_path / "a.ome.tif", data, photometric="minisblack", metadata=axes or {"axes": "TZCYX"}, **options
    )
    monkeypatch.setattr(tiffs, "LAZY_BYTES", 0)
    image = read_image(tmp_path / "a.ome.tif")
    assert not isinstance(image.data, np.ndarray)
    assert image.axes == "TZCYX"
    np.testing.assert_array_equal(image.plane(t=1, z=2), data[1, 2])


def test_a_large_file_that_breaks_after_opening_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(3, 64, 64), photometric="minisblack", compression="zlib")
    monkeypatch.setattr(tiffs, "LAZY_BYTES", 0)
    image = read_image(path)
    path.write_bytes(b"II*\0")
    with pytest.raises(ImageError, match=r"a\.tif"):
        image.plane()


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"imagej": True}, {"metadata": None}])
def test_no_truncation_goes_unnoticed(tmp_path, options):
    data = noise(3, 40, 40)
    tifffile.imwrite(tmp_path / "whole.tif", data, photometric="minisblack", **options)
    whole = (tmp_path / "whole.tif").read_bytes()
    broken = tmp_path / "broken.tif"
    for share in np.linspace(0.01, 0.97, 25):
        broken.write_bytes(whole[: int(len(whole) * share)])
        refusal = ""
        try:
            read = read_image(broken)
        except ImageError as error:
            refusal = str(error)
        if refusal:
            assert "broken.tif" in refusal
        else:  # only what lies behind the pixels may be missing
            np.testing.assert_array_equal(read.data, data)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.bmp"])
@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (b"no image at all", "damaged")])
def test_files_that_are_no_image_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=rf"{name}.*{words}"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(("path", "words"), [("none.tif", "no image"), (".", "folder"), ("notes.txt", "TIFF")])
def test_what_is_not_there_or_of_another_kind_is_said(tmp_path, path, words):
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(ImageError, match=words):
        read_image(tmp_path / path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_of_either_depth(tmp_path, dtype, channels):
    data = noise(16, 20, channels, dtype=dtype) * (1 if dtype is np.uint8 else 200)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(data[..., 0] if channels == 1 else data))
    image = read_image(tmp_path / "a.png")
    assert (image.axes, image.dtype) == ("YX" if channels == 1 else "CYX", dtype)
    np.testing.assert_array_equal(image.plane(), data[..., :3].transpose(2, 0, 1))


def test_a_palette_of_greys_is_grey(tmp_path):
    data = noise(16, 20, dtype=np.uint8)
    Image.fromarray(data).convert("P").save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp").data, data)


def test_files_of_one_channel_are_stacked(tmp_path):
    data = noise(2, 16, 20, dtype=np.uint8)
    Image.fromarray(data[0]).save(tmp_path / "a.png")
    Image.fromarray(np.stack([data[1]] * 3, -1)).save(tmp_path / "b.png")  # grey saved as colour
    image = stack_channels([tmp_path / "a.png", tmp_path / "b.png"], ["DNA", "GFP"])
    assert (image.axes, image.channel_names) == ("CYX", ("DNA", "GFP"))
    np.testing.assert_array_equal(image.data, data)


def test_channels_of_different_size_or_of_colour_are_refused(tmp_path):
    Image.fromarray(noise(16, 20, dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(noise(16, 21, dtype=np.uint8)).save(tmp_path / "b.png")
    Image.fromarray(noise(16, 20, 3, dtype=np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(ImageError, match=r"b\.png.*must agree"):
        stack_channels([tmp_path / "a.png", tmp_path / "b.png"], ["A", "B"])
    with pytest.raises(ImageError, match=r"c\.png has 3 channels"):
        stack_channels([tmp_path / "a.png", tmp_path / "c.png"], ["A", "C"])


@pytest.mark.parametrize("axes", ["YX", "CYX", "ZYX", "TZCYX", "TCZYX", "ZCYX"])
def test_restacking_all_planes_gives_the_image_back(axes):
    data = noise(*({"T": 2, "C": 3, "Z": 4, "Y": 8, "X": 9}[axis] for axis in axes))
    image = FieldImage(data, axes)
    again = image.restacked(image.plane(t, z) for t, z in image.positions())
    assert again.axes == axes
    np.testing.assert_array_equal(again.data, data)


def test_a_plane_that_is_not_there_is_refused():
    with pytest.raises(ImageError, match="depth 1"):
        FieldImage(noise(8, 9), "YX").plane(z=1)


@pytest.mark.parametrize(("axes", "names"), [("YXC", ()), ("CYX", ("a",)), ("YX", ()), ("QYX", ())])
def test_axes_and_names_must_fit_the_array(axes, names):
    with pytest.raises(ImageError):
        FieldImage(noise(2, 8, 9), axes, names)


def test_real_images(shared_data: Path):
    crop = next((shared_data / "protein_synthesis_cells" / "images").glob("*.tif"))
    image = read_image(crop)
    assert (image.axes, image.channel_names, image.shape) == ("CYX", ("DNA", "tubulin", "actin"), (3, 68, 68))
    assert read_image(shared_data / "nfkb_translocation" / "images" / "01-A-01-00.tif").shape == (
        2,
        1024,
        1360,
    )


def test_the_middle_depth_of_the_first_time_stands_for_an_image():
    data = np.arange(2 * 3 * 5 * 8 * 9).reshape(2, 3, 5, 8, 9)
    image = FieldImage(data, "TCZYX")
    np.testing.assert_array_equal(image.plane(), data[0, :, 2])
    np.testing.assert_array_equal(image.plane(t=1), data[1, :, 2])
    chosen = replace(image, chosen=(1, 9))
    assert chosen.position == (1, 4), "beyond the end it is the last"
    np.testing.assert_array_equal(chosen.plane(), data[1, :, 4])


@pytest.mark.parametrize("axes", ["TCZYX", "ZTCYX", "CZTYX"])
def test_a_channel_is_a_stack_of_its_planes(axes):
    lengths = dict(zip("TCZYX", (2, 3, 4, 8, 9), strict=True))
    image = FieldImage(np.random.default_rng(0).random([lengths[axis] for axis in axes]), axes)
    assert image.stack_axes == "TZ"
    channel = image.channel(1)
    assert channel.shape == (2, 4, 8, 9)
    np.testing.assert_array_equal(channel[1, 2], image.plane(1, 2)[1])
    assert FieldImage(np.zeros((1, 8, 9)), "ZYX").channel(0).shape == (8, 9)
