"""Search by structure: what controls would look like after a compound, and which rows of an atlas look like that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.tables.profiles import Profiles, is_control
from phenolens.runtime.errors import ModelError, ScreenError
from phenolens.runtime.progress import Job, Progress

if TYPE_CHECKING:
    from pandas import DataFrame

NEAR, SOME = 0.6, 0.3
"""Tanimoto similarity above which a compound is near to those of the training, and below which it is far from them."""

_MOST_CONTROLS = 1000


class CompoundEncoder(Protocol):
    """What is needed of an encoder; see `phenolens.profiling.encoders.encoder.CellEncoder`."""

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def compounds(self) -> DataFrame | None:
        """Compounds of the training, ``Metadata_Compound`` and ``SMILES``; None where it knows none."""
        ...

    def counterfactual(self, controls: NDArray[np.float32], smiles: str, dose: float | None = None) -> NDArray[Any]:
        """Predict the embeddings (m, d) of the `controls` (m, d) after a compound."""
        ...


class SearchedAtlas(Protocol):
    """What is needed of an atlas; see `phenolens.profiling.atlas.atlas.Atlas`."""

    @property
    def profiles(self) -> Profiles:
        """The profiles as the encoder gave them."""
        ...

    @property
    def plates(self) -> list[str]:
        """The plate of each row."""
        ...

    def correct(self, vectors: ArrayLike, plates: Sequence[Any]) -> NDArray[np.float32]:
        """Correct raw embeddings (m, d)."""
        ...

    def place(self, corrected: ArrayLike) -> NDArray[np.float32]:
        """Place corrected embeddings (m, d) on the map."""
        ...

    def neighbours(
        self, query: Profiles | ArrayLike, top: int = 12, exclude: NDArray[np.bool_] | None = None
    ) -> DataFrame:
        """Find the rows most like a corrected embedding (d,)."""
        ...


@dataclass(frozen=True)
class Applicability:
    """How near a compound is to those that the encoder was trained on.

    Parameters
    ----------
    similarity
        Greatest Tanimoto similarity of count fingerprints, 0 to 1.
    compound, smiles
        The training compound it is most like.
    """

    similarity: float
    compound: str
    smiles: str

    @property
    def level(self) -> str:
        """ "near", "some" or "far"."""
        return "near" if self.similarity > NEAR else "some" if self.similarity >= SOME else "far"

    def __str__(self) -> str:
        what = {
            "near": "near to a training compound, so the prediction can be tested with some hope",
            "some": "of some likeness to a training compound, so take the prediction with care",
            "far": "far from every training compound, so the prediction is a guess",
        }[self.level]
        return f"{what}: most like {self.compound} (Tanimoto similarity {self.similarity:.2f})"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a compound is predicted to do to some rows of an atlas.

    Parameters
    ----------
    smiles
        The compound's standard form.
    dose
        As it was asked for.
    vector
        (d,) float32: mean of the corrected predictions.
    applicability
        How far the prediction can be trusted.
    """

    smiles: str
    dose: float | None
    vector: NDArray[np.float32]
    applicability: Applicability


@dataclass(frozen=True, eq=False)
class StructureMatch:
    """What was found for a compound.

    Parameters
    ----------
    prediction
        What it is predicted to do to the atlas's controls.
    coordinates
        (2,) float32: its place on the map.
    neighbours
        As `Atlas.neighbours` gives them.
    """

    prediction: Prediction
    coordinates: NDArray[np.float32]
    neighbours: DataFrame

    @property
    def applicability(self) -> Applicability:
        """How far the prediction can be trusted."""
        return self.prediction.applicability


def predict_compound(
    atlas: SearchedAtlas,
    encoder: CompoundEncoder,
    smiles: str,
    *,
    dose: float | None = None,
    rows: NDArray[np.intp] | None = None,
) -> Job[Prediction]:
    """Predict the mean embedding of rows of an atlas after a compound, and say how far that can be trusted.

    Parameters
    ----------
    encoder
        The one that the atlas's embeddings come from.
    smiles
        The compound, in any form.
    dose
        In the unit of the encoder's training; None where it is not known.
    rows
        Which rows are taken as untreated: the negative controls where not given, of which 1,000 at most, spread
        evenly, are used.

    Raises
    ------
    ScreenError
        The structure cannot be used, the atlas has no controls, or its embeddings are of another dimension.
    ModelError
        The encoder knows no compounds.
    """
    from phenolens.profiling.molecules.molecules import standardise

    standard = standardise(smiles)
    applicability = yield from applicability_of(encoder, standard)
    dimension = atlas.profiles.vectors.shape[1]
    if encoder.dimension != dimension:
        raise ScreenError(
            f"The embeddings have {dimension} dimensions and the encoder makes {encoder.dimension}: give the encoder "
            "that they were made with."
        )
    if rows is None:
        rows = np.flatnonzero(is_control(atlas.profiles.metadata))
    if not len(rows):
        raise ScreenError(
            "A compound is predicted from the negative controls, and none is marked: give the table a column "
            "Metadata_Role with 'negative control' in their rows."
        )
    if len(rows) > _MOST_CONTROLS:
        rows = rows[np.arange(_MOST_CONTROLS) * len(rows) // _MOST_CONTROLS]
    yield Progress(0, 0, "Predicting")
    predicted = encoder.counterfactual(atlas.profiles.vectors[rows], standard, dose)
    corrected = atlas.correct(predicted, [atlas.plates[row] for row in rows])
    vector = np.asarray(corrected.mean(axis=0, dtype=np.float64), np.float32)
    return Prediction(standard, dose, vector, applicability)


def search_structure(
    atlas: SearchedAtlas,
    encoder: CompoundEncoder,
    smiles: str,
    *,
    dose: float | None = None,
    top: int = 12,
    exclude: NDArray[np.bool_] | None = None,
) -> Job[StructureMatch]:
    """Find the rows that look like what a compound is predicted to do to the atlas's controls.

    Parameters
    ----------
    encoder, smiles, dose
        As `predict_compound` takes them, and it raises the same errors.
    top, exclude
        As `Atlas.neighbours` takes them.
    """
    prediction = yield from predict_compound(atlas, encoder, smiles, dose=dose)
    return StructureMatch(
        prediction=prediction,
        coordinates=atlas.place(prediction.vector[None])[0],
        neighbours=atlas.neighbours(prediction.vector, top, exclude),
    )


def applicability_of(encoder: CompoundEncoder, smiles: str) -> Job[Applicability]:
    """Find the training compound that a compound is most like.

    Raises
    ------
    ModelError
        The encoder knows no compounds.
    ScreenError
        The structure cannot be used.
    """
    from phenolens.profiling.molecules.molecules import fingerprints, nearest

    compounds = encoder.compounds
    known = None if compounds is None else compounds[compounds["SMILES"].fillna("").str.strip() != ""]
    if known is None or known.empty:
        raise ModelError(
            "This encoder knows no compounds: train one on a screen with a column Metadata_SMILES (phenolens micon "
            "train), or give its folder with --encoder."
        )
    asked = fingerprints([smiles])[0]
    structures = known["SMILES"].tolist()
    row, similarity = nearest((yield from _training_fingerprints(encoder, structures)), asked)
    found = int(row)
    name = str(known["Metadata_Compound"].iloc[found]) if "Metadata_Compound" in known.columns else structures[found]
    return Applicability(float(similarity), name, structures[found])


# An encoder may know hundreds of compounds, and a person asks it again and again.
_FINGERPRINTS: WeakKeyDictionary[CompoundEncoder, NDArray[np.float32]] = WeakKeyDictionary()


def _training_fingerprints(encoder: CompoundEncoder, structures: list[str]) -> Job[NDArray[np.float32]]:
    """Fingerprints (n, bits) of the encoder's compounds, computed once an encoder."""
    from phenolens.profiling.molecules.molecules import fingerprints

    if encoder not in _FINGERPRINTS:
        rows = []
        for done, smiles in enumerate(structures, start=1):
            rows.append(fingerprints([smiles])[0])
            yield Progress(done, len(structures), "Comparing with the training compounds")
        _FINGERPRINTS[encoder] = np.stack(rows)
    return _FINGERPRINTS[encoder]
