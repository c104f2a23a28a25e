"""Which channels tell two conditions apart: against crops whose answer is known."""

import numpy as np
import pytest

from phenolens.translation.training.discriminative import (
    DISCRIMINATIVE,
    discriminative_channels,
    fit_judge,
    fit_progress,
)


def crops(rng, wells, change=0.0, per_well=20, of_wells=0.0):
    """(n, 2, 24, 24): noise in both channels, a spot brighter by `change` in the second, and wells that differ."""
    images, names = [], []
    for well in wells:
        made = rng.normal(0, 1, (per_well, 2, 24, 24)).astype(np.float32)
        made += of_wells * rng.normal(0, 1, (1, 2, 1, 1)).astype(np.float32)
        made[:, 1, 8:16, 8:16] += change
        images.append(made)
        names += [well] * per_well
    return np.concatenate(images), np.array(names)


def areas(change, of_wells=0.0, seed=0, wells=3):
    rng = np.random.default_rng(seed)
    source, source_wells = crops(rng, [f"A{i}" for i in range(wells)], of_wells=of_wells)
    target, target_wells = crops(rng, [f"B{i}" for i in range(wells)], change, of_wells=of_wells)
    return discriminative_channels(source, target, source_wells, target_wells)


def test_the_changed_channel_tells_and_the_other_does_not():
    untouched, changed = areas(0.8)
    assert changed > 0.95
    assert untouched < DISCRIMINATIVE


def test_without_a_change_no_channel_tells():
    found = np.array([areas(0.0, seed=seed) for seed in range(10)])
    assert abs(found.mean() - 0.5) < 0.05
    assert (found < DISCRIMINATIVE).mean() >= 0.9


def test_what_only_wells_differ_in_tells_nothing():
    """Cells of different wells are easily told apart, but not in wells that were left out."""
    found = np.array([areas(0.0, of_wells=2.0, seed=seed) for seed in range(10)])
    assert found.mean() < 0.55


def test_one_well_gives_no_answer():
    assert areas(0.8, wells=1) is None


def test_progress_is_zero_at_the_source_and_one_at_the_target():
    rng = np.random.default_rng(2)
    (source, _), (target, _) = crops(rng, ["A"], 0.0, 60), crops(rng, ["B"], 0.8, 60)
    progress = fit_progress(source, target)
    assert progress(source) == pytest.approx(0, abs=1e-6)
    assert progress(target) == pytest.approx(1, abs=1e-6)
    halves = [progress(crops(rng, ["C"], change, 60)[0]) for change in (0.2, 0.4, 0.6, 1.0)]
    assert halves == sorted(halves)
    assert 0 < halves[0] < halves[2] < 1 < halves[3]


def test_a_judge_tells_cells_it_has_not_seen_and_is_even_between_the_conditions():
    rng = np.random.default_rng(0)
    (source, _), (target, _) = (crops(rng, ["A", "B", "C"], change) for change in (0.0, 0.8))
    judge = fit_judge(source[:40], target[:40])
    assert (judge(source[40:]) > 0).mean() < 0.1
    assert (judge(target[40:]) > 0).mean() > 0.9
    assert (judge(source[:40]) > 0).mean() == pytest.approx(1 - (judge(target[:40]) > 0).mean(), abs=0.06)
