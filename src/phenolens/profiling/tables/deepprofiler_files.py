"""Features that DeepProfiler wrote: a NumPy archive a field, with its cells' features, places and metadata."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.profiling.tables.feature_tables import metadata_columns, profiles_of_parts
from phenolens.profiling.tables.pickled_metadata import ForeignObject, read_pickled
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.array_files import BrokenArrays, array_of, broken_arrays, npy_header, npz_members
from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from pandas import DataFrame

_FEATURES = ("features", "all_emb", "f")
_FIELD = re.compile(r"(?P<well>[A-Za-z]{1,2}\d{1,2})[_-](?P<site>[^_-]+)$")


def read_deepprofiler(path: Path, *, leave_out_incomplete: bool = False) -> Profiles:
    """Read one archive: ``features`` (or ``all_emb``), and ``metadata`` and ``locations`` where it has them.

    Features (n, d) are taken as they are; of (n, height, width, d) the mean over height and width is taken. Plate,
    well and site come from the metadata, else from the name ``<plate>/<well>_<site>.npz``.

    Raises
    ------
    ScreenError
        The file is no such archive or broken, or the metadata holds more than text and numbers.
    """
    described, vectors = _read(path)
    return _profiles(described, vectors, str(path), path.name, leave_out_incomplete)


def read_deepprofiler_folder(folder: Path, *, leave_out_incomplete: bool = False) -> Profiles:
    """Read all archives below `folder`, sorted by name; see `read_deepprofiler`."""
    import pandas as pd

    paths = sorted(folder.rglob("*.npz"))
    if not paths:
        raise ScreenError(f"The folder {folder} holds no .npz files of features; give a file of profiles.")
    parts = [(path, *_read(path)) for path in paths]
    filled = [part for part in parts if len(part[2])] or parts[:1]
    width = filled[0][2].shape[1]
    for path, _, vectors in filled:
        if vectors.shape[1] != width:
            raise ScreenError(
                f"{path} has {vectors.shape[1]} features where {filled[0][0]} has {width}: read them separately."
            )
    described = pd.concat([part[1] for part in filled], ignore_index=True)
    vectors = np.concatenate([part[2] for part in filled])
    return _profiles(described, vectors, str(folder), folder.name, leave_out_incomplete)


def _profiles(
    described: DataFrame, vectors: NDArray[np.float32], source: str, name: str, leave_out_incomplete: bool
) -> Profiles:
    card = {"file": name, "format": "DeepProfiler", "level": "cell"}
    features = [str(number) for number in range(vectors.shape[1])]
    return profiles_of_parts(described, vectors, features, source, card=card, leave_out_incomplete=leave_out_incomplete)


def _read(path: Path) -> tuple[DataFrame, NDArray[np.float32]]:
    import pandas as pd

    try:
        with broken_arrays(), zipfile.ZipFile(path) as archive:
            held = {name.removesuffix(".npy") for name in archive.namelist()}
            features = next((name for name in _FEATURES if name in held), None)
            wanted = (features, "locations", "metadata") if features else ()
            members = dict(npz_members(archive, path.stat().st_size, wanted))
        if features is None:
            raise ScreenError(
                f"{path} has no array 'features' or 'all_emb'. Arrays: {', '.join(sorted(held)) or 'none'}."
            )
        written = {name: _values(data, may_be_metadata=name == "metadata") for name, data in members.items()}
    except ForeignObject as error:
        raise ScreenError(
            f"{path} holds Python objects beside text and numbers ({error}), which are not read because they could run "
            "code: save its metadata as text and numbers."
        ) from error
    except BrokenArrays as error:
        raise ScreenError(f"{path} cannot be read as a NumPy archive ({error}); it may be broken.") from error
    vectors = _vectors(written[features], path)
    described = pd.DataFrame(_metadata(written.get("metadata"), path), index=range(len(vectors)))
    places = written.get("locations")
    if places is not None and places.ndim == 2 and places.shape[1] >= 2 and len(places) == len(vectors):
        if places.dtype.kind not in "fiu":
            raise ScreenError(f"{path}: its locations are {places.dtype}, and not numbers.")
        described["Metadata_Y"] = places[:, 1].astype(float)
        described["Metadata_X"] = places[:, 0].astype(float)
    return metadata_columns(described, str(path)), vectors


def _vectors(features: Any, path: Path) -> NDArray[np.float32]:
    table = np.asarray(features)
    if table.dtype.kind not in "fiu" or table.ndim < 2:
        raise ScreenError(f"{path}: its features are {table.dtype} {table.shape}, and not numbers with a row a cell.")
    if table.ndim > 2:
        if 0 in table.shape[1:-1]:
            raise ScreenError(f"{path}: its features have the shape {table.shape}, and no value to take a mean of.")
        table = table.mean(axis=tuple(range(1, table.ndim - 1)), dtype=np.float64)
    with np.errstate(over="ignore"):
        return table.astype(np.float32)


def _metadata(written: Any, path: Path) -> dict[str, Any]:
    """What is known of the whole field, by column."""
    found = written if isinstance(written, dict) else {}
    kept = {str(key): value for key, value in found.items() if isinstance(value, (str, bool, int, float, type(None)))}
    match = _FIELD.search(path.stem)
    if match and not {"Metadata_Well", "Metadata_Site"} & set(kept):
        kept |= {"Metadata_Well": match["well"], "Metadata_Site": match["site"]}
        before = path.stem[: match.start()].rstrip("_-")
        kept.setdefault("Metadata_Plate", before or path.resolve().parent.name)
    return kept


def _values(data: bytes, may_be_metadata: bool) -> Any:
    """One array of the archive, or what is known of the field, which is one object as a pickle."""
    with broken_arrays():
        shape, by_column, dtype, start = npy_header(data)
        if not dtype.hasobject:
            return array_of(data[start:], dtype, shape, by_column)
    if not may_be_metadata or dtype.kind != "O":
        raise ForeignObject("an array of objects")
    try:
        return read_pickled(data[start:])
    except ForeignObject:
        raise
    except ValueError as error:
        raise BrokenArrays(str(error)) from error
