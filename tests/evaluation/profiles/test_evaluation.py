"""Evaluation: what is planted is found, what is shuffled is not, and what is missing is said."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from phenolens.evaluation.profiles.evaluation import evaluate_profiles
from phenolens.evaluation.profiles.identities import Identities
from phenolens.evaluation.profiles.neighbours import mechanisms
from phenolens.evaluation.profiles.report import html_report, write_report
from phenolens.evaluation.profiles.unseen import unseen_compounds
from phenolens.evaluation.reports.parts import Part
from phenolens.evaluation.statistics.average_precision import PairRule, average_precision, mean_average_precision
from phenolens.evaluation.statistics.label_permutation import MOST_BEARERS, permuted_precision
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Progress, finish
from phenolens.simulation.compounds import compound_library

PARTS = (
    "replicate_matching", "mechanism_matching", "batch_predictability", "activity", "consistency", "unseen_compounds"
)  # fmt: skip
REPLICATES = PairRule(same=("Compound",))
PLATE_CONTROLS = PairRule(same=("Plate",), among="Metadata_Role=negative control")


def screen(effect=1.0, *, seed=0, compounds=16, batches=3, controls=8, batch=1.5, d=24) -> Profiles:
    """Two plates a batch, a well a compound on each, in shuffled positions; four mechanisms."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(4, d))
    look = effect * (0.8 * shared[np.arange(compounds) % 4] + 0.6 * random.normal(size=(compounds, d)))
    rows, vectors = [], []
    for b in range(batches):
        of_batch = batch * random.normal(size=d)
        for p in range(2):
            of_plate = of_batch + 0.4 * random.normal(size=d)
            positions = iter(random.permutation(compounds + controls))
            for c in range(compounds):
                rows.append((f"B{b}", f"P{p}", f"W{next(positions)}", f"drug {c}", f"mechanism {c % 4}", "treated"))
                vectors.append(of_plate + look[c] + random.normal(size=d))
            for _ in range(controls):
                rows.append((f"B{b}", f"P{p}", f"W{next(positions)}", "DMSO", None, "negative control"))
                vectors.append(of_plate + random.normal(size=d))
    names = [f"Metadata_{name}" for name in ("Batch", "Plate", "Well", "Compound", "Mechanism", "Role")]
    return Profiles(pd.DataFrame(rows, columns=names), np.array(vectors, np.float32), {"level": "well"})


STRUCTURES = [one.smiles for number, one in enumerate(compound_library(24)) if number % 6 < 4]


def with_structures(profiles: Profiles) -> Profiles:
    """The same with structures that share a pharmacophore and scaffolds by mechanism."""
    number = profiles.metadata["Metadata_Compound"].str.extract(r"drug (\d+)")[0]
    smiles = ["CS(C)=O" if pd.isna(one) else STRUCTURES[int(one)] for one in number]
    return Profiles(profiles.metadata.assign(Metadata_SMILES=smiles), profiles.vectors, profiles.card)


def without(profiles: Profiles, *columns: str) -> Profiles:
    kept = profiles.metadata.drop(columns=[f"Metadata_{column}" for column in columns])
    return Profiles(kept, profiles.vectors, profiles.card)


def evaluated(profiles: Profiles, permutations=500, seed=0):
    return finish(evaluate_profiles(profiles, seed=seed, permutations=permutations))


@pytest.fixture(scope="module")
def planted():
    return evaluated(with_structures(screen()), permutations=2000)


def test_what_is_planted_is_found(planted) -> None:
    assert [part.key for part in planted.parts] == list(PARTS)
    assert all(part.good for part in planted.parts)
    assert planted.part("activity").figures["significant"] == 16
    assert planted.part("consistency").figures["significant"] == 4
    figures = planted.part("replicate_matching").figures["other batch"]
    assert figures["rate"][0] > 5 * figures["chance"][0]
    # 15 candidates of 16 compounds... on each of four plates elsewhere
    assert figures["chance"][0] == pytest.approx(1 / 16)
    assert "times chance, and above it" in planted.part("replicate_matching").verdict
    mechanism = planted.part("mechanism_matching").figures["other compound and batch"]
    assert mechanism["chance"][0] == pytest.approx(3 / 15)
    assert planted.part("mechanism_matching").figures["exchanged_p_value"] < 0.01
    assert "not measured for other source" in " ".join(planted.part("replicate_matching").notes).lower()


def test_effects_of_unseen_compounds_are_predicted_where_structures_tell(planted) -> None:
    part = planted.part("unseen_compounds")
    rows = {(row["left out"], row["predicted by"]): row for row in part.figures["rows"]}
    assert len(rows) == 6
    assert rows["one compound", "structure regression"]["right mechanism"] >= 0.9
    assert rows["one compound", "mean change"]["right mechanism"] <= 0.4
    # of 15 that are kept, three are of the mechanism
    assert rows["one compound", "mean change"]["chance"] == pytest.approx(3 / 15)
    assert "This is above chance" in part.verdict


def test_effects_of_unseen_compounds_are_not_predicted_where_structures_tell_nothing() -> None:
    above = 0
    for seed in range(8):
        made = with_structures(screen(seed=seed, batches=1))
        drawn = np.random.default_rng(seed).permutation(16)
        exchanged = {STRUCTURES[i]: STRUCTURES[j] for i, j in enumerate(drawn)}
        smiles = made.metadata["Metadata_SMILES"].map(lambda one, to=exchanged: to.get(one, one))
        known = Identities.of(made.metadata.assign(Metadata_SMILES=smiles))
        part = unseen_compounds(made.vectors, made.metadata.assign(Metadata_SMILES=smiles), known, seed)
        above += bool(part.good)
    assert above <= 2


def test_batches_show_in_the_profiles_as_given_and_not_standardised(planted) -> None:
    part = planted.part("batch_predictability")
    assert "no more often than chance" in part.verdict
    assert re.search(r"as given, they name the plate \d+% .* and the batch \d+%", part.verdict)
    rows = {(row["predicted"], row["from"]): row for row in part.figures["rows"]}
    assert rows["batch", "controls, as given"]["share"] > 0.9
    assert rows["batch", "treated wells, of other compounds, as given"]["share"] > 0.9


def test_where_nothing_is_there_nothing_is_found() -> None:
    found = evaluated(screen(0.0, seed=6))
    for key in ("replicate_matching", "mechanism_matching", "activity", "consistency"):
        part = found.part(key)
        assert part.good is False, key
        assert (
            "does not beat its null" in part.verdict or "not beat chance" in part.verdict or "not above" in part.verdict
        )


def shuffled_p_values(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P-values of a screen with batches and real effects, whose wells' names are exchanged within each plate."""
    made = screen(seed=seed, controls=16)
    table = made.metadata.copy()
    random = np.random.default_rng(seed + 100)
    told = ["Metadata_Compound", "Metadata_Mechanism", "Metadata_Role"]
    for _, rows in table.groupby(["Metadata_Batch", "Metadata_Plate"]).groups.items():
        table.loc[rows, told] = table.loc[random.permutation(rows), told].to_numpy()
    found = evaluated(Profiles(table, made.vectors, made.card), permutations=400, seed=seed)
    activity, consistency = found.part("activity").table, found.part("consistency").table
    return activity["p"].to_numpy(), consistency["p"].to_numpy(), activity["q"].to_numpy()


def test_shuffled_names_give_uniform_p_values() -> None:
    activity, consistency, q = zip(*(shuffled_p_values(seed) for seed in range(10)), strict=True)
    assert kstest(np.concatenate(activity), "uniform").pvalue > 0.01
    assert kstest(np.concatenate(consistency), "uniform").pvalue > 0.01
    # a false discovery in few of ten screens: 5 % of them are allowed
    assert sum((one <= 0.05).any() for one in q) <= 2


def test_mechanisms_that_mean_nothing_are_not_found_by_strong_compounds() -> None:
    # compounds look strongly like themselves and, by chance, like a few others
    p_values = []
    for seed in range(30):
        made = screen(seed=seed, batches=2)
        random = np.random.default_rng(seed + 50)
        dealt = dict(zip((f"drug {c}" for c in range(16)), random.permutation(np.arange(16) % 4), strict=True))
        mechanism = made.metadata["Metadata_Compound"].map(dealt)
        found = mechanisms(made.vectors, None, Identities.of(made.metadata.assign(Metadata_Mechanism=mechanism)), seed)
        p_values.append(found.figures["exchanged_p_value"])
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_random_ranks_would_not_be_uniform() -> None:
    # why names are exchanged: ranks drawn for each profile apart from the similarities do not fit
    p_values = []
    for seed in range(6):
        made = screen(0.0, seed=seed, batch=0.0, controls=16)
        found = average_precision(made.vectors, made.metadata, REPLICATES, PLATE_CONTROLS, queries="Role=treated")
        p_values.append(mean_average_precision(found, made.metadata, ["Compound"], null_size=400)["p_value"].dropna())
    assert kstest(np.concatenate(p_values), "uniform").pvalue < 0.01


@pytest.mark.parametrize("values", ["continuous", "ties"])
def test_precision_is_that_of_average_precision(values: str) -> None:
    made = screen(0.5, compounds=6, batches=2, controls=5)
    vectors = made.vectors
    if values == "ties":
        vectors = np.random.default_rng(0).integers(1, 3, (len(made), 3)).astype(np.float32)
    table = made.metadata.assign(Metadata_Plate=made.metadata["Metadata_Batch"] + made.metadata["Metadata_Plate"])
    ours = average_precision(vectors, table, REPLICATES, PLATE_CONTROLS, queries="Role=treated")
    expected = mean_average_precision(ours, table, ["Compound"], null_size=10).set_index("Metadata_Compound")
    control = (table["Metadata_Role"] == "negative control").to_numpy()
    for name in set(table["Metadata_Compound"]) - {"DMSO"}:
        own = (table["Metadata_Compound"] == name).to_numpy()
        on = [(table["Metadata_Plate"] == plate).to_numpy() for plate in sorted(set(table["Metadata_Plate"]))]
        strata = [(np.flatnonzero(own & plate), np.flatnonzero(control & plate)) for plate in on]
        found = permuted_precision(vectors, strata, permutations=50, seed=0)
        assert found.observed == pytest.approx(expected["mean_average_precision"][name])
        assert found.least == 1 / 51  # of 6^4 exchanges


def test_every_exchange_has_its_share() -> None:
    # two bearers among four on one plate: six exchanges, of which only the true one reaches 1
    angle = np.deg2rad([0, 10, 40, 100])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = permuted_precision(vectors, [(np.array([0, 1]), np.array([2, 3]))], permutations=6000, seed=0)
    assert found.observed == 1
    assert found.p_value == pytest.approx(1 / 6, abs=0.05)
    assert found.least == pytest.approx(1 / 6)


def test_a_compound_of_very_many_wells_is_judged_by_some() -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 6))
    found = permuted_precision(vectors, [(np.arange(200), np.arange(200, 400))], permutations=50, seed=0)
    assert found.bearers == MOST_BEARERS
    assert 0 < found.p_value <= 1


def test_without_controls_the_other_treatments_stand_in() -> None:
    made = screen()
    treated = made.select((made.metadata["Metadata_Role"] == "treated").to_numpy())
    found = evaluated(without(treated, "Role"))
    part = found.part("activity")
    assert part.good
    assert "the other treatments of their plates" in part.verdict
    assert "stand in" in " ".join(part.notes)
    assert any("No well is marked as a negative control" in note for note in found.notes)
    assert any("over all plates together, as no control is marked" in note for note in found.notes)
    assert found.facts["controls"] == 0


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        (("Mechanism",), {"mechanism_matching", "consistency"}),
        (("Compound",), {"replicate_matching", "mechanism_matching", "activity", "consistency"}),
        (("Batch", "Plate"), {"batch_predictability"}),
        (("Compound", "Mechanism", "Role", "Batch", "Plate", "Well"), set(PARTS)),
    ],
)
def test_what_is_missing_is_said(columns, missing) -> None:
    found = evaluated(without(screen(), *columns), permutations=50)
    missing = missing | {"unseen_compounds"}  # for want of structures
    assert {part.key for part in found.parts if not part.measured} == missing
    for part in found.parts:
        assert part.verdict.startswith("Not measured: ") == (part.key in missing)
    assert "Not measured" in html_report(found)


def test_a_part_that_the_report_has_never_heard_of_is_shown_with_its_own_explanation(planted) -> None:
    new = Part("novel", "Novelty", "Nothing is new.", True, {"share": 0.0}, explained="By looking twice.")
    page = html_report(replace(planted, parts=(*planted.parts, new)))
    assert all(words in page for words in ("Novelty", "Nothing is new.", "By looking twice."))


def test_without_batches_plates_take_their_place() -> None:
    made = screen()
    plates = made.metadata["Metadata_Batch"] + made.metadata["Metadata_Plate"]
    found = evaluated(Profiles(made.metadata.assign(Metadata_Plate=plates, Metadata_Batch="all"), made.vectors, {}))
    assert "plates take their place" in " ".join(found.notes)
    assert "(other plate)" in found.part("replicate_matching").verdict
    assert "(other compound and plate)" in found.part("mechanism_matching").verdict


def test_cells_and_fields_are_averaged_to_wells() -> None:
    made = screen(compounds=8, batches=2, controls=6)
    random = np.random.default_rng(0)
    table = made.metadata.loc[made.metadata.index.repeat(5)].reset_index(drop=True)
    table["Metadata_Label"] = np.tile(np.arange(5), len(made))
    cells = np.repeat(made.vectors, 5, axis=0) + random.normal(size=(5 * len(made), 24)).astype(np.float32)
    found = evaluated(Profiles(table, cells, {"level": "cell"}), permutations=50)
    assert (found.facts["rows"], found.facts["evaluated"]) == (5 * len(made), len(made))
    assert f"{5 * len(made)} cells were averaged to {len(made)} wells." in found.notes
    table.loc[0, "Metadata_Compound"] = "another"
    with pytest.raises(ScreenError, match="Metadata_Compound differs between rows of the same well"):
        evaluated(Profiles(table, cells, {"level": "cell"}))


def test_profiles_that_come_corrected_are_left_as_they_are() -> None:
    made = screen()
    found = evaluated(made.with_vectors(made.vectors, corrections=["scale", "sphere"]), permutations=50)
    assert found.facts["standardised"] is False
    assert "come corrected (scale, sphere)" in found.notes[0]
    assert "as given" not in str(found.part("replicate_matching").table)


def test_confounded_and_hopeless_designs_are_told() -> None:
    made = screen(compounds=4, batches=1, controls=2)
    position = made.metadata["Metadata_Compound"].where(made.metadata["Metadata_Role"] == "treated", "Z9")
    table = made.metadata.assign(Metadata_Well=position)
    found = evaluated(Profiles(table, made.vectors, made.card), permutations=50)
    assert any("always in the same position" in note for note in found.notes)
    # two wells, each beside two controls: nine exchanges, so p is never below 1/9
    assert any("no p-value below 0.05 is possible" in note for note in found.part("activity").notes)
    assert found.part("activity").good is False


def test_the_same_seed_gives_the_same_and_progress_is_shown() -> None:
    made = screen(0.4, compounds=6, batches=2)
    steps: list[Progress] = []
    first = finish(evaluate_profiles(made, seed=3, permutations=100), steps.append)
    assert json.dumps(first.summary()["parts"], default=str) == json.dumps(
        evaluated(made, 100, seed=3).summary()["parts"], default=str
    )
    assert {"Wells", "Replicates", "Activity of drug 0"} <= {step.message for step in steps}


def test_names_in_a_report_are_text_and_nothing_comes_from_outside(tmp_path) -> None:
    made = screen(compounds=6, batches=2)
    evil = '<script>alert("1")</script> & $x^2$ \\frac'
    table = made.metadata.replace({"drug 1": evil, "mechanism 1": "<img src=x>"})
    result = evaluated(Profiles(table, made.vectors, made.card), permutations=100)
    page = write_report(result, tmp_path / "out", name="<b>wells</b>.parquet").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>wells" not in page
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; $x^2$ \\frac" in page
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)", page)
    assert "@import" not in page
    assert page.count("<svg ") == 5
    assert "<metadata>" not in page
    assert html_report(result, "n") == html_report(result, "n")
    facts = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(facts["parts"]) == set(PARTS)
    assert len(facts["parts"]["activity"]["table"]) == 6
    assert len(facts["parts"]["replicate_matching"]["figures"]["other batch"]["rate"]) == 10


def test_mistakes_are_told() -> None:
    made = screen(compounds=3, batches=1, controls=2)
    with pytest.raises(ScreenError, match="There are 2 wells"):
        evaluated(made.select(np.arange(len(made)) < 2))
    with pytest.raises(ScreenError, match="at least one is needed"):
        evaluated(made, permutations=0)
    broken = made.vectors.copy()
    broken[3] = np.nan
    with pytest.raises(ScreenError, match="row 3 "):
        evaluated(made.with_vectors(broken))
