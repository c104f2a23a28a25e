"""An atlas: the profiles of a screen without what comes from the plate, a map of them, and search among them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.atlas.atlas_card import AtlasCard
from phenolens.profiling.atlas.projection import LinearProjection, Projection, fit_projection, restore_projection
from phenolens.profiling.atlas.structure_search import CompoundEncoder, StructureMatch, search_structure
from phenolens.profiling.corrections.plate_correction import CORRECTIONS, PlateCorrection, plate_names
from phenolens.profiling.tables.profiles import Profiles
from phenolens.profiling.vectors.row_blocks import row_blocks
from phenolens.profiling.vectors.search import CosineIndex
from phenolens.runtime.array_files import broken_arrays, read_npz
from phenolens.runtime.contents import mistaken
from phenolens.runtime.errors import ModelError, ScreenError
from phenolens.runtime.files import write_json
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.output_kinds import ATLAS
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import Job, Progress, finish

if TYPE_CHECKING:
    from pandas import DataFrame

CARD = "atlas.json"
_PROFILES, _VECTORS, _FITTED = "profiles.parquet", "vectors.npy", "fitted.npz"
_CORRECTION, _PROJECTION = "correction_", "projection_"


@dataclass(frozen=True, eq=False)
class Atlas:
    """What is searched and seen. It is fitted once; placing and searching change nothing in it.

    Parameters
    ----------
    profiles
        n rows as the encoder gave them.
    vectors
        (n, d) float32, corrected.
    coordinates
        (n, 2) float32, equal to ``place(vectors)``.
    card
        How it was fitted.
    correction, projection
        The fitted parts.

    Examples
    --------
    >>> import phenolens as ph
    >>> profiles = ph.embed("screen", cells="whole")
    >>> atlas = ph.fit_atlas(profiles, correct=["scale"])
    >>> atlas.coordinates.shape, atlas.coordinates.dtype
    ((6, 2), dtype('float32'))
    >>> found = atlas.neighbours(profiles[0], top=3)
    >>> int(found["row"][0]), list(found.columns[:2])  # the nearest is the row itself
    (0, ['row', 'distance'])
    """

    profiles: Profiles
    vectors: NDArray[np.float32]
    coordinates: NDArray[np.float32]
    card: AtlasCard
    correction: PlateCorrection
    projection: Projection

    @classmethod
    def fit(
        cls,
        profiles: Profiles,
        *,
        projection: str = "pca",
        correct: Sequence[str] = CORRECTIONS,
        seed: int = 0,
    ) -> Job[Atlas]:
        """Correct `profiles`, and fit a map to them.

        Parameters
        ----------
        projection
            "pca", "umap" or "tsne"; see `fit_projection`.
        correct
            Which of "scale" (robust scaling of each plate by its controls) and "sphere" (by all controls) to apply.
        seed
            For maps that draw.

        Raises
        ------
        ScreenError
            An embedding is not finite or has no direction, or there are too few.
        """
        correction = yield from PlateCorrection.fit(profiles, correct)
        count, dimension = profiles.vectors.shape
        vectors = np.empty((count, dimension), np.float32)
        names = plate_names(profiles.metadata)
        for start, block in row_blocks(profiles.vectors, dimension):
            end = start + len(block)
            vectors[start:end] = correction.apply(block, names[start:end])
            yield Progress(end, count, "Correcting the embeddings")
        CosineIndex(vectors)  # so that a row without a direction is told now
        fitted, coordinates = yield from _project(vectors, projection, seed)
        card = AtlasCard(
            projection=projection, correct=tuple(correction.applied), reference=correction.reference, seed=seed,
            profiles=dict(profiles.card), explained=_explained(fitted),
        )  # fmt: skip
        return cls(profiles, vectors, coordinates, card, correction, fitted)

    def projected(self, projection: str, seed: int = 0) -> Job[Atlas]:
        """The same embeddings and distances on another map.

        Parameters
        ----------
        projection, seed
            As `fit` takes them.

        Raises
        ------
        ScreenError
            There are too few different embeddings.
        PhenolensError
            The map needs a package that is not installed.
        """
        fitted, coordinates = yield from _project(self.vectors, projection, seed)
        card = replace(self.card, projection=projection, seed=seed, explained=_explained(fitted))
        return replace(self, coordinates=coordinates, card=card, projection=fitted)

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def plates(self) -> list[str]:
        """The plate of each row, as `correct` takes it."""
        return plate_names(self.profiles.metadata)

    @cached_property
    def _index(self) -> CosineIndex:
        return CosineIndex(self.vectors)

    def correct(self, vectors: ArrayLike, plates: Sequence[Any]) -> NDArray[np.float32]:
        """Correct raw embeddings (m, d) of rows on the m `plates`; see `PlateCorrection.apply`.

        Those of the atlas come out as its `vectors`, up to rounding; a plate never seen is scaled by all plates.
        """
        return self.correction.apply(vectors, plates)

    def place(self, corrected: ArrayLike) -> NDArray[np.float32]:
        """Return the coordinates (m, 2) of corrected embeddings (m, d), by a rule that goes by each alone.

        For PCA it is the linear map, for UMAP and t-SNE that of `NeighbourProjection`. A point is placed alike alone
        and in a batch, to the rounding of float32, and one of the atlas where it is on the map.

        Raises
        ------
        ScreenError
            The dimension is another, or a row is not finite or, on a map other than PCA, all zeros.
        """
        return self.projection.place(corrected)

    def neighbours(
        self, query: Profiles | ArrayLike, top: int = 12, exclude: NDArray[np.bool_] | None = None
    ) -> DataFrame:
        """Find the rows most like one profile, by exact cosine.

        Parameters
        ----------
        query
            Profiles of one row, such as ``profiles[0]``, which are corrected by their plate; or (d,) an embedding that
            is corrected already.
        top
            How many; fewer come back where fewer are left.
        exclude
            (n,) True for rows that are not to be found, such as the query's own well.

        Returns
        -------
        DataFrame
            ``row``, ``distance`` (1 - cosine, 0 to 2) and the metadata, nearest first. A row of the atlas finds itself.

        Raises
        ------
        ScreenError
            The dimension is another, the embedding has no direction, or every row is excluded.
        ValueError
            It is not one embedding.
        """
        if isinstance(query, Profiles):
            corrected = self.correct(query.vectors, plate_names(query.metadata))
            query = corrected[0] if len(corrected) == 1 else corrected
        vector = np.asarray(query)
        if vector.ndim != 1:
            raise ValueError(f"one embedding (d,) was expected, not {vector.shape}")
        rows, similarity = self._index.search(vector, top, excluded=exclude)
        found = self.profiles.metadata.iloc[rows].reset_index(drop=True)
        found.insert(0, "row", rows)
        found.insert(1, "distance", np.clip(1 - similarity, 0, 2))
        return found

    def search(
        self, smiles: str, *, encoder: str | Path | CompoundEncoder, dose: float | None = None, top: int = 12
    ) -> StructureMatch:
        """Find the rows that look like what a compound is predicted to do to the atlas's controls.

        Parameters
        ----------
        smiles
            The compound, which need not have been imaged.
        encoder
            The one that made the profiles, or its folder; it must have been trained on compounds.
        dose
            In the unit of the encoder's training; None where it is not known.
        top
            How many rows.

        Returns
        -------
        StructureMatch
            With ``neighbours`` as `neighbours` gives them, and ``applicability``: how far to trust the prediction.

        Raises
        ------
        ScreenError
            The structure cannot be used, or no control is marked.
        ModelError
            The encoder knows no compounds, or is not the one that made the profiles.
        """
        from phenolens.profiling.encoders.encoder import check_encoder, load_encoder

        if isinstance(encoder, (str, Path)):
            loaded = load_encoder(encoder)
            check_encoder(loaded, self.profiles.card)
            return finish(search_structure(self, loaded, smiles, dose=dose, top=top))
        return finish(search_structure(self, encoder, smiles, dose=dose, top=top))

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write the atlas as a folder, whole or not at all; an earlier atlas in it is replaced, with `overwrite` any
        output of phenolens.

        Raises
        ------
        OutputError
            The folder cannot be written, or holds something else.
        """
        with writing_output(folder, ATLAS, overwrite) as new:
            self.write_files(new)
        return Path(folder)

    def write_files(self, folder: Path) -> None:
        """Write the files of the atlas into an empty `folder`, for those who add others before they rename it."""
        from phenolens.profiling.tables.profile_files import write_profiles

        write_profiles(self.profiles, folder / _PROFILES)
        np.save(folder / _VECTORS, np.asarray(self.vectors))
        parts: dict[str, Any] = {"coordinates": self.coordinates}
        parts |= {_CORRECTION + name: values for name, values in self.correction.arrays().items()}
        parts |= {_PROJECTION + name: values for name, values in self.projection.arrays().items()}
        np.savez(folder / _FITTED, **parts)
        write_json(folder / CARD, self.card.to_dict())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Atlas:
        """Read what `save` wrote. The corrected embeddings stay in their file, which is read as it is searched.

        Raises
        ------
        ModelError
            The folder is not that of an atlas, is broken, or is of a newer version.
        """
        from phenolens.profiling.tables.profile_files import read_profiles

        source = Path(folder)
        if not (source / CARD).is_file():
            raise ModelError(
                mistaken(source, "atlas") or f"{source} is not an atlas folder: make one with phenolens micon map."
            )
        absent = [name for name in (_PROFILES, _VECTORS, _FITTED) if not (source / name).is_file()]
        if absent:
            raise ModelError(f"The atlas {source} lacks {', '.join(absent)}: make it again with phenolens micon map.")
        try:
            found = read_json_object(source / CARD)
            AtlasCard.check_format(found, f"The atlas {source}")
            card = AtlasCard.from_dict(found)
            profiles = read_profiles(source / _PROFILES)
            with broken_arrays():
                vectors = np.load(source / _VECTORS, mmap_mode="r")
            arrays = read_npz(source / _FITTED)
            coordinates = arrays.pop("coordinates")
            if any(values.dtype.kind != "f" for values in (vectors, coordinates)):
                raise ValueError(f"embeddings are {vectors.dtype} and places {coordinates.dtype}, and not numbers")
            if vectors.shape != profiles.vectors.shape or coordinates.shape != (len(vectors), 2):
                raise ValueError(f"{len(profiles)} rows, {len(vectors)} embeddings and {len(coordinates)} places")
            correction = PlateCorrection.restore(_part(arrays, _CORRECTION), vectors.shape[1], card.reference)
            projection = restore_projection(_part(arrays, _PROJECTION), vectors)
        except ModelError:
            raise
        except (
            ScreenError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError
        ) as error:  # fmt: skip
            raise ModelError(
                f"The atlas {source} cannot be read ({error}): make it again with phenolens micon map."
            ) from error
        return cls(profiles, vectors, coordinates, card, correction, projection)


def _project(vectors: NDArray[np.float32], name: str, seed: int) -> Job[tuple[Projection, NDArray[np.float32]]]:
    """A map fitted to `vectors` (n, d), and their places (n, 2) on it."""
    fitted = yield from fit_projection(vectors, name, seed)
    places = np.empty((len(vectors), 2), np.float32)
    for start, block in row_blocks(vectors, vectors.shape[1]):
        places[start : start + len(block)] = fitted.place(block)
        yield Progress(start + len(block), len(vectors), "Placing all points")
    return fitted, places


def _explained(fitted: Projection) -> tuple[float, ...] | None:
    return tuple(fitted.explained.tolist()) if isinstance(fitted, LinearProjection) else None


def _part(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
