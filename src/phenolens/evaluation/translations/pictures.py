"""Cells beside one another in the report: source, translated, and the real treated cells most like the translated."""

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.translations.evaluation import Shown
from phenolens.screens.colours import coloured
from phenolens.screens.intensity import IntensityMap

_TILE, _GAP, _HEADER = 132, 4, 20
_TEXT, _WARNING = (205, 205, 205), (255, 150, 60)
_ROWS = 6
_NEAREST = 2
_TITLES = ("source", "translated", "nearest real treated", "second nearest")


def chosen_cells(shown: Shown) -> NDArray[np.intp]:
    """Cells from the least to the most convincing, evenly spaced by log-odds, so that none is picked for its looks."""
    logits = None if shown.flips is None else shown.flips.logits["translated"]
    order = np.arange(len(shown.source)) if logits is None else np.argsort(logits)
    count = min(_ROWS, len(order))
    places = np.round((np.arange(count) + 0.5) / count * len(order) - 0.5).astype(int)
    return np.asarray(order[places])


def nearest_treated(shown: Shown, cell: int, count: int = _NEAREST) -> NDArray[np.intp]:
    """The real treated cells most like a translated cell, by the scaled features that the classifier sees."""
    treated = shown.features["treated"]
    spread = treated.std(axis=0) + 1e-6
    distance = np.linalg.norm((treated - shown.features["translated"][cell]) / spread, axis=1)
    return np.argsort(distance, kind="stable")[:count]


def cells_picture(shown: Shown, intensity: IntensityMap) -> str:
    """An ``<img>`` with a row a cell, all at one contrast; translated cells are marked as synthetic."""
    from PIL import Image, ImageDraw, ImageFont

    cells = chosen_cells(shown)
    width = len(_TITLES) * (_TILE + _GAP)
    sheet = Image.new("RGB", (width, _HEADER + len(cells) * (_TILE + _GAP)))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, title in enumerate(_TITLES):
        draw.text((column * (_TILE + _GAP) + 3, 3), title, _TEXT, font)
    for row, cell in enumerate(cells):
        top = _HEADER + row * (_TILE + _GAP)
        near = [shown.treated[one] for one in nearest_treated(shown, int(cell))]
        for column, crop in enumerate((shown.source[cell], shown.translated[cell], *near)):
            pixels = np.clip(coloured(intensity.forward(crop)), 0, 1)
            tile = Image.fromarray((255 * pixels).astype(np.uint8))
            left = column * (_TILE + _GAP)
            sheet.paste(tile.resize((_TILE, _TILE), Image.Resampling.BICUBIC), (left, top))
            if column == 1:
                draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), outline=_WARNING)
                draw.text((left + 4, top + _TILE - 16), "SYNTHETIC", _WARNING, font)
    stream = BytesIO()
    sheet.save(stream, format="PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    caption = "Source cells, their translations (synthetic), and the real treated cells most like these"
    return f'<img alt="{caption}" width="{width}" src="data:image/png;base64,{data}">'
