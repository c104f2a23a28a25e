"""What was measured of each judged cell, as one table."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phenolens.evaluation.translations.identity import Identity
from phenolens.evaluation.translations.judged_cells import JudgedCells
from phenolens.evaluation.translations.measured_cells import MeasuredCells


def cell_table(
    cells: Mapping[str, MeasuredCells],
    log_odds: Mapping[str, NDArray[np.float64]] | None,
    identity: Identity,
    doses: Mapping[float, tuple[JudgedCells, pd.DataFrame]],
) -> pd.DataFrame:
    """A row a cell: the ``source``, ``translated`` and ``treated`` ones of `cells`, then those of each of `doses`."""
    parts = []
    for kind, some in cells.items():
        part = some.table.assign(kind=kind, synthetic=kind == "translated")
        # of one dtype in all parts, whatever holds in those that are joined to others without a value
        part["log_odds"] = np.nan if log_odds is None else np.asarray(log_odds[kind], float)
        part["similarity"] = np.asarray(identity.similarity, float) if kind == "translated" else np.nan
        part["nucleus_iou"] = np.asarray(identity.overlap, float) if kind == "translated" else np.nan
        parts.append(_joined(part, some.features))
    for dose, (judged, features) in doses.items():
        parts.append(_joined(judged.table.assign(kind="dose", synthetic=False, dose=dose), features))
    return pd.concat(parts, ignore_index=True)


def _joined(part: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([part.reset_index(drop=True), features.reset_index(drop=True)], axis=1)
