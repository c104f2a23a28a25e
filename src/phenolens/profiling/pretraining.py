"""Pre-train an encoder that takes any channels, on crops of many styles and data sets."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from phenolens.profiling.augmentation import augment
from phenolens.profiling.encoder import CellEncoder
from phenolens.profiling.losses import simclr_loss, supervised_contrastive_loss
from phenolens.profiling.network import CROP, EncoderNetwork, NetworkSettings
from phenolens.profiling.optimisation import optimise
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.files import writable_folder
from phenolens.runtime.progress import Job
from phenolens.screens.pretraining_sets import CropSet, gather_sets


@dataclass(frozen=True)
class EncoderPretrainSettings:
    """How an encoder is pre-trained; the same settings give the same weights on the same machine."""

    styles: int = 120
    steps: int = 900
    domains: int = 8
    cells: int = 16
    temperature: float = 0.1
    learning_rate: float = 1.5e-3
    seed: int = 0


def pretrain_encoder(
    out: Path, images: Path | None = None, settings: EncoderPretrainSettings | None = None, device: str = "auto"
) -> Job[Path]:
    """Train an encoder from scratch and write it to `out`; an interrupted run goes on from its checkpoint.

    Two views of every crop, each with its own gain, background, blur and noise, as plates differ. Views of one crop
    belong together (SimCLR); so do the crops of one condition of one data set, against that data set's other condition
    and all others (PaCLR, with the simulated treatments for compounds).

    Parameters
    ----------
    out
        Folder for the encoder; checkpoints live in its subfolder ``checkpoint``.
    images
        Folder of real images with an ``images.csv``; simulated cells alone without it.

    Raises
    ------
    ScreenError, ImageError, OutputError
        Where the images or the output folder are not usable.
    """
    settings = settings or EncoderPretrainSettings()
    device = resolve_device(device)
    checkpoints = writable_folder(Path(out) / "checkpoint")
    sets = yield from gather_sets(checkpoints / "crops.pt", images, settings.styles, settings.seed)
    torch.manual_seed(settings.seed)
    network = EncoderNetwork(NetworkSettings())
    projection = nn.Sequential(
        nn.Linear(network.settings.dimension, 192), nn.SiLU(), nn.Linear(192, network.settings.dimension)
    )
    modules = nn.ModuleList([network, projection]).to(device)
    domains = _by_domain(sets)

    def loss_at(rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        crops, used, labels = _batch(domains, settings, rng)
        views = [augment(crops, used, noise).to(device) for _ in range(2)]
        mask = used.to(device)
        one, other = (projection(network(view, mask)) for view in views)
        alike = torch.cat([labels, labels]).to(device)
        together = supervised_contrastive_loss(
            torch.cat([one, other]), alike, temperature=settings.temperature, base_temperature=None
        )
        return together + simclr_loss(one, other, temperature=settings.temperature)

    yield from optimise(
        modules,
        loss_at,
        steps=settings.steps,
        seed=settings.seed,
        learning_rate=settings.learning_rate,
        weight_decay=1e-2,
        what="Encoder",
        checkpoint=checkpoints / "encoder.pt",
        fingerprint=repr(settings),
        device=device,
    )
    card = {
        "name": Path(out).name,
        "recipe": asdict(settings),
        "crops": sum(len(s.crops) for s in sets),
        "domains": len(domains),
        "attribution": sorted({s.attribution for s in sets} - {""}),
    }
    return CellEncoder(network.cpu(), card).save(Path(out) / "encoder")


def _by_domain(sets: list[CropSet]) -> list[list[tuple[int, CropSet]]]:
    """The sets of each domain, with a number that stands for the condition; 0 where it is not known."""
    grouped: dict[str, list[tuple[int, CropSet]]] = {}
    for number, one in enumerate(sets, start=1):
        grouped.setdefault(one.domain, []).append((number if one.condition else 0, one))
    return list(grouped.values())


def _batch(
    domains: list[list[tuple[int, CropSet]]], settings: EncoderPretrainSettings, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Crops (n, room, 64, 64), channels in use (n, room) and labels (n,); crops of no known condition stand alone."""
    chosen = rng.choice(len(domains), min(settings.domains, len(domains)), replace=False)
    drawn: list[tuple[int, np.ndarray]] = []
    for domain in chosen:
        conditions = domains[domain]
        for _ in range(settings.cells):
            label, one = conditions[rng.integers(len(conditions))]
            crops = one.crops[rng.integers(len(one.crops))]
            drawn.append((label, crops))
    room = max(len(crop) for _, crop in drawn)
    batch = torch.zeros(len(drawn), room, CROP, CROP)
    used = torch.zeros(len(drawn), room)
    labels = torch.zeros(len(drawn), dtype=torch.long)
    for row, (label, crop) in enumerate(drawn):
        channels = rng.permutation(len(crop))
        # Sometimes with fewer channels, so that none is needed.
        if len(channels) > 1 and rng.random() < 0.2:
            channels = channels[:-1]
        batch[row, : len(channels)] = torch.from_numpy(crop[channels].astype(np.float32))
        used[row, : len(channels)] = 1
        labels[row] = label if label else -1 - row
    return batch, used, labels
