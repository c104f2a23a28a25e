"""Does the translated image look like what the encoder predicts for its compound? In words, against the replicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from phenolens.profiling.atlas.atlas import Atlas

_MOST = 300


@dataclass(frozen=True, eq=False)
class TargetCompound:
    """The compound that a condition stands for on a map.

    Parameters
    ----------
    name, smiles, dose
        Of the compound; the dose is None where the rows have none or several.
    usual, far
        Median and 95th percentile of the cosine distance between two of its rows.
    """

    name: str
    smiles: str
    dose: float | None
    usual: float
    far: float

    @classmethod
    def find(cls, atlas: Atlas, condition: str) -> TargetCompound | None:
        """The one compound of the rows that fit `condition`; None where they have none, or more than one."""
        import pandas as pd

        from phenolens.screens.conditions import Condition

        metadata = atlas.profiles.metadata
        try:
            mask = np.asarray(Condition.parse(condition).mask(metadata))
        except ScreenError:
            return None
        if "Metadata_SMILES" not in metadata.columns or mask.sum() < 2:
            return None
        rows = metadata[mask]
        smiles = {str(text).strip() for text in rows["Metadata_SMILES"].dropna()} - {""}
        if len(smiles) != 1:
            return None
        doses = pd.to_numeric(rows.get("Metadata_Concentration", pd.Series(dtype=float)), errors="coerce").dropna()
        dose = float(doses.iloc[0]) if doses.nunique() == 1 else None
        names = rows["Metadata_Compound"].astype(str).unique() if "Metadata_Compound" in rows.columns else []
        usual, far = spread(np.asarray(atlas.vectors[np.flatnonzero(mask)]))
        return cls(str(names[0]) if len(names) == 1 else condition, smiles.pop(), dose, usual, far)


def spread(vectors: NDArray[np.float32]) -> tuple[float, float]:
    """Median and 95th percentile of the cosine distance between two of at least two rows (n, d), of 300 at most."""
    used = vectors[np.unique(np.linspace(0, len(vectors) - 1, _MOST).astype(int))].astype(np.float64)
    used /= np.linalg.norm(used, axis=1, keepdims=True)
    apart = (1 - used @ used.T)[np.triu_indices(len(used), 1)]
    return float(np.median(apart)), float(np.percentile(apart, 95))


def cosine_distance(one: ArrayLike, other: ArrayLike) -> float:
    """1 - cosine of two vectors (d,)."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def compare(distance: float, target: TargetCompound, level: str) -> tuple[str, str]:
    """Put a distance in words, and how they are to be shown.

    Parameters
    ----------
    distance
        Between the translated image and the prediction.
    target
        With the distances among its own rows.
    level
        What a row is: "cell", "field" or "well".
    """
    both = "Image translation and MICON's direct prediction"
    known = f"{distance:.2f} apart; two {level}s of {target.name} are usually {target.usual:.2f} apart"
    if distance <= target.usual:
        return f"{both} agree: {known}.", "quiet"
    if distance <= target.far:
        return f"{both} differ, but no more than some replicates: {known}.", "quiet"
    return f"{both} disagree: {known}, rarely over {target.far:.2f}.", "warning"
