"""The guidance at which strength 1 looks as treated as the treated: against a model whose answer is known."""

import numpy as np
import pytest
import torch

from phenolens.runtime.progress import finish
from phenolens.translation.solvers.schedule import NoiseSchedule
from phenolens.translation.training.guidance import USUAL, calibrate_guidance
from phenolens.translation.training.pretraining import SCHEDULER

SHIFT = 2.0


class Gaussian:
    """Pixels are N(0, 1) untreated; the model knows of the treatment's shift in the second channel only a share."""

    device = "cpu"
    schedule = NoiseSchedule.from_config(SCHEDULER)

    def __init__(self, share):
        self.shift = torch.tensor([0.0, SHIFT * share]).view(1, 2, 1, 1)

    def encode(self, crops):
        return crops

    def latent_mask(self, moving):
        return torch.tensor([float(moves) for moves in moving])

    def decode_change(self, latents, delta, moving):
        return delta

    def noise_at(self, y, s, tokens):
        return s * (y - self.shift * tokens[:, 1, 0].view(-1, 1, 1, 1)) / (1 + s * s)


def calibrated(share, moving=(False, True), back=False):
    rng = np.random.default_rng(0)
    source, target = rng.normal(0, 1, (2, 40, 2, 16, 16)).astype(np.float32)
    target[:, 1] += SHIFT
    tokens = torch.tensor([[0.0], [0.0], [1.0]])
    if back:
        source, target, tokens = target, source, tokens[[0, 2, 1]]
    return finish(calibrate_guidance(Gaussian(share), source, target, tokens, moving))


@pytest.mark.parametrize(("share", "weight"), [(1.0, 1.0), (0.8, 1.25), (1.25, 0.8), (0.6, 1.67)])
def test_a_model_that_knows_a_share_is_guided_by_its_inverse(share, weight):
    assert calibrated(share) == pytest.approx(weight, abs=0.06)


def test_the_way_back_is_found_by_exchanging_the_conditions():
    assert calibrated(0.8, back=True) == pytest.approx(1.25, abs=0.06)


def test_a_weak_model_gets_the_usual_weight_and_no_more():
    assert calibrated(0.3) == USUAL


def test_nothing_to_translate_asks_for_nothing():
    assert calibrated(1.0, (False, False)) == USUAL
