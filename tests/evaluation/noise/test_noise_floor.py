"""The noise floor: it is calibrated where nothing changes, and says where it is weak."""

import json

import numpy as np
import pytest
import torch

from blob_wells import wells_screen
from phenolens.evaluation.noise.change import local_change
from phenolens.evaluation.noise.control_split import split_controls
from phenolens.evaluation.noise.noise_floor import NoiseFloor
from phenolens.evaluation.noise.null_translation import FloorSettings, fit_noise_floor
from phenolens.evaluation.noise.significance import contours, masked, significant
from phenolens.evaluation.noise.uncertainty import (
    autoencoder_error,
    share_of_change,
    spread_over_seeds,
    translate_by_seeds,
)
from phenolens.runtime.errors import ModelError, ScreenError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import Cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import NOISE_FLOOR, Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen
from tiny_base import make_tiny_adapter

CONTROL, TREATED = Condition.parse("Metadata_Role=negative control"), Condition.parse("Metadata_Role=treated")
UNIT = IntensityMap("affine", ("a", "b"), (0.0, 0.0), (200.0, 200.0), (0.0, 0.0))


def floor_of(maxima, groups=None, held=(), channels=("a", "b")):
    """A floor at strength 1 from (n, C) largest changes."""
    n = len(maxima)
    groups = np.zeros(n, int) if groups is None else groups
    return NoiseFloor((1.0,), np.asarray(maxima)[None], groups, np.full(n, "w"), channels, held, 1.5, 1.0)


def differences(rng, n, size=24, channels=2):
    """Exchangeable differences (n, C, size, size): smooth noise whose strength varies from cell to cell."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.standard_normal((n, channels, size, size)), (0, 0, 2, 2))
    return (30 * rng.gamma(4, 0.25, (n, 1, 1, 1)) * noise * np.array([1.0, 5.0])[:, None, None]).astype(np.float32)


def largest(cells):
    raw = np.full(cells.shape[1:], 100.0)
    return np.array([local_change(raw, cell, UNIT, 1.0).max((1, 2)) for cell in cells])


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_cells_that_do_not_change_are_called_at_the_error_rate(alpha):
    rng = np.random.default_rng(1)
    raw = np.full((2, 24, 24), 100.0)
    rates, joint = [], []
    for _ in range(40):
        floor = floor_of(largest(differences(rng, 39)))
        fresh = differences(rng, 50)
        called = [significant(raw, cell, UNIT, floor, alpha).any((1, 2)) for cell in fresh]
        rates.append(np.mean([any(one) for one in called]))
        joint.append(np.mean([floor.p_value(top) <= alpha for top in largest(fresh[:10])]))
    error = np.std(rates, ddof=1) / np.sqrt(len(rates))
    # 39 cells make (n + 1) alpha whole: the rate is alpha exactly, not only at most
    assert abs(np.mean(rates) - alpha) < 3 * error
    assert np.mean(joint) <= alpha + 0.05


def test_the_threshold_is_the_corrected_quantile_of_the_largest_group():
    cells = np.concatenate([np.arange(1, 20), 2 * np.arange(1, 20)])[:, None].astype(float)
    groups = np.repeat([0, 1], 19)
    floor = floor_of(cells, groups, channels=("a",))
    assert floor.thresholds(0.05)[0] == pytest.approx(38)
    assert floor.thresholds(0.5)[0] == pytest.approx(20)
    assert np.isinf(floor.thresholds(0.04)[0]), "19 cells cannot show an error rate below 1 in 20"
    assert floor.p_value(np.array([100.0])) == pytest.approx(1 / 20)
    assert floor.p_value(np.array([0.0])) == 1


def test_a_channel_counts_in_its_own_units_and_a_held_one_not_at_all():
    rng = np.random.default_rng(0)
    small = rng.gamma(3, 1, (199, 1))
    floor = floor_of(np.hstack([small, 1000 * rng.permutation(small)]))
    one, other = floor.thresholds(0.05)
    assert other == pytest.approx(1000 * one)
    held = floor_of(np.hstack([small, 1000 * small]), held=("b",))
    assert np.isinf(held.thresholds(0.05)[1])
    assert held.thresholds(0.05)[0] < one, "fewer channels to be wrong in"


def test_an_injected_change_is_found_where_it_is():
    rng = np.random.default_rng(3)
    floor = floor_of(largest(differences(rng, 99)))
    cell = 0.2 * differences(rng, 1)[0]
    cell[1, 8:16, 8:16] += 400
    mask = significant(np.full(cell.shape, 100.0), cell, UNIT, floor)
    assert not mask[0].any()
    assert mask[1, 9:15, 9:15].all()
    assert not mask[1, :5].any()
    shown = masked(cell, mask)
    assert np.array_equal(shown[1, 9:15, 9:15], cell[1, 9:15, 9:15])
    assert not shown[~mask].any()
    (line,) = contours(mask[1])
    assert np.array_equal(line[0], line[-1])
    assert np.abs(line.mean(0) - 11.5).max() < 1


def test_between_strengths_the_next_larger_counts():
    maxima = np.stack([np.full((19, 1), 1.0), np.full((19, 1), 2.0)])
    floor = NoiseFloor((0.5, 1.0), maxima, np.zeros(19, int), np.full(19, "w"), ("a",), (), 1.5, 1.0)
    assert [floor.thresholds(0.05, s)[0] for s in (0.25, 0.5, 0.6, 1.0)] == [1, 1, 2, 2]
    with pytest.raises(ModelError, match="past it"):
        floor.thresholds(0.05, 1.25)


def test_wells_are_split_evenly_on_every_plate_and_left_out_in_turn():
    plates = {f"{plate}/{well}": plate for plate in "PQ" for well in ("A1", "A2", "A3", "A4", "A5")}
    splits = split_controls(plates, 5, seed=0)
    assert len({frozenset((s.first, s.second)) for s in splits}) == 5
    for split in splits:
        assert len(split.judged) == 2
        assert len(split.first) == len(split.second) == 4
        assert sorted((*split.first, *split.second, *split.judged)) == sorted(plates)
        for plate in "PQ":
            assert abs(sum(w[0] == plate for w in split.first) - sum(w[0] == plate for w in split.second)) <= 1
    assert {well for split in splits for well in split.judged} == set(plates)
    assert splits == split_controls(plates, 5, seed=0)
    few = split_controls(dict.fromkeys("abc", ""), 9, seed=0)
    assert len(few) == 3
    assert all(split.judged == () for split in few)
    with pytest.raises(ScreenError, match="at least 2 control wells, and there is 1"):
        split_controls({"a": ""}, 1, seed=0)


@pytest.fixture(scope="module")
def tuned(tiny_base, tmp_path_factory):
    """A screen without any effect, its cells, and an adapter that was trained on it."""
    screen, cells = wells_screen(0)
    settings = FinetuneSettings(steps=4, batch=4, rank=2, crop=64, max_cells=4, preview_every=0)
    out = tmp_path_factory.mktemp("adapters") / "adapter"
    finish(finetune_screen(screen, CONTROL, TREATED, cells, out=out, base=str(tiny_base), settings=settings))
    return screen, cells, Adapter.load(out)


SMALL = FloorSettings(splits=2, cells=6, solver_steps=2)


@pytest.fixture(scope="module")
def fitted(tuned):
    screen, cells, adapter = tuned
    return finish(fit_noise_floor(adapter, screen, cells, settings=SMALL, held=(), device="cpu"))


@pytest.mark.slow
def test_a_floor_is_fitted_kept_beside_the_adapter_and_read_again(tuned, fitted):
    screen, _, adapter = tuned
    assert fitted.maxima.shape == (3, len(fitted.groups), 2)
    assert set(fitted.groups) == {0, 1, 2, 3}
    assert (fitted.maxima > 0).all()
    assert set(fitted.wells) <= {f.key for f in screen.select(CONTROL)}
    for number, split in enumerate(fitted.card["splits"]):
        mine = set(fitted.wells[(fitted.groups == 2 * number) | (fitted.groups == 2 * number + 1)])
        assert mine == set(split["judged"]), "only wells that the null adapter has not seen are judged"
    again = NoiseFloor.load(Adapter.load(adapter.folder))
    assert np.array_equal(again.maxima, fitted.maxima)
    assert np.array_equal(again.thresholds(0.2), fitted.thresholds(0.2))
    card = json.loads((adapter.folder / NOISE_FLOOR / "card.json").read_text())
    assert card["thresholds"]["0.2"]["1"]["a"] == pytest.approx(fitted.thresholds(0.2)[0])
    assert (adapter.folder / NOISE_FLOOR / "provenance.json").is_file()
    assert not (adapter.folder / f"{NOISE_FLOOR}.partial").exists()
    assert any("too few" in sentence for sentence in fitted.card["weak"])


@pytest.mark.slow
def test_fitting_changes_neither_the_adapter_nor_its_hash(tuned, fitted, tmp_path):
    import shutil

    adapter = tuned[2]
    bare = tmp_path / "bare"
    shutil.copytree(adapter.folder, bare, ignore=shutil.ignore_patterns(NOISE_FLOOR))
    assert Adapter.load(bare).sha256() == adapter.sha256()
    other = tmp_path / "other"
    shutil.copytree(adapter.folder, other)
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps({**card, "guidance": 1.0}))
    with pytest.raises(ModelError, match="belongs to another adapter"):
        NoiseFloor.load(Adapter.load(other))


def test_a_treatment_without_effect_stays_in_the_floor(tuned, fitted):
    screen, cells, adapter = tuned
    translator = Translator(load_base(adapter.base), adapter, TranslationSettings(held=()))
    shares = []
    for field in screen.select(CONTROL):
        plane = field.image().plane()
        mine = cells.table[cells.table["field"] == field.key]
        windows = [window_at(cell.y, cell.x, adapter.crop) for cell in mine.itertuples()]
        for done in finish(translator.translate_crops([plane], windows, steps=2)):
            mask = significant(done.crop, done.difference[0], adapter.intensity, fitted, alpha=0.2)
            shares.append(mask.mean())
    assert np.mean(shares) <= 0.06


@pytest.mark.slow
def test_an_interrupted_fit_goes_on_to_the_same_floor(tuned, fitted, tmp_path):
    screen, cells, adapter = tuned
    out = tmp_path / "floor"
    job = fit_noise_floor(adapter, screen, cells, settings=SMALL, held=(), out=out, device="cpu")
    for progress in job:
        if "split 2" in progress.message and progress.values:
            break
    job.close()
    assert not out.exists()
    assert (tmp_path / "floor.partial" / "split0" / "card.json").is_file()
    with pytest.raises(ModelError, match="other settings"):
        finish(
            fit_noise_floor(adapter, screen, cells, settings=FloorSettings(seed=1), out=out, device="cpu", resume=True)
        )
    moved = Cells(cells.table.assign(y=cells.table["y"] + 1))
    with pytest.raises(ModelError, match="other settings or cells"):
        finish(fit_noise_floor(adapter, screen, moved, settings=SMALL, held=(), out=out, device="cpu", resume=True))
    job = fit_noise_floor(adapter, screen, cells, settings=SMALL, held=(), out=out, device="cpu", resume=True)
    first = next(p for p in job if p.values)
    assert "split 2" in first.message, "what was finished is not done again"
    again = finish(job)
    assert np.array_equal(again.maxima, fitted.maxima)


def test_what_cannot_be_fitted_is_said_in_a_sentence(tuned):
    screen, cells, adapter = tuned
    with pytest.raises(ModelError, match="All channels are held"):
        finish(fit_noise_floor(adapter, screen, cells, held=("a", "b"), device="cpu"))
    one = screen.select(np.array([field.key == "n0" for field in screen]))
    with pytest.raises(ScreenError, match="2 control wells"):
        finish(fit_noise_floor(adapter, one, cells, held=(), device="cpu"))
    with pytest.raises(ModelError, match="no noise floor"):
        NoiseFloor.load(adapter, adapter.folder / "nowhere")


def test_a_floor_is_for_the_channels_and_the_guidance_it_was_fitted_with():
    floor = floor_of(np.ones((3, 2)), held=("a",))
    floor.check(["a"], 1.5)
    with pytest.raises(ModelError, match="hold the same channels"):
        floor.check([], 1.5)
    with pytest.raises(ModelError, match="the same guidance"):
        floor.check(["a"], 1.0)


def test_a_floor_says_nothing_of_the_way_back_where_that_is_guided_otherwise(tiny_base, monkeypatch):
    from phenolens.widgets.state.session import Session

    adapter = make_tiny_adapter(tiny_base)
    session = Session()
    session.set_adapter(adapter, Translator(load_base(tiny_base), adapter), "cpu")
    session.set_floor(floor_of(np.ones((3, 2))))
    for shown, reverse, fits in ((0, 0.8, True), (1, 0.8, False), (1, None, True)):
        adapter.reverse_guidance = reverse
        monkeypatch.setattr(session, "belongs", lambda one, shown=shown: one.text == adapter.conditions[shown])
        assert (session.floor_misfit() == "") == fits


def test_the_error_of_the_autoencoder_is_in_the_units_of_the_file(tuned):
    adapter = tuned[2]
    translator = Translator(load_base(adapter.base), adapter, TranslationSettings(held=()))
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 200, (2, 2, 64, 64)).astype(np.uint8)
    found = autoencoder_error(translator, crops)
    mapped = torch.from_numpy(adapter.intensity.forward(crops))
    decoded = translator.base.decode(translator.base.encode(mapped)).numpy()
    assert np.allclose(found, np.abs(adapter.intensity.inverse(decoded) - crops.astype(float)), atol=1e-3)
    assert found.mean() > 1


def test_the_spread_over_seeds_is_their_standard_deviation(tuned):
    screen, _, adapter = tuned
    translator = Translator(load_base(adapter.base), adapter, TranslationSettings(held=()))
    crop = cut(screen.fields[0].image().plane(), window_at(80, 80, adapter.crop))
    drawn = finish(translate_by_seeds(translator, crop, adapter.conditions, seeds=3, strengths=(0.0, 1.0), steps=2))
    assert [one.settings.seed for one in drawn] == [0, 1, 2]
    spread = spread_over_seeds(drawn)
    assert not spread[0].any(), "at strength 0 the cell is itself, whatever is drawn"
    assert np.allclose(spread[1], np.std([one.difference[1] for one in drawn], axis=0, ddof=1))
    assert spread[1].any()
    same = finish(translate_by_seeds(translator, crop, adapter.conditions, seeds=2, renoise=0.0, steps=2))
    assert not spread_over_seeds(same).any(), "without drawn noise nothing is left to chance"
    with pytest.raises(ModelError, match="at least 2"):
        spread_over_seeds(drawn[:1])


def test_the_share_of_a_spread_counts_each_channel_in_its_own_range():
    raw = np.full((2, 4, 4), 100, np.uint8)
    wide = IntensityMap("affine", ("a", "b"), (0.0, 0.0), (200.0, 2000.0), (0.0, 0.0))
    change = np.stack([np.full((4, 4), 3.0), np.full((4, 4), 40.0)]).astype(np.float32)  # 0.03 and 0.04 of the map's 2
    assert share_of_change(raw, change, np.array([[[1.0]], [[0.0]]]) * np.ones((2, 4, 4)), wide) == pytest.approx(0.2)
    assert share_of_change(raw, change, np.array([[[0.0]], [[10.0]]]) * np.ones((2, 4, 4)), wide) == pytest.approx(0.2)
    nothing = np.zeros((2, 4, 4), np.float32)
    assert share_of_change(raw, nothing, nothing, wide) == 0
    assert share_of_change(raw, nothing, change, wide) == np.inf
