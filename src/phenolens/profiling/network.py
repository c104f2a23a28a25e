"""The network behind an encoder: one trunk for every channel, pooled over the set of channels."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from phenolens.profiling.measurements import Measurements

CROP = 64
"""Side in pixels that crops of single cells are brought to."""


@dataclass(frozen=True)
class NetworkSettings:
    """Sizes of an encoder's network.

    Parameters
    ----------
    stem, widths
        Feature maps after the first convolution (a quarter of the crop's side) and after each further stage; every
        stage but the first halves the side.
    token
        Length of what stands for one channel before the channels are pooled.
    dimension
        Length of the embedding.
    channels
        Number of channels that the network tells apart by a learned vector each; None where it takes any channels, in
        any order.
    """

    stem: int = 24
    widths: tuple[int, ...] = (40, 80, 144)
    token: int = 192
    dimension: int = 128
    channels: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return asdict(self)


class Trunk(nn.Module):
    """What one channel looks like, beside the mean of the others.

    The mean and the standard deviation of every feature map of every stage: textures of several sizes, wherever in the
    crop they are. Group normalisation takes a plate's gain out of it for the most part.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, settings.stem, 7, stride=4, padding=3), _norm(settings.stem), nn.SiLU())
        before = (settings.stem, *settings.widths[:-1])
        self.stages = nn.ModuleList(
            _Stage(one, other, stride=1 if number == 0 else 2)
            for number, (one, other) in enumerate(zip(before, settings.widths, strict=True))
        )
        self.length = 2 * (settings.stem + sum(settings.widths))

    def forward(self, planes: Tensor) -> Tensor:
        """Features (n, length) of planes (n, 2, H, W): a channel, and the mean of the others."""
        maps = self.stem(planes)
        found = [_moments(maps)]
        for stage in self.stages:
            maps = stage(maps)
            found.append(_moments(maps))
        return torch.cat(found, dim=1)


class EncoderNetwork(nn.Module):
    """Crops to embeddings, in two halves: `features` looks at each channel, `pool` joins the channels."""

    centre: Tensor
    spread: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.trunk = Trunk(settings)
        self.measurements = Measurements()
        self.length = self.trunk.length + self.measurements.length
        self.register_buffer("centre", torch.zeros(self.length))
        self.register_buffer("spread", torch.ones(self.length))
        self.tokens = nn.Linear(self.length, settings.token)
        self.names = nn.Parameter(torch.zeros(settings.channels or 1, settings.token))
        self.names.requires_grad_(settings.channels is not None)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(settings.token, settings.token), nn.SiLU())
        self.join = nn.Sequential(
            nn.LayerNorm(2 * settings.token),
            nn.Linear(2 * settings.token, settings.token),
            nn.SiLU(),
            nn.Linear(settings.token, settings.dimension),
        )

    def features(self, crops: Tensor, used: Tensor | None = None) -> Tensor:
        """Features (n, C, length) of mapped crops (n, C, H, W); `used` (n, C) is 0 where a channel is padding."""
        n, count = crops.shape[:2]
        used = crops.new_ones(n, count) if used is None else used
        mask = used[:, :, None, None]
        shown = crops * mask
        others = (used.sum(1)[:, None] - used).clamp(min=1)[:, :, None, None]
        context = (shown.sum(1, keepdim=True) - shown) / others
        planes = torch.stack([shown, context * mask], dim=2).flatten(0, 1)
        found = torch.cat([self.trunk(planes), self.measurements(planes)], dim=1)
        return found.reshape(n, count, -1)

    def scale_measurements(self, crops: Tensor, used: Tensor) -> None:
        """Bring what is measured to one scale, as it is in these crops; the trunk's features are on it already."""
        measured = self.features(crops, used)[used > 0][:, self.trunk.length :]
        self.centre[self.trunk.length :] = measured.mean(0)
        self.spread[self.trunk.length :] = measured.std(0) + 1e-6

    def pool(self, features: Tensor, used: Tensor | None = None) -> Tensor:
        """Embeddings (n, dimension) of features (n, C, length)."""
        scaled = ((features - self.centre) / self.spread).clamp(-8, 8)
        tokens: Tensor = self.mix(self.tokens(scaled) + self.names)
        if used is None:
            mean, largest = tokens.mean(1), tokens.amax(1)
        else:
            mask = used[:, :, None]
            mean = (tokens * mask).sum(1) / mask.sum(1)
            largest = tokens.masked_fill(mask == 0, -torch.inf).amax(1)
        joined: Tensor = self.join(torch.cat([mean, largest], dim=1))
        return joined

    def forward(self, crops: Tensor, used: Tensor | None = None) -> Tensor:
        """Embeddings (n, dimension) of mapped crops (n, C, H, W)."""
        return self.pool(self.features(crops, used), used)


class _Stage(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        self.norm = _norm(after)
        self.other = nn.Conv2d(after, after, 3, padding=1)
        self.out = _norm(after)
        self.around = nn.Conv2d(before, after, 1, stride=stride)

    def forward(self, maps: Tensor) -> Tensor:
        changed = self.other(nn.functional.silu(self.norm(self.one(maps))))
        return nn.functional.silu(self.out(changed + self.around(maps)))


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, width)


def _moments(maps: Tensor) -> Tensor:
    """Mean and standard deviation over space, (n, 2 c)."""
    variance, mean = torch.var_mean(maps, dim=(2, 3), correction=0)
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)
