"""The built-in segmentation: on discs with a known answer, on simulated fields, on real ones."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from phenolens.runtime.errors import CellError
from phenolens.screens.images import read_image
from phenolens.screens.segmentation import detection_f1, segment_nuclei
from phenolens.simulation import random_style, simulate_field


def drawn(centres, radius=9.0, shape=(160, 200), heights=None, aspect=1.0, noise=2.0):
    """Draw ellipses on a sloping background; return the image (uint16) and the true labels."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = np.zeros(shape, np.int32)
    light = np.zeros(shape)
    for number, (cy, cx) in enumerate(centres, start=1):
        inside = ((y - cy) / radius) ** 2 + ((x - cx) / (radius * aspect)) ** 2 <= 1
        truth[inside] = number
        light[inside] = 100 if heights is None else heights[number - 1]
    image = ndimage.gaussian_filter(light, 1.2) + 50 + 0.1 * x
    image += np.random.default_rng(0).normal(0, noise, shape)
    return image.clip(0).astype(np.uint16), truth


GRID = [(y, x) for y in (30, 80, 130) for x in (30, 80, 130, 170)]


@pytest.mark.parametrize("radius", [4.0, 9.0, 16.0])
def test_separate_nuclei_of_any_size_are_all_found_and_nothing_else(radius):
    image, truth = drawn(GRID, radius)
    labels = segment_nuclei(image)
    assert labels.dtype == np.int32
    assert sorted(np.unique(labels)) == list(range(len(GRID) + 1))
    assert detection_f1(labels, truth, 0.8) == 1.0


def test_nuclei_of_very_different_brightness_are_found():
    image, truth = drawn(GRID, heights=np.geomspace(30, 600, len(GRID)))
    assert detection_f1(segment_nuclei(image), truth, 0.7) == 1.0


def test_touching_nuclei_are_cut_apart_and_long_ones_are_not():
    pairs, truth = drawn([(40, 50), (40, 67), (110, 60), (127, 60), (60, 150)])
    assert detection_f1(segment_nuclei(pairs), truth) == 1.0
    long, truth = drawn(GRID[::2], radius=7, aspect=2.4)
    assert detection_f1(segment_nuclei(long), truth) == 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_units_do_not_matter(dtype):
    image, truth = drawn(GRID)
    scaled = image.astype(np.float64) * (0.001 if dtype in (np.float32, np.float64) else 1)
    assert detection_f1(segment_nuclei(scaled.astype(dtype)), truth, 0.8) == 1.0


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64), np.uint8), np.full((64, 64), 9.5), np.zeros((3, 3)), np.eye(64, dtype=np.uint8)[:4]]
)
def test_images_without_nuclei_give_none(image):
    labels = segment_nuclei(image)
    assert labels.shape == image.shape
    assert not labels.any()


def test_specks_are_left_out_by_physical_size():
    image, truth = drawn(GRID)
    image[5:7, 5:7] = 500
    assert detection_f1(segment_nuclei(image, 0.5), truth) == 1.0
    assert not segment_nuclei(image, 0.05).any()  # these discs would be less than a micrometre wide


@pytest.mark.parametrize("image", [np.zeros((2, 8, 8)), np.full((9, 9), np.nan)])
def test_what_is_not_a_plane_of_numbers_is_refused(image):
    with pytest.raises(CellError):
        segment_nuclei(image)


def test_f1_counts_pairs_once():
    truth = np.zeros((10, 20), np.int32)
    truth[:, :8], truth[:, 12:] = 5, 9
    assert detection_f1(truth, truth) == 1.0
    assert detection_f1(np.zeros_like(truth), truth) == 0.0
    assert detection_f1(np.zeros_like(truth), np.zeros_like(truth)) == 1.0
    one = np.where(truth == 5, 1, 0)
    assert detection_f1(one, truth) == pytest.approx(2 / 3)
    halves = truth.copy()
    halves[:5, :8] = 1  # one true object in two equal parts is one hit, not two
    assert detection_f1(halves, truth) == pytest.approx(2 * 2 / 5)
    with pytest.raises(ValueError, match="iou"):
        detection_f1(truth, truth, 0.3)


def test_simulated_styles():
    scores = []
    for seed in range(900, 904):
        field = simulate_field(random_style(seed), seed, shape=(256, 256))
        scores.append(detection_f1(segment_nuclei(field.image[0], field.pixel_size), field.nuclei))
    assert np.mean(scores) >= 0.9


def test_real_nuclei(shared_data: Path):
    labels = segment_nuclei(read_image(shared_data / "translocation" / "images" / "Channel2-01-A-01.png").plane()[0])
    assert 270 <= labels.max() <= 380
    assert 100 <= np.median(np.bincount(labels.ravel())[1:]) <= 250
    for path in sorted((shared_data / "protein_synthesis_cells" / "images").glob("*.tif"))[::120]:
        labels = segment_nuclei(read_image(path).plane()[0])
        assert labels[24:44, 24:44].any(), path.name  # the crops are centred on a cell
