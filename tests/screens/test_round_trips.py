"""What is written is read back, whatever it is: OME-TIFF images, plates, and tables of features."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenolens.runtime.progress import finish
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.image_details import AxisScale
from phenolens.screens.images import read_image
from phenolens.screens.ome_zarr.plate_writing import write_plate
from phenolens.screens.table import read_screen, screen_from_arrays

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", ">u2", ">f4")
LENGTHS = {"T": 3, "C": 3, "Z": 4}
names = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=12)
sides = st.floats(1e-3, 1e3).map(lambda side: float(f"{side:.6g}"))


@st.composite
def pixels(draw, axes):
    shape = [draw(st.integers(2 if axis in "TZ" else 1, LENGTHS.get(axis, 20))) for axis in axes]
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    if dtype.kind == "f":
        return (rng.normal(0, 1e4, shape)).astype(dtype)
    ends = np.iinfo(dtype)
    return rng.integers(ends.min, ends.max, shape, endpoint=True, dtype=dtype.newbyteorder("=")).astype(dtype)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data(), axes=st.sampled_from(["YX", "CYX", "ZYX", "TYX", "CZYX", "ZCYX", "TCYX", "TCZYX"]))
def test_an_ome_tiff_is_read_as_it_was_written(data, axes):
    given_pixels = data.draw(pixels(axes))
    count = given_pixels.shape[axes.index("C")] if "C" in axes else 1
    channels = tuple(data.draw(st.lists(names, min_size=count, max_size=count, unique=True)))
    size, spacing = (data.draw(sides), data.draw(sides)), data.draw(sides)
    time = AxisScale(data.draw(sides), data.draw(st.sampled_from(["second", "minute", "millisecond"])))
    synthetic = data.draw(st.booleans())
    with tempfile.TemporaryDirectory() as folder:
        for number in (1, 2):  # what is read is written and read once more
            image = read_image(
                write_ome_tiff(
                    Path(folder) / f"{number}.ome.tif", given_pixels, axes, channels, size, synthetic=synthetic,
                    z_spacing=spacing if "Z" in axes else None, time_scale=time if "T" in axes else None,
                )
            )  # fmt: skip
            order = [image.axes.index(axis) for axis in axes if axis in image.axes]
            read = np.asarray(image.data).transpose(order).reshape(given_pixels.shape)
            np.testing.assert_array_equal(read, given_pixels)
            assert read.dtype == given_pixels.dtype.newbyteorder("=")
            shown = tuple(f"synthetic {name}" if synthetic else name for name in channels)
            assert image.channel_names == shown
            assert image.pixel_size == pytest.approx(size)
            if "Z" in axes:
                assert image.z_spacing == pytest.approx(spacing)
            if "T" in axes:
                assert image.scale("T").seconds == pytest.approx(time.seconds)
            given_pixels = read


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(data=st.data(), axes=st.sampled_from(["CYX", "CZYX", "TCYX"]), version=st.sampled_from(["0.5", "0.4"]))
def test_a_plate_is_the_screen_that_it_was_written_from(data, axes, version):
    first = data.draw(pixels(axes))
    wells = data.draw(st.lists(st.sampled_from([f"{r}{c:02d}" for r in "ABP" for c in (1, 9, 24)]), unique=True,
                               min_size=1, max_size=3))  # fmt: skip
    images = {f"{well}_s{site}": np.roll(first, n + 7 * site, -1) for n, well in enumerate(wells) for site in (1, 2)}
    metadata = {
        key: {
            "Plate": "p", "Well": key[:3], "Site": int(key[-1]), "Compound": data.draw(names),
            "Concentration": data.draw(st.floats(0, 1e3)),
        }
        for key in images
    }  # fmt: skip
    for key in images:  # a condition is a well's
        for column in ("Compound", "Concentration"):
            metadata[key][column] = metadata[f"{key[:3]}_s1"][column]
    channels = tuple(data.draw(st.lists(names, min_size=(n := first.shape[axes.index("C")]), max_size=n, unique=True)))
    size, spacing = (data.draw(sides), data.draw(sides)), data.draw(sides) if "Z" in axes else None
    screen = screen_from_arrays(images, channels, metadata, size, axes, spacing, None)
    with tempfile.TemporaryDirectory() as folder:
        back = read_screen(finish(write_plate(Path(folder) / "p.zarr", screen, version=version)))
        assert len(back) == len(screen)
        columns = [f"Metadata_{name}" for name in ("Plate", "Well", "Compound", "Concentration")]
        order = ["Metadata_Well", "Metadata_Site"]
        one, other = (table.table.sort_values(order).reset_index(drop=True) for table in (screen, back))
        pd.testing.assert_frame_equal(one[columns], other[columns], check_dtype=False)
        for field in back:
            well, site = field.metadata["Metadata_Well"], int(field.metadata["Metadata_Site"])
            source, image = screen[f"{well}_s{site}"].image(), field.image()
            assert (image.channel_names, image.dtype) == (channels, first.dtype.newbyteorder("="))
            assert image.pixel_size == pytest.approx(size)
            assert image.z_spacing == (None if spacing is None else pytest.approx(spacing))
            for position in source.positions():
                np.testing.assert_array_equal(image.plane(*position), source.plane(*position))
