"""What the values in an adapter's files may be: checked as they are read, for an adapter may come from a stranger."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

# Far beyond any cell, and any weight of the condition difference that leaves a picture.
MOST_CROP, _MOST_GUIDANCE = 4096, 1000.0
# What another adapter would be trained with that is compared with this one.
_MOST_SETTINGS = {"rank": 1024, "batch": 4096, "max_cells": 100_000, "crop": MOST_CROP, "network_crop": MOST_CROP}
_MOST_NUMBER = 10_000_000


def texts(values: Any, count: int | None = None) -> tuple[Any, ...]:
    """A list of texts, `count` of them where it is given."""
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"names were expected, and not {str(values)[:60]!r}")
    if count is not None and len(values) != count:
        raise ValueError(f"{count} names were expected, and not {len(values)}")
    return tuple(values)


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


def card_of(known: dict[str, Any], conditions: Sequence[str], channels: Sequence[str]) -> dict[str, Any]:
    """What a card says beside: the plane of stacks, the settings of the training, and what it was trained on."""
    card = dict(known)
    if card.get("plane") is not None:
        card["plane"] = {axis: whole_number(0, _MOST_NUMBER)(card["plane"][axis]) for axis in "tz"}
    for name in ("settings", "cells", "fields", "telling"):
        if card.get(name) is not None and not isinstance(card[name], dict):
            raise ValueError(f"{name} in its card has no names and values")
    for text in conditions if card.get("fields") is not None else ():
        texts(card["fields"][text])
    for name in channels:
        if (area := (card.get("telling") or {}).get(name)) is not None:
            _within(float(area), 0, 1)
    for name, value in (card.get("settings") or {}).items():
        if isinstance(value, (int, float)):
            _within(value, -_MOST_NUMBER, _MOST_SETTINGS.get(name, _MOST_NUMBER))
        elif value is not None and not isinstance(value, str):
            raise ValueError(f"the setting {name[:40]} in its card is {str(value)[:40]}")
    return card


def _within(value: Any, least: float, most: float) -> Any:
    if not least <= value <= most:
        raise ValueError(f"{str(value)[:20]} in its card is not between {least:g} and {most:g}")
    return value
