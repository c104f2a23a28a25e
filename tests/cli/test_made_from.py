"""What a result was made from is written with it, and one run at a time writes to its folder."""

import json

import pytest

from cli_run import run
from long_commands import made_up_profiles
from phenolens.profiling.tables.profile_files import read_profiles, write_profiles
from phenolens.runtime.locks import holding_place
from phenolens.runtime.progress import finish
from phenolens.runtime.provenance import sha256_of
from phenolens.screens.cells import find_cells
from phenolens.screens.fingerprints import screen_fingerprint
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_screen

SMALL = {"wells": 2, "cells": 6, "shape": (128, 128)}


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    return write_profiles(made_up_profiles(192), tmp_path_factory.mktemp("profiles") / "cells.parquet")


def test_embeddings_name_the_screen_and_cells(tmp_path):
    for seed in (1, 2):
        screen = finish(simulate_screen(tmp_path / "screen", "translocation", seed=seed, **SMALL))
        out = tmp_path / f"{seed}.parquet"
        assert run("micon", "embed", "default", screen, "--cells", screen / "labels", "--out", out).status == 0
        opened = read_screen(screen)
        cells = finish(find_cells(opened, screen / "labels"))
        assert read_profiles(out).card["inputs_sha256"] == screen_fingerprint(opened, cells)
    one, other = (read_profiles(tmp_path / f"{seed}.parquet").card for seed in (1, 2))
    assert one["inputs_sha256"] != other["inputs_sha256"], "the same names, and other pixels"


def test_corrected_profiles_name_their_source(profiles, tmp_path):
    out = tmp_path / "corrected.parquet"
    assert run("micon", "correct", profiles, "--out", out).status == 0
    assert read_profiles(out).card["input_sha256"] == sha256_of(profiles)


@pytest.mark.parametrize("command", ["map", "evaluate"])
def test_the_commands_on_profiles_name_their_source_and_hold_the_folder(command, profiles, tmp_path):
    out = tmp_path / "out"
    more = ("--permutations", "10") if command == "evaluate" else ()
    with holding_place(out):
        refused = run("micon", command, profiles, "--out", out, *more)
    assert refused.status == 2
    assert "is being written by another run: process" in refused.error
    assert run("micon", command, profiles, "--out", out, *more).status == 0
    assert json.loads((out / "provenance.json").read_text())["input_sha256"] == sha256_of(profiles)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"], "the lock is gone"


@pytest.mark.parametrize("arguments", [("--treatment", "null"), ("--compounds", "2")])
def test_simulate_holds_its_folder(arguments, tmp_path):
    with holding_place(tmp_path / "out"):
        refused = run("simulate", *arguments, "--wells", "2", "--cells", "2", "--out", tmp_path / "out")
    assert refused.status == 2
    assert "is being written by another run: process" in refused.error
