"""Widen the convolutions at both ends of a UNet, so that it takes more latents than it was made for."""

import copy
from typing import Any

import torch
from torch.nn.utils.parametrize import is_parametrized

from phenolens.runtime.errors import ModelError

_ENDS = ("conv_in", "conv_out")


def widen(unet: Any, latents: int) -> bool:
    """Give `unet` room for `latents` latent channels, in place; return whether it had to be widened.

    Weights are tiled: the new channel i is like the old channel i modulo their number. At the input each is divided
    by the number of channels that share it, so that where the new channels repeat the old ones the output is the
    old one, repeated too.
    """
    room = int(unet.config.in_channels)
    if latents <= room:
        return False
    source = torch.arange(latents) % room
    share = torch.bincount(source, minlength=room)[source].float()
    first, last = unet.conv_in, unet.conv_out
    weight = first.weight.detach().float()
    unet.conv_in = _convolution(first, weight[:, source] / share.to(weight.device).view(1, -1, 1, 1), first.bias)
    unet.conv_out = _convolution(last, last.weight.detach().float()[source], last.bias[source])
    unet.register_to_config(in_channels=latents, out_channels=latents)
    return True


def _convolution(like: torch.nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor) -> torch.nn.Conv2d:
    """A convolution in float32, for it is trained, with `weight` and `bias`."""
    made = copy.deepcopy(like).float()
    made.out_channels, made.in_channels = weight.shape[:2]
    made.weight = torch.nn.Parameter(weight, requires_grad=False)
    made.bias = torch.nn.Parameter(bias.detach().float(), requires_grad=False)
    return made


def end_parameters(unet: Any) -> dict[str, torch.nn.Parameter]:
    """Weights and biases of both ends by name, whatever adapter is wrapped around them."""
    found: dict[str, torch.nn.Parameter] = {}
    for end in _ENDS:
        module = getattr(unet, end)
        module = getattr(module, "base_layer", module)
        plain = module.parametrizations.weight.original if is_parametrized(module, "weight") else module.weight
        found |= {f"{end}.weight": plain, f"{end}.bias": module.bias}
    return found


def load_ends(unet: Any, weights: dict[str, torch.Tensor]) -> None:
    """Put saved end convolutions into a UNet that was widened alike.

    Raises
    ------
    ModelError
        Where they belong to a UNet of another layout.
    """
    own = end_parameters(unet)
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in weights.items()}:
        raise ModelError("The adapter's widened convolutions do not fit this base: load the base that its card names.")
    for name, value in weights.items():
        own[name].data.copy_(value)
