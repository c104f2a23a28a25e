"""A base with random weights, small enough to train in a test."""

from pathlib import Path

import torch

from phenolens.translation.base import Base
from phenolens.translation.pretraining import SCHEDULER, build_autoencoder, build_unet
from phenolens.translation.schedule import NoiseSchedule


def make_tiny_base(folder: Path, seed: int = 0) -> Path:
    """Write a base of the compact layout, with few and random weights, to `folder`."""
    torch.manual_seed(seed)
    base = Base(
        build_autoencoder((8, 8, 16)), build_unet((16, 16, 32), 1), NoiseSchedule.from_config(SCHEDULER), SCHEDULER
    )
    return base.save(folder)
