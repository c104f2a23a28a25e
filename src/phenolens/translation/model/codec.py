"""From channels to latents and back, through an autoencoder of one channel or of colour images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from phenolens.runtime.memory.fitting_batch import FittingBatch
from phenolens.translation.model.fast_networks import FastNetworks
from phenolens.translation.model.memory import fitting_batch

# Pixels that go through the autoencoder at once: a colour image of 256 x 256 takes about 0.2 GB on its way.
_PIXELS = 1 << 20


@dataclass(frozen=True)
class Codec:
    """Encodes C channels in groups of as many as the autoencoder sees together.

    The compact autoencoder sees one, so each channel has latents of its own. Stable Diffusion's sees three as one
    colour image: channels 1 to 3 are the first image, 4 to 6 the second, and so on. A group that is not full is
    filled by repeating its own channels in turn, (a, a, a) or (a, b, a); what is decoded for the repeats is dropped.
    Channels are never averaged.

    Parameters
    ----------
    autoencoder
        In diffusers layout.
    fast
        What computes its answers where it can; torch alone where None.
    encoding, decoding
        How many images go through it at once.
    """

    autoencoder: Any
    fast: FastNetworks | None = None
    encoding: FittingBatch = field(default_factory=fitting_batch, compare=False)
    decoding: FittingBatch = field(default_factory=fitting_batch, compare=False)

    @property
    def together(self) -> int:
        """Channels that share latents."""
        return int(self.autoencoder.config.in_channels)

    @property
    def latents_per_group(self) -> int:
        return int(self.autoencoder.config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels to a latent, along Y and along X."""
        return int(2 ** (len(self.autoencoder.config.block_out_channels) - 1))

    def groups(self, channels: int) -> int:
        return -(-channels // self.together)

    def groups_of(self, latents: torch.Tensor) -> int:
        """Groups that latents (..., G * k, h, w) are of."""
        return int(latents.shape[-3]) // self.latents_per_group

    def latents(self, channels: int) -> int:
        """Latent channels that `channels` channels become."""
        return self.groups(channels) * self.latents_per_group

    @torch.no_grad()
    def encode(self, crops: torch.Tensor) -> torch.Tensor:
        """Latents (n, G * k, h, w) float32, of unit spread, of mapped crops (n, C, H, W) float32.

        The mode of the encoder's distribution is taken, so that encoding is deterministic.
        """
        n, channels = crops.shape[:2]
        images = crops[:, self._filled(channels)].reshape(-1, self.together, *crops.shape[2:])
        at_once = max(1, _PIXELS // (crops.shape[-2] * crops.shape[-1]))
        device = next(self.autoencoder.parameters()).device
        encoded = self.encoding.run(
            lambda part: self._encoded(part.to(device)), images, device=str(device), most=at_once
        )
        mean, factor = self._scale(encoded)
        latents = (encoded - mean) * factor
        joined: torch.Tensor = latents.reshape(n, -1, *latents.shape[2:])
        return joined

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, channels: int | None = None) -> torch.Tensor:
        """Mapped crops (n, C, H, W) float32 of latents (n, G * k, h, w); all that the groups hold where C is None."""
        mean, factor = self._scale(latents)
        flat = latents.reshape(-1, self.latents_per_group, *latents.shape[2:]) / factor + mean
        at_once = max(1, _PIXELS // (flat.shape[-2] * flat.shape[-1] * self.factor**2))
        crops = self.decoding.run(self._decoded, flat, device=str(flat.device), most=at_once)
        joined: torch.Tensor = crops.reshape(len(latents), -1, *crops.shape[2:])
        return joined[:, :channels]

    def latent_mask(self, moving: Sequence[bool]) -> torch.Tensor:
        """(G * k,) float32: 1 for the latents of a group in which any channel moves, else 0."""
        groups = [float(any(moving[i : i + self.together])) for i in range(0, len(moving), self.together)]
        return torch.tensor(groups).repeat_interleave(self.latents_per_group)

    def moving_groups(self, delta: torch.Tensor) -> list[int]:
        """The groups of channels of which any latent differs from zero in `delta` (..., G * k, h, w)."""
        each = delta.unflatten(-3, (-1, self.latents_per_group)).flatten(-3)
        moves: list[bool] = each.flatten(0, -3).any(dim=-1).any(dim=0).tolist()
        return [group for group, moving in enumerate(moves) if moving]

    def channels_of(self, groups: Sequence[int], channels: int) -> list[int]:
        """The channels, of `channels` in all, that are in `groups`."""
        return [channel for channel in range(channels) if channel // self.together in groups]

    def latents_of(self, groups: Sequence[int]) -> list[int]:
        """The latent channels of `groups`."""
        return [group * self.latents_per_group + i for group in groups for i in range(self.latents_per_group)]

    def changed(self, delta: torch.Tensor, channels: int) -> torch.Tensor:
        """(..., C) bool: the channels of which any latent differs from zero in `delta` (..., G * k, h, w)."""
        groups: torch.Tensor = delta.unflatten(-3, (-1, self.latents_per_group)).flatten(-3).any(dim=-1)
        return groups.repeat_interleave(self.together, dim=-1)[..., :channels]

    def _encoded(self, images: torch.Tensor) -> torch.Tensor:
        if self.fast is not None and (known := self.fast("encoder", images)) is not None:
            return known
        latents: torch.Tensor = self.autoencoder.encode(images).latent_dist.mode()
        return latents

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        if self.fast is not None and (known := self.fast("decoder", latents)) is not None:
            return known
        images: torch.Tensor = self.autoencoder.decode(latents).sample
        return images

    def _scale(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and factor, (k, 1, 1) or (1, 1, 1), between what the autoencoder gives and latents of unit spread.

        As diffusers has it: a scaling factor alone, or with it a mean and a spread of each latent, or one shift.
        """
        config = self.autoencoder.config
        mean, std, shift = (config.get(name) for name in ("latents_mean", "latents_std", "shift_factor"))
        means = [shift or 0.0] if mean is None else mean
        factors = [config.scaling_factor / value for value in ([1.0] if std is None else std)]
        return like.new_tensor(means).view(-1, 1, 1), like.new_tensor(factors).view(-1, 1, 1)

    def _filled(self, channels: int) -> list[int]:
        """Channel at each place of the groups."""
        places = []
        for start in range(0, channels, self.together):
            size = min(self.together, channels - start)
            places += [start + place % size for place in range(self.together)]
        return places
