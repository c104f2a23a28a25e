"""A composite of a plane that is read in parts is the same as one in memory."""

from dataclasses import replace

import dask.array as da
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from phenolens.evaluation.noise.noise_floor import NoiseFloor
from phenolens.evaluation.noise.significance import masked, significant
from phenolens.evaluation.noise.significant_tiles import significant_tiles
from phenolens.screens.crops import Window, cut
from phenolens.screens.images import FieldImage
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.large_images import LargePlane
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.large_composite import LargeComposite, composite_of
from phenolens.translation.apply.tile_pyramid import SIDE

SHAPE = (2, 3 * SIDE - 57, 2 * SIDE + 31)


def image(axes="CYX"):
    raw = np.random.default_rng(0).integers(50, 100, SHAPE).astype(np.uint8)
    pixels = da.from_array(raw, chunks=(1, 200, 200))
    pixels = pixels if axes == "CYX" else da.stack([pixels + 1, pixels], axis=1)
    return raw, FieldImage(pixels, axes, ("DNA", "ER"))


def change(seed, size):
    values = np.random.default_rng(seed).normal(0, 60, (2, size, size)).astype(np.float32)
    return values * (np.random.default_rng(seed + 1).random((size, size)) < 0.7)


cells = st.lists(
    st.tuples(st.integers(-40, SHAPE[1] + 9), st.integers(-40, SHAPE[2] + 9), st.integers(2, 70)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40)
@given(cells=cells, gone=st.integers(0, 7), moved=st.integers(0, 7))
def test_it_draws_what_a_composite_in_memory_draws(cells, gone, moved):
    raw, field = image()
    small, large = Composite(raw), composite_of(LargePlane(field, 0, 0))
    assert isinstance(large, LargeComposite)
    windows = {name: Window(*place) for name, place in enumerate(cells)}
    found = {name: (window, change(name, window.size)) for name, window in windows.items()}
    for composite in (small, large):
        composite.put_all(found)
        _ = np.asarray(composite.difference)  # what is drawn now must not stay
        composite.drop(gone)
        if moved in found and moved != gone:
            composite.put(moved, found[moved][0], -found[moved][1])
    np.testing.assert_allclose(np.asarray(large.difference), small.difference, rtol=1e-4, atol=1e-3)
    off = np.abs(np.asarray(large.translated).astype(int) - small.translated)
    assert off.max() <= 1, "the order of sums may round otherwise"
    assert (off > 0).mean() < 1e-3
    np.testing.assert_array_equal(np.asarray(large.source), raw)
    np.testing.assert_allclose(large.mean_change(), small.mean_change(), rtol=1e-4)
    once = large.tiles.part(1, slice(0, 300), slice(0, 200))
    means = small.difference[:, :600, :400].reshape(2, 300, 2, 200, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(once, means, rtol=1e-4, atol=1e-3)


def test_no_tile_is_drawn_where_no_cell_lies(monkeypatch):
    _, field = image()
    large = LargeComposite(LargePlane(field, 0, 0))
    drawn = []
    real = large._cells.drawn
    monkeypatch.setattr(large._cells, "drawn", lambda rows, *rest: drawn.append(rows) or real(rows, *rest))
    large.put("a", Window(10, 10, 40), change(0, 40))
    for level in range(large.tiles.levels):
        assert large.tiles.part(level, slice(0, 100), slice(0, 100)).any()
    assert drawn == [slice(0, SIDE)]
    large.put("b", Window(SIDE + 10, 10, 40), change(0, 40))
    _ = large.tiles.part(large.tiles.levels - 1, slice(0, 100), slice(0, 100))
    assert drawn == [slice(0, SIDE), slice(SIDE, 2 * SIDE)], "the first is kept"


def test_of_a_large_plane_no_more_is_read_than_a_crop():
    raw, field = image("CZYX")
    read = []
    counted = field.data.map_blocks(
        lambda block: read.append(1) or block, dtype=np.uint8, meta=np.zeros((0,) * 4, np.uint8)
    )
    plane = LargePlane(replace(field, data=counted), 0, 1)
    assert (plane.shape, plane.ndim, len(plane), plane.dtype) == (SHAPE, 3, 2, np.uint8)
    for window in (Window(30, 40, 32), Window(-10, -12, 32), Window(SHAPE[1] - 9, SHAPE[2] - 20, 32)):
        read.clear()
        np.testing.assert_array_equal(cut(plane, window), cut(raw, window))
        assert len(read) == 2, "a block of each channel"


def test_what_is_beyond_the_noise_is_the_same_in_tiles():
    raw, field = image()
    small, large = Composite(raw), LargeComposite(LargePlane(field, 0, 0))
    for name, (y, x) in enumerate([(SIDE - 20, SIDE - 20), (3, 400), (SHAPE[1] - 30, 5)]):
        for composite in (small, large):
            composite.put(name, Window(y, x, 48), change(name, 48))
    maxima = 0.1 * np.random.default_rng(0).uniform(1, 2, (1, 39, 2))
    floor = NoiseFloor((1.0,), maxima, np.zeros(39, int), np.full(39, "w"), ("DNA", "ER"), (), 1.0, 1.5)
    how = (IntensityMap("affine", ("DNA", "ER"), (50, 50), (100, 100), (0, 0)), floor, 0.05, 1.0)
    mask = significant(small.plane, small.difference, *how)
    assert 0 < mask.sum() < np.count_nonzero(small.difference)
    whole = (0, slice(0, SHAPE[1]), slice(0, SHAPE[2]))
    np.testing.assert_array_equal(significant_tiles(large, *how).part(*whole), mask)
    shown = significant_tiles(large, *how, difference=True).part(*whole)
    np.testing.assert_allclose(shown, masked(small.difference, mask), rtol=1e-4, atol=1e-3)
