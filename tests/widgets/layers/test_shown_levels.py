"""Large images are shown by their levels, and the engine gets all of their pixels."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Image

from phenolens.evaluation.noise.significance import significant
from phenolens.runtime.progress import finish
from phenolens.screens import large_images
from phenolens.screens.images import FieldImage, read_image
from phenolens.screens.large_images import by_levels
from phenolens.screens.ome_zarr.plate_writing import write_plate
from phenolens.screens.ome_zarr.writing import write_ome_zarr
from phenolens.screens.table import read_screen, screen_from_arrays
from phenolens.translation.apply.composite import Composite
from phenolens.widgets.layers import kept_blocks
from phenolens.widgets.layers.composed_levels import ComposedLevel
from phenolens.widgets.layers.kept_blocks import KeptBlocks
from phenolens.widgets.layers.shown_levels import shown_pixels
from phenolens.widgets.translation.export import export_job, looks_of
from phenolens.widgets.translation.figure_job import figure_job
from phenolens.widgets.translation.open_layers import screen_from_layers
from saved_floors import floor_of

pytest_plugins = ["real_window"]
SIDE = 600


def pixels(seed, *shape):
    return np.random.default_rng(seed).poisson(200, shape).astype(np.uint16)


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(large_images, "LARGE", 300 * 300)


def test_levels_of_a_channel_are_those_of_the_file(tmp_path, small_limit):
    image = FieldImage(pixels(0, 2, 3, SIDE, SIDE + 40), "CZYX", ("DNA", "ER"))
    read = next(iter(read_screen(write_ome_zarr(tmp_path / "a.zarr", image)))).image()
    assert by_levels(read)
    levels = shown_pixels(read, 1)
    assert [level.shape for level in levels] == [(3, 600, 640), (3, 300, 320), (3, 150, 160)]
    assert all(isinstance(level, KeptBlocks) for level in levels)
    np.testing.assert_array_equal(np.asarray(levels[0]), image.data[1])
    assert not by_levels(image), "an image without levels is shown whole"


def test_an_image_of_usual_size_is_shown_whole(tmp_path):
    image = FieldImage(pixels(0, 1, SIDE, SIDE), "CYX", ("DNA",))
    read = next(iter(read_screen(write_ome_zarr(tmp_path / "a.zarr", image)))).image()
    assert not by_levels(read)
    assert shown_pixels(read, 0).shape == (SIDE, SIDE)


@pytest.mark.slow
@pytest.mark.parametrize("stack", [False, True])
def test_a_large_field_is_shown_by_levels_and_translated_at_full_resolution(
    window, small_limit, small_adapter, tmp_path, stack
):
    names = small_adapter.channel_names
    axes = "ZCYX" if stack else "CYX"
    shape = (*((2,) if stack else ()), len(names), SIDE, SIDE)
    fields = {f"A0{number}": pixels(number, *shape) for number in (1, 2)}
    wells = {key: {"Well": key, "Plate": "p"} for key in fields}
    screen = screen_from_arrays(fields, names, wells, 0.5, axes)
    window.open(finish(write_plate(tmp_path / "p.zarr", screen)))
    layers = window.dock.field_layers.channels
    assert all(layer.multiscale and isinstance(layer.data[0], KeptBlocks) for layer in layers)
    session = window.session
    np.testing.assert_array_equal(session.plane, fields["A01"][1] if stack else fields["A01"])
    window.dock.load_adapter(small_adapter)
    window.wait(lambda: session.translator is not None and not window.dock.running.busy)
    window.press(window.dock.translate_panel.click)
    window.click_pixel(300, 310)
    window.wait(lambda: session.in_field() and session.in_field()[0].translation is not None)
    window.wait(lambda: not window.dock.running.busy)
    (cell,) = session.in_field()
    for channel, (translated, difference) in enumerate(
        zip(window.dock.synthetic.translated, window.dock.synthetic.differences, strict=True)
    ):
        assert all(isinstance(level, ComposedLevel) for layer in (translated, difference) for level in layer.data)
        assert [level.shape for level in translated.data] == [level.shape for level in layers[channel].data]
        source, at = fields["A01"][..., channel, :, :], (session.position[1],) if stack else ()
        expected = Composite(fields["A01"][at] if stack else fields["A01"])
        expected.put(cell.id, cell.translation.window, cell.difference(session.strength))
        changed = np.array(source)
        changed[at if stack else ...] = expected.translated[channel]
        np.testing.assert_array_equal(np.asarray(translated.data[0]), changed)
        np.testing.assert_array_equal(
            np.asarray(difference.data[0])[at if stack else ...], expected.difference[channel]
        )
        half = np.asarray(difference.data[1])[at if stack else ...]
        means = expected.difference[channel].reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(half, means, atol=1e-3)
        if channel == 0:
            assert means.any(), "something is changed"
    folder = finish(export_job(session, tmp_path, file_format="ome-zarr"))
    (written,) = folder.glob("*__translated.ome.zarr")
    image = read_image(written)
    assert isinstance(expected, Composite)
    np.testing.assert_array_equal(np.asarray(image.data).reshape(expected.translated.shape), expected.translated)
    floor, noise = floor_of(session), window.dock.noise_layers
    session.set_floor(floor)
    noise.show(outlined=True, picture="significant_difference")
    mask = significant(expected.plane, expected.difference, session.adapter.intensity, floor, noise.alpha)
    assert 0 < mask[noise.channel].sum() < mask[noise.channel].size
    np.testing.assert_array_equal(np.asarray(noise.layers["significant"].data[0]), mask[noise.channel])
    np.testing.assert_array_equal(
        np.asarray(noise.layers["significant_difference"].data[0]),
        np.where(mask, expected.difference, 0)[noise.channel],
    )
    assert session.planes._kept == {}, "no plane of a large image is kept whole"
    figure = finish(figure_job(session, tmp_path / "figure.png", looks_of(layers, (), ()), 120.0))
    assert figure.stat().st_size > 10_000
    session.exchange([cell])
    assert not window.dock.synthetic.translated
    assert not noise.layers
    second = session.screen.fields[1].key
    session.ask_for_field(second)
    window.wait(lambda: session.field.key == second and not window.dock.running.busy)
    assert window.dock.field_layers.channels == layers, "the same layers show the next field"
    np.testing.assert_array_equal(np.asarray(layers[0].data[0]), fields["A02"][..., 0, :, :])
    assert not window.messages


def test_open_layers_with_levels_are_a_screen_at_full_resolution():
    whole = da.from_array(pixels(0, SIDE, SIDE), chunks=256)
    layer = Image([whole, whole[::2, ::2]], multiscale=True, name="DNA")
    screen, _ = screen_from_layers([layer], "YX")
    np.testing.assert_array_equal(screen.fields[0].image().plane()[0], np.asarray(whole))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_part_of_kept_blocks_is_that_of_the_array(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4)))
    whole = np.arange(np.prod(shape)).reshape(shape)
    kept = KeptBlocks(da.from_array(whole, chunks=tuple(min(4, length) for length in shape)))
    ends = st.one_of(st.none(), st.integers(-12, 12))
    steps = st.sampled_from([None, None, 1, 2, -1])
    key = tuple(
        data.draw(st.one_of(st.integers(-length, length - 1), st.builds(slice, ends, ends, steps)))
        for length in shape[: data.draw(st.integers(1, len(shape)))]
    )
    np.testing.assert_array_equal(kept[key], whole[key])
    np.testing.assert_array_equal(kept[..., 0], whole[..., 0])
    assert (kept.shape, kept.ndim, kept.dtype) == (whole.shape, whole.ndim, whole.dtype)
    with pytest.raises(IndexError):
        kept[(shape[0],) + (0,) * (len(shape) - 1)]


def test_blocks_are_read_once_and_no_more_are_kept_than_there_is_room(monkeypatch):
    read = []
    blocks = da.zeros((400, 100), chunks=(100, 100), dtype=np.uint8)
    meta = np.zeros((0, 0), np.uint8)
    lazy = blocks.map_blocks(lambda block: read.append(1) or block, dtype=np.uint8, meta=meta)
    kept = KeptBlocks(lazy)
    for _ in range(5):
        assert kept[50:150, 20:30].shape == (100, 10)
    assert len(read) == 2
    monkeypatch.setattr(kept_blocks, "_MOST_BYTES", 25_000)
    _ = kept[:, :]
    assert sum(block.nbytes for block in kept_blocks._kept.values()) <= 25_000
