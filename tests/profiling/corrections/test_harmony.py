"""Harmony: batches mix, cells of one kind stay together, and what cannot be mixed is left apart."""

import numpy as np
import pandas as pd
import pytest

from phenolens.profiling.corrections.harmony import HarmonyCorrection, fit_harmony, harmonise
from phenolens.profiling.corrections.harmony_clusters import batch_offsets
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Progress, finish


def mixture(
    batches: int = 3, cells: int = 300, *, shift: float = 2.0, private: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four kinds of cells, shifted as a whole and each kind a little by the batch: embeddings, batch, kind.

    With `private`, a fifth kind is in batch 0 only.
    """
    random = np.random.default_rng(0)
    centres = random.normal(size=(5, 10)) * 4
    parts, kinds = [], []
    for batch in range(batches):
        kind = random.integers(0, 4, cells)
        if private and batch == 0:
            kind[: cells // 5] = 4
        moved = shift * random.normal(size=10) + 0.5 * random.normal(size=(5, 10))[kind]
        parts.append(centres[kind] + moved + random.normal(size=(cells, 10)))
        kinds.append(kind)
    return np.concatenate(parts).astype(np.float32), np.repeat(range(batches), cells), np.concatenate(kinds)


def predicted(vectors: np.ndarray, labels: np.ndarray, neighbours: int = 15) -> float:
    """Share of rows whose nearest others vote for their own label."""
    squares = (vectors.astype(float) ** 2).sum(axis=1)
    distance = squares[:, None] + squares - 2 * vectors.astype(float) @ vectors.T
    np.fill_diagonal(distance, np.inf)
    near = np.argpartition(distance, neighbours, axis=1)[:, :neighbours]
    return float(np.mean([np.bincount(labels[row]).argmax() == own for row, own in zip(near, labels, strict=True)]))


def corrected(vectors: np.ndarray, batches: np.ndarray, **options: object) -> np.ndarray:
    return finish(fit_harmony(vectors, batches, **options)).apply(vectors, batches)


def test_batches_are_mixed_and_kinds_stay_apart() -> None:
    vectors, batch, kind = mixture()
    assert predicted(vectors, batch) > 0.9
    mixed = corrected(vectors, batch)
    assert predicted(mixed, batch) < 0.45  # chance is 0.33
    assert predicted(mixed, kind) > 0.97
    assert mixed.dtype == np.float32


def test_a_kind_that_one_batch_alone_has_is_kept_apart() -> None:
    vectors, batch, kind = mixture(private=True)
    mixed = corrected(vectors, batch)
    shared = kind < 4
    assert predicted(mixed[shared], batch[shared]) < 0.45
    assert predicted(mixed, (kind == 4).astype(int)) > 0.97


def test_one_batch_comes_back_as_it_was() -> None:
    vectors, _, _ = mixture(1)
    np.testing.assert_array_equal(corrected(vectors, np.zeros(len(vectors))), vectors)


def test_batches_that_do_not_differ_are_hardly_moved() -> None:
    vectors, _, _ = mixture(1)
    moved = corrected(vectors, np.arange(len(vectors)) % 2) - vectors
    assert np.sqrt(np.square(moved).mean()) < 0.25  # cells of a kind vary by 1


def test_the_penalty_is_what_mixes_batches_that_lie_far_apart() -> None:
    vectors, batch, kind = mixture(shift=3)
    with_penalty = corrected(vectors, batch, clusters=8)
    assert predicted(with_penalty, batch) < 0.36
    assert predicted(with_penalty, kind) > 0.97
    assert predicted(corrected(vectors, batch, clusters=8, diversity=0), batch) > 0.42
    assert predicted(corrected(vectors, batch, diversity=0), batch) > predicted(corrected(vectors, batch), batch) + 0.1


def test_a_seed_gives_the_same_numbers() -> None:
    vectors, batch, _ = mixture(2, 100)
    np.testing.assert_array_equal(corrected(vectors, batch, seed=3), corrected(vectors, batch, seed=3))


def test_a_row_alone_is_corrected_as_among_others() -> None:
    vectors, batch, _ = mixture(2, 100)
    correction = finish(fit_harmony(vectors, batch))
    whole = correction.apply(vectors, batch)
    np.testing.assert_allclose(correction.apply(vectors[7:8], batch[7:8])[0], whole[7], rtol=1e-6)


def test_clusters_in_fewer_directions_correct_all_dimensions() -> None:
    vectors, batch, kind = mixture()
    noise = np.random.default_rng(1).normal(size=(len(vectors), 60)) + 0.5 * np.outer(batch, np.ones(60))
    wide = np.concatenate([vectors, noise], axis=1)
    correction = finish(fit_harmony(wide, batch, components=8))
    assert correction.axes.shape == (70, 8)
    mixed = correction.apply(wide, batch)
    assert predicted(wide, batch) == 1
    assert predicted(mixed, batch) < 0.5
    assert predicted(mixed, kind) > 0.9
    means = np.stack([mixed[batch == number, 10:].mean() for number in range(3)])
    assert np.ptp(means) < 0.2


def test_offsets_are_those_of_a_weighted_ridge_regression() -> None:
    random = np.random.default_rng(0)
    table, which, weights = random.normal(size=(40, 3)), random.integers(0, 3, 40), random.uniform(size=(40, 2))
    found = batch_offsets(table, weights, which, 3, ridge=0.7)
    design = np.concatenate([np.ones((40, 1)), np.eye(3)[which]], axis=1)
    for cluster in range(2):
        weighted = design.T * weights[:, cluster]
        solved = np.linalg.solve(weighted @ design + np.diag([0, 0.7, 0.7, 0.7]), weighted @ table)
        np.testing.assert_allclose(found[:, cluster], solved[1:], atol=1e-10)


def test_it_tells_its_progress_and_can_be_stopped() -> None:
    vectors, batch, _ = mixture(2, 100)
    told: list[Progress] = []
    correction = finish(fit_harmony(vectors, batch, rounds=3), told.append)
    assert [progress.step for progress in told[:-1]] == list(range(len(correction.centroids)))
    assert {progress.total for progress in told} == {3}
    assert told[-1].step == 3
    job = fit_harmony(vectors, batch)
    next(job)
    job.close()


def test_profiles_say_that_they_were_corrected() -> None:
    vectors, batch, _ = mixture(2, 60)
    profiles = Profiles(pd.DataFrame({"Metadata_Batch": batch}), vectors, {"level": "well", "corrections": ["scale"]})
    mixed = finish(harmonise(profiles, "Batch", seed=1))
    assert mixed.card["corrections"][0] == "scale"
    assert mixed.card["corrections"][1]["name"] == "harmony"
    assert not np.array_equal(mixed.vectors, vectors)


def test_what_does_not_fit_is_refused() -> None:
    vectors, batch, _ = mixture(2, 50)
    correction: HarmonyCorrection = finish(fit_harmony(vectors, batch))
    with pytest.raises(ScreenError, match="Batch '7' was not among the 2"):
        correction.apply(vectors[:1], [7])
    with pytest.raises(ScreenError, match="9 dimensions where 10"):
        correction.apply(vectors[:1, :9], [0])
    with pytest.raises(ScreenError, match="1 batch names were given for 100"):
        finish(fit_harmony(vectors, [0]))
    with pytest.raises(ScreenError, match="101 clusters"):
        finish(fit_harmony(vectors, batch, clusters=101))
    broken = vectors.copy()
    broken[3, 2] = np.nan
    with pytest.raises(ScreenError, match="the first in row 3"):
        finish(fit_harmony(broken, batch))


def test_identical_and_zero_rows_are_no_trouble() -> None:
    vectors = np.zeros((40, 3), np.float32)
    vectors[20:] = 1
    mixed = corrected(vectors, np.arange(40) % 2, clusters=5)
    assert np.isfinite(mixed).all()
    np.testing.assert_allclose(mixed, vectors, atol=1e-5)


def test_it_corrects_as_the_reference_implementation_does() -> None:
    from harmony import harmonize

    vectors, batch, kind = mixture(2, 150)
    vectors -= vectors.mean(axis=0)  # ours looks from the mean by itself
    names = pd.DataFrame({"batch": batch.astype(str)})
    reference = harmonize(vectors, names, batch_key="batch", n_jobs=1, random_state=0, verbose=False)
    mixed = corrected(vectors, batch)
    ours, theirs = (mixed - vectors).ravel(), (reference - vectors).ravel()
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    # starts of the reference differ from one another by 0.01 to 0.02 of their moves
    assert np.sqrt(np.square(ours - theirs).mean()) < 0.08 * np.sqrt(np.square(theirs).mean())
    assert abs(predicted(mixed, batch) - predicted(reference, batch)) < 0.06
    assert predicted(mixed, kind) == pytest.approx(predicted(reference, kind), abs=0.01)
