"""What the values in an adapter's files may be: checked as they are read, for an adapter may come from a stranger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from phenolens.runtime.cards import texts

if TYPE_CHECKING:
    import torch

# Far beyond any cell, and any weight of the condition difference that leaves a picture.
MOST_CROP, _MOST_GUIDANCE = 4096, 1000.0
# What another adapter would be trained with that is compared with this one.
_MOST_SETTINGS = {"rank": 1024, "batch": 4096, "max_cells": 100_000, "crop": MOST_CROP, "network_crop": MOST_CROP}
_MOST_NUMBER = 10_000_000


def pair(values: Any) -> tuple[str, str]:
    """Two texts."""
    found = texts(values)
    if len(found) != 2:
        raise ValueError(f"2 names were expected, and not {len(found)}")
    return found[0], found[1]


def optional(kind: Callable[[Any], Any], value: Any) -> Any:
    """`value` as `kind` has it; None where it is None."""
    return None if value is None else kind(value)


def whole_number(least: int, most: int) -> Callable[[Any], int]:
    """Whole numbers from `least` to `most`."""
    return lambda value: int(_within(int(value), least, most))


def guidance(value: Any) -> float:
    """A weight of the condition difference."""
    return float(_within(float(value), -_MOST_GUIDANCE, _MOST_GUIDANCE))


def pixel_size(value: Any) -> tuple[float, float]:
    """Micrometres in Y and X."""
    return float(_within(float(value[0]), 1e-6, 1e6)), float(_within(float(value[1]), 1e-6, 1e6))


def numbers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights that are floating-point numbers, all of them finite."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.float().isfinite().all():
            raise ValueError(f"its weights {name[:80]!r} are not all finite numbers")
    return tensors


def token_rows(found: dict[str, torch.Tensor]) -> torch.Tensor:
    """(3, d) float32, the token of the data set and of both conditions."""
    tokens = numbers(found)["tokens"]
    if tokens.ndim != 2 or len(tokens) != 3:
        raise ValueError(f"its tokens have the shape {tuple(tokens.shape)}, not a row for each of three")
    return tokens.float()


def position(value: Any) -> tuple[int, int]:
    """Time and depth of a plane, by name or one after the other."""
    read = whole_number(0, _MOST_NUMBER)
    time, depth = (value["t"], value["z"]) if isinstance(value, Mapping) else (value[0], value[1])
    return read(time), read(depth)


def area(value: Any) -> float:
    """An area under a ROC curve."""
    return float(_within(float(value), 0, 1))


def settings(value: Any) -> dict[str, Any]:
    """The settings of a training: what is to be compared with it is trained by them again."""
    found = {str(name): one for name, one in dict(value).items()}
    for name, one in found.items():
        if isinstance(one, (int, float)):
            _within(one, -_MOST_NUMBER, _MOST_SETTINGS.get(name, _MOST_NUMBER))
        elif one is not None and not isinstance(one, str):
            raise ValueError(f"the setting {name[:40]} in its card is {str(one)[:40]}")
    return found


def _within(value: Any, least: float, most: float) -> Any:
    if not least <= value <= most:
        raise ValueError(f"{str(value)[:20]} in its card is not between {least:g} and {most:g}")
    return value
