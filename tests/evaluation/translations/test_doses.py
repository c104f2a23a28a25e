"""At which dose translated cells land: against distributions whose answer is known, and end to end."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from cli_run import run
from phenolens.evaluation.translations.dose_answer import dose_answer
from phenolens.evaluation.translations.dose_wells import DoseWells, dose_columns, find_doses
from phenolens.evaluation.translations.doses import compare_doses
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import finish
from phenolens.screens.conditions import Condition
from phenolens.screens.table import Field, Screen, read_screen
from phenolens.simulation import simulate_screen, style_for

SPACING = 1.5
COLUMN = "Metadata_DoseRank"


def drawn(rng, mean, prefix, wells=4, each=100):
    return rng.normal(mean, 1, wells * each), np.repeat([f"{prefix}{number}" for number in range(wells)], each)


def compared(landed, *, means=(1, 2, 3, 4, 5), own=(3.0,), wells=4, seed=0):
    """Control cells around 0, each dose around its multiple of `SPACING`, translated cells around that of `landed`."""
    rng = np.random.default_rng([20, seed])
    doses = {float(n): drawn(rng, SPACING * mean, f"{n}-", wells) for n, mean in enumerate(means, start=1)}
    control, translated = (drawn(rng, SPACING * mean, "c") for mean in (0, landed))
    return compare_doses("ratio", control, translated, doses, own, seed)


def answered(found, own=(3.0,)):
    return dose_answer(found, DoseWells(COLUMN, own))


def test_cells_of_a_dose_are_closest_to_that_dose():
    found = compared(3)
    assert found.closest.dose == 3
    assert found.alike == ()
    assert [level.dose for level in found.levels] == [None, 1, 2, 3, 4, 5]
    for level in found.levels:
        # of two unit normals at a distance d the distributions differ by at most 2 F(d / 2) - 1
        apart = SPACING * abs((level.dose or 0) - 3)
        assert level.distance[0] == pytest.approx(2 * norm.cdf(apart / 2) - 1, abs=0.1)
        assert level.distance[1] <= level.distance[0] <= level.distance[2] + 1e-9
        assert level.median[0] == pytest.approx(SPACING * (level.dose or 0), abs=0.2)
        assert level.median[1] <= level.median[0] <= level.median[2]
        assert (level.wells, level.cells) == (4, 400)
    told = answered(found)
    assert told.good is True
    assert told.verdict.startswith("By ratio, translated cells are closest to real cells of DoseRank 3 (Kolmogorov-")
    assert told.verdict.endswith("), the adapter's own.")
    assert told.figures["closest"] == 3
    assert list(told.table["dose"]) == ["control", "1", "2", "3", "4", "5"]
    assert list(told.table["the adapter's"]) == ["", "", "", "yes", "", ""]


def test_another_dose_than_the_adapters_is_said_so():
    told = answered(compared(2, own=(4.0, 5.0)), own=(4.0, 5.0))
    assert told.good is False
    assert "closest to real cells of DoseRank 2" in told.verdict
    assert "not to the adapter's own (4 and 5), 0.8" in told.verdict


def test_doses_that_cannot_be_told_apart_are_named():
    found = compared(4, means=(1, 2, 3, 4, 4), own=(4.0, 5.0))
    assert {found.closest.dose, *(level.dose for level in found.alike)} == {4, 5}
    told = answered(found, own=(4.0, 5.0))
    assert told.good is True
    assert f"These wells do not distinguish it from {9 - found.closest.dose:g}." in told.verdict
    other = 9 - found.closest.dose
    undecided = answered(compared(4, means=(1, 2, 3, 4, 4), own=(other,)), own=(other,))
    assert undecided.good is None
    assert f"which these wells do not tell from the adapter's own {other:g}." in undecided.verdict


def test_cells_that_stay_are_closest_to_control():
    told = answered(compared(0))
    assert told.good is False
    assert told.figures["closest"] is None
    assert "closest to the control cells they were made from" in told.verdict
    # a treatment that does nothing to the measure leaves nothing to tell by
    nothing = answered(compared(0, means=(0, 0, 0, 0, 0)))
    assert nothing.good is None


def test_wells_that_differ_tell_less_than_cells_do():
    rng = np.random.default_rng(21)

    def scattered(mean, prefix):
        values, wells = drawn(rng, mean, prefix, wells=3)
        return values + 2 * SPACING * (np.unique(wells, return_inverse=True)[1] - 1), wells

    doses = {float(n): scattered(SPACING * n, f"{n}-") for n in (1, 2, 3, 4)}
    found = compare_doses("ratio", drawn(rng, 0, "c"), drawn(rng, 3 * SPACING, "c"), doses, (3.0,))
    assert len(found.alike) >= 1
    assert found.closest.distance[2] > found.closest.distance[0] + 0.2


def test_one_well_of_a_dose_has_no_interval():
    found = compared(3, wells=1)
    assert found.closest.dose == 3
    assert np.isnan(found.closest.distance[1:]).all()
    assert np.isnan(found.closest.median[1:]).all()
    told = answered(found)
    assert "one well" in told.notes[0]
    assert "nan" not in told.verdict


def test_without_doses_it_is_not_measured():
    assert "name it with --dose" in dose_answer(None, DoseWells()).verdict
    rng = np.random.default_rng(22)
    cells = drawn(rng, 0, "c")
    assert compare_doses("ratio", cells, cells, {1.0: drawn(rng, 1, "1-")}, (1.0,)) is None
    missing = (np.full(400, np.nan), cells[1])
    assert compare_doses("ratio", cells, missing, {1.0: cells, 2.0: cells}, (1.0,)) is None
    assert "fewer than two values of DoseRank" in answered(None).verdict
    kept = compare_doses("ratio", cells, cells, {1.0: cells, 2.0: missing, 3.0: cells}, (2.0,))
    assert [level.dose for level in kept.levels] == [None, 1, 3]
    assert "no new well is of the adapter's own (2)" in answered(kept, (2.0,)).verdict


def plate():
    """Two compounds in six doses, a row of wells each twice, and controls without a dose."""
    rows = [
        (f"{row}{dose:02d}", compound, float(dose), "treated")
        for row, compound in zip("ABCD", ("one", "one", "two", "two"), strict=True)
        for dose in range(1, 7)
    ] + [(f"{row}12", "DMSO", np.nan, "negative control") for row in "ABCD"]
    table = pd.DataFrame(rows, columns=[f"Metadata_{name}" for name in ("Well", "Compound", "Concentration", "Role")])
    fields = tuple(Field(f"f{number}", row, lambda: None) for number, row in enumerate(table.to_dict("records")))
    return Screen(table, fields)


def wells(found):
    return {dose: {field.metadata["Metadata_Well"] for field in part} for dose, part in found.screens.items()}


def doses_of(screen, new, trained, source, target, asked=None):
    trained, source, target = (Condition.parse(text) for text in (trained, source, target))
    return find_doses(screen, new, trained, source, target, asked)


def test_doses_are_those_of_the_target_without_what_was_trained_on():
    screen = plate()
    new = np.array([field.metadata["Metadata_Well"] not in ("A04", "C02") for field in screen])
    control = "Role=negative control"
    # the adapter left out a well of its own dose, which is to be judged
    trained = "Compound=one,Concentration=4,Well!=B04"
    found = doses_of(screen, new, trained, control, trained)
    assert (found.column, found.own) == ("Metadata_Concentration", (4.0,))
    assert wells(found) == {dose: {f"A{dose:02.0f}", f"B{dose:02.0f}"} - {"A04"} for dose in range(1, 7)}
    # a range over all compounds; an adapter of another screen, whose condition is not there
    for own in ("Concentration>=5", "Concentration>=77"):
        found = doses_of(screen, new, own, control, "Concentration>=5")
        assert found.own == (5.0, 6.0)
        assert wells(found)[2.0] == {"A02", "B02", "D02"}
    # what is judged names a compound, the adapter's condition the dose
    found = doses_of(screen, new, "Compound=two,Concentration=6", control, "two")
    assert (found.own, wells(found)[1.0]) == ((6.0,), {"C01", "D01"})


def test_a_column_of_doses_is_told_or_asked_for():
    screen = plate()
    new = np.ones(len(screen), bool)
    control = "Role=negative control"
    assert dose_columns(screen) == ["Metadata_Concentration"]
    assert dose_columns(screen.select(Condition.parse("Concentration=2"))) == [], "one dose is none to choose from"
    assert doses_of(screen, new, "one", control, "one") == DoseWells()
    found = doses_of(screen, new, "one", control, "one", "concentration")
    assert (found.column, len(found.own), len(found.screens)) == ("Metadata_Concentration", 6, 6)
    for wrong, said in (("Dose", "There is no column 'Dose'"), ("Well", "Metadata_Well holds no number")):
        with pytest.raises(ScreenError, match=said):
            doses_of(screen, new, "one", control, "one", wrong)


@pytest.mark.slow
def test_evaluate_says_at_which_dose_cells_land(tiny_base, tmp_path):
    style = style_for("translocation", 9002)
    screen = finish(
        simulate_screen(
            tmp_path / "screen", "translocation", wells=12, cells=6, seed=4, shape=(128, 128), style=style,
            doses=(0.2, 0.6, 1.0),
        )
    )  # fmt: skip
    control, treated = "Metadata_Role=negative control", "DoseRank=3"
    table = read_screen(screen).table
    by_dose = table[table["Metadata_Role"] == "treated"].groupby(COLUMN)["Metadata_Well"].agg(list)
    assert [len(names) for names in by_dose] == [2, 2, 2]
    left_out = table.loc[table["Metadata_Role"] != "treated", "Metadata_Well"].iloc[:2]
    ran = run(
        *("finetune", screen, "--source", ",".join([control, *(f"Well!={name}" for name in left_out)])),
        *("--target", f"{treated},Well!={by_dose[3][1]}", "--out", tmp_path / "adapter", "--base", tiny_base),
        *("--rank", "2", "--steps", "1", "--crop", "48", "--cells", screen / "labels", "--device", "cpu"),
    )
    assert ran.status == 0
    ran = run(
        *("evaluate", tmp_path / "adapter", screen, "--source", control, "--target", treated, "--most", "12"),
        *("--cells", screen / "labels", "--steps", "1", "--device", "cpu", "--out", tmp_path / "out", "--json"),
    )
    assert ran.status == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["facts"]["dose_column"] == COLUMN
    part = report["parts"]["doses"]
    assert part["figures"]["own"] == [3]
    rows = {row["dose"]: row for row in part["table"]}
    # of dose 3 only the well that was left out
    assert {dose: row["wells"] for dose, row in rows.items()} == {"control": 2, "1": 2, "2": 2, "3": 1}
    assert rows["3"]["the adapter's"] == "yes"
    assert rows["3"]["distance, low"] is None
    assert 0 <= rows["1"]["distance, low"] <= rows["1"]["distance"] <= rows["1"]["distance, high"] <= 1
    # the real cells rise with the dose, as they were made
    assert rows["control"]["median"] < rows["2"]["median"] < rows["3"]["median"]
    cells = pd.read_parquet(tmp_path / "out" / "cells.parquet")
    of_doses = cells[cells["kind"] == "dose"]
    assert not of_doses["synthetic"].any()
    measure = report["facts"]["measure"]
    for dose in ("1", "2", "3"):
        mine = of_doses.loc[of_doses["dose"] == float(dose), measure].dropna()
        assert len(mine) == rows[dose]["cells"]
        assert mine.median() == pytest.approx(rows[dose]["median"])
    assert cells.loc[cells["kind"] != "dose", "dose"].isna().all()
    page = (tmp_path / "out" / "report.html").read_text()
    assert part["verdict"].split("'")[0] in page
    assert "distance to translated cells" in page
