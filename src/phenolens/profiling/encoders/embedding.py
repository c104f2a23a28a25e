"""Embed the cells of a screen."""

from typing import Any, Literal

import numpy as np
from pandas import DataFrame, concat

from phenolens.profiling.encoders.cell_crops import crops_of, fit_intensity, size_for
from phenolens.profiling.encoders.crop_size import sampled_crop
from phenolens.profiling.encoders.encoder import CellEncoder
from phenolens.profiling.tables.profiles import Profiles, aggregate
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen

Level = Literal["cell", "field", "well"]
LEVELS: tuple[Level, ...] = ("cell", "field", "well")


def embed_screen(
    encoder: CellEncoder,
    screen: Screen,
    cells: Cells,
    *,
    crop: int | None = None,
    intensity: IntensityMap | None = None,
    level: Level = "cell",
) -> Job[Profiles]:
    """Embed every cell; fields and wells are the means of their cells.

    Parameters
    ----------
    encoder
        One that was trained on these channels, or one that takes any.
    screen, cells
        What to embed.
    crop
        Side of the window around a cell in pixels; the encoder's own, else by default four median
        nuclei of a sample of the fields.
    intensity
        Map of the channels; the encoder's own, else one fitted on this whole screen, by default.
    level
        What a row of the result is.

    Raises
    ------
    ModelError
        The encoder was trained on other channels.
    CellError, ImageError
        The cells are of another screen, or an image cannot be read.
    """
    encoder.check_channels(screen.channel_names)
    intensity = intensity or encoder.intensity
    if intensity is None:
        intensity = yield from fit_intensity(screen)
    crop = crop or encoder.card.crop or (yield from _crop_for(screen, cells))
    rows, vectors = [], []
    for number, found in enumerate(crops_of(screen, cells, crop, intensity), start=1):
        rows.append(found.metadata)
        vectors.append(encoder.pool(encoder.features(found.crops, size=None)))
        yield Progress(number, len(screen), f"Embedding {found.field.key}")
    profiles = Profiles(
        concat(rows, ignore_index=True), np.concatenate(vectors), card_of(encoder, screen, intensity, crop)
    )
    return profiles if level == "cell" else aggregate(profiles, level)


def _crop_for(screen: Screen, cells: Cells) -> Job[int]:
    by_field = dict(list(cells.table.groupby("field", sort=False)))

    def cells_of(key: str) -> Job[DataFrame | None]:
        yield from ()
        return by_field.get(key)

    return (yield from sampled_crop(screen, cells_of, whole=not cells.labels))


def card_of(encoder: CellEncoder, screen: Screen, intensity: IntensityMap, crop: int) -> dict[str, Any]:
    """The card of profiles of cells that an encoder made."""
    return {
        "encoder": encoder.card.name,
        "encoder_folder": encoder.folder,
        "encoder_mode": encoder.card.mode,
        "encoder_sha256": encoder.sha256,
        "level": "cell",
        "channel_names": list(screen.channel_names),
        "intensity": intensity.to_dict(),
        "crop": crop,
        "size": size_for(crop),
    }
