"""Pre-train an encoder that takes any channels, on crops of many styles and data sets."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from phenolens.pretraining.mechanism_sets import gather_effects
from phenolens.pretraining.pretraining_sets import CropSet, gather_sets
from phenolens.profiling.encoders.encoder import CellEncoder
from phenolens.profiling.encoders.encoder_card import EncoderCard
from phenolens.profiling.encoders.network import CROP, EncoderNetwork, NetworkSettings
from phenolens.profiling.training.augmentation import augment
from phenolens.profiling.training.losses import supervised_contrastive_loss
from phenolens.profiling.training.optimisation import optimise
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.files import writable_folder
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import ENCODER
from phenolens.runtime.outputs import check_output
from phenolens.runtime.progress import Job
from phenolens.runtime.provenance import sha256_of


@dataclass(frozen=True)
class EncoderPretrainSettings:
    """How an encoder is pre-trained; the same settings give the same weights on the same machine."""

    styles: int = 120
    effect_styles: int = 72
    effect_share: float = 0.6
    steps: int = 600
    domains: int = 6
    cells: int = 32
    temperature: float = 0.1
    learning_rate: float = 1.5e-3
    seed: int = 0


@one_at_a_time()
def pretrain_encoder(
    out: Path, images: Path | None = None, settings: EncoderPretrainSettings | None = None, device: str = "auto"
) -> Job[Path]:
    """Train an encoder from scratch and write it to `out`; an interrupted run goes on from its checkpoint.

    A step compares cells of a few data sets. Those of one condition of one data set belong together, though each is
    seen through a gain, background, blur and noise of its own, as plates differ; all others are negatives, those of the
    same data set's other conditions the hardest (PaCLR, with simulated effects for compounds). A crop of no known
    condition is seen twice, and belongs to itself alone (SimCLR).

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
    check_output(Path(out) / "encoder", ENCODER)
    checkpoints = writable_folder(Path(out) / "checkpoint")
    sets = yield from gather_sets(checkpoints / "crops.pt", images, settings.styles, settings.seed)
    effects = yield from gather_effects(checkpoints / "effects.pt", settings.effect_styles, settings.seed)
    torch.manual_seed(settings.seed)
    network = EncoderNetwork(NetworkSettings())
    projection = nn.Sequential(
        nn.Linear(network.settings.dimension, 192), nn.SiLU(), nn.Linear(192, network.settings.dimension)
    )
    modules = nn.ModuleList([network, projection]).to(device)
    plain, changed = _by_domain(sets), _by_domain(effects, first=len(sets) + 1)

    def batch_at(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        many = round(settings.domains * settings.effect_share)
        chosen = [changed[i] for i in rng.choice(len(changed), min(many, len(changed)), replace=False)]
        few = settings.domains - len(chosen)
        chosen += [plain[i] for i in rng.choice(len(plain), min(few, len(plain)), replace=False)]
        return _batch(chosen, settings.cells, rng)

    with torch.no_grad():
        crops, used, _ = batch_at(np.random.default_rng([settings.seed, 0x5CA1E]))
        network.scale_by(crops.to(device), used.to(device))

    def loss_at(rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        crops, used, labels = batch_at(rng)
        seen = projection(network(augment(crops, used, noise).to(device), used.to(device)))
        return supervised_contrastive_loss(
            seen, labels.to(device), temperature=settings.temperature, base_temperature=None
        )

    yield from optimise(
        modules,
        loss_at,
        steps=settings.steps,
        seed=settings.seed,
        learning_rate=settings.learning_rate,
        weight_decay=1e-2,
        what="Encoder",
        checkpoint=checkpoints / "encoder.pt",
        fingerprint=repr((settings, None if images is None else sha256_of(images))),
        device=device,
    )
    card = EncoderCard(
        name=Path(out).name,
        recipe=asdict(settings),
        crops=sum(len(s.crops) for s in [*sets, *effects]),
        domains=len(plain) + len(changed),
        attribution=tuple(sorted({s.attribution for s in sets} - {""})),
    )
    return CellEncoder(network.cpu(), card).save(Path(out) / "encoder")


def _by_domain(sets: list[CropSet], first: int = 1) -> list[list[tuple[int, CropSet]]]:
    """The sets of each domain, numbered from `first`; 0 where the condition is not known."""
    grouped: dict[str, list[tuple[int, CropSet]]] = {}
    for number, one in enumerate(sets, start=first):
        grouped.setdefault(one.domain, []).append((number if one.condition else 0, one))
    return list(grouped.values())


def _batch(
    domains: list[list[tuple[int, CropSet]]], cells: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Crops (n, room, 64, 64), channels in use (n, room) and labels (n,)."""
    drawn: list[tuple[int, NDArray[np.float32]]] = []
    for conditions in domains:
        # One choice of channels a domain, sometimes without one of them, so that none is needed.
        channels = rng.permutation(conditions[0][1].crops.shape[1])
        if len(channels) > 1 and rng.random() < 0.2:
            channels = channels[:-1]
        for place, turn in enumerate(rng.permutation(np.arange(cells) % len(conditions))):
            label, one = conditions[turn]
            crop = one.crops[rng.integers(len(one.crops))][channels].astype(np.float32)
            if label:
                drawn.append((label, crop))
            elif place % 2 == 0:
                drawn += [(-1 - len(drawn), crop)] * 2
    room = max(len(crop) for _, crop in drawn)
    batch = torch.zeros(len(drawn), room, CROP, CROP)
    used = torch.zeros(len(drawn), room)
    for row, (_, crop) in enumerate(drawn):
        batch[row, : len(crop)] = torch.from_numpy(crop)
        used[row, : len(crop)] = 1
    return batch, used, torch.tensor([label for label, _ in drawn])
