"""The jobs of the map, put together from the engine. Generators without Qt or napari; the engine is imported inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import ModelError
from phenolens.runtime.progress import Job, Progress
from phenolens.widgets.map.session import MapData

if TYPE_CHECKING:
    from phenolens.profiling.atlas.atlas import Atlas
    from phenolens.profiling.atlas.density import DensityOutline
    from phenolens.profiling.encoders.encoder import CellEncoder
    from phenolens.profiling.tables.profiles import Profiles
    from phenolens.screens.cells import Cells
    from phenolens.screens.crops import Window
    from phenolens.screens.intensity import IntensityMap
    from phenolens.screens.large_images import Plane
    from phenolens.screens.table import Screen


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


def embed_screen(
    screen: Screen, cells: Cells, crop: int, intensity: IntensityMap, name: str, known: Profiles | None = None
) -> Job[MapData]:
    """Embed the cells of a screen with the encoder that ships, and fit a PCA map to them.

    Embeddings that are `known` already, for suggestions, are not made again where they are of the same cells, crop and
    encoder.
    """
    from phenolens.profiling.atlas.atlas import Atlas
    from phenolens.profiling.encoders.embedding import embed_screen

    yield Progress(0, 0, "loading the encoder")
    encoder = load_encoder("default")
    profiles = known
    if profiles is None or len(profiles) != len(cells) or not _made_by(encoder, profiles.card, crop):
        profiles = yield from embed_screen(encoder, screen, cells, crop=crop, intensity=intensity)
    yield Progress(0, 0, "making the map")
    atlas = yield from Atlas.fit(profiles, projection="pca")
    return MapData.prepare(atlas, name, encoder)


def project_anew(data: MapData, projection: str) -> Job[MapData]:
    """The same rows and distances on another map."""
    yield Progress(0, 0, "making the map")
    return replace(data, atlas=(yield from data.atlas.projected(projection)))


def outline_groups(
    places: NDArray[np.float32], codes: NDArray[np.int16], groups: Sequence[int]
) -> Job[dict[int, tuple[DensityOutline, ...]]]:
    """Lines around the densest parts of some groups, by group; without those that have too few points for it.

    Parameters
    ----------
    places, codes
        (n, 2) points on the map, and (n,) the group of each.
    groups
        Which are looked at.
    """
    from phenolens.profiling.atlas.density import density_outlines

    found = {}
    for step, group in enumerate(groups):
        yield Progress(step, len(groups), "drawing lines of density")
        if outlines := density_outlines(places[codes == group]):
            found[group] = outlines
    return found


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
    plane: Callable[[], Plane],
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
        What reads the field (C, H, W) in file units, and the translated minus the real pixels (C, h, w) at a window
        of it.
    wanted
        The window that the atlas' cells are cut with, which may be another.
    shown
        The screen's intensity map, which serves where the atlas does not say with which map it was made.

    Returns
    -------
    The corrected embedding (d,) and the pixels (C, size, size) it is of.
    """
    from phenolens.screens.intensity import IntensityMap

    yield Progress(0, 1, "embedding the cell")
    card = atlas.profiles.card
    intensity = IntensityMap.from_dict(card["intensity"]) if card.get("intensity") else encoder.intensity or shown
    crop = _changed_crop(plane(), window, difference, wanted)
    pixels, size = np.asarray(crop, np.float32)[None], card.get("size")
    raw = encoder.embed(pixels, intensity) if size is None else encoder.embed(pixels, intensity, size=size)
    return atlas.correct(raw, [atlas.plates[row]])[0], crop


def _changed_crop(plane: Plane, window: Window, difference: NDArray[Any], wanted: Window) -> NDArray[Any]:
    """The `wanted` window of a plane whose pixels at `window` are changed; no more of it is read than lies around."""
    from phenolens.screens.crops import Window, cut, paste

    spans = []
    for start, other, length in zip((window.y, window.x), (wanted.y, wanted.x), plane.shape[-2:], strict=True):
        # what is beyond the border is reflected: it lies within the window's size of it
        first = min(start, other - wanted.size)
        last = max(start + window.size, other + 2 * wanted.size)
        spans.append(slice(max(first, 0), min(last, length)))
    top, left = (span.start for span in spans)
    near = plane[(slice(None), *spans)]
    moved, looked = (Window(one.y - top, one.x - left, one.size) for one in (window, wanted))
    return cut(paste(near, moved, difference), looked)


def _made_by(encoder: CellEncoder, card: dict[str, Any], crop: int) -> bool:
    """Whether embeddings of such a card were made by an encoder with such crops."""
    own = (encoder.card.name, encoder.sha256, crop)
    return (card.get("encoder"), card.get("encoder_sha256"), card.get("crop")) == own


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
