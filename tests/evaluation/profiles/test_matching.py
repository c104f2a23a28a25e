"""Matching and its chance: by hand, against a plain reference, what a rule bars, ties, batches told by neighbours."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest

from phenolens.evaluation.profiles.batch_predictability import predictability
from phenolens.evaluation.profiles.identities import Groups, Identities
from phenolens.evaluation.profiles.matching import MatchRule, bootstrap_interval, chance_of_match, match
from phenolens.runtime.errors import ScreenError


def groups(values) -> Groups:
    names = sorted({str(value) for value in values if value is not None})
    return Groups(
        np.array([-1 if value is None else names.index(str(value)) for value in values], np.int32), tuple(names)
    )


def on_circle(*degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ask(vectors, wanted, *barred, eligible=None, top=10):
    given = np.ones(len(vectors), bool) if eligible is None else np.asarray(eligible, bool)
    rule = MatchRule("here", groups(wanted), tuple(groups(one) for one in barred), given)
    return match(vectors, [rule], groups(wanted), top=top)[0]


def plainly(vectors, wanted, barred, eligible, top):
    """The same, slowly: every order of equals, one query after another."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    hits, chance, rows = [], [], []
    for i in range(len(unit)):
        if not eligible[i]:
            continue
        candidates = [j for j in range(len(unit)) if j != i and eligible[j] and all(bar[i] != bar[j] for bar in barred)]
        good = [j for j in candidates if wanted[j] == wanted[i]]
        if not good:
            continue
        near = {j: np.float32(1) - np.float32(unit[i] @ unit[j]) for j in candidates}
        orders = []
        for tie in itertools.product(
            *(itertools.permutations([j for j in candidates if near[j] == d]) for d in sorted(set(near.values())))
        ):
            order = list(itertools.chain(*tie))
            orders.append([any(wanted[j] == wanted[i] for j in order[:k]) for k in range(1, top + 1)])
        hits.append(np.mean(orders, axis=0))
        all_orders = [
            [any(candidates[place] in good for place in drawn) for drawn in itertools.combinations(range(len(near)), k)]
            for k in range(1, min(top, len(near)) + 1)
        ]
        level = [np.mean(one) for one in all_orders]
        chance.append(level + [1.0] * (top - len(level)))
        rows.append(i)
    return np.array(rows), np.array(hits), np.array(chance)


def test_by_hand() -> None:
    # from the first, elsewhere: c at 10, b at 20, a at 30 degrees; its twin at 5 degrees is in its own batch
    found = ask(on_circle(0, 5, 10, 20, 30), list("aacba"), [1, 1, 2, 2, 2], top=4)
    assert found.rows.tolist() == [0, 1, 4]
    assert found.hits[0].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(found.chance[0], [1 / 3, 2 / 3, 1, 1])
    # from the last, both in the other batch are of its compound
    assert found.hits[2].tolist() == [1, 1, 1, 1]
    assert (found.candidates.tolist(), found.matches.tolist()) == ([3, 3, 2], [1, 1, 2])
    assert found.without_match == 2


def test_a_twin_of_the_same_batch_never_counts() -> None:
    # each profile has an identical twin of its compound, on its own batch; the batches share nothing
    random = np.random.default_rng(0)
    vectors = np.repeat(random.normal(size=(60, 24)), 2, axis=0)
    compound, batch = np.tile(np.repeat(np.arange(30), 2), 2), np.repeat([0, 1], 60)
    within = ask(vectors, compound)
    across = ask(vectors, compound, batch)
    assert within.rate[0] == 1
    assert across.rate[0] < 0.15
    assert across.chance_rate[0] == pytest.approx(2 / 60)
    assert (across.candidates == 60).all()


def test_what_is_barred_is_no_competitor_either() -> None:
    # strict: the nearer wells of other compounds on the own batch do not push the match down
    found = ask(on_circle(0, 1, 2, 40, 90), list("abcad"), [1, 1, 1, 2, 2])
    assert found.hits[0, 0] == 1
    assert found.candidates[0] == 2


def test_controls_are_neither_asked_nor_found() -> None:
    vectors, compound = on_circle(0, 10, 1, 11), ["a", "a", "DMSO", "DMSO"]
    found = ask(vectors, compound, eligible=[True, True, False, False])
    assert found.rows.tolist() == [0, 1]
    assert found.rate[0] == 1
    assert (found.candidates == 1).all()


def test_ties_count_by_all_their_orders() -> None:
    # three at the same distance from the first, one of which is a match
    vectors = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 1]], float)
    found = ask(vectors, list("aabcd"), top=4)
    np.testing.assert_allclose(found.hits[0], [1 / 3, 2 / 3, 1, 1])


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_plain_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    # few values: many similarities are the same
    vectors = random.integers(0, 3, (11, 3)) + 0.5
    wanted, batch, plate = random.integers(0, 4, 11), random.integers(0, 2, 11), random.integers(0, 3, 11)
    eligible = random.random(11) > 0.15
    for barred in ((), (batch,), (batch, plate)):
        rows, hits, chance = plainly(vectors, wanted, barred, eligible, 5)
        found = ask(vectors, wanted, *barred, eligible=eligible, top=5)
        assert found.rows.tolist() == rows.tolist()
        np.testing.assert_allclose(found.hits, hits.reshape(-1, 5), atol=1e-12)
        np.testing.assert_allclose(found.chance, chance.reshape(-1, 5), atol=1e-12)


def test_chance_is_that_of_drawing() -> None:
    for all_, good, drawn in itertools.product(range(1, 7), range(7), range(8)):
        if good > all_:
            continue
        every = list(itertools.combinations(range(all_), min(drawn, all_)))
        expected = np.mean([any(one < good for one in some) for some in every])
        assert chance_of_match(all_, good, drawn) == pytest.approx(expected, abs=1e-12)


def test_random_profiles_match_by_chance_and_planted_ones_above() -> None:
    random = np.random.default_rng(1)
    compound, batch = np.tile(np.arange(40), 6), np.repeat(np.arange(6), 40)
    noise = random.normal(size=(240, 16))
    at_random = ask(noise, compound, batch)
    low, high = at_random.excess_interval()
    assert low[0] < 0 < high[0]
    np.testing.assert_allclose(at_random.rate, at_random.chance_rate, atol=0.07)
    planted = ask(noise + random.normal(size=(40, 16))[compound], compound, batch)
    assert planted.excess_interval()[0, 0] > 0.1


def test_rows_without_a_value_are_left_out() -> None:
    vectors = on_circle(0, 1, 2, 3)
    found = ask(vectors, ["a", "a", None, "a"], [1, 2, 2, None])
    assert found.rows.tolist() == [0, 1]
    assert (found.candidates == 1).all()


def test_intervals_draw_compounds_and_not_wells() -> None:
    # a hundred wells of two compounds, one always right and one never: two draws, not a hundred
    values, units = np.repeat([[0.0], [1.0]], 50, axis=0), np.repeat([0, 1], 50).astype(np.int32)
    np.testing.assert_array_equal(bootstrap_interval(values, units), [[0], [1]])
    assert np.isnan(bootstrap_interval(values, np.zeros(100, np.int32))).all()
    np.testing.assert_array_equal(bootstrap_interval(values, units, 3), bootstrap_interval(values, units, 3))


def test_many_wells_take_seconds() -> None:
    random = np.random.default_rng(0)
    n = 9216
    compound, batch = (Groups(random.integers(0, k, n).astype(np.int32), tuple(map(str, range(k)))) for k in (300, 24))
    rule = MatchRule("other batch", compound, (batch,), np.ones(n, bool))
    start = time.perf_counter()
    found = match(random.normal(size=(n, 128)).astype(np.float32), [rule], compound)[0]
    assert time.perf_counter() - start < 20
    assert found.rate[0] == pytest.approx(found.chance_rate[0], abs=0.003)


def test_block_size_does_not_matter(monkeypatch) -> None:
    random = np.random.default_rng(2)
    vectors, compound, batch = random.normal(size=(50, 5)), random.integers(0, 8, 50), random.integers(0, 3, 50)
    whole = ask(vectors, compound, batch)
    monkeypatch.setattr("phenolens.evaluation.profiles.matching._BLOCK", 7 * 50)
    np.testing.assert_array_equal(ask(vectors, compound, batch).hits, whole.hits)


def test_compounds_go_by_structure_where_there_is_one() -> None:
    table = pd.DataFrame(
        {
            "Metadata_Compound": ["phenol", "PHENOL ", "carbolic acid", "aspirin", "aspirin", "mystery", None],
            "Metadata_SMILES": ["c1ccccc1O", None, "Oc1ccccc1", "CC(=O)Oc1ccccc1C(=O)O",
                                "[Na+].CC(=O)Oc1ccccc1C(=O)[O-]", "not a molecule", None],
        }
    )  # fmt: skip
    known = Identities.of(table)
    assert known.compound.codes.tolist() == [2, 2, 2, 0, 0, 1, -1]
    assert [name.casefold() for name in known.compound.names] == ["aspirin", "mystery", "phenol"]
    assert any("not a molecule" in note for note in known.notes)
    assert any("carbolic acid" in note for note in known.notes)
    by_name = Identities.of(table.drop(columns="Metadata_SMILES"))
    assert by_name.compound.codes.tolist() == [3, 3, 1, 0, 0, 2, -1]


def test_plates_of_two_batches_that_share_a_name_are_two() -> None:
    table = pd.DataFrame({"Metadata_Batch": [1, 1, 2], "Metadata_Plate": list("ppp"), "Metadata_Well": ["A1"] * 3})
    known = Identities.of(table)
    assert known.plate.codes.tolist() == [0, 0, 1]
    assert known.well.codes.tolist() == [0, 0, 1]
    assert known.position.codes.tolist() == [0, 0, 0]
    assert known.source is None


def test_a_batch_that_shows_is_told_and_one_that_does_not_is_not() -> None:
    random = np.random.default_rng(0)
    compound, plate = np.tile(np.arange(20), 8), np.repeat(np.arange(8), 20)
    batch = plate // 2
    noise = random.normal(size=(160, 12)) + random.normal(size=(20, 12))[compound]
    everyone = np.ones(160, bool)

    def told(vectors):
        return predictability(vectors, groups(batch), (groups(compound), groups(plate)), everyone, groups(compound))

    silent = told(noise)
    assert silent.interval()[0] < silent.chance < silent.interval()[1]
    loud = told(noise + 3 * random.normal(size=(4, 12))[batch])
    assert loud.share > 0.95
    assert loud.chance == pytest.approx(0.12, abs=0.05)
    assert loud.largest == 0.25


def test_neither_the_compound_nor_the_plate_gives_a_batch_away() -> None:
    random = np.random.default_rng(0)
    # each compound is in one batch only: its own wells would tell it
    compound = np.repeat(np.arange(20), 8)
    batch = compound % 2
    vectors = random.normal(size=(160, 12)) + 5 * random.normal(size=(20, 12))[compound]
    everyone = np.ones(160, bool)
    leaking = predictability(vectors, groups(batch), (), everyone, groups(compound))
    honest = predictability(vectors, groups(batch), (groups(compound),), everyone, groups(compound))
    assert leaking.share > 0.99
    assert honest.interval()[0] < honest.chance
    # each plate has a look, the batch has none
    plate = np.tile(np.arange(8), 20)
    vectors = random.normal(size=(160, 12)) + 5 * random.normal(size=(8, 12))[plate]
    leaking = predictability(vectors, groups(plate % 2), (groups(compound),), everyone, groups(compound))
    honest = predictability(vectors, groups(plate % 2), (groups(compound), groups(plate)), everyone, groups(compound))
    assert leaking.share > 0.99
    assert honest.share < 0.8


def test_equal_profiles_tell_nothing() -> None:
    found = predictability(
        np.ones((60, 4)), groups(np.repeat([0, 1, 2], 20)), (), np.ones(60, bool), groups(np.arange(60)), seed=1
    )
    assert found.share == pytest.approx(found.chance, abs=0.15)


def test_mistakes_are_told() -> None:
    with pytest.raises(ScreenError, match="different lengths"):
        ask(np.ones((3, 2)), list("ab"), eligible=[True] * 3)
    with pytest.raises(ScreenError, match="row 1 "):
        ask(np.array([[1, 2], [0, 0], [1, 1.0]]), list("aab"))
