"""What is measured of the cells of a field, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from phenolens.screens.cells import Cells
from phenolens.screens.images import FieldImage
from phenolens.screens.table import Field

if TYPE_CHECKING:
    from pandas import DataFrame

_SHAPE = ("eccentricity", "solidity")


def measured_cells(field: Field, image: FieldImage, cells: Cells, about: Mapping[str, Any]) -> DataFrame:
    """Measure the cells of a field in an image of it: shape of each outline, mean and spread of each channel within it.

    Parameters
    ----------
    image
        The plane that stands for it is measured.
    cells
        Of this field alone.
    about
        What holds for every cell, by column; beside it stands what the field's row of the screen says, such as the
        compound.

    Returns
    -------
    DataFrame
        A row a cell: ``label``, ``y``, ``x`` and ``area`` in pixels, what was measured, `about`, and the field's row.
    """
    import pandas as pd

    plane = image.plane()
    rows = cells.table.drop(columns="field").reset_index(drop=True)
    rows = rows.assign(label=rows["label"].astype("int64"))
    labels = cells.labels.get(field.key)
    measured: dict[str, Any] = {}
    if labels is not None:
        from skimage.measure import regionprops_table

        found = regionprops_table(
            labels, np.moveaxis(plane, 0, -1), properties=("label", *_SHAPE, "intensity_mean", "intensity_std")
        )
        by_label = pd.DataFrame(found).set_index("label").reindex(rows["label"]).reset_index(drop=True)
        measured = {name: by_label[name] for name in _SHAPE}
        for index, name in enumerate(image.channel_names):
            measured[f"{name} mean"] = by_label[f"intensity_mean-{index}"]
            measured[f"{name} spread"] = by_label[f"intensity_std-{index}"]
    else:
        for name, channel in zip(image.channel_names, plane.astype(np.float64), strict=True):
            measured |= {f"{name} mean": channel.mean(), f"{name} spread": channel.std()}
    known = {
        str(name): str(value) if isinstance(value, str) or value is None else value
        for name, value in field.metadata.items()
    }
    return rows.assign(**measured, **dict(about), **known)
