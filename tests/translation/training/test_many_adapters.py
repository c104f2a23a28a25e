"""An adapter for each condition of a screen: from the command line, resumed, by jobs, and with what cannot be done."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import phenolens.translation.training.finetuning as finetuning
from cli_run import run
from phenolens.runtime.checkpoints import Checkpoints
from phenolens.runtime.errors import ScreenError
from phenolens.screens.conditions import Condition, other_conditions
from phenolens.screens.export import write_ome_tiff
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.training import control_side, many_adapters, training_set
from phenolens.translation.training.finetune_settings import checkpoint_of

WELLS = {"DMSO": "A", "drug A": "B", "drug B": "C"}
OPTIONS = ("--all-against", "DMSO", "--cells", "whole", "--steps", "2", "--rank", "2", "--crop", "64", "--json")
pytestmark = pytest.mark.usefixtures("few_noise_levels")


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three wells of each of two compounds and of DMSO, and one field of a third compound."""
    folder, rows = tmp_path_factory.mktemp("screen"), []
    rng = np.random.default_rng(0)
    for level, (compound, row) in enumerate([*WELLS.items(), ("lonely", "D")]):
        for column in range(1, 2 if compound == "lonely" else 4):
            pixels = rng.integers(40 * level, 40 * level + 60, (2, 64, 64)).astype(np.uint16)
            name = f"{row}0{column}.ome.tif"
            write_ome_tiff(folder / name, pixels, "CYX", ("DNA", "Actin"), 0.5, synthetic=False)
            rows.append({"Image": name, "Metadata_Well": name[:3], "Metadata_Compound": compound})
    pd.DataFrame(rows).to_csv(folder / "screen.csv", index=False)
    return folder


def finetune(screen, base, out, *more):
    return run("finetune", screen, "--out", out, "--base", base, *OPTIONS, *more)


@pytest.fixture(scope="module")
def made(screen, tiny_base, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "adapters"
    return finetune(screen, tiny_base, out)


def weights(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("*/adapter_model.safetensors"))}


def test_each_condition_has_an_adapter_and_a_row_and_what_has_too_few_cells_is_named(made):
    out = Path(made.facts["out"])
    assert made.status == 3
    assert list(made.facts["failed"]) == ["lonely"]
    assert "1 cells" in made.facts["failed"]["lonely"]
    assert made.error.startswith("phenolens: 1 of 3 conditions could not be fine-tuned, the others are finished.")
    table = pd.read_csv(out / "adapters.csv").set_index("folder")
    assert list(table.index) == ["drug_A", "drug_B", "lonely"]
    for folder in ("drug_A", "drug_B"):
        adapter, row = Adapter.load(out / folder), table.loc[folder]
        compound = folder.replace("_", " ")
        expected = f"Metadata_Compound={compound},Metadata_Well!={WELLS[compound]}03"
        assert row["condition"] == adapter.conditions[1] == expected
        assert (row["cells"], row["wells"], row["steps"]) == (2, 2, 2)
        assert row["wells_left_out"] == f"{WELLS[compound]}03"
        assert row["control"] == adapter.conditions[0] == "DMSO,Metadata_Well!=A03"
        assert row["loss"] == pytest.approx(adapter.card.final_loss)
    assert pd.read_parquet(out / "adapters.parquet")["folder"].tolist() == list(table.index)
    assert [row["folder"] for row in made.facts["adapters"]] == list(table.index)
    maps = [json.loads((out / folder / "intensity.json").read_text()) for folder in ("drug_A", "drug_B")]
    assert maps[0] == maps[1]
    assert not list(out.glob("*.partial/*"))


def test_the_control_is_encoded_once_and_what_is_finished_is_kept(made, screen, tiny_base, tmp_path, monkeypatch):
    encoded, known = [], finetuning.encode_turns

    def counting(base, crops, done, total):
        encoded.append(total)
        return known(base, crops, done, total)

    for module in (finetuning, control_side):
        monkeypatch.setattr(module, "encode_turns", counting)
    ran = finetune(screen, tiny_base, tmp_path / "out")
    assert encoded == [8, 16, 16], "the control, and two compounds"
    assert weights(tmp_path / "out") == weights(Path(made.facts["out"]))
    encoded.clear()
    again = finetune(screen, tiny_base, tmp_path / "out")
    assert (again.status, encoded) == (3, [])
    assert again.facts["adapters"] == ran.facts["adapters"]
    other = finetune(screen, tiny_base, tmp_path / "out", "--seed", "1")
    assert other.status == 2
    assert "another set of settings" in other.error


@pytest.mark.slow
def test_an_interrupted_run_goes_on_within_an_adapter(made, screen, tiny_base, tmp_path, monkeypatch):
    out, known = tmp_path / "out", training_set.finetune_screen

    def broken_off(*given, **named):
        for now in (job := known(*given, **named)):
            if now.message == "Fine-tuning":
                job.close()
                raise KeyboardInterrupt
            yield now

    monkeypatch.setattr(many_adapters, "finetune_screen", broken_off)
    stopped = finetune(screen, tiny_base, out)
    assert stopped.status == 130
    assert "the same command goes on" in stopped.error
    assert Checkpoints(checkpoint_of(out / "drug_A")).about().step == 1

    monkeypatch.setattr(many_adapters, "finetune_screen", known)
    assert finetune(screen, tiny_base, out).status == 3
    assert weights(out) == weights(Path(made.facts["out"]))


@pytest.mark.slow
def test_jobs_share_the_conditions_and_gathering_writes_the_table(made, screen, tiny_base, tmp_path):
    out = tmp_path / "out"
    first = finetune(screen, tiny_base, out, "--job", "1/2")
    assert [row["folder"] for row in first.facts["adapters"]] == ["drug_A", "lonely"]
    early = finetune(screen, tiny_base, out, "--gather")
    assert early.status == 2
    assert "1 of 3 adapters are not made yet, or their files were changed: drug_B" in early.error
    assert finetune(screen, tiny_base, out, "--job", "2/2").status == 0
    assert not (out / "adapters.csv").exists()
    assert finetune(screen, tiny_base, out, "--gather").status == 3
    drop = ["seconds"]
    expected = pd.read_csv(Path(made.facts["out"]) / "adapters.csv").drop(columns=drop)
    pd.testing.assert_frame_equal(pd.read_csv(out / "adapters.csv").drop(columns=drop), expected)
    assert weights(out) == weights(Path(made.facts["out"]))


def test_conditions_are_those_of_the_table_beside_the_control():
    table = pd.DataFrame(
        {
            "Metadata_Compound": ["DMSO", "DMSO", "a", "a", "b", None],
            "Metadata_Concentration": [0.0, 0.0, 1.0, 10.0, 0.3, 1.0],
            "Metadata_Role": ["negative control"] * 2 + ["treated"] * 4,
        }
    )

    def texts(control, by=()):
        return [one.text for one in other_conditions(table, Condition.parse(control), by)]

    doses = [("a", "1"), ("a", "10"), ("b", "0.3")]
    assert texts("DMSO") == [f"Metadata_Compound={name},Metadata_Concentration={dose}" for name, dose in doses]
    assert texts("Role=negative control") == texts("DMSO")
    assert texts("DMSO", ["Compound"]) == ["Metadata_Compound=a", "Metadata_Compound=b"]
    assert all(Condition.parse(text).mask(table).sum() == 1 for text in texts("DMSO"))
    with pytest.raises(ScreenError, match="No field is of another condition"):
        other_conditions(table[:2], Condition.parse("DMSO"))
    with pytest.raises(ScreenError, match="cannot be written as a condition"):
        other_conditions(table.replace({"a": "x,y=3"}), Condition.parse("DMSO"), ["Compound"])


def test_what_is_wrong_with_the_base_is_wrong_with_all(screen, tmp_path):
    ran = finetune(screen, tmp_path / "nothing", tmp_path / "out")
    assert ran.status == 2
    assert "nothing" in ran.error
    assert not list((tmp_path / "out").glob(".phenolens/*.json")), "no condition is noted as one that cannot be done"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--all-against", "DMSO", "--source", "DMSO"), "give no --source"),
        (("--source", "DMSO"), "Give --source and --target"),
        (("--source", "DMSO", "--target", "drug A", "--job", "1/2"), "are for many adapters"),
    ],
)
def test_options_that_do_not_go_together_are_said(screen, tmp_path, options, said):
    ran = run("finetune", screen, "--out", tmp_path / "out", "--cells", "whole", *options)
    assert ran.status == 2
    assert said in ran.error
