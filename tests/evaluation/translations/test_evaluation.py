"""An adapter judged from the command line: what is held out, what is written, and what is said."""

import json
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from cli_run import run
from phenolens.evaluation.statistics.kernel import KernelDistances
from phenolens.evaluation.translations.answers import (
    changes_answer,
    distribution_answer,
    flip_answer,
    kernel_answer,
    slider_answer,
)
from phenolens.evaluation.translations.changes import Changes
from phenolens.evaluation.translations.distributions import Distributions
from phenolens.evaluation.translations.evaluation import evaluate_translation
from phenolens.evaluation.translations.features import (
    NUCLEUS,
    cell_features,
    feature_names,
    nuclear_ratio,
    outline_nuclei,
)
from phenolens.evaluation.translations.flips import Flips
from phenolens.evaluation.translations.held_out import hold_out
from phenolens.evaluation.translations.identity import overlaps, similarities
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.export import write_ome_tiff
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_screen, style_for
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

CONTROL, TREATED = "Metadata_Role=negative control", "Metadata_Compound=translocation"
LEFT_OUT = (",Well!=A05,Well!=A07", ",Well!=A06,Well!=A08")
PARTS = ["flips", "slider", "identity", "changes", "kernel", "distribution", "doses", "memorisation"]


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "screen"
    style = style_for("translocation", 9002)
    return finish(simulate_screen(folder, "translocation", wells=8, cells=7, seed=4, shape=(136, 136), style=style))


@pytest.fixture(scope="module")
def adapter(screen, tiny_base, tmp_path_factory):
    """An adapter of four of the eight wells."""
    out = tmp_path_factory.mktemp("tuned") / "adapter"
    ran = run(
        *("finetune", screen, "--source", CONTROL + LEFT_OUT[0], "--target", TREATED + LEFT_OUT[1], "--out", out),
        *("--base", tiny_base, "--rank", "2", "--steps", "2", "--crop", "48", "--cells", screen / "labels"),
        *("--device", "cpu"),
    )
    assert ran.status == 0
    return out


def evaluate(adapter, screen, out, *options):
    return run(
        *("evaluate", adapter, screen, "--source", CONTROL, "--target", TREATED, "--cells", screen / "labels"),
        *("--most", "12", "--steps", "2", "--device", "cpu", "--out", out, "--json", *options),
    )


@pytest.fixture(scope="module")
def evaluated(adapter, screen, tmp_path_factory):
    ran = evaluate(adapter, screen, tmp_path_factory.mktemp("evaluated") / "out")
    assert ran.status == 0
    return ran


def folder_of(ran):
    return Path(ran.facts["out"])


@pytest.mark.slow
def test_wells_of_the_fine_tuning_are_not_judged(adapter, screen):
    chosen = finish(hold_out(Adapter.load(adapter), read_screen(screen), *map(Condition.parse, (CONTROL, TREATED))))
    assert chosen.held_out
    assert {field.metadata["Metadata_Well"] for field in chosen.control} == {"A05", "A07"}
    assert {field.metadata["Metadata_Well"] for field in chosen.treated} == {"A06", "A08"}
    assert {field.metadata["Metadata_Well"] for field in chosen.further_control} == {"A01", "A03"}
    assert chosen.trained_wells == (2, 2)
    assert "Only 2 new wells" in chosen.notes[0]


def test_wells_that_were_all_used_are_judged_with_a_warning(adapter, screen):
    chosen = finish(hold_out(Adapter.load(adapter), read_screen(screen)))
    assert not chosen.held_out
    assert chosen.notes[0].startswith("Every well of a condition was used for fine-tuning")
    unseen = finish(hold_out(Adapter.load(adapter), read_screen(screen), unseen=True))
    assert unseen.held_out
    assert unseen.notes == ()


def test_another_screen_with_the_same_names_is_new(adapter, tmp_path):
    style = style_for("translocation", 9003)
    other = finish(
        simulate_screen(tmp_path / "other", "translocation", wells=8, cells=4, seed=5, shape=(96, 96), style=style)
    )
    chosen = finish(hold_out(Adapter.load(adapter), read_screen(other), *map(Condition.parse, (CONTROL, TREATED))))
    assert chosen.held_out
    assert len(chosen.control) == 4
    assert "taken as another screen" in chosen.notes[0]


def test_evaluate_writes_a_report(evaluated):
    assert evaluated.facts["held_out"]
    assert list(evaluated.facts["verdicts"]) == PARTS
    folder = folder_of(evaluated)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".phenolens.json",
        "cells.parquet",
        "provenance.json",
        "report.html",
        "report.json",
    ]
    report = json.loads((folder / "report.json").read_text())
    assert list(report["parts"]) == PARTS
    assert report["facts"]["control_wells"] == ["plate1/A05", "plate1/A07"]
    flips = report["parts"]["flips"]["figures"]
    assert 0 <= flips["translated"]["value"] <= 1
    assert len(report["parts"]["slider"]["figures"]["median_log_odds"]) == 5
    assert {"feature", "real", "translated", "called"} <= set(report["parts"]["changes"]["table"][0])
    # 12 cells a condition, 6 of each well
    table = pd.read_parquet(folder / "cells.parquet")
    assert dict(table["kind"].value_counts()) == {"source": 12, "translated": 12, "treated": 12}
    assert set(table.loc[table["kind"] != "treated", "well"]) == {"plate1/A05", "plate1/A07"}
    assert (table["synthetic"] == (table["kind"] == "translated")).all()
    assert json.loads((folder / "provenance.json").read_text())["synthetic"] is True
    assert not folder.with_name("out.partial").exists()


def test_the_page_has_pictures_and_loads_nothing(evaluated):
    page = (folder_of(evaluated) / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 1
    assert page.count("<svg") == 4
    assert "synthetic" in page
    for outside in ("http://", "https://", "<script", "<link"):
        assert outside not in page.replace("http://www.w3.org", "")
    for verdict in evaluated.facts["verdicts"].values():
        assert verdict.split("'")[0][:60] in page


def test_an_interrupted_evaluation_goes_on(adapter, screen, evaluated, tmp_path, monkeypatch):
    import phenolens.evaluation.translations.report as engine
    from phenolens.translation.apply.translator import Translator

    whole, translated = engine.evaluate_translation, []  # type: ignore[attr-defined]

    def stopped(*given, **named):
        job = whole(*given, **named)
        try:
            for progress in job:
                if progress.message == "Translating cells" and progress.step:
                    signal.raise_signal(signal.SIGINT)
                yield progress
        finally:
            job.close()

    monkeypatch.setattr(engine, "evaluate_translation", stopped)
    out = tmp_path / "out"
    ran = evaluate(adapter, screen, out)
    assert ran.status == 130
    assert "kept in" in ran.error
    assert len(list((tmp_path / "out.partial" / "translated").glob("*.npy"))) == 1
    assert not out.exists()

    def counted(self, planes, *given, **named):
        translated.append(len(planes))
        return translate(self, planes, *given, **named)

    translate = Translator.translate_crops
    monkeypatch.setattr(engine, "evaluate_translation", whole)
    monkeypatch.setattr(Translator, "translate_crops", counted)
    again = evaluate(adapter, screen, out)
    assert again.status == 0
    assert translated == [4]  # the eight cells of the first batch were there
    assert not (tmp_path / "out.partial").exists()
    first, second = (json.loads((folder_of(one) / "report.json").read_text()) for one in (evaluated, again))
    assert first["parts"]["flips"]["figures"] == second["parts"]["flips"]["figures"]


@pytest.mark.slow
def test_jobs_of_an_array_wait_for_one_another_and_are_gathered(adapter, screen, evaluated, tmp_path):
    out = tmp_path / "out"
    first = evaluate(adapter, screen, out, "--job", "1/2")
    assert (first.status, first.facts["finished"]) == (0, False)
    early = evaluate(adapter, screen, out, "--gather")
    assert early.status == 2
    assert "1 of 2 batches of cells are not translated yet" in early.error
    finished = [False]
    while not all(finished):
        assert not out.exists()
        finished = [evaluate(adapter, screen, out, "--job", f"{part}/2").facts["finished"] for part in (2, 1)]
    assert evaluate(adapter, screen, out, "--gather").status == 0
    one, other = (json.loads((folder / "report.json").read_text()) for folder in (folder_of(evaluated), out))
    assert one["parts"] == other["parts"]


def test_another_solver_is_judged_in_its_own_way(adapter, screen, evaluated, tmp_path):
    ran = evaluate(adapter, screen, tmp_path / "out", "--solver", "ddim")
    first, second = (json.loads((folder_of(one) / "report.json").read_text()) for one in (evaluated, ran))
    facts = second["facts"]
    # stock DDIM knows neither guidance nor channels that are held
    assert (facts["solver"], facts["guidance"], facts["held"]) == ("ddim", 1.0, [])
    before, after = (one["parts"]["identity"]["figures"]["similarity"]["value"] for one in (first, second))
    assert before != after


def test_guidance_and_fine_noise_can_be_chosen(adapter, screen, evaluated, tmp_path):
    ran = evaluate(adapter, screen, tmp_path / "out", "--guidance", "1.25", "--fine-noise", "0.5")
    assert ran.status == 0
    first, second = (json.loads((folder_of(one) / "report.json").read_text()) for one in (evaluated, ran))
    assert first["facts"]["fine_noise"] == 1
    assert (second["facts"]["guidance"], second["facts"]["fine_noise"]) == (1.25, 0.5)
    before, after = (one["parts"]["identity"]["figures"]["similarity"]["value"] for one in (first, second))
    assert before != after
    assert "50% of the fine noise" in (folder_of(ran) / "report.html").read_text()


def test_the_conditions_of_an_adapter_are_read_once(adapter, screen, tmp_path, monkeypatch):
    texts, parse = [], Condition.parse
    monkeypatch.setattr(Condition, "parse", staticmethod(lambda text: texts.append(text) or parse(text)))
    loaded = Adapter.load(adapter)
    assert texts == [CONTROL + LEFT_OUT[0], TREATED + LEFT_OUT[1]]
    assert [loaded.source.text, loaded.target.text] == texts == list(loaded.conditions)
    job = evaluate_translation(
        loaded, read_screen(screen), tmp_path / "kept", TranslationSettings(steps=1), cells=screen / "labels", most=8,
        device="cpu",
    )  # fmt: skip
    assert finish(job).facts["conditions"] == texts
    assert len(texts) == 2, "and never again on its way through an evaluation"


@pytest.mark.slow
def test_memorisation_is_measured_where_it_is_asked_for(adapter, screen, evaluated, tmp_path):
    assert "--memorisation" in evaluated.facts["verdicts"]["memorisation"]
    ran = evaluate(adapter, screen, tmp_path / "out", "--memorisation")
    assert ran.status == 0
    figures = json.loads((folder_of(ran) / "report.json").read_text())["parts"]["memorisation"]["figures"]
    assert 0 <= figures["auroc"] <= 1
    assert figures["cells"] > 4
    assert figures["by_well"] is True
    assert "nearest training image" in (folder_of(ran) / "report.html").read_text()
    assert not (tmp_path / "out.partial").exists()


def test_mistakes_are_told(adapter, screen, tmp_path):
    unknown = evaluate(adapter, screen, tmp_path / "out", "--measure", "size of the moon")
    assert unknown.status == 2
    assert "There is no measure 'size of the moon': choose one of nucleus area" in unknown.error
    same = run("evaluate", adapter, screen, "--source", TREATED, "--target", TREATED, "--out", tmp_path / "out")
    assert same.status == 2
    assert "exclude one another" in same.error
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "is not an evaluation" in evaluate(adapter, screen, tmp_path / "mine").error


@pytest.mark.slow
def test_the_shipped_adapter_on_a_new_screen_of_its_style(tmp_path):
    import phenolens
    from phenolens.cli.demo_run import demo_style

    folder = tmp_path / "screen"
    new = finish(simulate_screen(folder, "translocation", wells=8, cells=12, seed=12, style=demo_style()))
    shipped = Path(phenolens.__file__).parent / "adapters" / "demo"
    ran = run(
        *("evaluate", shipped, new, "--unseen", "--cells", new / "labels", "--most", "32", "--steps", "6"),
        *("--device", "cpu", "--out", tmp_path / "out", "--json"),
    )
    assert ran.status == 0
    parts = json.loads((tmp_path / "out" / "report.json").read_text())["parts"]
    flips = parts["flips"]["figures"]
    assert flips["balanced_accuracy"] > 0.95
    assert flips["translated"]["value"] > flips["control"]["value"] + 0.2
    assert flips["p_value"] <= 0.05
    assert parts["slider"]["good"]
    assert parts["identity"]["good"]
    assert parts["kernel"]["good"]
    # only the reporter moves: nothing is seen of the held channels
    assert parts["changes"]["figures"]["called_translated_only"] == 0
    assert parts["changes"]["table"][0]["called"] == "both"


def disk(radius, size=48, y=23.5, x=23.5):
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(rows - y, columns - x) <= radius


def test_features_of_a_drawn_cell():
    nucleus = disk(7)
    ring = disk(16) & ~nucleus
    rng = np.random.default_rng(0)
    dna = 100 + 900.0 * nucleus + rng.normal(0, 5, nucleus.shape)
    reporter = 100 + 400.0 * nucleus + 100.0 * ring
    nuclei = outline_nuclei(dna[None])
    assert (nuclei[0] == NUCLEUS).sum() == pytest.approx(nucleus.sum(), rel=0.1)
    found = cell_features(np.stack([dna, reporter])[None], nuclei, ("DNA", "Reporter"), (100, 100)).iloc[0]
    assert found["nucleus area"] == pytest.approx(np.pi * 49, rel=0.1)
    assert found["nucleus eccentricity"] < 0.3
    assert found[nuclear_ratio("Reporter")] == pytest.approx(2, abs=0.2)
    empty = cell_features(np.zeros((1, 1, 48, 48)), np.zeros((1, 48, 48), np.uint8), ("DNA",), (0,))
    assert empty.shape == (1, len(feature_names(("DNA",))))
    assert empty.isna().all(axis=None)


def test_features_have_the_names_that_are_told_beforehand():
    # each channel has a brightness of its own, so that a name that is given to another's value shows
    nucleus, ring = disk(7), disk(16) & ~disk(7)
    channels = ("DNA", "Reporter", "Third")
    crop = np.stack([100 + bright * nucleus + bright * ring / 4 for bright in (900.0, 400.0, 50.0)])
    crop += np.random.default_rng(0).normal(0, 1, crop.shape) * np.reshape([0, 40, 20], (3, 1, 1))
    found = cell_features(crop[None], outline_nuclei(crop[None, 0]), channels, (100, 100, 100))
    assert list(found) == feature_names(channels)
    assert len(set(found)) == found.shape[1]
    row = found.iloc[0]
    outlined = outline_nuclei(crop[None, 0])[0] == NUCLEUS
    near = outlined | (disk(12.2) & ~disk(8))
    for name, plane, bright in zip(channels, crop, (900, 400, 50), strict=True):
        light = plane - 100
        assert row[f"{name} mean in nucleus"] == pytest.approx(light[outlined].mean())
        assert row[f"{name} spread in nucleus"] == pytest.approx(light[outlined].std())
        assert row[f"{name} mean in cytoplasm"] == pytest.approx(bright / 4, rel=0.2)
        assert row[nuclear_ratio(name)] == pytest.approx(2, abs=0.3)
        assert row[f"{name} mean"] == pytest.approx(light.mean())
        assert row[f"{name} spread"] == pytest.approx(light.std())
        assert row[f"{name} brightest 5 %"] == pytest.approx(np.percentile(light, 95))
        for size, small in (("fine", 0.7), ("middle", 1.4), ("coarse", 2.8)):
            band = gaussian_filter(plane, small) - gaussian_filter(plane, 2 * small)
            assert row[f"{name} {size} detail"] == pytest.approx(band[near].std(), rel=0.1)
        assert row[f"{name} gradient"] == pytest.approx(np.hypot(*np.gradient(plane))[near].mean(), rel=0.1)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        correlation = np.corrcoef(crop[one][near], crop[other][near])[0, 1]
        assert row[f"{channels[one]} and {channels[other]} correlation"] == pytest.approx(correlation, abs=0.005)
    assert row["nucleus area"] == outlined.sum()
    assert row["nucleus major axis"] == pytest.approx(14, rel=0.1)
    assert row["nucleus eccentricity"] < 0.3
    assert 0.9 < row["nucleus solidity"] <= 1


def test_identity_of_what_stays_and_what_goes():
    before = np.where(disk(7), NUCLEUS, 0).astype(np.uint8)[None]
    moved = np.roll(before, 7, axis=2)
    assert overlaps(before, before) == 1
    assert overlaps(before, np.zeros_like(before)) == 0
    expected = (disk(7) & np.roll(disk(7), 7, axis=1)).sum() / (disk(7) | np.roll(disk(7), 7, axis=1)).sum()
    assert overlaps(before, moved) == pytest.approx(expected)
    assert np.isnan(overlaps(np.zeros_like(before), before))
    crop = np.random.default_rng(1).normal(0, 0.3, (1, 2, 32, 32)).astype(np.float32)
    assert similarities(crop, crop) == pytest.approx(1)
    assert similarities(crop, np.roll(crop, 9, axis=3)) < 0.6


def flips(translated, control, treated, p_value=0.01, smallest_p=0.005):
    none = np.zeros(0)
    return Flips(
        translated, control, treated, np.linspace(0.3, 0.7, 50), p_value, smallest_p,
        {"source": none, "translated": none, "treated": none}, np.zeros((3, 2)), np.array([0.2, 0.5, np.nan]), 4,
    )  # fmt: skip


def test_a_flip_rate_that_does_not_hold_up_is_said_so():
    low, high = (0.05, 0.02, 0.1), (0.97, 0.94, 1.0)
    assert flip_answer(flips(high, low, high)).good is True
    under = flip_answer(flips((0.31, 0.2, 0.4), (0.2, 0.05, 0.35), high))
    assert under.good is False
    assert "0.31 (0.20 to 0.40) is not above that of untouched control cells, 0.20 (0.05 to 0.35)" in under.verdict
    assert "exchanged labels, translated cells rise as much" in flip_answer(flips(high, low, high, p_value=0.3)).verdict
    few = flip_answer(flips(high, low, high, p_value=0.3, smallest_p=0.17))
    assert few.good is True
    assert "too few wells" in few.notes[0]
    assert "means nothing" in flip_answer(flips(high, (0.5, 0.4, 0.6), (0.55, 0.4, 0.6))).verdict
    assert "do not reach" in flip_answer(flips((0.3, 0.25, 0.4), low, high)).verdict
    assert flip_answer(None).good is None
    assert "do not rise" in slider_answer(flips(high, low, high), (0.0, 1.0)).verdict


def test_changes_that_do_not_hold_up_are_said_so():
    def answer(slope, called, wells=(4, 4)):
        table = pd.DataFrame({"feature": ["a", "b"], "called": called})
        return changes_answer(Changes(table, (slope, 0.1, 2.0), (0.95, 0.9, 1.0), (1.0, 1.0, 1.0), wells))

    assert answer(1.0, ["both", "both"]).good is True
    assert "too small" in answer(0.4, ["both", "real only"]).verdict
    invented = answer(1.0, ["translated only", "neither"])
    assert invented.good is False
    assert "do not read" in invented.verdict
    assert answer(1.0, ["neither", "neither"]).good is True
    assert answer(1.0, ["not tested"] * 2, (1, 4)).good is None


def test_a_measure_that_does_not_tell_is_said_so():
    values = {name: np.arange(3.0) for name in ("source", "translated", "treated")}
    near, far = (0.1, 0.05, 0.2), (0.8, 0.7, 0.9)
    assert "does not tell" in distribution_answer(Distributions("m", values, near, near, near), "m").verdict
    assert distribution_answer(Distributions("m", values, near, far, near), "m").good is True
    assert distribution_answer(Distributions("m", values, far, far, near), "m").good is False


def test_treated_wells_that_differ_by_more_than_the_treatment_are_said_so():
    def answer(real, wells=2):
        translated, source = np.full(50, 0.1), np.full(50, 0.2)
        return kernel_answer(KernelDistances(30, translated, source, np.full(50, real), wells))

    assert "as close as real treated cells" in answer(0.15).verdict
    assert answer(0.15).notes == ()
    assert answer(0.05).verdict.endswith("translated cells are closer.")
    apart = answer(0.4)
    assert apart.good is True
    assert apart.verdict.endswith("translated cells are closer.")
    assert "the distance says little of the treatment" in apart.notes[0]
    assert "share it" in answer(0.4, wells=0).notes[0]


def test_a_stack_is_judged_in_the_plane_that_was_fine_tuned_on(tiny_base, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in "abcd":
        planes = rng.integers(50, 4000, (3, 2, 48, 48)).astype(np.uint16)
        write_ome_tiff(tmp_path / f"{name}.ome.tif", planes, "ZCYX", ("DNA", "Actin"), None, synthetic=False)
    pd.DataFrame(
        {
            "Image": [f"{name}.ome.tif" for name in "abcd"],
            "Metadata_Well": ["A01", "A02", "B01", "B02"],
            "Metadata_Compound": ["DMSO", "DMSO", "drug", "drug"],
        }
    ).to_csv(tmp_path / "screen.csv", index=False)
    screen = read_screen(tmp_path)
    settings = FinetuneSettings(steps=1, rank=2, crop=48, preview_every=0)
    conditions = Condition.parse("DMSO"), Condition.parse("drug")
    chosen = screen.at_plane(0, 2)
    cells = finish(find_cells(chosen, "whole"))
    finish(
        finetune_screen(chosen, *conditions, cells, out=tmp_path / "adapter", base=str(tiny_base), settings=settings)
    )
    adapter = Adapter.load(tmp_path / "adapter")
    assert adapter.at_plane(screen).position == (0, 2)
    assert adapter.at_plane(screen.at_plane(0, 1)).position == (0, 1), "chosen by hand"

    asked = []

    def stopped(adapter, screen, *_):
        asked.append((yield from hold_out(adapter, screen)))
        raise ScreenError("asked")

    monkeypatch.setattr("phenolens.evaluation.translations.evaluation.hold_out", stopped)
    with pytest.raises(ScreenError, match="asked"):
        finish(evaluate_translation(adapter, screen, tmp_path / "kept", device="cpu"))
    assert not asked[0].held_out, "the wells are known by the pixels of that plane"
