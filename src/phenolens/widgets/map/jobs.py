"""The jobs of the map, put together from the engine. Generators without Qt or napari; the engine is imported inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ModelError, ScreenError
from phenolens.runtime.progress import Job, Progress
from phenolens.widgets.map.session import MapData

if TYPE_CHECKING:
    from phenolens.profiling.atlas.atlas import Atlas
    from phenolens.profiling.encoders.encoder import CellEncoder
    from phenolens.screens.cells import Cells
    from phenolens.screens.crops import Window
    from phenolens.screens.intensity import IntensityMap
    from phenolens.screens.table import Screen

_MOST_CONTROLS = 256
_FINGERPRINTS: WeakKeyDictionary[Any, NDArray[np.float32]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a compound is predicted to do.

    Parameters
    ----------
    smiles, dose
        As they were asked for.
    vector
        (d,) corrected embedding: the mean over the controls.
    similarity, nearest
        Tanimoto similarity (0 to 1) to the most similar training compound, and its name.
    """

    smiles: str
    dose: float | None
    vector: NDArray[np.float32]
    similarity: float
    nearest: str


def load_encoder(name: str | Path) -> CellEncoder:
    """The engine's encoder; the one place that asks for it."""
    from phenolens.profiling.encoders.encoder import load_encoder

    return load_encoder(name)


def open_map(path: Path) -> Job[MapData]:
    """Open the folder of an atlas, or fit a PCA map to a file of profiles."""
    from phenolens.profiling.atlas.atlas import Atlas

    yield Progress(0, 0, f"reading {path.name}")
    if path.is_dir():
        atlas = Atlas.load(path)
    else:
        from phenolens.profiling.tables.profile_files import read_profiles

        profiles = read_profiles(path)
        yield Progress(0, 0, "making the map")
        atlas = yield from Atlas.fit(profiles, projection="pca")
    yield Progress(0, 0, "preparing the map")
    return MapData.prepare(atlas, path.name.split(".")[0], _encoder_of(atlas))


def embed_screen(screen: Screen, cells: Cells, crop: int, intensity: IntensityMap, name: str) -> Job[MapData]:
    """Embed the cells of a screen with the encoder that ships, and fit a PCA map to them."""
    from phenolens.profiling.atlas.atlas import Atlas
    from phenolens.profiling.encoders.embedding import embed_screen

    yield Progress(0, 0, "loading the encoder")
    encoder = load_encoder("default")
    profiles = yield from embed_screen(encoder, screen, cells, crop=crop, intensity=intensity)
    yield Progress(0, 0, "making the map")
    atlas = yield from Atlas.fit(profiles, projection="pca")
    return MapData.prepare(atlas, name, encoder)


def fetch_encoder(folder: Path, atlas: Atlas) -> Job[CellEncoder]:
    """Load an encoder for an atlas.

    Raises
    ------
    ModelError
        It is no encoder, or not the one behind the atlas.
    """
    yield Progress(0, 0, f"loading {folder.name}")
    return _fitting(load_encoder(folder), atlas, folder.name)


def embed_translated(
    encoder: CellEncoder,
    atlas: Atlas,
    row: int,
    *,
    plane: NDArray[Any],
    window: Window,
    difference: NDArray[Any],
    wanted: Window,
    shown: IntensityMap,
) -> Job[tuple[NDArray[np.float32], NDArray[Any]]]:
    """Embed a translated cell as the atlas' cells were embedded.

    Parameters
    ----------
    row
        The real cell's row, whose plate the correction is that of.
    plane, window, difference
        Field (C, H, W) in file units, and the translated minus the real pixels (C, h, w) at a window of it.
    wanted
        The window that the atlas' cells are cut with, which may be another.
    shown
        The screen's intensity map, which serves where the atlas does not say with which map it was made.

    Returns
    -------
    The corrected embedding (d,) and the pixels (C, size, size) it is of.
    """
    from phenolens.screens.crops import cut, paste
    from phenolens.screens.intensity import IntensityMap

    yield Progress(0, 1, "embedding the cell")
    card = atlas.profiles.card
    intensity = IntensityMap.from_dict(card["intensity"]) if card.get("intensity") else encoder.intensity or shown
    crop = cut(paste(plane, window, difference), wanted)
    pixels, size = np.asarray(crop, np.float32)[None], card.get("size")
    raw = encoder.embed(pixels, intensity) if size is None else encoder.embed(pixels, intensity, size=size)
    return atlas.correct(raw, [atlas.plates[row]])[0], crop


def predict(
    encoder: CellEncoder, atlas: Atlas, smiles: str, dose: float | None, rows: NDArray[np.intp]
) -> Job[Prediction]:
    """Predict the mean embedding of the `rows` after a compound, and say how far the prediction can be trusted.

    Parameters
    ----------
    rows
        Controls, or one cell; at most 256 of them, spread evenly, are used.

    Raises
    ------
    ScreenError
        The SMILES cannot be read, or there is no control.
    ModelError
        The encoder knows no compounds.
    """
    from phenolens.profiling.molecules.molecules import fingerprints, nearest

    if encoder.compounds is None:
        raise ModelError("This encoder was trained without compounds, so it predicts none: load one that knows them.")
    asked = fingerprints([smiles])
    if not len(rows):
        raise ScreenError(
            "No row of this map is a negative control (Metadata_Role), so there is nothing to start from."
        )
    known = yield from _known_compounds(encoder)
    index, similarity = nearest(known, asked[0])
    yield Progress(0, 0, "predicting")
    used = rows[np.unique(np.linspace(0, len(rows) - 1, _MOST_CONTROLS).astype(int))]
    raw = encoder.counterfactual(atlas.profiles.vectors[used], smiles, dose)
    vector = atlas.correct(np.asarray(raw, np.float32), [atlas.plates[row] for row in used]).mean(0)
    name = str(encoder.compounds.iloc[int(index)].get("Metadata_Compound", ""))
    return Prediction(smiles, dose, vector, float(similarity), name)


def _known_compounds(encoder: CellEncoder) -> Job[NDArray[np.float32]]:
    """Fingerprints of the encoder's compounds, computed once an encoder."""
    from phenolens.profiling.molecules.molecules import fingerprints

    if encoder not in _FINGERPRINTS:
        compounds = encoder.compounds
        assert compounds is not None
        column = next(name for name in ("SMILES", "Metadata_SMILES") if name in compounds.columns)
        rows = []
        for done, smiles in enumerate(compounds[column], start=1):
            rows.append(fingerprints([smiles])[0])
            yield Progress(done, len(compounds), "comparing with the training compounds")
        _FINGERPRINTS[encoder] = np.stack(rows)
    return _FINGERPRINTS[encoder]


def _encoder_of(atlas: Atlas) -> CellEncoder | None:
    """The encoder that the atlas' card names, if it is still there; a map can be read without."""
    card = atlas.profiles.card
    named = card.get("encoder_folder") or card.get("encoder")
    if not isinstance(named, str) or not named:
        return None
    try:
        return _fitting(load_encoder(named), atlas, named)
    except (ImportError, ModelError):
        return None


def _fitting(encoder: CellEncoder, atlas: Atlas, name: str) -> CellEncoder:
    from phenolens.profiling.encoders.encoder import check_encoder

    check_encoder(encoder, atlas.profiles.card)
    dimension, channels = atlas.profiles.vectors.shape[1], atlas.profiles.card.get("channel_names")
    if encoder.dimension != dimension:
        raise ModelError(
            f"The encoder {name} makes embeddings of {encoder.dimension} numbers, and this map is of {dimension}: load "
            "the encoder that made it."
        )
    if channels and encoder.channel_names is not None and tuple(encoder.channel_names) != tuple(channels):
        raise ModelError(
            f"The encoder {name} is for the channels {', '.join(encoder.channel_names)}, and this map is of "
            f"{', '.join(channels)}: load the encoder that made it."
        )
    return encoder
