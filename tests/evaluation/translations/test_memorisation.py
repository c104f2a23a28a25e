"""Memorising is told from generalising, with noise models of which it is known what they do."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from phenolens.evaluation.translations.memorisation import (
    Memorisation,
    Sampled,
    check_memorisation,
    compare,
    sample,
    split_halves,
)
from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import finish
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.model.base import open_base
from phenolens.translation.solvers.schedule import NoiseSchedule
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.generation import generate
from phenolens.translation.training.pretraining import SCHEDULER
from phenolens.translation.training.training_set import TrainingSet
from tiny_base import make_tiny_base

SCHEDULE = NoiseSchedule.from_config(SCHEDULER)
TOKENS = torch.tensor([[0.0], [1.0], [2.0]])
LEVELS = (-1.0, 1.0)


def images(seed: int, n: int = 12) -> list[np.ndarray]:
    """Crops of two conditions that differ in level: independent draws from one known distribution each."""
    rng = np.random.default_rng(seed)
    return [(level + rng.standard_normal((n, 1, 8, 8))).astype(np.float32) for level in LEVELS]


@dataclass
class KnownModel:
    """Stands for a base with fine-tuned weights: crops are their own latents, and the noise model is given."""

    training: list[torch.Tensor]
    memorises: bool
    device: str = "cpu"
    schedule: NoiseSchedule = SCHEDULE

    def encode(self, crops: torch.Tensor) -> torch.Tensor:
        return crops

    def noise_at(self, y: torch.Tensor, s: float, tokens: torch.Tensor) -> torch.Tensor:
        condition = int(tokens[0, 1, 0]) - 1
        if not self.memorises:  # the noise model of the distribution itself, whatever the training images
            return s * (y - LEVELS[condition]) / (1 + s * s)
        seen = self.training[condition]  # the noise model of the training images alone
        distance = (y[:, None] - seen[None]).square().sum(dim=(2, 3, 4))
        weight = torch.softmax(-distance.double() / (2 * s * s), dim=1).float()
        return (y - torch.einsum("nm,mchw->nchw", weight, seen)) / s


def samples(seed: int, memorises: bool) -> Sampled:
    source, target = images(seed)
    model = KnownModel([torch.from_numpy(source), torch.from_numpy(target)], memorises)
    return finish(sample(model, TOKENS, source, target, count=20))


def test_a_model_that_gives_training_images_back_is_caught():
    found = compare(samples(0, memorises=True), samples(1, memorises=True))
    assert np.median(found.nearest) > 0.99, "each image is a training image"
    assert found.auroc < 0.05
    assert found.gap < -0.5


def test_a_model_that_has_learnt_the_distribution_is_not():
    found = compare(samples(0, memorises=False), samples(1, memorises=False))
    assert np.median(found.between) > 0.99, "one noise, one image, whatever the training images"
    assert found.auroc > 0.99
    assert found.gap > 0.5


def test_a_turned_training_image_counts_as_memorised():
    rng = torch.Generator().manual_seed(0)
    seen = torch.randn((5, 1, 8, 8), generator=rng)
    turns = torch.stack([torch.rot90(m, k, (2, 3)) for m in (seen, seen.flip(3)) for k in range(4)])
    turned = torch.rot90(seen, 1, (2, 3))
    fresh = torch.randn((5, 1, 8, 8), generator=rng)
    half = Sampled((turned, turned), (turns, turns))
    assert compare(half, half).nearest == pytest.approx(np.ones(20))
    assert compare(Sampled((fresh, fresh), (turns, turns)), half).nearest[:5].max() < 0.6


def test_the_area_is_the_share_of_pairs_and_the_histograms_hold_all_values():
    found = Memorisation(np.array([0.9, 0.5]), np.array([0.5, 0.1, 0.6, 0.2]), 10)
    assert found.auroc == pytest.approx((4 + 2.5) / 8)
    assert found.gap == pytest.approx(0.7 - 0.35)
    edges, between, nearest = found.histograms(4)
    assert (edges[0], edges[-1]) == (0.1, 0.9)
    assert (between.sum(), nearest.sum()) == (2, 4)


def test_generation_follows_the_exact_flow_of_a_gaussian():
    model = KnownModel([], memorises=False)
    noise = torch.randn((4, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    tokens = TOKENS[[0, 2]].expand(4, 2, 1)
    end = SCHEDULE.grid(1)[-1]
    exact = 1 + (end * noise - 1) / np.sqrt(1 + end**2)
    errors = [
        float((finish(generate(model.noise_at, noise, tokens, SCHEDULE.grid(steps))) - exact).abs().max())
        for steps in (15, 30, 60)
    ]
    assert errors[1] < 0.05
    assert errors[0] / errors[1] > 2.5, "second order"
    assert errors[1] / errors[2] > 2.5, "second order"


def training_set(wells: list[str]) -> TrainingSet:
    rng = np.random.default_rng(0)
    crops = rng.standard_normal((len(wells), 2, 64, 64)).astype(np.float32)
    names = np.array(wells)
    return TrainingSet(crops, crops + 1, names, names, IntensityMap("affine", ("a", "b"), (0.0,) * 2, (1.0,) * 2), 64)


def test_halves_share_no_well_and_have_equal_size():
    one, other, apart = split_halves(training_set(["A"] * 4 + ["B"] * 3 + ["C"] * 2 + ["D"]))
    assert apart
    assert not set(one.source_wells) & set(other.source_wells)
    assert not set(one.target_wells) & set(other.target_wells)
    assert len(one.source) == len(other.source) == len(one.source_wells) == 5
    one, other, apart = split_halves(training_set(["A"] * 7))
    assert not apart
    assert len(one.source) == len(other.source) == 3
    assert not {crop.tobytes() for crop in one.source} & {crop.tobytes() for crop in other.source}
    with pytest.raises(CellError, match="3 cells"):
        split_halves(training_set(["A", "A", "B"]))


@pytest.mark.slow
def test_two_models_are_trained_and_compared(tmp_path):
    tiny = make_tiny_base(tmp_path / "tiny")
    settings = FinetuneSettings(steps=3, batch=2, rank=2)
    found = finish(
        check_memorisation(
            lambda: open_base(str(tiny)), training_set(["A", "A", "B", "B"]), ("a", "b"), settings, tmp_path, count=3
        )
    )
    assert found.between.shape == (6,)
    assert found.nearest.shape == (12,)
    assert (found.cells, found.by_well) == (4, True)
    assert np.abs(np.concatenate([found.between, found.nearest])).max() <= 1 + 1e-9
    assert not list(tmp_path.glob("*.pt*"))
