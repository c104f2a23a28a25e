"""Other views of a crop: the same cell, as another plate would show it."""

import torch

from phenolens.profiling.training.augmentation import augment, turn


def crops(n=16, channels=3):
    return torch.rand(n, channels, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def views(seed, strength=1.0, used=None):
    given = crops()
    used = torch.ones(given.shape[:2]) if used is None else used
    return augment(given, used, torch.Generator().manual_seed(seed), strength)


def test_the_same_seed_gives_the_same_view_and_another_another():
    assert torch.equal(views(1), views(1))
    assert not torch.equal(views(1), views(2))
    assert views(1).shape == crops().shape
    assert torch.isfinite(views(1)).all()


def test_without_strength_pixels_only_move():
    seen = views(3, strength=0.0)
    torch.testing.assert_close(seen.flatten(2).sort(dim=2).values, crops().flatten(2).sort(dim=2).values)
    assert not torch.equal(seen, crops())


def test_a_channel_that_is_padding_stays_zero():
    used = torch.ones(16, 3)
    used[::2, 1] = 0
    seen = views(4, used=used)
    assert not seen[::2, 1].any()
    assert seen[1::2, 1].any()


def test_plates_change_gain_and_background_of_each_channel_by_itself():
    moved = (views(5) - crops()).mean(dim=(2, 3))
    assert moved.std(dim=0).min() > 0.02
    assert torch.corrcoef(moved.T)[0, 1].abs() < 0.9


def test_crops_are_turned_in_all_eight_ways():
    one = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(200, 1, 1, 1)
    turned = turn(one, torch.Generator().manual_seed(0))
    assert len({tuple(crop.flatten().tolist()) for crop in turned}) == 8
