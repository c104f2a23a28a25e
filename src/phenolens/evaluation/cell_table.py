"""What was measured of each judged cell, as one table."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phenolens.evaluation.identity import Identity
from phenolens.evaluation.measured_cells import MeasuredCells


def cell_table(
    cells: Mapping[str, MeasuredCells],
    log_odds: Mapping[str, NDArray[np.float64]] | None,
    identity: Identity,
    doses: Mapping[float, MeasuredCells],
) -> pd.DataFrame:
    """A row a cell: the ``source``, ``translated`` and ``treated`` ones of `cells`, then those of each of `doses`."""
    parts = []
    for kind, some in cells.items():
        part = some.table.assign(kind=kind, synthetic=kind == "translated")
        part["log_odds"] = np.nan if log_odds is None else log_odds[kind]
        part["similarity"] = identity.similarity if kind == "translated" else np.nan
        part["nucleus_iou"] = identity.overlap if kind == "translated" else np.nan
        parts.append(_with_features(part, some))
    for dose, some in doses.items():
        parts.append(_with_features(some.table.assign(kind="dose", synthetic=False, dose=dose), some))
    return pd.concat(parts, ignore_index=True)


def _with_features(part: pd.DataFrame, cells: MeasuredCells) -> pd.DataFrame:
    return pd.concat([part.reset_index(drop=True), cells.features.reset_index(drop=True)], axis=1)
