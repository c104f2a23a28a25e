"""A base and an adapter with random weights, small enough for a test."""

from pathlib import Path

import torch

from phenolens.screens.conditions import Condition
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.model.lora import inject_lora, lora_config, lora_weights
from phenolens.translation.solvers.schedule import NoiseSchedule
from phenolens.translation.training.networks import build_autoencoder, build_unet
from phenolens.translation.training.pretraining import SCHEDULER


def make_tiny_base(folder: Path, seed: int = 0, levels: int = 3) -> Path:
    """Write a base of the compact layout, with few and random weights, to `folder`."""
    torch.manual_seed(seed)
    base = Base(
        autoencoder=build_autoencoder((8, 8, 16)[:levels]),
        unet=build_unet((16, 16, 32)[:levels], 1),
        schedule=NoiseSchedule.from_config(SCHEDULER),
        scheduler_config=SCHEDULER,
    )
    return base.save(folder)


def make_tiny_adapter(base_folder: Path, channels: int = 2, crop: int = 64) -> Adapter:
    """Make an adapter of random weights that changes what `base_folder` predicts."""
    base = load_base(base_folder)
    config = lora_config(2)
    inject_lora(base.unet, config)
    torch.manual_seed(5)
    weights = {name: 0.2 * torch.randn_like(value) for name, value in lora_weights(base.unet).items()}
    names = tuple("abcdef"[:channels])
    intensity = IntensityMap("affine", names, (0.0,) * channels, (200.0,) * channels)
    tokens = torch.randn(3, base.token_size)
    return Adapter(
        source=Condition.parse("control"),
        target=Condition.parse("treated"),
        channel_names=names,
        crop=crop,
        pixel_size=None,
        intensity=intensity,
        tokens=tokens,
        weights=weights,
        config=config,
        base=str(base_folder),
    )
