"""Maps: a point has one place, alone or in a batch, to rounding; a fitted one stays where it is."""

import sys

import numpy as np
import pytest

from phenolens.profiling.atlas import projection as maps
from phenolens.profiling.atlas.projection import (
    LinearProjection,
    NeighbourProjection,
    fit_projection,
    restore_projection,
)
from phenolens.profiling.vectors import row_blocks as blocks
from phenolens.runtime.errors import PhenolensError, ScreenError
from phenolens.runtime.progress import finish

PACKAGES = {"umap": "umap", "tsne": "openTSNE"}


def clusters(count: int = 240, dimension: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around four directions, and which of them each belongs to."""
    random = np.random.default_rng(seed)
    which = np.arange(count) % 4
    centres = 6 * np.eye(4, dimension)
    return (centres[which] + random.normal(size=(count, dimension))).astype(np.float32), which


@pytest.fixture(scope="module", params=["pca", pytest.param("umap", marks=pytest.mark.slow), "tsne"])
def fitted(request):
    if request.param != "pca":
        pytest.importorskip(PACKAGES[request.param])
    vectors, _ = clusters()
    return finish(fit_projection(vectors, request.param, seed=3)), vectors, request.param


@pytest.fixture
def by_neighbours():
    vectors, _ = clusters(400)
    random = np.random.default_rng(5)
    return NeighbourProjection(np.arange(400), vectors, random.normal(size=(400, 2)).astype(np.float32))


def assert_places_go_by_the_point_alone(projection, points):
    together = projection.place(points)
    assert together.dtype == np.float32
    assert together.shape == (len(points), 2)
    for number in range(0, len(points), 7):
        assert_same(projection.place(points[number : number + 1])[0], together[number])
    assert_same(projection.place(points[::-1])[::-1], together)
    assert_same(projection.place(points[5:18]), together[5:18])


def assert_same(found, expected):
    """The same to the last place or so of single precision."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-7 * np.abs(expected).max())


def test_the_same_alone_and_in_a_batch(fitted):
    projection, vectors, _ = fitted
    assert_places_go_by_the_point_alone(projection, clusters(111, seed=9)[0])
    assert_same(projection.place(np.asfortranarray(vectors)), projection.place(vectors))


@pytest.mark.parametrize("block", [1, 100, 24 * 7, 1 << 22])
def test_the_same_whatever_the_blocks(by_neighbours, block, monkeypatch):
    points, _ = clusters(60, seed=9)
    linear = finish(LinearProjection.fit(points))
    usual = by_neighbours.place(points), linear.place(points)
    monkeypatch.setattr(blocks, "_BLOCK", block)
    assert_same(by_neighbours.place(points), usual[0])
    assert_same(linear.place(points), usual[1])


def test_many_dimensions_and_a_large_batch_change_no_place():
    random = np.random.default_rng(0)
    points = random.normal(size=(700, 333)).astype(np.float32)
    points *= 10.0 ** random.integers(-6, 7, (700, 1))
    assert_places_go_by_the_point_alone(finish(fit_projection(points)), points)
    assert_places_go_by_the_point_alone(NeighbourProjection(np.arange(90), points[:90], points[:90, :2]), points)


def test_of_neighbours_that_are_equally_near_the_earlier_count_alone_and_in_a_batch():
    random = np.random.default_rng(2)
    # the same directions at many lengths, whose cosines differ in their last bits alone
    fitted = np.repeat(random.normal(size=(5, 40)), 30, axis=0) * np.tile(np.linspace(0.1, 9, 30), 5)[:, None]
    projection = NeighbourProjection(
        np.arange(150), fitted.astype(np.float32), random.normal(size=(150, 2)).astype(np.float32)
    )
    assert_places_go_by_the_point_alone(projection, random.normal(size=(60, 40)).astype(np.float32))


def test_pca_finds_the_directions_that_a_decomposition_finds():
    vectors, _ = clusters(150)
    projection = finish(fit_projection(vectors))
    centred = vectors.astype(float) - vectors.mean(axis=0, dtype=float)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(2), np.abs(right[:2]).argmax(axis=1)])
    np.testing.assert_allclose(projection.place(vectors), (left * values)[:, :2] * signs, atol=1e-4)
    assert isinstance(projection, LinearProjection)
    np.testing.assert_allclose(projection.explained, (values**2 / (values**2).sum())[:2], rtol=1e-6)


def test_pca_of_one_dimension_has_a_second_one_of_zeros():
    vectors = np.arange(12, dtype=np.float32)[:, None]
    places = finish(fit_projection(vectors)).place(vectors)
    np.testing.assert_allclose(places[:, 0], np.arange(12) - 5.5)
    assert not places[:, 1].any()


def test_fitted_points_stay_where_the_fit_has_put_them(fitted):
    projection, vectors, _ = fitted
    if isinstance(projection, NeighbourProjection):
        np.testing.assert_array_equal(projection.place(vectors), projection.coordinates)


def test_clusters_stay_apart_on_the_map_and_new_points_go_to_theirs(fitted):
    projection, vectors, _ = fitted
    _, which = clusters()
    points, theirs = clusters(80, seed=4)
    places = projection.place(vectors)
    centres = np.array([places[which == number].mean(axis=0) for number in range(4)])
    nearest = np.linalg.norm(projection.place(points)[:, None] - centres, axis=-1).argmin(axis=1)
    assert (nearest == theirs).mean() > (0.6 if isinstance(projection, LinearProjection) else 0.95)


def test_a_new_point_is_at_the_weighted_mean_of_its_neighbours(by_neighbours):
    for point in clusters(12, seed=8)[0]:
        units = by_neighbours.vectors / np.linalg.norm(by_neighbours.vectors, axis=1, keepdims=True)
        distance = 1 - units.astype(float) @ (point / np.linalg.norm(point)).astype(float)
        nearest = distance.argsort()[: maps.NEIGHBOURS]
        mean = np.average(by_neighbours.coordinates[nearest], axis=0, weights=1 / distance[nearest])
        np.testing.assert_allclose(by_neighbours.place(point[None])[0], mean, atol=1e-4)


def test_a_point_that_nears_a_fitted_one_nears_its_place(by_neighbours):
    point, away = by_neighbours.vectors[17], clusters(1, seed=3)[0][0]
    gaps = [
        np.linalg.norm(by_neighbours.place((point + step * away)[None])[0] - by_neighbours.coordinates[17])
        for step in (0.1, 0.01, 0.001, 0)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-2] < 0.02
    assert gaps[-1] == 0
    doubled = by_neighbours.place(2 * point[None])[0]
    np.testing.assert_allclose(doubled, by_neighbours.coordinates[17], atol=1e-3)


def test_equal_rows_share_a_place_and_beyond_the_landmarks_the_rule_holds(monkeypatch):
    monkeypatch.setattr(maps, "LANDMARKS", 60)
    monkeypatch.setattr(maps, "_umap", lambda vectors, start, seed: _given(start))
    vectors, _ = clusters(100)
    vectors[50] = vectors[3]
    vectors[51], vectors[52] = 0.0, 1.0
    vectors[51, 0], vectors[52] = 1.0, vectors[51]
    vectors[51, 5] = -0.0
    projection = finish(fit_projection(vectors, "umap", seed=1))
    assert isinstance(projection, NeighbourProjection)
    assert len(projection.rows) == 60
    assert not {50, 52} & set(projection.rows.tolist())
    places = projection.place(vectors)
    np.testing.assert_array_equal(places[projection.rows], projection.coordinates)
    np.testing.assert_array_equal(places[[50, 52]], places[[3, 51]])
    assert np.isfinite(places).all()
    again = finish(fit_projection(vectors, "umap", seed=1))
    assert isinstance(again, NeighbourProjection)
    np.testing.assert_array_equal(again.rows, projection.rows)
    other = finish(fit_projection(vectors, "umap", seed=2))
    assert isinstance(other, NeighbourProjection)
    assert other.rows.tolist() != projection.rows.tolist()


def _given(coordinates):
    yield from ()
    return coordinates


def test_fitting_again_gives_the_same_map(fitted):
    projection, vectors, name = fitted
    again = finish(fit_projection(vectors, name, seed=3))
    np.testing.assert_array_equal(again.place(vectors), projection.place(vectors))


def test_what_is_stored_makes_the_same_map(fitted):
    projection, vectors, _ = fitted
    restored = restore_projection(projection.arrays(), vectors)
    points, _ = clusters(40, seed=2)
    np.testing.assert_array_equal(restored.place(points), projection.place(points))


def test_mistakes_are_told(by_neighbours, monkeypatch):
    vectors, _ = clusters(40)
    linear = finish(fit_projection(vectors))
    for projection in (linear, by_neighbours):
        with pytest.raises(ScreenError, match="5 dimensions and the map was fitted to 24"):
            projection.place(np.ones((2, 5)))
        with pytest.raises(ScreenError, match=r"row 1 .* is not finite"):
            projection.place(np.array([[1.0] * 24, [np.nan] * 24]))
    with pytest.raises(ScreenError, match="has no direction"):
        by_neighbours.place(np.zeros((1, 24)))
    with pytest.raises(ValueError, match="choose one of pca, umap, tsne"):
        finish(fit_projection(vectors, "som"))
    with pytest.raises(ScreenError, match=r"There are 1 different embeddings.*use pca"):
        finish(fit_projection(np.ones((40, 24), np.float32), "tsne"))
    for name, package in PACKAGES.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(PhenolensError, match=r"not installed: pip install 'napari-phenolens\[map\]'"):
            finish(fit_projection(vectors, name))
