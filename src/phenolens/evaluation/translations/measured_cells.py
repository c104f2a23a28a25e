"""Cells with all that an evaluation measures of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from phenolens.evaluation.translations.classical import classical_features
from phenolens.evaluation.translations.judged_cells import JudgedCells
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.crops import resample
from phenolens.screens.intensity import IntensityMap
from phenolens.translation.model.adapter import Adapter

SOME = 32
"""Cells that are described together."""
_SEEN = 64  # pixels of a crop that the classifier sees


@dataclass(frozen=True, eq=False)
class MeasuredCells(JudgedCells):
    """Cells of one condition, real or translated, in the order of `crops`.

    Parameters
    ----------
    nuclei
        (n, size, size) outlines as `measure_cells` finds them.
    features
        n rows: the features that a person reads; NaN where no nucleus was found.
    seen
        (n, F) the features that the classifier sees.
    """

    nuclei: NDArray[np.uint8]
    features: DataFrame
    seen: NDArray[np.float32]

    def column(self, name: str) -> NDArray[np.float64]:
        """A feature (n,), NaN where it was not measured."""
        return np.asarray(self.features[name], float)


def described(crops: NDArray[Any], intensity: IntensityMap) -> NDArray[np.float32]:
    """The features (n, F) of a few crops (n, C, size, size) that the classifier sees."""
    return classical_features(resample(intensity.forward(crops), _SEEN))


def describe(crops: NDArray[Any], adapter: Adapter) -> Job[NDArray[np.float32]]:
    """The features (n, F) of crops (n, C, size, size) that the classifier sees, some at a time."""
    found = []
    for start in range(0, len(crops), SOME):
        found.append(described(crops[start : start + SOME], adapter.intensity))
        yield Progress(min(start + SOME, len(crops)), len(crops), "Describing cells")
    return np.concatenate(found)
