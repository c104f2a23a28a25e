"""What of an image a layer is given: all of its pixels, or its levels, of which the viewer reads what is in view."""

from collections.abc import Sequence
from typing import Any

from phenolens.screens.images import FieldImage
from phenolens.screens.large_images import by_levels
from phenolens.widgets.layers.kept_blocks import KeptBlocks


def shown_pixels(image: FieldImage, channel: int) -> Any:
    """All planes of a channel, or a list of them at each level where `by_levels`; read when they are looked at."""
    return halving(image.channel_levels(channel)) if by_levels(image) else image.channel(channel)


def same_levels(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two lists of levels are those of one file: a layer of one need not be drawn again for the other."""
    return len(one) == len(other) and all(
        isinstance(first, KeptBlocks) and isinstance(second, KeptBlocks) and first.lazy.name == second.lazy.name
        for first, second in zip(one, other, strict=True)
    )


def halving(levels: Sequence[Any]) -> list[KeptBlocks]:
    """Levels (dask) for the canvas; those that are not smaller than the one before are left out, as napari asks."""
    kept = [levels[0]]
    for level in levels[1:]:
        if level.shape[:-2] == kept[-1].shape[:-2] and level.size < kept[-1].size:
            kept.append(level)
    return [KeptBlocks(level) for level in kept]
