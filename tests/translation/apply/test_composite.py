import numpy as np

from phenolens.screens.crops import feather, window_at
from phenolens.translation.apply.composite import Composite


def plane(dtype=np.uint8):
    return np.random.default_rng(0).integers(50, 100, (2, 60, 70)).astype(dtype)


def bump(size, height):
    return (np.full((2, size, size), height, np.float32) * feather(size, size // 8)).astype(np.float32)


def test_one_cell_changes_its_window_alone_and_taking_it_out_restores_the_field():
    raw = plane()
    composite = Composite(raw)
    window = window_at(30, 35, 24)
    composite.put("a", window, bump(24, 10))
    assert composite.translated[:, 30, 35].tolist() == (raw[:, 30, 35] + 10).tolist()
    outside = np.ones(raw.shape[1:], bool)
    outside[window.y : window.y + 24, window.x : window.x + 24] = False
    assert np.array_equal(composite.translated[:, outside], raw[:, outside])
    composite.drop("a")
    assert np.array_equal(composite.translated, raw)
    assert not composite.difference.any()


def test_overlapping_cells_do_not_add_up_and_each_rules_its_centre():
    composite = Composite(plane(np.float32))
    composite.put("a", window_at(30, 30, 32), bump(32, 10))
    composite.put("b", window_at(30, 42, 32), bump(32, -10))
    assert np.abs(composite.difference).max() <= 10.001
    assert composite.difference[0, 30, 27] > 8
    assert composite.difference[0, 30, 45] < -8


def test_order_of_cells_does_not_matter():
    windows = {"a": window_at(20, 20, 32), "b": window_at(30, 42, 32), "c": window_at(50, 65, 32)}
    changes = {name: bump(32, height) for name, height in zip(windows, (5, 9, -7), strict=True)}
    one, other = Composite(plane()), Composite(plane())
    for name in "abc":
        one.put(name, windows[name], changes[name])
    other.put_all({name: (windows[name], changes[name]) for name in "cab"})
    assert np.allclose(one.difference, other.difference, atol=1e-5)


def test_a_window_past_the_border_is_cut_off():
    composite = Composite(plane())
    composite.put("a", window_at(0, 0, 32), bump(32, 300))
    assert composite.translated.max() == 255
    composite.put("far", window_at(-100, -100, 32), bump(32, 1))
