"""Translating cells: what must stay the same stays the same, bit for bit."""

import numpy as np
import pytest
import torch

from phenolens.runtime.errors import ModelError
from phenolens.runtime.progress import finish
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.apply.cell_translation import CellTranslation
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.model.lora import inject_lora, lora_config, lora_weights
from phenolens.translation.solvers import SOLVERS
from tiny_base import make_tiny_adapter, make_tiny_base

DTYPES = (np.uint8, np.uint16, np.int16, np.float32, np.float64)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


def plane(dtype, channels=2):
    rng = np.random.default_rng(1)
    values = rng.gamma(2, 20, (channels, 120, 130))
    return np.clip(values, 0, 250).astype(dtype)


def make_translator(tiny, dtype=np.uint8, crop=64, kind="affine", channels=2):
    base = load_base(tiny)
    config = lora_config(2)
    inject_lora(base.unet, config)
    torch.manual_seed(5)
    weights = {k: 0.2 * torch.randn_like(v) for k, v in lora_weights(base.unet).items()}
    names = tuple("abcdefghi"[:channels])
    intensity = IntensityMap.fit([plane(dtype, channels)], names, kind=kind)
    tokens = torch.randn(3, base.token_size)
    adapter = Adapter(
        source=Condition.parse("control"),
        target=Condition.parse("treated"),
        channel_names=names,
        crop=crop,
        pixel_size=None,
        intensity=intensity,
        tokens=tokens,
        weights=weights,
        config=config,
        base=str(tiny),
    )
    return Translator(load_base(tiny), adapter)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["affine", "sqrt"])
def test_strength_zero_is_the_input_bit_for_bit(tiny, dtype, kind):
    image = plane(dtype)
    cell = finish(make_translator(tiny, dtype, kind=kind).translate_cell(image, 60, 70, strengths=(0.0, 1.0), steps=3))
    assert cell.difference[1].any()
    untouched = cell.at(image, 0)
    assert untouched.dtype == image.dtype
    assert untouched.tobytes() == image.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_translation_keeps_dtype_and_everything_outside_the_window(tiny, dtype):
    image = plane(dtype)
    cell = finish(make_translator(tiny, dtype, crop=48).translate_cell(image, 60, 70, steps=3))
    changed = cell.at(image)
    assert changed.dtype == image.dtype
    outside = np.ones(image.shape[1:], bool)
    w = cell.window
    outside[w.y : w.y + w.size, w.x : w.x + w.size] = False
    assert np.array_equal(changed[:, outside], image[:, outside])
    assert not np.array_equal(changed, image)


def test_a_held_channel_stays_bit_for_bit(tiny):
    image = plane(np.uint16)
    translator = make_translator(tiny, np.uint16)
    free = finish(translator.translate_cell(image, 60, 70, steps=4))
    assert free.difference[0, 0].any()
    assert free.held == ()
    translator.hold(["a"])
    cell = finish(translator.translate_cell(image, 60, 70, steps=4))
    assert cell.held == ("a",)
    assert not cell.difference[0, 0].any()
    assert cell.difference[0, 1].any()
    moved = finish(translator.move(free, (1.0,)))
    assert np.allclose(moved.difference, cell.difference, atol=1e-3), "the choice holds for kept inversions too"
    with pytest.raises(ModelError, match="no channel 'DNA' to hold: it has a, b"):
        translator.hold(["DNA"])


def test_an_adapter_brings_what_it_holds_and_how_it_is_guided(tiny, tmp_path):
    adapter = make_translator(tiny).adapter
    adapter.held, adapter.guidance = ("b",), 1.2
    known = Adapter.load(adapter.save(tmp_path / "adapter"))
    translator = Translator(load_base(tiny), known)
    assert (translator.held, translator.guidance) == (("b",), 1.2)
    chosen = Translator(load_base(tiny), known, TranslationSettings(guidance=0.7, held=()))
    assert (chosen.held, chosen.guidance) == ((), 0.7)


def test_the_way_back_has_a_guidance_of_its_own(tiny, tmp_path):
    adapter = make_translator(tiny).adapter
    adapter.guidance = 1.2
    image = plane(np.uint8)

    def back(translator):
        cell = finish(translator.translate_cell(image, 40, 40, steps=2, source="treated", target="control"))
        again = finish(translator.move(cell, (1.0,)))
        np.testing.assert_allclose(again.difference, cell.difference, atol=1e-3)
        return cell.difference

    # adapters that know one number use it both ways
    before = Translator(load_base(tiny), Adapter.load(adapter.save(tmp_path / "one")))
    assert (before.guidance_to("treated"), before.guidance_to("control")) == (1.2, 1.2)
    adapter.reverse_guidance = 0.8
    known = Adapter.load(adapter.save(tmp_path / "two"))
    assert known.reverse_guidance == 0.8
    both = Translator(load_base(tiny), known)
    assert (both.guidance_to("treated"), both.guidance_to("control")) == (1.2, 0.8)
    np.testing.assert_allclose(
        back(both), back(Translator(load_base(tiny), known, TranslationSettings(guidance=0.8))), atol=1e-3
    )
    assert not np.allclose(back(both), back(before), atol=1e-3)
    forth, earlier = (finish(one.translate_cell(image, 40, 40, steps=2)).difference for one in (both, before))
    np.testing.assert_allclose(forth, earlier, atol=1e-3)
    chosen = Translator(load_base(tiny), known, TranslationSettings(guidance=0.7))
    assert chosen.guidance_to("control") == chosen.guidance_to("treated") == 0.7


def test_source_to_source_moves_nothing(tiny):
    image = plane(np.uint16)
    translator = make_translator(tiny, np.uint16)
    cell = finish(translator.translate_cell(image, 60, 70, source="control", target="control", steps=4))
    assert not cell.difference.any()


def test_coarse_comes_before_fine_and_the_last_is_returned(tiny):
    seen = []
    final = finish(
        make_translator(tiny).translate_cell(plane(np.uint8), 60, 70, coarse=(3,), steps=6),
        lambda p: seen.append(p.preview) if p.preview is not None else None,
    )
    assert [type(s) for s in seen] == [CellTranslation, CellTranslation]
    assert [s.steps for s in seen] == [3, 6]
    assert np.array_equal(final.difference, seen[1].difference)


def test_a_coarse_result_of_half_the_steps_costs_no_inversion_of_its_own(tiny):
    image, seen = plane(np.uint8), []
    final = finish(
        make_translator(tiny).translate_cell(image, 60, 70, coarse=(4, 8), steps=11),
        lambda p: seen.append(p) if p.preview is not None else None,
    )
    coarse, fine, _ = (now.preview for now in seen)
    assert (coarse.evaluations, fine.evaluations) == (9 + 4 + 1, 8 + 3), "both from nine levels"
    assert final.evaluations == 12 + 11 + 5, "and the last from its own"
    alone = finish(make_translator(tiny).translate_cell(image, 60, 70, steps=8))
    assert np.array_equal(fine.difference, alone.difference)
    off = np.linalg.norm(coarse.difference - final.difference) / np.linalg.norm(final.difference)
    assert 0 < off < 2
    steps = [now.step for now in seen]
    assert steps == sorted(steps)
    assert seen[-1].step == seen[-1].total


def test_the_same_again_gives_the_same_pixels(tiny):
    image = plane(np.uint8)
    runs = [finish(make_translator(tiny).translate_cell(image, 60, 70, steps=3, seed=4)) for _ in range(2)]
    assert np.array_equal(runs[0].difference, runs[1].difference)


def test_slider_positions_follow_from_the_cached_trajectory(tiny):
    image = plane(np.uint8)
    translator = make_translator(tiny)
    cell = finish(translator.translate_cell(image, 60, 70, strengths=(0.5, 1.0), steps=4))
    moved = finish(translator.move(cell, (0.0, 0.5, 1.5)))
    assert moved.strengths == (0.0, 0.5, 1.5)
    assert not moved.difference[0].any()
    assert np.allclose(moved.difference[1], cell.difference[0], atol=1e-3)
    assert moved.trajectory is cell.trajectory


def test_cells_together_are_the_cells_alone(tiny):
    image = plane(np.uint8)
    translator = make_translator(tiny)
    windows = [window_at(40, 40, 64), window_at(70, 80, 64)]
    together = finish(translator.translate_crops([image], windows, steps=4))
    for window, cell in zip(windows, together, strict=True):
        alone = finish(translator.translate_crops([image], [window], steps=4))[0]
        assert np.abs(alone.difference - cell.difference).max() < 1e-3 * np.abs(cell.difference).max()


def test_a_cell_at_the_border_is_translated(tiny):
    image = plane(np.uint8)
    cell = finish(make_translator(tiny).translate_cell(image, 1, 128, steps=3))
    assert cell.at(image).shape == image.shape


def test_stock_ddim_is_there_to_compare_with(tiny):
    image = plane(np.uint8)
    translator = make_translator(tiny)
    cell = finish(translator.translate_cell(image, 60, 70, strengths=(0.0, 1.0), steps=5, solver="ddim"))
    assert not cell.difference[0].any()
    assert cell.difference[1].any()
    with pytest.raises(ModelError, match="no cached trajectory"):
        finish(translator.move(cell, (0.5,)))


@pytest.mark.parametrize("solver", ["difference", "obelm", "edict"])
def test_the_slider_goes_on_from_every_trajectory(tiny, solver):
    image = plane(np.uint16)
    translator = make_translator(tiny, np.uint16)
    translator.hold(["b"])
    cell = finish(translator.translate_cell(image, 60, 70, strengths=(0.0, 1.0), steps=4, solver=solver))
    assert (cell.settings.solver, cell.held) == (solver, ("b",))
    assert cell.at(image, 0).tobytes() == image.tobytes()
    assert cell.difference[1, 0].any()
    assert not cell.difference[1, 1].any()
    moved = finish(translator.move(cell, (0.0, 1.0)))
    assert not moved.difference[0].any()
    assert np.abs(moved.difference - cell.difference).max() < 1e-3 * np.abs(cell.difference).max()
    assert moved.settings.solver == solver


@pytest.mark.parametrize("solver", SOLVERS)
def test_evaluations_are_those_that_were_made(tiny, solver):
    translator = make_translator(tiny)
    rows = 0
    network = translator.base.unet.forward

    def counting(images, *others, **named):
        nonlocal rows
        rows += len(images)
        return network(images, *others, **named)

    translator.base.unet.forward = counting
    windows = [window_at(40, 40, 64), window_at(70, 80, 64)]
    cells = finish(translator.translate_crops([plane(np.uint8)], windows, steps=5, solver=solver))
    assert [2 * cell.evaluations for cell in cells] == [rows, rows]
    assert cells[0].evaluations == {"difference": 6 + 5 + 2, "obelm": 6 + 9, "edict": 10 + 20, "ddim": 10}[solver]


def test_a_cell_can_be_translated_without_its_fine_noise(tiny):
    image = plane(np.uint8)
    whole = make_translator(tiny)
    less, none = (
        Translator(load_base(tiny), whole.adapter, TranslationSettings(fine_noise=share)) for share in (0.5, 0.0)
    )

    def made(translator, **how):
        return finish(translator.translate_cell(image, 60, 70, strengths=(0.0, 1.0), steps=4, **how)).difference

    changes = [made(translator)[1] for translator in (whole, less, none)]
    assert not np.array_equal(changes[0], changes[1])
    assert not np.array_equal(changes[1], changes[2])
    assert not made(none)[0].any()
    assert not made(none, target="control").any()
    none.hold(["b"])
    assert not made(none)[:, 1].any()
    assert made(none)[1, 0].any()
    # A slider position made later starts from the same noise.
    cell = finish(none.translate_cell(image, 60, 70, strengths=(1.0,), steps=4))
    later = finish(none.move(cell, (0.5, 1.0)))
    np.testing.assert_allclose(later.difference[1], cell.difference[0], atol=0.02)
    with pytest.raises(ModelError, match="'obelm' keeps all fine noise"):
        made(none, solver="obelm")
    with pytest.raises(ModelError, match=r"Fine noise goes from 0 to 1, not 1\.2"):
        TranslationSettings(fine_noise=1.2)


@pytest.mark.parametrize("solver", SOLVERS)
def test_drawn_noise_depends_on_the_seed_and_no_drawn_noise_does_not(tiny, solver):
    image = plane(np.uint8)
    translator = make_translator(tiny)

    def made(renoise, seed):
        job = translator.translate_cell(image, 60, 70, steps=4, solver=solver, renoise=renoise, seed=seed)
        return finish(job).difference

    assert np.array_equal(made(0.0, 1), made(0.0, 2))
    assert np.array_equal(made(0.5, 1), made(0.5, 1))
    assert not np.array_equal(made(0.5, 1), made(0.5, 2))
    assert not np.array_equal(made(0.5, 1), made(0.0, 1))


def test_mistakes_are_told_in_a_sentence(tiny):
    translator = make_translator(tiny)
    image = plane(np.uint8)
    with pytest.raises(ModelError, match="no condition 'DMSO'"):
        finish(translator.translate_cell(image, 60, 70, target="DMSO"))
    with pytest.raises(ModelError, match="solver 'euler'"):
        finish(translator.translate_cell(image, 60, 70, solver="euler"))
    with pytest.raises(ModelError, match=r"0 to 1\.5"):
        finish(translator.translate_cell(image, 60, 70, strengths=(2.0,)))
    with pytest.raises(ModelError, match=r"Renoise goes from 0 to 1, not 1\.5"):
        finish(translator.translate_cell(image, 60, 70, renoise=1.5))
    with pytest.raises(ModelError, match="trained on 2 channels"):
        finish(translator.translate_cell(plane(np.uint8, 3), 60, 70))
    with pytest.raises(ModelError, match="1 to 8"):
        make_translator(tiny, channels=9)


def test_an_adapter_of_another_base_is_refused(tiny, tmp_path):
    adapter = make_translator(tiny).adapter
    adapter.weights = {k: torch.zeros(3, 3) for k in adapter.weights}
    with pytest.raises(ModelError, match="does not fit this base"):
        Translator(load_base(tiny), adapter)


def test_a_broken_base_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        load_base(str(tmp_path / "nowhere"))
    folder = make_tiny_base(tmp_path / "tiny")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"short")
    with pytest.raises(ModelError, match="tiny"):
        load_base(str(folder))


def test_a_base_belongs_to_one_adapter(tiny):
    base, adapter = load_base(tiny), make_tiny_adapter(tiny)
    Translator(base, adapter)
    with pytest.raises(ModelError, match="holds the weights of an adapter already: load the base anew"):
        Translator(base, adapter)
