"""Mapped crops of every cell of a screen, field by field, with what is known of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phenolens.profiling.encoders.network import CROP
from phenolens.runtime.errors import CellError, ImageError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells
from phenolens.screens.crops import cut, resample, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Field, Screen

if TYPE_CHECKING:
    from pandas import DataFrame

_WHOLE = 256
"""Largest side in pixels at which a field that is taken whole is looked at."""

_PIXELS = 400_000_000
"""About how many pixels an intensity map is fitted on, so that a plate fits in memory."""


@dataclass(frozen=True)
class FieldCrops:
    """The cells of one field.

    Parameters
    ----------
    field
        Where they are.
    metadata
        (n) rows: the field's ``Metadata_`` columns, and ``Metadata_Field``, ``Metadata_Label``, ``Metadata_Y`` and
        ``Metadata_X`` (centre in pixels of the field).
    crops
        (n, C, size, size) float32, mapped to about [-1, 1].
    """

    field: Field
    metadata: "DataFrame"
    crops: NDArray[np.float32]


def fit_intensity(screen: Screen, *, leave_out_broken: bool = False) -> Job[IntensityMap]:
    """Fit one map over all fields of a screen; of a large one over every second, third... row and column of pixels.

    Parameters
    ----------
    leave_out_broken
        Go by the fields that can be read, as long as there is one.
    """
    read: list[NDArray[np.generic]] = []
    for number, field in enumerate(screen, start=1):
        try:
            plane = field.image().plane()
        except ImageError:
            if not leave_out_broken or (number == len(screen) and not read):
                raise
            continue
        step = max(1, round(np.sqrt(plane.size * len(screen) / _PIXELS)))
        read.append(plane[:, ::step, ::step].copy())
        yield Progress(number, len(screen), f"Reading {field.key}")
    return IntensityMap.fit(read, screen.channel_names)


def size_for(crop: int) -> int:
    """Side in pixels that windows of `crop` pixels are brought to: of cells 64, of whole fields up to 256."""
    return CROP if crop <= 2 * CROP else min(crop, _WHOLE)


def crops_of(
    screen: Screen, cells: Cells, crop: int, intensity: IntensityMap, most: int | None = None, seed: int = 0
) -> Iterator[FieldCrops]:
    """Cut the cells of each field that has any; at most `most` of a field, drawn by `seed`.

    Raises
    ------
    CellError
        The screen has none of the cells' fields.
    """
    by_field = dict(list(cells.table.groupby("field", sort=False)))
    found = False
    for number, field in enumerate(screen):
        table = by_field.get(field.key)
        if table is None or not len(table):
            continue
        found = True
        if most is not None and len(table) > most:
            rng = np.random.default_rng([seed, number])
            table = table.iloc[np.sort(rng.choice(len(table), most, replace=False))]
        mapped = intensity.forward(field.image().plane())
        windows = np.stack([cut(mapped, window_at(c.y, c.x, crop)) for c in table.itertuples()])
        yield FieldCrops(field, cells_metadata(field, table), resample(windows, size_for(crop)))
    if not found:
        raise CellError("None of the cells lies in a field of this screen: find the cells on this screen.")


def cells_metadata(field: Field, table: "DataFrame") -> "DataFrame":
    """What is known of the cells of a field, as `FieldCrops` has it."""
    import pandas as pd

    known = {str(name): [value] * len(table) for name, value in field.metadata.items()}
    return pd.DataFrame(
        {
            **known,
            "Metadata_Field": field.key,
            "Metadata_Label": table["label"].to_numpy(np.int64),
            "Metadata_Y": table["y"].to_numpy(float),
            "Metadata_X": table["x"].to_numpy(float),
        }
    )
