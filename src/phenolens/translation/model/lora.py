"""LoRA (Hu et al., 2021, arXiv 2106.09685): low-rank matrices beside the weights of the UNet, by peft."""

import re
from typing import Any

import torch

from phenolens.runtime.errors import ModelError

# Attention, feed-forward, residual convolutions and both ends: with attention alone, a base that has not seen
# the data set adapts too little.
LORA_LAYERS = (
    r".*\.(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|ff\.net\.2|conv1|conv2|conv_shortcut|time_emb_proj)$"
    r"|conv_in|conv_out"
)


def lora_config(rank: int) -> dict[str, Any]:
    """peft's configuration of LoRA on the layers that are adapted."""
    return {
        "r": rank,
        "lora_alpha": rank,
        "target_modules": LORA_LAYERS,
        "init_lora_weights": "gaussian",
        "peft_type": "LORA",
    }


_MOST_ALPHA = 1e4


def read_lora_config(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    """peft's configuration for saved weights, of which a file says no more than the scale.

    Layers and rank are those of the weights: a file could ask for any rank, or name layers by an expression that takes
    for ever.

    Raises
    ------
    ValueError
        The weights are not those of LoRA, or the configuration is of another rank or scale.
    """
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, weight in weights.items():
        layer, found, matrix = name.partition(".lora_")
        if not found or matrix.partition(".")[0] not in ("A", "B"):
            raise ValueError(f"{name[:80]!r} is no weight of LoRA")
        layers.setdefault(layer, {})[matrix[0]] = tuple(weight.shape)
    ranks = {(shapes.get("A", (0,))[0], shapes.get("B", (0, 0))[1:2]) for shapes in layers.values()}
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or ranks != {(rank, (rank,))}:
        raise ValueError(f"its configuration has the rank {str(rank)[:20]}, its weights have another one")
    if not isinstance(alpha, (int, float)) or not 0 < alpha <= _MOST_ALPHA:
        raise ValueError(f"its configuration has the scale {str(alpha)[:20]}")
    return lora_config(rank) | {"lora_alpha": alpha, "target_modules": "|".join(map(re.escape, sorted(layers)))}


def inject_lora(unet: Any, config: dict[str, Any]) -> None:
    """Add LoRA layers to `unet` in place; with fresh layers its output does not change.

    They are float32, in a UNet of half precision too.
    """
    from peft import LoraConfig
    from peft.tuners.tuners_utils import BaseTunerLayer

    unet.add_adapter(LoraConfig(**{k: v for k, v in config.items() if k != "peft_type"}))
    layers: list[Any] = [module for module in unet.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        # What comes in 16 bits is computed under autocast, which would cast it back at once.
        layer.cast_input_dtype_enabled = False
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def load_lora(unet: Any, weights: dict[str, torch.Tensor]) -> None:
    """Put saved LoRA weights into the layers that `inject_lora` added.

    Raises
    ------
    ModelError
        Where they belong to a UNet of another layout.
    """
    from peft import set_peft_model_state_dict

    try:
        result: Any = set_peft_model_state_dict(unet, weights, adapter_name="default")
    except (RuntimeError, KeyError) as error:
        raise ModelError("The adapter does not fit this base: load the base that its card names.") from error
    if result.unexpected_keys or any("lora" in key for key in result.missing_keys):
        raise ModelError("The adapter does not fit this base: load the base that its card names.")


def lora_weights(unet: Any) -> dict[str, torch.Tensor]:
    """The LoRA weights of `unet` by peft's names."""
    from peft import get_peft_model_state_dict

    return {k: v.detach().clone() for k, v in get_peft_model_state_dict(unet, adapter_name="default").items()}


def merge_lora(unet: Any) -> None:
    """Add the low-rank products to the weights beside which they lie."""
    unet.fuse_lora()
