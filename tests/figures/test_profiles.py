"""The main figures of profiles, held: what encoders must reach on simulated and on real compounds."""

import pytest

from benchmarks import run

pytestmark = pytest.mark.slow


def of(lines, **wanted):
    """The one line that has these values."""
    (found,) = [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]
    return found


def test_simulated_compounds_are_told_apart_and_the_unseen_ones_predicted():
    lines = run("micon_simulated.py", "--compounds", 48, "--seeds", 1, "--methods", "improved")
    trained, classical = (
        of(lines, what="replicate matching", method=name, corrected="sphered") for name in ("improved", "classical")
    )
    assert trained["top1"] >= 4 * trained["chance"]
    assert trained["mechanism"] >= 3 * trained["mechanism_chance"]
    assert trained["mechanism"] >= classical["mechanism"]
    unseen = of(lines, what="unseen compounds", mode="improved", left_out_by="compound")
    assert unseen["micon"] >= 3 / 6, "three times chance among six mechanisms"
    assert unseen["micon"] > unseen["nearest compound"]
    assert unseen["micon"] > unseen["mean shift"]
    assert unseen["control_moves"] == 0


def test_real_mechanisms_are_matched_better_than_by_classical_features(shared_data):
    lines = run("micon_mechanisms.py", shared_data / "mechanisms", "--seeds", 1, "--modes", "improved")
    trained = of(lines, features="trained, improved")
    fields, cells = of(lines, features="fields, classical"), of(lines, features="cells, classical", sphered=True)
    question = "mechanism_of_another_compound"
    assert trained[question] > cells[question] > fields[question]
    question = "treatment_on_another_plate"
    assert trained[question] > fields[question] + 0.1
    assert trained[question] > cells[question] - 0.03, "no better for sure: 86 wells"


def test_a_million_profiles_are_searched_and_placed_at_once():
    (report,) = run("placing.py")
    assert report["same_alone_and_in_a_batch"]
    assert report["place_ms"] <= 20
    assert report["top_50_ms"] <= 100, "50 where nothing else runs"
