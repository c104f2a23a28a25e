"""Suggestions: the classifier against known answers, what it promises, and how fast it is."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import check_grad

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.cell_index import CellIndex
from phenolens.annotation.embedded_cells import EmbeddedCells
from phenolens.annotation.left_out import score_left_out
from phenolens.annotation.logistic import LogisticRegression, loss
from phenolens.annotation.suggestions import annotated_cells, suggest
from phenolens.runtime.errors import AnnotationError


def a_plate(n=400, d=16, apart=3.0, wells=8, seed=0, plates=1) -> tuple[EmbeddedCells, np.ndarray]:
    """Cells of two kinds, half of each well's; each plate has its own place and scale."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    vectors = rng.normal(size=(n, d))
    vectors[:, : d // 2] += apart * truth[:, None] / 3  # an embedding spreads what it sees over many numbers
    plate = np.arange(n) * plates // n
    vectors = vectors * (1 + 4 * plate[:, None]) + 20 * plate[:, None]
    well = np.array([f"W{number}" for number in np.arange(n) // 2 % wells], object)
    fields = np.array([f"{p}_{w}" for p, w in zip(plate, well, strict=True)], object)
    cells = EmbeddedCells(
        fields, np.arange(n), vectors.astype(np.float32), np.array([f"P{p}" for p in plate], object), fields
    )
    return cells, truth


def annotate(cells: EmbeddedCells, truth, rows) -> Annotations:
    made = Annotations()
    for name in ("round", "flat", "unused"):
        made.add_class(name)
    for row in rows:
        made.annotate([(cells.fields[row], int(cells.labels[row]))], ("round", "flat")[truth[row]])
    return made


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    features, classes = rng.normal(size=(9, 4)), np.array([0, 1, 2, 0, 1, 2, 0, 0, 0])
    for _ in range(3):
        at = rng.normal(size=5 * 3)
        rest = (features, classes, 3, 0.3)
        away = check_grad(lambda x, *more: loss(x, *more)[0], lambda x, *more: loss(x, *more)[1], at, *rest)
        assert away < 1e-5


def test_the_loss_is_what_is_computed_by_hand():
    # two cells of class 0 and one of class 1, no weights: each class counts half, so ln 2
    features, classes = np.ones((3, 1)), np.array([0, 0, 1])
    assert loss(np.zeros(4), features, classes, 2, 1.0)[0] == pytest.approx(np.log(2))
    # one weight of 1 for class 0: logits (1, 0) for all; penalty 1/2
    expected = 0.5 * np.log(1 + np.exp(-1)) + 0.5 * np.log(1 + np.exp(1)) + 0.5
    assert loss(np.array([1.0, 0, 0, 0]), features, classes, 2, 1.0)[0] == pytest.approx(expected)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (6, 40)])
def test_it_is_the_logistic_regression_of_scikit_learn(n, d):
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    classes = np.arange(n) % 3
    features = rng.normal(size=(n, d)) + classes[:, None]
    ours = LogisticRegression.fit(features, classes, 3, 0.2)
    theirs = linear.LogisticRegression(C=1 / (0.2 * n), tol=1e-10, max_iter=10_000).fit(features, classes)
    new = rng.normal(size=(20, d))
    assert np.abs(ours.probabilities(new) - theirs.predict_proba(new)).max() < 1e-4


def test_two_cells_of_a_class_sort_a_plate():
    cells, truth = a_plate(apart=9)
    made = suggest(cells, annotate(cells, truth, [0, 1, 2, 3]))
    at = made.suggested.index.rows_of(list(zip(cells.fields, cells.labels, strict=True)))
    assert (at == -1).sum() == 4  # the annotated ones need no suggestion
    names = np.array(made.suggested.names)[made.suggested.codes]
    assert np.mean(names == np.array(["round", "flat"])[truth[at >= 0]]) > 0.95
    assert (made.suggested.probabilities >= 0.5).all()


def test_each_plate_is_measured_by_itself():
    cells, truth = a_plate(apart=9, plates=2)
    rows = [row for row in range(10) if row < 10]  # of the first plate alone
    made = suggest(cells, annotate(cells, truth, rows)).suggested
    second = np.array([field.startswith("1_") for field in made.fields])
    right = np.array(made.names)[made.codes] == np.array(["round", "flat"])[truth[len(rows) :]]
    assert right[second].mean() > 0.95
    pooled = EmbeddedCells(cells.fields, cells.labels, cells.vectors)
    made = suggest(pooled, annotate(cells, truth, rows)).suggested
    right = np.array(made.names)[made.codes] == np.array(["round", "flat"])[truth[len(rows) :]]
    assert right[second].mean() < 0.8


def test_a_shift_and_scale_of_the_embedding_changes_nothing():
    cells, truth = a_plate()
    other = EmbeddedCells(cells.fields, cells.labels, cells.vectors * 3 + 5, cells.plates, cells.wells)
    first, second = (suggest(one, annotate(cells, truth, range(10))).suggested for one in (cells, other))
    assert np.abs(first.probabilities - second.probabilities).max() < 1e-3


def test_a_feature_that_never_varies_is_no_harm():
    cells, truth = a_plate()
    vectors = np.column_stack([cells.vectors, np.full(len(cells), 0.1, np.float32)])
    other = EmbeddedCells(cells.fields, cells.labels, vectors, cells.plates, cells.wells)
    assert np.isfinite(suggest(other, annotate(cells, truth, range(8))).suggested.probabilities).all()


def test_the_next_cells_to_annotate_are_those_between_the_classes():
    cells, truth = a_plate(apart=6)
    made = suggest(cells, annotate(cells, truth, range(20)))
    sure = {cell: probability for cell, _, probability in made.suggested.rows()}
    listed = [sure[cell] for cell in made.uncertain]
    assert listed == sorted(listed)
    assert listed[0] == min(sure.values())


def test_a_class_needs_two_cells():
    cells, truth = a_plate()
    with pytest.raises(AnnotationError, match=r"there are: round 2, flat 1, unused 0"):
        suggest(cells, annotate(cells, truth, [0, 1, 2]))
    made = annotate(cells, truth, [0, 1, 2, 3])
    made.annotate([(cells.fields[8], 8)], "unused")
    made.annotate([("elsewhere", 8)], "unused")  # not among these cells
    known = annotated_cells(cells, made)
    assert (known.names, known.left_out) == (("round", "flat"), ("unused",))


def test_the_score_leaves_wells_out_where_it_can():
    cells, truth = a_plate(apart=9)
    made = annotate(cells, truth, range(16))  # two cells of each of eight wells
    score = score_left_out(cells, made)
    assert score.known
    assert (score.cells, score.wells, score.chance) == (16, 8, 0.5)
    assert score.balanced_accuracy > 0.8
    assert "when their well is left out" in score.words


def test_accepted_suggestions_do_not_flatter_the_score():
    cells, truth = a_plate(apart=0)  # nothing to be learned: the score is chance, whatever is accepted
    made = annotate(cells, truth, range(16))
    plain = score_left_out(cells, made)
    made.suggest(suggest(cells, made).suggested)
    before = set(made.cells)
    made.accept()
    accepted = set(made.cells) - before
    assert len(accepted) == len(cells) - 16
    assert score_left_out(cells, made) == plain
    again = Annotations()
    again.repeat(json.loads(json.dumps(made.record())))
    assert score_left_out(cells, again) == plain, "after a restart, too"
    for cell in accepted:
        made.annotate([cell], made.class_of(cell).name)  # the same, by hand
    assert score_left_out(cells, made).balanced_accuracy > plain.balanced_accuracy + 0.2


def test_the_score_says_when_it_is_not_known():
    cells, truth = a_plate(apart=9)
    rows = [row for row in range(40) if cells.wells[row] == "0_W0"]
    score = score_left_out(cells, annotate(cells, truth, rows))
    assert not score.known
    assert "not known" in score.words
    assert "two wells" in score.words


def test_the_score_is_chance_where_classes_do_not_differ():
    scores = []
    for seed in range(8):
        cells, truth = a_plate(apart=0, seed=seed)
        scores.append(score_left_out(cells, annotate(cells, truth, range(80))).balanced_accuracy)
    assert 0.4 < np.mean(scores) < 0.6


def test_a_well_effect_does_not_flatter_the_score():
    # wells differ, kinds do not: cells of one well are alike, so that leaving out cells alone would promise much
    rng = np.random.default_rng(0)
    n, wells = 240, 8
    well = np.arange(n) % wells
    kind = well % 2  # all cells of a well are of one class
    vectors = (rng.normal(size=(wells, 16))[well] * 4 + rng.normal(size=(n, 16))).astype(np.float32)
    names = np.array([f"W{number}" for number in well], object)
    cells = EmbeddedCells(names, np.arange(n), vectors, None, names)
    score = score_left_out(cells, annotate(cells, kind, range(80)))
    assert score.known
    assert score.balanced_accuracy < 0.75


def test_profiles_of_cells_can_be_taken_and_no_others():
    metadata = pd.DataFrame(
        {"Metadata_Field": ["a", "b"], "Metadata_Label": [1, 2], "Metadata_Plate": [1, 1], "Metadata_Well": ["A", "B"]}
    )
    cells = EmbeddedCells.of_profiles(metadata, np.eye(2, dtype=np.float32))
    assert list(cells.wells) == ["1/A", "1/B"]
    assert cells.index.rows_of([("b", 2), ("b", 1), ("c", 2)]).tolist() == [1, -1, -1]
    with pytest.raises(AnnotationError, match="embed cells"):
        EmbeddedCells.of_profiles(metadata.drop(columns="Metadata_Label"), np.eye(2, dtype=np.float32))
    with pytest.raises(AnnotationError, match="not finite"):
        EmbeddedCells.of_profiles(metadata, np.full((2, 2), np.nan, np.float32))


def test_rows_are_found_among_many():
    index = CellIndex(["a", "b", "a", "b"], [5, 5, 2**32 - 1, 0])
    assert index.rows_of([("b", 0), ("a", 5), ("a", 2**32 - 1), ("c", 5), ("a", 0)]).tolist() == [3, 1 - 1, 2, -1, -1]
    assert index.rows_in("b").tolist() == [1, 3]
    assert CellIndex([], []).rows_of([("a", 1)]).tolist() == [-1]


def test_ten_thousand_cells_take_less_than_a_fifth_of_a_second():
    cells, truth = a_plate(n=10_000, d=128, wells=96)
    made = annotate(cells, truth, range(20))
    suggest(cells, made)  # measures the plate, once
    took = []
    for _ in range(5):
        start = time.perf_counter()
        suggest(cells, made)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.2
