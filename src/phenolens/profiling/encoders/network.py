"""The network behind an encoder: each channel measured alike, then joined by a head that is learned."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from phenolens.profiling.encoders.measurements import Measurements

CROP = 64
"""Side in pixels that crops of single cells are brought to."""

_FARTHEST = 8.0


@dataclass(frozen=True)
class NetworkSettings:
    """Sizes of an encoder's network.

    Parameters
    ----------
    token
        Length of what stands for one channel before the channels of any image are pooled.
    dimension
        Length of the embedding.
    channels
        Number of channels that the network tells apart, by a head for one screen; None where it takes any channels, in
        any order.
    """

    token: int = 192
    dimension: int = 128
    channels: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return asdict(self)


class SetHead(nn.Module):
    """Joins any number of channels, in any order: a token for each, then their mean and their largest values."""

    def __init__(self, length: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.tokens = nn.Sequential(
            nn.Linear(length, settings.token), nn.SiLU(), nn.Linear(settings.token, settings.token), nn.SiLU()
        )
        self.join = nn.Sequential(
            nn.LayerNorm(2 * settings.token),
            nn.Linear(2 * settings.token, settings.token),
            nn.SiLU(),
            nn.Linear(settings.token, settings.dimension),
        )

    def forward(self, features: Tensor, used: Tensor) -> Tensor:
        """Embeddings (n, d) of scaled features (n, C, length)."""
        tokens = self.tokens(features)
        mask = used[:, :, None]
        mean = (tokens * mask).sum(1) / mask.sum(1)
        largest = tokens.masked_fill(mask == 0, -torch.inf).amax(1)
        joined: Tensor = self.join(torch.cat([mean, largest], dim=1))
        return joined


class ScreenHead(nn.Module):
    """Joins the channels of one screen, each with weights of its own, by a linear map.

    Linear, so that what a plate adds to the features it adds to the embeddings, where a correction by the plate's
    controls takes it out again; and so that few wells suffice to train it.
    """

    def __init__(self, length: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.join = nn.Linear(length * (settings.channels or 1), settings.dimension, bias=False)

    def forward(self, features: Tensor, used: Tensor) -> Tensor:
        """Embeddings (n, d) of scaled features (n, C, length)."""
        joined: Tensor = self.join((features * used[:, :, None]).flatten(1))
        return joined

    @torch.no_grad()
    def start_from(self, features: Tensor, controls: Tensor) -> None:
        """Start where the cells (n, C, length) vary most, in units of how the controls (m, C, length) vary.

        Principal components after sphering by the controls' covariance, to which a tenth of its mean is added. Where
        there are fewer than the head has outputs, the others are zero.
        """
        cells, calm = features.flatten(1).double(), controls.flatten(1).double()
        variance, directions = torch.linalg.eigh(torch.cov(calm.T))
        kept = variance.clamp(min=0) + 0.1 * variance.mean() + 1e-9
        sphering = (directions / kept.sqrt()) @ directions.T
        centred = (cells - cells.mean(0)) @ sphering
        _, axes = torch.linalg.eigh(centred.T @ centred)
        count = min(self.join.out_features, axes.shape[1])
        self.join.weight.zero_()
        self.join.weight[:count] = (axes.flip(1)[:, :count].T @ sphering).to(self.join.weight)


class EncoderNetwork(nn.Module):
    """Crops to embeddings, in two halves: `features` measures each channel, `pool` joins the channels."""

    centre: Tensor
    spread: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.measurements = Measurements()
        self.length = self.measurements.length
        # What features are scaled by, channel by channel where the channels are told apart.
        shape = (self.length,) if settings.channels is None else (settings.channels, self.length)
        self.register_buffer("centre", torch.zeros(shape))
        self.register_buffer("spread", torch.ones(shape))
        self.head = (SetHead if settings.channels is None else ScreenHead)(self.length, settings)

    def features(self, crops: Tensor, used: Tensor | None = None) -> Tensor:
        """Features (n, C, length) of mapped crops (n, C, H, W); `used` (n, C) is 0 where a channel is padding."""
        n, count = crops.shape[:2]
        used = crops.new_ones(n, count) if used is None else used
        mask = used[:, :, None, None]
        shown = crops * mask
        others = (used.sum(1)[:, None] - used).clamp(min=1)[:, :, None, None]
        context = (shown.sum(1, keepdim=True) - shown) / others
        planes = torch.stack([shown, context * mask], dim=2).flatten(0, 1)
        found: Tensor = self.measurements(planes)
        return found.reshape(n, count, -1)

    @torch.no_grad()
    def scale_by(self, crops: Tensor, used: Tensor) -> None:
        """Bring all features to one scale, as they vary over these crops."""
        measured = self.features(crops, used)[used > 0]
        self.centre.copy_(measured.mean(0))
        self.spread.copy_(measured.std(0) + 1e-6)

    def scaled(self, features: Tensor) -> Tensor:
        """Features (n, C, length) by the network's own centre and spread, what lies far out held."""
        return ((features - self.centre) / self.spread).clamp(-_FARTHEST, _FARTHEST)

    def pool(self, features: Tensor, used: Tensor | None = None) -> Tensor:
        """Embeddings (n, dimension) of features (n, C, length)."""
        used = features.new_ones(features.shape[:2]) if used is None else used
        joined: Tensor = self.head(self.scaled(features), used)
        return joined

    def forward(self, crops: Tensor, used: Tensor | None = None) -> Tensor:
        """Embeddings (n, dimension) of mapped crops (n, C, H, W)."""
        return self.pool(self.features(crops, used), used)
