"""Every command end to end, with a tiny base and few steps."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.main import get_command

import phenolens as ph
from cli_run import run
from phenolens.annotation.annotations import Annotations
from phenolens.annotation.files import write_annotations
from phenolens.cli.app import app
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import finish
from phenolens.screens.images import read_image
from phenolens.simulation import simulate_screen, style_for
from phenolens.translation.training import training_set
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.pretraining import PretrainSettings

CONTROL, TREATED = "Metadata_Role=negative control", "translocation"
LAYERS = ("source", "translated", "difference")


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "screen"
    style = style_for("translocation", 9002)
    return finish(simulate_screen(folder, "translocation", wells=4, cells=8, seed=3, shape=(160, 160), style=style))


@pytest.fixture(scope="module")
def tuned(screen, tiny_base, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "adapter"
    return run(*finetune(screen, tiny_base, out), "--json")


@pytest.fixture(scope="module")
def adapter(tuned):
    return Path(tuned.facts["adapter"])


@pytest.fixture(scope="module")
def translated(adapter, screen, tmp_path_factory):
    out = tmp_path_factory.mktemp("translated") / "out"
    return run("translate", adapter, screen, "--strength", "0", "0.5", "1", "--steps", "2", "--out", out, "--json")


def finetune(screen, base, out, steps=4):
    return (
        *("finetune", screen, "--source", CONTROL, "--target", TREATED, "--out", out, "--base", base),
        *("--rank", "2", "--steps", str(steps), "--crop", "48", "--cells", screen / "labels", "--device", "cpu"),
    )


def pixels(path):
    return read_image(path).plane()


def test_simulate(tmp_path):
    ran = run("simulate", "--treatment", "null", "--wells", "2", "--cells", "3", "--out", tmp_path / "s", "--json")
    assert ran.status == 0
    table = pd.read_csv(ran.facts["screen"])
    assert list(table["Metadata_Role"]) == ["negative control", "treated"]


def test_simulate_replaces_its_own_result_only(tmp_path):
    (tmp_path / "letters.txt").write_text("dear all")
    ran = run("simulate", "--treatment", "null", "--wells", "2", "--out", tmp_path)
    assert ran.status == 2
    assert ran.error.startswith(f"phenolens: {tmp_path} exists and is not a simulated screen")
    assert (tmp_path / "letters.txt").read_text() == "dear all"


@pytest.mark.slow
def test_finetune_writes_an_adapter(tuned, tmp_path):
    assert tuned.status == 0
    assert tuned.facts["command"] == "finetune"
    assert tuned.facts["conditions"] == [CONTROL, TREATED]
    assert tuned.facts["crop"] == 48
    assert np.isfinite(tuned.facts["loss"])
    card = json.loads((Path(tuned.facts["adapter"]) / "card.json").read_text())
    assert all(0.75 <= card[name] <= 2 for name in ("guidance", "reverse_guidance"))


@pytest.mark.slow
def test_interrupted_finetune_resumes_to_the_same_weights(screen, tiny_base, adapter, tmp_path, monkeypatch):
    import phenolens.translation.training.training_set as engine

    unbroken, stop_at = engine.finetune_screen, [3]

    def interrupted(*given, **named):
        job = unbroken(*given, **named)
        try:
            for progress in job:
                if progress.message == "Fine-tuning" and progress.step in stop_at:
                    signal.raise_signal(signal.SIGINT)
                yield progress
        finally:
            job.close()

    out = tmp_path / "adapter"
    monkeypatch.setattr(engine, "finetune_screen", interrupted)
    stopped = run(*finetune(screen, tiny_base, out))
    assert stopped.status == 130
    checkpoint = tmp_path / "adapter.partial" / "checkpoint.pt"
    assert stopped.error == (
        f"phenolens: interrupted: the checkpoint {checkpoint} is kept; "
        "the same command with --resume goes on from there"
    )
    assert not out.exists()
    monkeypatch.setattr(engine, "finetune_screen", unbroken)
    assert run(*finetune(screen, tiny_base, out), "--resume").status == 0
    weights = "adapter_model.safetensors"
    assert (out / weights).read_bytes() == (adapter / weights).read_bytes()


def test_translate_writes_what_the_design_says(translated, screen):
    assert translated.status == 0
    assert translated.facts["strengths"] == [0.0, 0.5, 1.0]
    keys = translated.facts["fields"]
    assert len(keys) == 4
    out = sorted(path.name for path in _folder(translated).iterdir() if not path.name.startswith("."))
    endings = ("s0.00", "s0.50", "s1.00", "difference")
    assert out == sorted(
        [f"{key}__{ending}.ome.tif" for key in keys for ending in endings] + ["cells.parquet", "provenance.json"]
    )
    source = pixels(screen / "images" / f"{keys[0]}.ome.tif")
    assert np.array_equal(pixels(_folder(translated) / f"{keys[0]}__s0.00.ome.tif"), source)
    assert pixels(_folder(translated) / f"{keys[0]}__s1.00.ome.tif").dtype == source.dtype


@pytest.mark.slow
def test_channels_are_held_as_asked(adapter, screen, tmp_path):
    for asked, held in (("DNA", ["DNA"]), ("none", [])):
        ran = run("translate", adapter, screen, "--strength", "1", "--hold", asked, "--out", tmp_path / asked, "--json")
        assert ran.status == 0
        assert json.loads((_folder(ran) / "provenance.json").read_text())["held"] == held
        change = tifffile.imread(_folder(ran) / f"{ran.facts['fields'][0]}__difference.ome.tif")
        assert change[0].any() == (asked == "none")
        assert change[1].any()
    refused = run("translate", adapter, screen, "--hold", "Actin", "--out", tmp_path / "refused")
    assert refused.status != 0
    assert "no channel 'Actin' to hold: it has DNA, Reporter, Organelle" in refused.error


@pytest.mark.slow
def test_workers_write_the_same(translated, adapter, screen, tmp_path):
    ran = run(
        *("translate", adapter, screen, "--strength", "0", "1", "--steps", "2", "--workers", "2"),
        *("--out", tmp_path / "out", "--json"),
    )
    assert ran.status == 0
    one, several = _folder(translated), _folder(ran)
    for key in ran.facts["fields"]:
        name = f"{key}__difference.ome.tif"
        # threads share sums out differently, and random weights amplify the last bits
        made, expected = tifffile.imread(several / name), tifffile.imread(one / name)
        assert np.linalg.norm(made - expected) <= 0.05 * np.linalg.norm(expected)
    pd.testing.assert_frame_equal(
        pd.read_parquet(several / "cells.parquet"), pd.read_parquet(one / "cells.parquet"), check_like=True
    )
    assert json.loads((several / "provenance.json").read_text())["inputs"] == ran.facts["fields"]


@pytest.mark.parametrize("solver", ["obelm", "edict", "ddim"])
def test_translate_takes_every_solver_and_draws_noise_by_its_seed(adapter, screen, tmp_path, solver):
    made, image = {}, min((screen / "images").glob("*.ome.tif"))
    for seed in ("3", "4"):
        out = tmp_path / seed
        ran = run(
            *(
                "translate",
                adapter,
                image,
                "--cells",
                "whole",
                "--strength",
                "0",
                "1",
                "--steps",
                "2",
                "--hold",
                "none",
            ),
            *("--solver", solver, "--renoise", "0.5", "--seed", seed, "--out", out, "--json"),
        )
        assert ran.status == 0
        known = json.loads((out / "provenance.json").read_text())
        assert (known["solver"], known["renoise"], known["seed"]) == (solver, 0.5, int(seed))
        key = ran.facts["fields"][0]
        made[seed] = pixels(out / f"{key}__difference.ome.tif")
        assert np.array_equal(pixels(out / f"{key}__s0.00.ome.tif"), pixels(image))
    assert made["3"].any()
    assert not np.array_equal(made["3"], made["4"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--solver", "magic"), "There is no solver 'magic'"),
        (("--solver", "obelm", "--fine-noise", "0.5"), "'obelm' keeps all fine noise"),
        (("--fine-noise", "2"), "Fine noise goes from 0 to 1"),
    ],
)
def test_translate_leaves_nothing_behind_where_it_is_asked_for_what_there_is_not(
    adapter, screen, tmp_path, options, expected
):
    ran = run("translate", adapter, screen, "--cells", screen / "labels", *options, "--out", tmp_path / "out")
    assert ran.status == 2
    assert expected in ran.error
    assert not list((tmp_path / "out").glob("*"))


def test_translate_says_what_the_inverted_noise_is_like(translated):
    noise = translated.facts["inverted_noise"]
    assert noise == json.loads((_folder(translated) / "provenance.json").read_text())["inverted_noise"]
    assert noise["variance"] > 0
    assert len(noise["spectrum"]) > 1
    assert not noise["warning"] or noise["warning"] in translated.error


def test_translate_images_one_by_one(adapter, screen, tmp_path):
    images = sorted((screen / "images").iterdir())[:2]
    ran = run("translate", adapter, *images, "--steps", "2", "--strength", "1", "--out", tmp_path / "out", "--json")
    assert ran.status == 0
    assert ran.facts["fields"] == [path.name.removesuffix(".ome.tif") for path in images]


def test_translate_images_of_one_name(adapter, screen, tmp_path):
    image = sorted((screen / "images").iterdir())[0]
    (tmp_path / image.name).write_bytes(image.read_bytes())
    ran = run("translate", adapter, image, tmp_path / image.name, "--out", tmp_path / "out")
    assert ran.status == 2
    assert "would both be called" in ran.error


def test_export_cells_of_an_adapter(adapter, screen, tmp_path):
    key = "plate1_A01_1"
    labels = [int(label) for label in np.unique(tifffile.imread(screen / "labels" / f"{key}.tif"))[1:3]]
    ran = run(
        *("export", adapter, screen, "--field", key, "--cell", *map(str, labels), "--strength", "0.5"),
        *("--cells", screen / "labels", "--out", tmp_path / "exported", "--json"),
    )
    assert ran.status == 0
    assert ran.facts["files"] == sorted(
        [f"{key}__{name}.ome.tif" for name in (*LAYERS, "cells")] + ["cells.csv", "cells.parquet", "provenance.json"]
    )
    source, translated, difference = (pixels(tmp_path / "exported" / f"{key}__{name}.ome.tif") for name in LAYERS)
    assert np.array_equal(source, pixels(screen / "images" / f"{key}.ome.tif"))
    assert translated.dtype == source.dtype
    assert difference.dtype == np.float32
    assert np.abs(difference).max() > 0
    limits = np.iinfo(source.dtype)
    np.testing.assert_allclose(translated, np.clip(source + difference, limits.min, limits.max), atol=0.51)
    cells = pd.read_parquet(tmp_path / "exported" / "cells.parquet")
    assert sorted(cells["label"]) == sorted(labels)
    assert set(cells["strength"]) == {0.5}
    assert cells["synthetic"].all()


def test_export_as_ome_zarr_holds_labels_classes_and_marks(adapter, screen, tmp_path):
    key = "plate1_A01_1"
    labels = np.unique(tifffile.imread(screen / "labels" / f"{key}.tif"))[1:]
    said = Annotations()
    said.add_class("odd")
    said.annotate([(key, int(labels[0]))], "odd")
    said.set_note([(key, int(labels[0]))], "look, µ")
    notes = write_annotations(said, tmp_path / "notes.csv")
    command = ("export", adapter, screen, "--field", key, "--cells", screen / "labels", "--annotations", notes)
    ran = run(*command, "--format", "ome-zarr", "--figure", "png", "--out", tmp_path / "exported", "--json")
    assert ran.status == 0
    assert ran.facts["files"] == sorted(
        [f"{key}__{name}.ome.zarr" for name in LAYERS]
        + [f"{key}__figure.png", "cells.csv", "cells.parquet", "provenance.json"]
    )
    folders = [tmp_path / "exported" / f"{key}__{name}.ome.zarr" for name in LAYERS]
    images = [read_image(folder) for folder in folders]
    assert [image.details.synthetic for image in images] == [False, True, True]
    assert images[0].details.displays == tuple(replace(one, shown=True) for one in images[1].details.displays)
    np.testing.assert_array_equal(images[0].plane(), pixels(screen / "images" / f"{key}.ome.tif"))
    ngio = pytest.importorskip("ngio")
    container = ngio.open_ome_zarr_container(str(folders[0]))
    np.testing.assert_array_equal(np.unique(container.get_label("cells").get_as_numpy())[1:], labels)
    table = container.get_feature_table("cells").dataframe
    assert table.loc[labels[0], ["class", "note"]].tolist() == ["odd", "look, µ"]
    assert {"y", "x", "area"} <= set(table.columns)
    plain = run(*command, "--out", tmp_path / "plain", "--json")
    assert plain.status == 0
    np.testing.assert_array_equal(images[1].plane(), pixels(tmp_path / "plain" / f"{key}__translated.ome.tif"))
    for option, value in (("--format", "png"), ("--figure", "gif")):
        refused = run(*command, option, value, "--out", tmp_path / "no")
        assert refused.status == 2
        assert "choose" in refused.error
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_export_takes_every_solver_and_draws_noise_by_its_seed(adapter, screen, tmp_path):
    def difference(name, *options):
        ran = run(
            *("export", adapter, screen, "--field", "plate1_A01_1", "--cells", screen / "labels", "--hold", "none"),
            *("--out", tmp_path / name, *options),
        )
        assert ran.status == 0
        known = json.loads((tmp_path / name / "provenance.json").read_text())
        return pixels(tmp_path / name / "plate1_A01_1__difference.ome.tif"), known

    plain, known = difference("plain")
    assert (known["solver"], known["renoise"], known["seed"]) == ("difference", 0.0, 0)
    drawn = []
    for seed in (3, 4):
        options = ("--solver", "obelm", "--renoise", "0.5", "--seed", str(seed))
        made, known = difference(f"obelm{seed}", *options)
        assert (known["solver"], known["renoise"], known["seed"]) == ("obelm", 0.5, seed)
        assert made.any()
        drawn.append(made)
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], plain)
    less, known = difference("less", "--guidance", "1.25", "--fine-noise", "0.5")
    assert (known["guidance"], known["fine_noise"]) == (1.25, 0.5)
    whole, known = difference("whole", "--guidance", "1.25")
    assert (known["guidance"], known["fine_noise"]) == (1.25, 1.0)
    assert not np.array_equal(less, whole)
    refused = run(
        "export",
        adapter,
        screen,
        "--field",
        "plate1_A01_1",
        "--cells",
        screen / "labels",
        "--solver",
        "magic",
        "--out",
        tmp_path / "no",
    )
    assert refused.status == 2
    assert "There is no solver 'magic'" in refused.error


def test_export_of_translated_fields(translated, screen, tmp_path):
    ran = run("export", _folder(translated), "--field", "plate1_A02_1", "--out", tmp_path / "exported", "--json")
    assert ran.status == 0
    source, translated_, difference = (
        pixels(tmp_path / "exported" / f"plate1_A02_1__{name}.ome.tif") for name in LAYERS
    )
    assert np.array_equal(translated_.astype(float) - source, difference)


def test_export_refuses_translated_fields_that_were_changed(translated, tmp_path):
    folder = tmp_path / "translated"
    shutil.copytree(_folder(translated), folder)
    shutil.copy(folder / "plate1_A01_1__s0.50.ome.tif", folder / "plate1_A01_1__s1.00.ome.tif")
    ran = run("export", folder, "--field", "plate1_A01_1", "--out", tmp_path / "exported")
    assert ran.status == 2
    assert "are not what translate wrote" in ran.error
    assert not (tmp_path / "exported").exists()


def test_export_takes_classes_and_notes_along(translated, tmp_path):
    table = pd.read_parquet(_folder(translated) / "cells.parquet")
    here = table[table["field"] == "plate1_A02_1"]
    made = Annotations()
    made.add_class("dead")
    made.annotate([("plate1_A02_1", here["label"].iloc[0])], "dead")
    made.set_note([("plate1_A02_1", here["label"].iloc[1])], "blurred")
    file = write_annotations(made, tmp_path / "notes.csv")
    out = tmp_path / "exported"
    ran = run(
        *("export", _folder(translated), "--field", "plate1_A02_1", "--annotations", file, "--out", out, "--json"),
    )
    assert ran.status == 0
    cells = pd.read_parquet(out / "cells.parquet")
    assert cells["class"].fillna("").tolist() == ["dead", *[""] * (len(here) - 1)]
    assert cells["note"].fillna("").tolist()[:2] == ["", "blurred"]
    missing = run("export", _folder(translated), "--annotations", tmp_path / "none.csv", "--out", tmp_path / "other")
    assert missing.status == 2
    assert "no file of annotations" in missing.error
    assert not (tmp_path / "other").exists()


def test_export_keeps_what_is_in_the_way(adapter, screen, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    ran = run("export", adapter, screen, "--field", "plate1_A01_1", "--cells", screen / "labels", "--out", tmp_path)
    assert ran.status == 2
    assert "is not an export" in ran.error
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_pattern_reads_the_names_of_a_folders_images(screen, tiny_base, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 4000, (64, 64), dtype=np.uint16)
        tifffile.imwrite(plain / f"well-{'ab'[number % 2]}-{number}.tif", noise)
    pattern = r"well-(?P<Compound>[a-z])-(?P<Site>\d+)"
    ran = run(
        *("finetune", plain, "--pattern", pattern, "--source", "a", "--target", "b", "--out", tmp_path / "adapter"),
        *("--base", tiny_base, "--rank", "2", "--steps", "1", "--cells", "whole", "--device", "cpu", "--json"),
    )
    assert ran.status == 0
    assert (ran.facts["conditions"], ran.facts["cells"]) == (["a", "b"], {"a": 2, "b": 2})
    options = ("--pattern", pattern, "--strength", "1", "--steps", "1", "--out", tmp_path / "out", "--json")
    translated = run("translate", tmp_path / "adapter", plain, *options)
    assert translated.status == 0
    assert len(translated.facts["fields"]) == 4
    refused = run("translate", tmp_path / "adapter", screen / "screen.csv", *options)
    assert refused.status == 2
    assert "--pattern reads the names of the images in a folder" in refused.error


def test_pretrain_passes_its_options_on(tmp_path, monkeypatch):
    import phenolens.translation.training.pretraining as engine

    given = []

    def pretend(out, images, settings, device, overwrite, start):
        given.append((out, images, settings.styles, settings.unet_steps, settings.seed, device, start))
        yield from ()
        return out / "base"

    monkeypatch.setattr(engine, "pretrain", pretend)
    ran = run(
        *("pretrain", "--out", tmp_path, "--styles", "3", "--unet-steps", "7", "--seed", "5", "--device", "cpu"),
        *("--images", tmp_path, "--from", "compact", "--json"),
    )
    assert ran.status == 0
    assert given == [(tmp_path, tmp_path, 3, 7, 5, "cpu", "compact")]
    assert ran.facts["base"] == str((tmp_path / "base").resolve())


@pytest.mark.slow
def test_pretrain_writes_a_base(tmp_path):
    from phenolens.translation.model.base import load_base

    steps = ("--styles", "1", "--autoencoder-steps", "1", "--unet-steps", "1")
    ran = run("pretrain", "--out", tmp_path / "made", *steps, "--device", "cpu", "--json")
    assert ran.status == 0
    assert load_base(ran.facts["base"]).crop == 64


@pytest.mark.parametrize("all_wells", [False, True])
def test_the_last_wells_are_left_out_of_a_fine_tuning_unless_all_are_asked_for(tmp_path, monkeypatch, all_wells):
    made = simulate_screen(tmp_path / "screen", "translocation", wells=6, cells=1, shape=(64, 64), seed=3)
    screen, asked = finish(made), []

    def only_asked(screen, source, target, *_, **how):
        asked.append((source.text, target.text))
        raise ScreenError("That is all.")

    monkeypatch.setattr(training_set, "finetune_screen", only_asked)
    more = ["--all-wells"] if all_wells else []
    ran = run("finetune", screen, "--source", CONTROL, "--target", TREATED, "--out", tmp_path / "adapter", *more)
    assert "That is all." in ran.error
    with pytest.raises(ScreenError, match="That is all"):
        ph.finetune(screen, CONTROL, TREATED, out=tmp_path / "adapter", all_wells=all_wells, progress=None)
    left = ("", "") if all_wells else (",Metadata_Well!=A05", ",Metadata_Well!=A06")
    assert asked == [(CONTROL + left[0], TREATED + left[1])] * 2


@pytest.mark.parametrize(("command", "settings"), [("finetune", FinetuneSettings()), ("pretrain", PretrainSettings())])
def test_help_shows_the_engines_defaults(command, settings):
    options = {option.name: option for option in vars(get_command(app))["commands"][command].params}
    # What is None is found out later, and the help says from what.
    shared = {name for name, value in vars(settings).items() if name in options and value is not None}
    assert len(shared) >= 3
    for name in shared:
        shown = options[name].default if options[name].default is not None else options[name].show_default
        assert str(shown) == str(getattr(settings, name)), name


def _folder(ran):
    return Path(ran.facts["out"])
