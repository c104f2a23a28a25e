"""What fine-tuning trains in a UNet: one interface for LoRA, SVDiff and all weights.

A method prepares a UNet, in place and without changing its output, so that what it trains is what requires a gradient.
Its weights can be taken out, put into another UNet that was prepared alike, and merged there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from phenolens.runtime.errors import ModelError
from phenolens.translation.model.lora import (
    inject_lora,
    load_lora,
    lora_config,
    lora_weights,
    merge_lora,
    read_lora_config,
)
from phenolens.translation.model.svdiff import inject_svdiff, load_svdiff, merge_svdiff, svdiff_shifts

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Method:
    """A way to fine-tune a UNet.

    Parameters
    ----------
    learning_rate
        Highest rate of its schedule.
    configure
        Of a rank: what `inject` needs to know, as JSON.
    read
        The same for saved weights, of what a file says of them; a ValueError where the two do not fit together.
    inject
        Prepare a UNet in place.
    take, put
        The trained weights of a prepared UNet by name; set them. `put` raises `ModelError` where they do not fit.
    merge
        Make the weights part of the UNet, so that it is as fast as it was.
    kept_as
        dtype of the weights in an adapter.
    """

    name: str
    learning_rate: float
    configure: Callable[[int], dict[str, Any]]
    read: Callable[[dict[str, Any], Weights], dict[str, Any]]
    inject: Callable[[Any, dict[str, Any]], None]
    take: Callable[[Any], Weights]
    put: Callable[[Any, Weights], None]
    merge: Callable[[Any], None]
    kept_as: torch.dtype = torch.float32

    def parameters(self, unet: Any) -> list[torch.nn.Parameter]:
        """What is trained of a prepared `unet`."""
        return [parameter for parameter in unet.parameters() if parameter.requires_grad]

    def kept(self, unet: Any) -> Weights:
        """The trained weights of `unet` as an adapter keeps them."""
        return {name: weight.to(self.kept_as) for name, weight in self.take(unet).items()}


def find_method(name: str) -> Method:
    """The method of this name.

    Raises
    ------
    ModelError
        Where there is none.
    """
    if name not in METHODS:
        raise ModelError(f"There is no fine-tuning method '{name}': choose one of {', '.join(METHODS)}.")
    return METHODS[name]


def _no_config(rank: int) -> dict[str, Any]:
    return {}


def _nothing(config: dict[str, Any], weights: Weights) -> dict[str, Any]:
    return {}


def _train_all(unet: Any, config: dict[str, Any]) -> None:
    # Steps of the size of fine-tuning are lost in half precision.
    unet.float().requires_grad_(True)


def _all_weights(unet: Any) -> Weights:
    return {name: weight.detach().clone() for name, weight in unet.state_dict().items()}


def _put_all(unet: Any, weights: Weights) -> None:
    try:
        unet.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError("The adapter does not fit this base: load the base that its card names.") from error


def _stay(unet: Any) -> None:
    pass


# Learning rates: of three for each, about threefold apart, those with the least loss on cells left out.
METHODS = {
    method.name: method
    for method in (
        Method("lora", 1e-3, lora_config, read_lora_config, inject_lora, lora_weights, load_lora, merge_lora),
        Method("svdiff", 3e-2, _no_config, _nothing, inject_svdiff, svdiff_shifts, load_svdiff, merge_svdiff),
        # As large as the base: at half precision, as the base itself is.
        Method("full", 3e-4, _no_config, _nothing, _train_all, _all_weights, _put_all, _stay, torch.float16),
    )
}
