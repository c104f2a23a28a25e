"""Search: exact, the same in one block or many, and with rows left out."""

import numpy as np
import pytest

from phenolens.profiling.vectors.search import CosineIndex, unit_rows
from phenolens.runtime.errors import ScreenError


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(500, 12)).astype(np.float32)


def slow_search(query: np.ndarray, stored: np.ndarray, top: int) -> list[int]:
    similarity = [float(query @ row / np.linalg.norm(query) / np.linalg.norm(row)) for row in stored.astype(float)]
    return sorted(range(len(stored)), key=lambda row: -similarity[row])[:top]


@pytest.mark.parametrize("block", [1, 40, 12 * 37, 1 << 22])
def test_finds_what_a_slow_search_finds(stored: np.ndarray, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phenolens.profiling.vectors.search._BLOCK", block)
    queries = np.random.default_rng(1).normal(size=(4, 12))
    rows, similarity = CosineIndex(stored).search(queries, 20)
    assert rows.tolist() == [slow_search(query, stored, 20) for query in queries]
    units = unit_rows(queries)[:, None] * unit_rows(stored)[rows]
    np.testing.assert_allclose(similarity, units.sum(axis=-1), atol=1e-6)
    assert similarity.dtype == np.float32


def test_a_row_finds_itself_and_length_does_not_matter(stored: np.ndarray) -> None:
    stored *= np.random.default_rng(2).uniform(0.01, 100, (500, 1)).astype(np.float32)
    rows, similarity = CosineIndex(stored).search(stored, 1)
    assert rows[:, 0].tolist() == list(range(500))
    np.testing.assert_allclose(similarity, 1, atol=1e-6)


def test_a_single_query_gives_single_lists(stored: np.ndarray) -> None:
    index = CosineIndex(stored)
    one, many = index.search(stored[3], 7), index.search(stored[3:4], 7)
    assert one[0].shape == (7,)
    np.testing.assert_array_equal(one[0], many[0][0])


def test_excluded_rows_are_not_found(stored: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phenolens.profiling.vectors.search._BLOCK", 12 * 64)
    index = CosineIndex(stored)
    best = index.search(stored[0], 40)[0]
    excluded = np.zeros(500, bool)
    excluded[best[::2]] = True
    left = index.search(stored[0], 20, excluded=excluded)[0]
    assert left.tolist() == best[1::2].tolist()
    excluded[:] = True
    excluded[[7, 300]] = False
    assert sorted(index.search(stored[0], 20, excluded=excluded)[0].tolist()) == [7, 300]


def test_of_equals_the_earlier_row_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    same = np.tile(np.array([[3.0, 4.0], [4.0, 3.0]], np.float32), (50, 1))
    for block in (1 << 22, 2 * 7):
        monkeypatch.setattr("phenolens.profiling.vectors.search._BLOCK", block)
        assert CosineIndex(same).search([3.0, 4.0], 5)[0].tolist() == [0, 2, 4, 6, 8]


def test_half_precision_on_disk_is_searched_in_place(tmp_path, stored: np.ndarray) -> None:
    half = np.lib.format.open_memmap(tmp_path / "e.npy", mode="w+", dtype=np.float16, shape=stored.shape)
    half[:] = stored
    half.flush()
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    expected = CosineIndex(np.asarray(mapped, np.float32)).search(stored[5], 10)
    found = CosineIndex(mapped).search(stored[5], 10)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_large_half_precision_values_do_not_overflow() -> None:
    rows = np.full((3, 4), 60_000, np.float16)
    assert CosineIndex(rows).search(np.ones(4), 3)[1] == pytest.approx(np.ones(3))


def test_mistakes_are_told(stored: np.ndarray) -> None:
    index = CosineIndex(stored)
    with pytest.raises(ScreenError, match="5 dimensions and the stored embeddings 12"):
        index.search(np.ones((2, 5)), 3)
    with pytest.raises(ScreenError, match=r"Query row 1 .* all zeros or not finite"):
        index.search(np.array([[1.0] * 12, [0.0] * 12]), 3)
    with pytest.raises(ScreenError, match="All 500 rows are excluded"):
        index.search(stored[0], 3, excluded=np.ones(500, bool))
    with pytest.raises(ValueError, match="expected bool"):
        index.search(stored[0], 3, excluded=np.zeros(500, int))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="top is 0"):
        index.search(stored[0], 0)
    stored[[8, 9, 10, 11, 12, 13]] = np.nan
    with pytest.raises(ScreenError, match="row 8, 9, 10, 11, 12 and 1 more"):
        CosineIndex(stored)
    with pytest.raises(ScreenError, match="must hold numbers"):
        CosineIndex(np.array([["a", "b"]]))
    with pytest.raises(ScreenError, match="must hold numbers"):
        CosineIndex(np.empty((0, 12)))
