"""What is written opens in other programs as it was meant."""

import dask.array
import numpy as np
import pytest
import tifffile

from phenolens.screens import export
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.image_details import AxisScale

NAMES = ("DNA", "α-tubulin")


@pytest.mark.parametrize("axes", ["CYX", "CZYX", "TCYX", "TCZYX"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_bioio_and_tifffile_read_ome_tiff(tmp_path, axes, dtype):
    shape = [{"T": 3, "C": 2, "Z": 4, "Y": 16, "X": 20}[axis] for axis in axes]
    pixels = np.random.default_rng(0).integers(0, 120, shape).astype(dtype)
    path = write_ome_tiff(
        tmp_path / "a.ome.tif", pixels, axes, NAMES, (0.4, 0.325), synthetic=True, z_spacing=2.0,
        time_scale=AxisScale(60.0, "second"),
    )  # fmt: skip
    image = pytest.importorskip("bioio").BioImage(path)
    np.testing.assert_array_equal(image.get_image_data(axes), pixels)
    assert image.dtype == dtype
    assert image.channel_names == [f"synthetic {name}" for name in NAMES]
    sizes = image.physical_pixel_sizes
    assert (sizes.Y, sizes.X) == (0.4, 0.325)
    assert sizes.Z == 2.0, "also of one plane, as the file says"
    if "T" in axes:
        known = image.ome_metadata.images[0].pixels
        assert (known.time_increment, known.time_increment_unit.value) == (60.0, "s")
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == axes
        np.testing.assert_array_equal(file.asarray(), pixels)


def test_bioio_reads_a_large_one_that_was_written_by_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "BY_TILES", 0)
    monkeypatch.setattr(export, "_SIDE", 32)
    pixels = np.random.default_rng(0).integers(0, 900, (2, 70, 90)).astype(np.uint16)
    lazy = dask.array.from_array(pixels, chunks=(1, 40, 40))
    path = write_ome_tiff(tmp_path / "a.ome.tif", lazy, "CYX", NAMES, (0.4, 0.325), synthetic=False)
    image = pytest.importorskip("bioio").BioImage(path)
    np.testing.assert_array_equal(image.get_image_data("CYX"), pixels)
    assert image.channel_names == list(NAMES)
