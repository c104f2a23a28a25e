"""``phenolens micon correct`` end to end: plates no longer show, and both formats hold the same."""

import json

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from phenolens.cli.micon import correct as micon_correct
from phenolens.cli.several import SeveralValues
from phenolens.profiling.tables.profile_files import read_profiles, write_profiles
from phenolens.profiling.tables.profiles import Profiles

APP = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
APP.command(cls=SeveralValues, epilog=micon_correct.EXAMPLE)(micon_correct.command)


def run(*arguments):
    return CliRunner().invoke(APP, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Two kinds of cells on two plates, which lie far apart, each kind in its own direction."""
    random = np.random.default_rng(0)
    plate, kind = np.repeat([0, 1], 200), np.tile([0, 1], 200)
    look, shift = 3 * random.normal(size=(2, 6)), 4 * random.normal(size=(2, 6))
    vectors = look[kind] + plate[:, None] * shift[kind] + random.normal(size=(400, 6))
    role = np.where(np.arange(400) % 4 < 2, "negative control", "treated")
    table = pd.DataFrame({"Metadata_Plate": plate.astype(str), "Metadata_Batch": plate.astype(str)})
    table = table.assign(Metadata_Well="A01", Metadata_Compound=kind.astype(str), Metadata_Role=role)
    path = tmp_path_factory.mktemp("profiles") / "cells.parquet"
    write_profiles(Profiles(table, vectors.astype(np.float32), {"level": "cell"}), path)
    return path


def apart(profiles: Profiles) -> float:
    """Distance between the plates of a kind of cell, in units of the spread within."""
    plate, kind = (profiles.metadata[f"Metadata_{name}"].astype(str) for name in ("Plate", "Compound"))
    gaps, spreads = [], []
    for one in ("0", "1"):
        a, b = (profiles.vectors[((plate == p) & (kind == one)).to_numpy()] for p in ("0", "1"))
        gaps.append(np.linalg.norm(a.mean(0) - b.mean(0)))
        spreads.append(np.sqrt(a.var(0).sum()))
    return float(np.mean(gaps) / np.mean(spreads))


def test_harmony_brings_the_plates_together_and_is_remembered(cells, tmp_path) -> None:
    plain, mixed = tmp_path / "plain.parquet", tmp_path / "mixed.parquet"
    assert run(cells, "--out", plain).exit_code == 0
    ran = run(cells, "--harmony", "batch", "--out", mixed, "--json")
    assert ran.exit_code == 0
    assert json.loads(ran.stdout)["corrections"] == ["scale", "sphere", "harmony"]
    found = read_profiles(mixed)
    assert apart(read_profiles(cells)) > 2
    assert apart(found) < 0.6 * apart(read_profiles(plain))
    assert [one if isinstance(one, str) else one["name"] for one in found.card["corrections"]] == [
        "scale", "sphere", "harmony",
    ]  # fmt: skip


def test_the_format_alone_can_be_changed(cells, tmp_path) -> None:
    pytest.importorskip("anndata")
    out = tmp_path / "cells.h5ad"
    ran = run(cells, "--correct", "none", "--out", out)
    assert ran.exit_code == 0
    assert "corrections: none" in ran.stdout
    given, found = read_profiles(cells), read_profiles(out)
    assert np.array_equal(given.vectors, found.vectors)
    assert list(found.metadata["Metadata_Compound"]) == list(given.metadata["Metadata_Compound"])
    assert "corrections" not in found.card


def test_mistakes_are_told_in_a_sentence(cells, tmp_path) -> None:
    for arguments, said in (
        (("--harmony", "Day"), "There is no column 'Day'"),
        (("--correct", "wash"), "There is no correction 'wash'"),
    ):
        ran = run(cells, "--out", tmp_path / "x.parquet", *arguments)
        assert ran.exit_code == 2
        assert said in ran.stderr
    ran = run(cells, "--out", tmp_path / "x.csv")
    assert ran.exit_code == 2
    assert "x.parquet" in ran.stderr
    assert not list(tmp_path.iterdir())
