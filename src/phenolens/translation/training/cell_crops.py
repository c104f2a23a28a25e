"""Cut the cells of one condition, mapped and as the network sees them."""

from collections.abc import Iterable

import numpy as np

from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells
from phenolens.screens.crops import cut, resample, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen


def cut_cells(
    name: str,
    fields: Screen,
    planes: Iterable[np.ndarray],
    cells: Cells,
    intensity: IntensityMap,
    *,
    crop: int,
    size: int,
    most: int,
    rng: np.random.Generator,
) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Cut the cells of some fields, in random order, and say of which well each is.

    Parameters
    ----------
    name
        What the fields are, for a message.
    planes
        (C, H, W) of each field.
    crop, size
        Side of the square around a cell, in pixels of the field, and pixels that the network sees of it.
    most
        Most cells; more are drawn at random.

    Returns
    -------
    tuple
        (n, C, size, size) float32, and (n,) wells.

    Raises
    ------
    CellError
        There are fewer than two.
    """
    table = cells.table[cells.table["field"].isin([field.key for field in fields])]
    if len(table) < 2:
        raise CellError(
            f"The {name} condition has {len(table)} cells in {len(fields)} fields: choose another nucleus channel, "
            "give label images, or add fields."
        )
    if len(table) > most:
        table = table.iloc[np.sort(rng.choice(len(table), most, replace=False))]
    crops: list[np.ndarray] = []
    wells: list[str] = []
    for number, (field, plane) in enumerate(zip(fields, planes, strict=True), start=1):
        mine = table[table["field"] == field.key]
        mapped = intensity.forward(plane)
        crops += [cut(mapped, window_at(c.y, c.x, crop)) for c in mine.itertuples()]
        wells += [field.well] * len(mine)
        yield Progress(number, len(fields), f"Cutting cells of {field.key}")
    order = rng.permutation(len(crops))
    return resample(np.stack(crops), size)[order], np.array(wells)[order]
