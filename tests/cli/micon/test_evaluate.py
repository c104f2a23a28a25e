"""``phenolens micon evaluate`` end to end."""

import json

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from phenolens.cli.micon import evaluate as micon_evaluate
from phenolens.cli.several import SeveralValues
from phenolens.profiling.tables.profile_files import write_profiles
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.outputs import MARK
from phenolens.runtime.provenance import sha256_of

APP = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
APP.command(cls=SeveralValues, epilog=micon_evaluate.EXAMPLE)(micon_evaluate.command)


def run(*arguments):
    return CliRunner().invoke(APP, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def wells(tmp_path_factory):
    random = np.random.default_rng(0)
    look = 2 * random.normal(size=(8, 16))
    rows = [(f"P{plate}", f"W{well}", f"drug {well % 8}") for plate in range(3) for well in range(16)]
    table = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well", "Metadata_Compound"])
    table["Metadata_Role"] = np.where(table["Metadata_Compound"] == "drug 0", "negative control", "treated")
    vectors = random.normal(size=(48, 16)) + look[[well % 8 for _ in range(3) for well in range(16)]]
    path = tmp_path_factory.mktemp("profiles") / "wells.parquet"
    write_profiles(Profiles(table, vectors.astype(np.float32), {"level": "well", "encoder": "e"}), path)
    return path


def test_report_and_provenance_are_written(wells, tmp_path) -> None:
    out = tmp_path / "evaluation"
    ran = run(wells, "--out", out, "--seed", "4", "--permutations", "200", "--json")
    assert ran.exit_code == 0
    facts = json.loads(ran.stdout)
    assert facts["command"] == "micon evaluate"
    assert facts["good"]["replicate_matching"] is True
    assert facts["good"]["consistency"] is None
    assert sorted(path.name for path in out.iterdir()) == [MARK, "provenance.json", "report.html", "report.json"]
    report = json.loads((out / "report.json").read_text())
    assert report["profiles"] == "wells.parquet"
    assert report["facts"]["seed"] == 4
    told = json.loads((out / "provenance.json").read_text())
    assert told["input_sha256"] == sha256_of(wells)
    assert told["permutations"] == 200
    assert "numpy" in told["versions"]
    assert "wells.parquet" in (out / "report.html").read_text()


def test_words_for_a_person(wells, tmp_path) -> None:
    ran = run(wells, "--out", tmp_path / "e", "--permutations", "50")
    assert ran.exit_code == 0
    assert "of the nearest wells (other plate) are of the same compound" in ran.stdout
    assert "Not measured: no column names the mechanisms" in ran.stdout
    assert ran.stdout.rstrip().endswith("report.html")


def test_the_same_seed_gives_the_same_report(wells, tmp_path) -> None:
    for name in "ab":
        run(wells, "--out", tmp_path / name, "--permutations", "50")
    for file in ("report.json", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_only_an_earlier_evaluation_is_replaced(wells, tmp_path) -> None:
    (tmp_path / "letters.txt").write_text("dear all")
    ran = run(wells, "--out", tmp_path)
    assert ran.exit_code == 2
    assert "exists and is not an evaluation" in ran.stderr
    assert (tmp_path / "letters.txt").read_text() == "dear all"
    for _ in range(2):
        assert run(wells, "--out", tmp_path / "again", "--permutations", "20").exit_code == 0


def test_mistakes_end_with_two(wells, tmp_path) -> None:
    assert run(tmp_path / "absent.parquet", "--out", tmp_path / "o").exit_code == 2
    (tmp_path / "broken.parquet").write_text("no parquet")
    ran = run(tmp_path / "broken.parquet", "--out", tmp_path / "o", "--json")
    assert ran.exit_code == 2
    assert json.loads(ran.stdout)["status"] == 2
    assert not (tmp_path / "o").exists()
    assert run(wells, "--out", tmp_path / "o", "--permutations", "0").exit_code == 2


def test_help_shows_an_example() -> None:
    shown = run("--help").stdout
    assert "phenolens micon evaluate wells.parquet" in shown
    assert "--permutations" in shown
