"""What the files of a base declare, looked at before memory is taken, and whether its networks compute at all.

A base may come from a stranger. Its configuration says how large the networks are, so it is bounded, built without
memory, and compared with the weights that are there; only then are these read.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.models import weights_file, weights_variant

# Stable Diffusion XL, the largest of its kind, has 3 levels of 2 layers of up to 10 transformers.
_MOST_LAYERS = 256
_MOST_NUMBER = 1 << 20
_MOST_LEVELS = 16
_MOST_TIMESTEPS = 100_000
_COUNTS = ("layers_per_block", "transformer_layers_per_block", "reverse_transformer_layers_per_block")


class NotABase(ValueError):
    """A base's files do not describe networks that can be used."""


def read_network(kind: Any, folder: Path) -> Any:
    """Read a network of a base, once what its configuration declares has been compared with its weights.

    Parameters
    ----------
    kind
        Its class, of diffusers.
    folder
        Holds ``config.json`` and the weights.

    Raises
    ------
    NotABase
        The configuration asks for more than the weights fill, or weights are missing, or are not finite.
    """
    config = read_json_object(folder / "config.json")
    _check_numbers(config)
    declared = _declared_numbers(kind, config, folder)
    stored = _stored_numbers(weights_file(folder))
    if declared > stored:
        raise NotABase(f"config.json in {folder.name} declares {declared:,} weights, and there are {stored:,} at most")
    network, found = kind.from_pretrained(
        folder, torch_dtype=torch.float32, variant=weights_variant(folder), output_loading_info=True
    )
    lacking = [*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])]
    if lacking:
        raise NotABase(f"{folder.name} lacks {len(lacking)} weights, such as {min(lacking)}")
    # One try cannot tell: a kernel may pass over a weight that is NaN where what it weighs is zero.
    odd = [name for name, value in network.state_dict().items() if not bool(value.isfinite().all())]
    if odd:
        raise NotABase(f"weights in {folder.name} are NaN or infinite, such as those of {min(odd)}")
    return network


def check_schedule(config: dict[str, Any]) -> None:
    """Raise `NotABase` where a scheduler's configuration asks for more timesteps than any schedule has."""
    steps, given = config.get("num_train_timesteps", 1000), config.get("trained_betas")
    if not isinstance(steps, int) or not 2 <= steps <= _MOST_TIMESTEPS:
        raise NotABase(f"its scheduler has {str(steps)[:20]} timesteps, not 2 to {_MOST_TIMESTEPS:,}")
    if given is not None and (not isinstance(given, list) or not 2 <= len(given) <= _MOST_TIMESTEPS):
        raise NotABase(f"its scheduler does not list 2 to {_MOST_TIMESTEPS:,} noise levels")


def check_levels(alphas_cumprod: np.ndarray) -> None:
    """Raise `NotABase` where noise levels do not rise from less noise to more."""
    levels = np.asarray(alphas_cumprod)
    whole = np.isfinite(levels).all() and levels.min() >= 0 and levels.max() <= 1
    if not whole or (np.diff(levels) > 0).any() or levels[0] <= levels[-1]:
        raise NotABase("the noise levels of its scheduler do not rise")


@torch.no_grad()
def try_networks(base: Any) -> None:
    """Let the networks of a loaded base compute once, on the smallest crop; raise `NotABase` where they do not."""
    size = base.crop_step
    # Twice as wide as the smallest, for one pixel alone cannot be normalised.
    crops = torch.linspace(-1, 1, 2 * size * size).view(1, 1, size, 2 * size)
    latents = base.codec.encode(crops)
    decoded = base.codec.decode(latents, 1)
    room = int(base.unet.config.in_channels)
    noisy = torch.zeros(1, room, *latents.shape[2:])
    tokens = torch.zeros(1, 2, base.token_size)
    predicted = base.predict(noisy, torch.full((1,), base.schedule.timestep(1.0)), tokens)
    if decoded.shape != crops.shape or predicted.shape != noisy.shape:
        raise NotABase("its networks give back another shape than they are given")
    if not all(bool(found.isfinite().all()) for found in (latents, decoded, predicted)):
        raise NotABase("its weights are not all numbers: what it computes is NaN or infinite")


def _check_numbers(config: dict[str, Any]) -> None:
    if config.get("quantization_config") is not None:
        raise NotABase("its weights are quantised, which is not supported")
    stack: list[tuple[str, Any]] = list(config.items())
    while stack:
        name, value = stack.pop()
        if isinstance(value, (list, tuple)):
            if len(value) > _MOST_LEVELS:
                raise NotABase(f"{name} in its configuration has {len(value)} values, not {_MOST_LEVELS} at most")
            stack += [(name, one) for one in value]
        elif isinstance(value, (int, float)) and not abs(value) <= _MOST_NUMBER:
            raise NotABase(f"{name} in its configuration is {str(value)[:20]}, out of all proportion")
    layers = len(config.get("block_out_channels") or ())
    for name in _COUNTS:
        layers *= max([1, *_whole_numbers(config.get(name))])
    if layers > _MOST_LAYERS:
        raise NotABase(f"its configuration asks for {layers:,} layers, not {_MOST_LAYERS} at most")


def _whole_numbers(value: Any) -> list[int]:
    if isinstance(value, (list, tuple)):
        return [number for one in value for number in _whole_numbers(one)]
    return [value] if isinstance(value, int) else []


def _declared_numbers(kind: Any, config: dict[str, Any], folder: Path) -> int:
    """How many weights a configuration declares, by building the network without memory for them."""
    try:
        with torch.device("meta"):
            network = kind.from_config(config)
    except Exception as error:
        # diffusers and torch say by whatever error that a configuration makes no sense.
        raise NotABase(f"config.json in {folder.name} describes no network ({error})") from error
    return sum(weight.numel() for weight in network.state_dict().values())


def _stored_numbers(file: Path) -> int:
    """How many weights a file can hold at most, without reading them."""
    if file.suffix != ".safetensors":
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise NotABase(f"{file.name} is compressed, as PyTorch does not write it")
        return file.stat().st_size
    from safetensors import safe_open

    with safe_open(file, "np") as opened:
        shapes = [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118 - not a mapping
    return int(sum(np.prod(shape, dtype=np.int64) for shape in shapes))
