"""Large TIFF files are read by tiles or strips, at the levels that they hold or at our own."""

import tracemalloc

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from phenolens.runtime.errors import ImageError
from phenolens.screens import large_images
from phenolens.screens.images import read_image
from phenolens.screens.large_images import by_levels, plane_of
from phenolens.screens.tiff import tiff_parts, tiffs

SHAPE = (2, 150, 210)
STORED = {
    "tiles": {"tile": (32, 48), "compression": "zlib"},
    "strips": {"rowsperstrip": 20, "compression": "lzw"},
    "plain": {},
    "predicted": {"tile": (64, 64), "compression": "deflate", "predictor": True},
}


def noise(*shape):
    return np.random.default_rng(0).integers(0, 60_000, shape).astype(np.uint16)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(tiffs, "LAZY_BYTES", 0)
    monkeypatch.setattr(large_images, "LARGE", 64 * 64)
    monkeypatch.setattr(tiff_parts, "_BLOCK", 64)
    monkeypatch.setattr(tiff_parts, "_SMALLEST", 16)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("order", ["<", ">"])
def test_any_part_is_what_the_file_holds(tmp_path_factory, stored, order):
    data = noise(3, *SHAPE)
    path = tmp_path_factory.mktemp("tiff") / "a.ome.tif"
    tifffile.imwrite(path, data, photometric="minisblack", metadata={"axes": "ZCYX"}, byteorder=order, **STORED[stored])
    image = read_image(path)
    assert by_levels(image)
    assert max(image.data.chunks[-1]) * max(image.data.chunks[-2]) < 150 * 210
    np.testing.assert_array_equal(np.asarray(image.data), data)
    np.testing.assert_array_equal(image.plane(z=2), data[2])
    for step, level in enumerate(image.levels):
        np.testing.assert_array_equal(np.asarray(level), data[..., :: 2**step, :: 2**step])
    assert len(image.levels) > 4

    @settings(max_examples=10, deadline=None)
    @given(draw=st.data())
    def any_part(draw):
        ends = st.one_of(st.none(), st.integers(-230, 230))
        steps = st.sampled_from([None, 1, 3])
        key = (slice(None), *(slice(draw.draw(ends), draw.draw(ends), draw.draw(steps)) for _ in range(2)))
        np.testing.assert_array_equal(plane_of(image, z=1)[key], data[1][key])

    any_part()


def test_the_levels_of_a_file_are_its_own_and_colours_are_channels(tmp_path):
    grey, colour = noise(*SHAPE), np.moveaxis(noise(3, 150, 210), 0, -1).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "grey.ome.tif", ome=True) as file:
        options = {"tile": (32, 32), "photometric": "minisblack", "compression": "zlib"}
        file.write(grey, subifds=2, metadata={"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, **options)
        file.write(grey[:, ::2, ::2] + 1, subfiletype=1, **options)
        file.write(grey[:, ::4, ::4] + 2, subfiletype=1, **options)
    image = read_image(tmp_path / "grey.ome.tif")
    for level, wanted in zip(image.levels, (grey, grey[:, ::2, ::2] + 1, grey[:, ::4, ::4] + 2), strict=True):
        np.testing.assert_array_equal(np.asarray(level), wanted)
    assert image.pixel_size == (0.5, 0.5)
    for name, how in (("jpeg", {"compression": "jpeg", "compressionargs": {"level": 95}}), ("plain", {})):
        tifffile.imwrite(tmp_path / f"{name}.tif", colour, tile=(32, 32), photometric="rgb", **how)
        image, whole = read_image(tmp_path / f"{name}.tif"), tifffile.imread(tmp_path / f"{name}.tif")
        assert image.axes == "CYX"
        np.testing.assert_array_equal(image.plane(), np.moveaxis(whole, -1, 0))
        np.testing.assert_array_equal(plane_of(image)[:, 40:70, 100:105], np.moveaxis(whole, -1, 0)[:, 40:70, 100:105])
        np.testing.assert_array_equal(np.asarray(image.levels[3]), np.moveaxis(whole, -1, 0)[:, ::8, ::8])


def test_a_tile_that_is_damaged_or_cut_off_is_named_when_it_is_read(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(150, 210), tile=(32, 32), compression="zlib", photometric="minisblack")
    image = read_image(path)
    with tifffile.TiffFile(path) as file:
        start, length = file.pages[0].dataoffsets[-1], file.pages[0].databytecounts[-1]
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + bytes(length) + whole[start + length :])
    np.testing.assert_array_equal(plane_of(image)[:, :32, :32], noise(150, 210)[None, :32, :32])
    with pytest.raises(ImageError, match=r"a\.tif"):
        plane_of(image)[:, 140:, 200:]
    path.write_bytes(whole[: start + 5])
    with pytest.raises(ImageError, match=r"a\.tif is cut short"):
        plane_of(image)[:, 140:, 200:]


def test_a_part_takes_the_memory_of_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_parts, "_BLOCK", 256)
    data = np.zeros((4096, 4096), np.uint16)
    data[::7, ::5] = 999
    tifffile.imwrite(tmp_path / "a.tif", data, tile=(256, 256), compression="zlib", photometric="minisblack")
    image = read_image(tmp_path / "a.tif")
    plane_of(image)[:, :2, :2]
    tracemalloc.start()
    np.testing.assert_array_equal(plane_of(image)[0, 1000:1400, 3000:3500], data[1000:1400, 3000:3500])
    np.testing.assert_array_equal(np.asarray(image.levels[-1]), data[:: 2**8, :: 2**8])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < data.nbytes / 4


def test_planes_that_are_read_whole_are_bounded_and_those_read_in_parts_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_MAX_PIXELS", "20000")
    data = noise(150, 210)
    tifffile.imwrite(tmp_path / "tiles.tif", data, tile=(32, 32), compression="zlib", photometric="minisblack")
    np.testing.assert_array_equal(plane_of(read_image(tmp_path / "tiles.tif"))[0], data)
    tifffile.imwrite(tmp_path / "strip.tif", data, rowsperstrip=150, compression="zlib", photometric="minisblack")
    with pytest.raises(ImageError, match="declares 31,500 pixels"):
        read_image(tmp_path / "strip.tif")
    tifffile.imwrite(tmp_path / "bomb.tif", 0 * data, tile=(64, 64), compression="zlib", photometric="minisblack")
    monkeypatch.setattr(tiffs, "_MOST_PACKED", 20)
    with pytest.raises(ImageError, match="declares 31,500 pixels"):
        read_image(tmp_path / "bomb.tif")
    monkeypatch.setattr(tiffs, "LARGEST_PLANE", 60_000)
    with pytest.raises(ImageError, match="declares 31,500 pixels"):
        read_image(tmp_path / "tiles.tif")
