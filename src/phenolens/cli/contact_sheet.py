"""A picture of translated cells: a row a cell, a column a version of it, all at one contrast."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phenolens.runtime.files import writing
from phenolens.screens.colours import coloured, signed

if TYPE_CHECKING:
    from phenolens.screens.intensity import IntensityMap

_TILE = 128
_GAP = 4
_HEADER = 20
_MARGIN = 58
_TEXT = (205, 205, 205)


@dataclass(frozen=True)
class SheetRow:
    """One cell, each version (C, h, w) in intensity units.

    Parameters
    ----------
    name
        Its label.
    source, half, whole, truth
        As it is, translated at strength 0.5 and at 1, and simulated under the treatment.
    """

    name: str
    source: np.ndarray
    half: np.ndarray
    whole: np.ndarray
    truth: np.ndarray


def write_sheet(
    path: Path, rows: Sequence[SheetRow], intensity: "IntensityMap", channel: int | None, compared: int
) -> None:
    """Write a contact sheet as PNG: source, strength 0.5, strength 1, difference, true counterfactual.

    Parameters
    ----------
    intensity
        Sets the contrast, the same for all.
    channel
        Channel to show in grey; all of them in colour where None.
    compared
        Channel whose difference is shown: blue less, black no change, orange more.
    """
    from PIL import Image, ImageDraw, ImageFont

    titles = ("source", "strength 0.5", "strength 1", "difference", "true")
    width = _MARGIN + len(titles) * (_TILE + _GAP)
    sheet = Image.new("RGB", (width, _HEADER + len(rows) * (_TILE + _GAP)))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for column, title in enumerate(titles):
        shown = f"{title} ({intensity.channel_names[compared]})" if title == "difference" else title
        draw.text((_MARGIN + column * (_TILE + _GAP) + 2, 3), shown, _TEXT, font)
    for number, row in enumerate(rows):
        top = _HEADER + number * (_TILE + _GAP)
        draw.text((4, top + _TILE // 2 - 8), row.name, _TEXT, font)
        for column, version in enumerate((row.source, row.half, row.whole, None, row.truth)):
            if version is None:
                pixels = signed((intensity.forward(row.whole) - intensity.forward(row.source))[compared])
            else:
                pixels = coloured(intensity.forward(version), channel)
            tile = Image.fromarray((255 * np.clip(pixels, 0, 1)).astype(np.uint8))
            sheet.paste(
                tile.resize((_TILE, _TILE), Image.Resampling.BICUBIC),
                (_MARGIN + column * (_TILE + _GAP), top),
            )
    with writing(path) as temporary:
        sheet.save(temporary, format="PNG")
