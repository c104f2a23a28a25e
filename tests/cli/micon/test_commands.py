"""Train, embed, map, search and evaluate on one small screen of compounds, and the mistakes that can be made."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import phenolens.profiling.training.training as engine
from cli_run import run
from phenolens.profiling.encoders.encoder import CellEncoder, load_encoder
from phenolens.profiling.tables.profile_files import read_profiles
from phenolens.runtime.progress import finish
from phenolens.simulation.compound_screen import simulate_compound_screen

COMPOUNDS, FIELDS = 6, 18


@pytest.fixture(scope="module")
def screen(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "screen"
    return finish(
        simulate_compound_screen(
            folder, compounds=COMPOUNDS, batches=2, wells=1, control_wells=3, cells=5, shape=(112, 112), seed=1
        )
    )


def training(screen, out, *more, steps=4):
    labels = screen / "labels"
    return ("micon", "train", screen, "--out", out, "--steps", str(steps), "--cells", labels, "--device", "cpu", *more)


@pytest.fixture(scope="module")
def trained(screen, tmp_path_factory):
    return run(*training(screen, tmp_path_factory.mktemp("trained") / "encoder"), "--json")


@pytest.fixture(scope="module")
def encoder(trained) -> Path:
    return Path(trained.facts["encoder"])


@pytest.fixture(scope="module")
def embedded(encoder, screen, tmp_path_factory):
    out = tmp_path_factory.mktemp("embedded") / "cells.parquet"
    return run("micon", "embed", encoder, screen, "--cells", screen / "labels", "--out", out, "--json")


@pytest.fixture(scope="module")
def atlas(embedded, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("mapped") / "atlas"
    assert run("micon", "map", embedded.facts["profiles"], "--out", out).status == 0
    return out


@pytest.fixture
def copied(screen, tmp_path):
    return shutil.copytree(screen, tmp_path / "screen")


def change_table(folder, change):
    table = pd.read_csv(folder / "screen.csv")
    change(table).to_csv(folder / "screen.csv", index=False)


def refused(ran, *words):
    """The command ended as a user's mistake does, in one sentence with these words."""
    assert ran.status == 2
    assert ran.error.startswith("phenolens: ")
    assert ran.error.endswith((".", ")"))
    for word in words:
        assert str(word) in ran.error


def test_training_writes_an_encoder_that_knows_the_compounds(trained, encoder, screen):
    assert trained.status == 0
    assert trained.facts["command"] == "micon train"
    assert (trained.facts["mode"], trained.facts["compounds"], trained.facts["notes"]) == ("improved", COMPOUNDS, [])
    loaded = load_encoder(encoder)
    assert loaded.folder == str(encoder.resolve())
    assert loaded.channel_names is not None
    table = pd.read_csv(screen / "screen.csv")
    assert set(loaded.compounds["Metadata_Compound"]) == set(table["Metadata_Compound"]) - {"DMSO"}
    assert not encoder.with_name("encoder.partial").exists()
    assert json.loads((encoder / "provenance.json").read_text())["seed"] == 0
    card = (encoder / "card.json").read_text()
    assert str(encoder.parent) not in card, "an encoder may be moved and shared"


def test_embedding_writes_a_row_a_cell(embedded, encoder, trained, screen):
    assert embedded.status == 0
    assert embedded.facts["level"] == "cell"
    profiles = read_profiles(Path(embedded.facts["profiles"]))
    assert len(profiles) == embedded.facts["rows"] == trained.facts["cells"]
    assert embedded.facts["dimension"] == profiles.vectors.shape[1] == 64
    assert profiles.card["encoder_folder"] == str(encoder.resolve())
    assert profiles.metadata["Metadata_Field"].nunique() == FIELDS


def test_the_default_encoder_embeds_wells(screen, tmp_path):
    out = tmp_path / "wells.parquet"
    options = ("--level", "well", "--cells", screen / "labels", "--out", out)
    ran = run("micon", "embed", "default", screen, *options, "--json")
    assert ran.status == 0
    assert ran.facts["rows"] == FIELDS
    profiles = read_profiles(out)
    assert (profiles.card["encoder"], profiles.card["encoder_folder"]) == ("default", "default")
    assert run("micon", "map", out, "--out", tmp_path / "atlas").status == 0
    refused(run("micon", "search", tmp_path / "atlas", "--smiles", "CCO"), "knows no compounds", "--encoder")


def test_a_row_and_a_structure_are_searched(atlas, screen):
    row = run("micon", "search", atlas, "--row", "0", "--top", "5", "--json")
    assert row.status == 0
    assert row.facts["query"]["rows"] == [0]
    assert len(row.facts["neighbours"]) == 5
    table = pd.read_csv(screen / "screen.csv")
    one = table[table["Metadata_Role"] == "treated"].iloc[0]
    found = run("micon", "search", atlas, "--smiles", one["Metadata_SMILES"], "--dose", "10", "--json")
    assert found.status == 0
    assert found.facts["applicability"]["compound"] == one["Metadata_Compound"]
    assert found.facts["applicability"]["similarity"] == pytest.approx(1)
    assert one["Metadata_Compound"] in {near["Metadata_Compound"] for near in found.facts["neighbours"]}


def test_an_encoder_that_was_moved_is_given_by_its_folder(embedded, encoder, tmp_path):
    from phenolens.profiling.tables.profile_files import write_profiles

    profiles = read_profiles(Path(embedded.facts["profiles"]))
    gone = profiles.with_vectors(profiles.vectors, encoder_folder=str(tmp_path / "gone"))
    file = write_profiles(gone, tmp_path / "cells.parquet")
    refused(run("micon", "search", file, "--smiles", "CCO"), tmp_path / "gone", "--encoder")
    assert run("micon", "search", file, "--smiles", "CCO", "--encoder", encoder).status == 0


def test_evaluation_reports(embedded, tmp_path):
    ran = run(
        *("micon", "evaluate", embedded.facts["profiles"], "--out", tmp_path / "ev", "--permutations", "20", "--json")
    )
    assert ran.status == 0
    assert set(ran.facts["verdicts"]) >= {"replicate_matching", "mechanism_matching", "activity"}
    assert Path(ran.facts["report"]).is_file()
    assert "these figures flatter it" in (tmp_path / "ev" / "report.json").read_text(encoding="utf-8")


def test_interrupted_training_resumes_to_the_same_weights(screen, encoder, tmp_path, monkeypatch):
    whole, out = engine.train_encoder, tmp_path / "encoder"

    def interrupted(*given, **named):
        job = whole(*given, **named)
        try:
            for progress in job:
                if progress.message == "Training the encoder" and progress.step == 2:
                    signal.raise_signal(signal.SIGINT)
                yield progress
        finally:
            job.close()

    monkeypatch.setattr(engine, "train_encoder", interrupted)
    stopped = run(*training(screen, out))
    assert stopped.status == 130
    checkpoint = tmp_path / "encoder.partial" / "training.pt"
    assert stopped.error == (
        f"phenolens: interrupted: the checkpoint {checkpoint} is kept; "
        "the same command with --resume goes on from there"
    )
    assert not out.exists()
    monkeypatch.setattr(engine, "train_encoder", whole)
    refused(run(*training(screen, out, "--seed", "9", "--resume")), checkpoint, "other settings")
    assert checkpoint.is_file()
    assert run(*training(screen, out, "--resume")).status == 0
    name = "encoder.safetensors"
    assert (out / name).read_bytes() == (encoder / name).read_bytes()
    assert not checkpoint.parent.exists()


def test_unknown_words(screen, tmp_path):
    refused(run(*training(screen, tmp_path / "e", "--mode", "magic")), "magic", "improved", "paclr")
    refused(run(*training(screen, tmp_path / "e", "--device", "abacus")), "abacus")
    refused(run("micon", "embed", "default", screen, "--level", "plate", "--out", tmp_path / "c.parquet"), "plate")


def test_a_table_without_compounds(copied, tmp_path):
    change_table(copied, lambda table: table.drop(columns="Metadata_Compound"))
    refused(run(*training(copied, tmp_path / "e")), "Metadata_Compound", "Metadata_Plate")
    assert not list(tmp_path.glob("e*"))


def test_a_row_without_a_compound(copied, tmp_path):
    number = int(np.flatnonzero(pd.read_csv(copied / "screen.csv")["Metadata_Role"] == "treated")[1])
    emptied = {"Metadata_Compound": "", "Metadata_SMILES": ""}
    change_table(
        copied, lambda table: table.assign(**{c: table[c].where(table.index != number, v) for c, v in emptied.items()})
    )
    refused(run(*training(copied, tmp_path / "e", "--mode", "paclr")), f"Row {number + 1}", "names no compound")


def test_a_structure_that_cannot_be_read_is_named_by_its_row_before_any_image_is_read(copied, tmp_path):
    table = pd.read_csv(copied / "screen.csv")
    number = int(np.flatnonzero(table["Metadata_Role"] == "treated")[3])
    change_table(
        copied,
        lambda table: table.assign(Metadata_SMILES=table["Metadata_SMILES"].where(table.index != number, "CC(C")),
    )
    for image in (copied / "images").iterdir():
        image.write_bytes(b"no image")
    refused(run(*training(copied, tmp_path / "e")), f"Row {number + 1}", "Metadata_SMILES", "CC(C")


def test_a_table_without_structures_says_what_to_do(copied, tmp_path):
    change_table(copied, lambda table: table.drop(columns="Metadata_SMILES"))
    refused(run(*training(copied, tmp_path / "e")), "Metadata_SMILES", "'paclr'")
    ran = run(*training(copied, tmp_path / "e", "--mode", "paclr", steps=1), "--json")
    assert ran.status == 0
    assert ran.facts["compounds"] == 0
    assert load_encoder(tmp_path / "e").compounds is None


def test_one_compound_without_a_structure_is_named(copied, tmp_path):
    change_table(
        copied,
        lambda table: table.assign(
            Metadata_SMILES=table["Metadata_SMILES"].where(table["Metadata_Compound"] != "SIM-0003", "")
        ),
    )
    refused(run(*training(copied, tmp_path / "e"), "--mode", "faithful"), "SIM-0003 has none", "'paclr'")
    ran = run(*training(copied, tmp_path / "e"), "--json")
    assert ran.facts["notes"] == ["no prediction goes by SIM-0003, without a structure"]
    assert ran.facts["compounds"] == COMPOUNDS - 1


def test_encoder_for_other_channels(encoder, screen, tmp_path):
    one = tmp_path / "one.tif"
    tifffile.imwrite(one, np.zeros((96, 96), np.uint8))
    refused(run("micon", "embed", encoder, one, "--out", tmp_path / "c.parquet"), "trained on the channels", "default")
    other = shutil.copytree(encoder, tmp_path / "other")
    card = json.loads((other / "card.json").read_text())
    card["intensity"]["channel_names"] = ["x", *card["intensity"]["channel_names"][1:]]
    (other / "card.json").write_text(json.dumps(card))
    assert isinstance(load_encoder(other), CellEncoder)
    refused(run(*training(screen, tmp_path / "e", "--start", other)), "trained on the channels x")


def test_missing_encoder(screen, tmp_path):
    nowhere = tmp_path / "nowhere"
    refused(run("micon", "embed", nowhere, screen, "--out", tmp_path / "c.parquet"), nowhere, "default")
    refused(run(*training(screen, tmp_path / "e", "--start", nowhere)), nowhere)
    refused(run("micon", "embed", screen, screen, "--out", tmp_path / "c.parquet"), "not an encoder")


def test_an_output_folder_that_is_something_else(screen, tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "thesis.tex").write_text("mine")
    refused(run(*training(screen, tmp_path / "e")), "not an encoder")
    assert (tmp_path / "e" / "thesis.tex").read_text() == "mine"
    assert not (tmp_path / "e.partial").exists()


def test_the_pattern_reads_a_folder_of_images(screen, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    for number, image in enumerate(sorted((screen / "images").iterdir())[:2]):
        shutil.copy(image, plain / f"drug{number}@B0{number}.ome.tif")
    pattern = r"(?P<Compound>[a-z0-9]+)@(?P<Well>[A-H]\d+)"
    out = tmp_path / "cells.parquet"
    ran = run("micon", "embed", "default", plain, "--cells", "whole", "--pattern", pattern, "--out", out)
    assert ran.status == 0
    assert list(read_profiles(out).metadata["Metadata_Compound"]) == ["drug0", "drug1"]
    table = screen / "screen.csv"
    refused(run("micon", "embed", "default", table, "--pattern", pattern, "--out", out), "--pattern", table)
    mode = ("--mode", "paclr", "--pattern", pattern)
    ran = run("micon", "train", plain, "--out", tmp_path / "e", "--steps", "1", "--cells", "whole", *mode, "--json")
    assert ran.status == 0
    assert ran.facts["notes"]
