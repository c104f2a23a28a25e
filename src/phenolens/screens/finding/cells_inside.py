"""Cells of a field as they go into an OME-Zarr image of it: outlines, and a table of what is measured of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from colorsys import hsv_to_rgb
from typing import TYPE_CHECKING, Any

from phenolens.screens.cells import Cells
from phenolens.screens.finding.measurements import measured_cells
from phenolens.screens.images import FieldImage
from phenolens.screens.table import Field

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.screens.ome_zarr.images import LabelImage


def cells_inside(
    field: Field, image: FieldImage, cells: Cells, about: Mapping[str, Any]
) -> tuple[dict[str, LabelImage], dict[str, DataFrame]]:
    """Outlines of the cells of a field, and what is measured of them in an image of it, for an OME-Zarr.

    Parameters
    ----------
    image
        In which they are measured.
    about
        What holds for every cell, by column.
    """
    from phenolens.screens.ome_zarr.images import LabelImage

    table = measured_cells(field, image, cells, about)
    labels = cells.labels.get(field.key)
    outlines = {} if labels is None else {"cells": LabelImage(labels, "YX", colours=_colours(table["label"].tolist()))}
    return outlines, {"cells": table}


def _colours(labels: Iterable[int]) -> dict[int, str]:
    """A colour for each label, the background's clear: some programs do not open labels that have none."""
    found = {0: "00000000"}
    for label in labels:
        parts = hsv_to_rgb(label * 0.618034 % 1, 0.6, 1.0)  # the golden section sets neighbours far apart
        found[label] = "".join(f"{round(255 * part):02X}" for part in (*parts, 1.0))
    return found
