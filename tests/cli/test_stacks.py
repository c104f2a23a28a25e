"""Stacks, time series and whole fields on the command line: what comes out is as what went in."""

import numpy as np
import pytest

from cli_run import run
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.images import read_image
from tiny_base import make_tiny_adapter


@pytest.fixture(scope="module")
def adapter(tiny_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter") / "tiny"
    made = make_tiny_adapter(tiny_base, crop=32)
    made.save(folder)
    return folder


def written(folder, axes, dtype, shape=(40, 56)):
    lengths = dict(zip("TZCYX", (2, 3, 2, *shape), strict=True))
    pixels = np.random.default_rng(0).gamma(2, 20, [lengths[axis] for axis in axes]).clip(0, 120).astype(dtype)
    return pixels, write_ome_tiff(
        folder / "stack.ome.tif", pixels, axes, ("a", "b"), (0.2, 0.3), synthetic=False, z_spacing=0.7
    )


def translate(adapter, path, out, *more):
    return run("translate", adapter, path, "--strength", "0", "1", "--steps", "2", "--out", out, "--json", *more)


@pytest.mark.parametrize(
    ("axes", "dtype", "cells"),
    [
        ("TZCYX", np.uint16, "whole"),
        ("TZCYX", np.uint8, "tiles"),
        ("CZTYX", np.int16, "whole"),
        ("ZCYX", np.float32, "tiles"),
        ("TCYX", np.float64, "whole"),
    ],
)
def test_axes_dtype_and_sizes_are_kept(adapter, tmp_path, axes, dtype, cells):
    pixels, path = written(tmp_path, axes, dtype)
    assert translate(adapter, path, tmp_path / "out", "--cells", cells).status == 0
    original, untouched, treated, difference = (
        read_image(path)
        for path in (path, *(tmp_path / "out" / f"stack__{name}.ome.tif" for name in ("s0.00", "s1.00", "difference")))
    )
    np.testing.assert_array_equal(untouched.data, pixels)
    for image in (untouched, treated, difference):
        assert (image.axes, image.shape) == (axes, pixels.shape)
        assert image.pixel_size == pytest.approx((0.2, 0.3))
        assert image.z_spacing == original.z_spacing
    assert "Z" not in axes or original.z_spacing == pytest.approx(0.7)
    assert untouched.dtype == treated.dtype == dtype
    assert difference.dtype == np.float32
    moved = [treated.plane(t, z) - original.plane(t, z).astype(float) for t, z in original.positions()]
    assert all(one.any() for one in moved), "every plane is translated"
    assert any(not np.array_equal(moved[0], one) for one in moved[1:]), "each plane by what is in it"


def test_tiles_are_translated_with_the_difference_solver_alone(adapter, tmp_path):
    _, path = written(tmp_path, "CYX", np.uint8)
    ran = translate(adapter, path, tmp_path / "out", "--cells", "tiles", "--solver", "ddim")
    assert ran.status == 2
    assert "with the solver 'difference', not with 'ddim'" in ran.error


def test_results_of_tiles_and_of_cells_are_not_mixed(adapter, tmp_path):
    _, path = written(tmp_path, "CYX", np.uint8, (32, 32))
    assert translate(adapter, path, tmp_path / "out", "--cells", "tiles").status == 0
    ran = translate(adapter, path, tmp_path / "out", "--cells", "whole")
    assert ran.status == 2
    assert "made with another choice of cells" in ran.error
