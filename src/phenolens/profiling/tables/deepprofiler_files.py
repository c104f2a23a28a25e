"""Features that DeepProfiler wrote: a NumPy archive a field, with its cells' features, places and metadata."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.profiling.tables.feature_tables import metadata_columns, profiles_of_parts
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from pandas import DataFrame

_FEATURES = ("features", "all_emb", "f")
_FIELD = re.compile(r"(?P<well>[A-Za-z]{1,2}\d{1,2})[_-](?P<site>[^_-]+)$")
# all that a dictionary of text and numbers is made of; anything else in a pickle could run code
_HARMLESS = {
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "dtype"), ("numpy", "ndarray"), ("_codecs", "encode"), ("builtins", "dict"),
    ("collections", "OrderedDict"),
}  # fmt: skip


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
        with zipfile.ZipFile(path) as archive:
            held = {name.removesuffix(".npy"): name for name in archive.namelist()}
            name = next((name for name in _FEATURES if name in held), None)
            if name is None:
                raise ScreenError(f"{path} has no array 'features' or 'all_emb'. Arrays: {', '.join(held) or 'none'}.")
            features = _array(archive, held[name])
            places = _array(archive, held["locations"]) if "locations" in held else None
            written = _array(archive, held["metadata"]) if "metadata" in held else None
    except pickle.UnpicklingError as error:
        raise ScreenError(
            f"{path} holds Python objects beside text and numbers ({error}), which are not read because they could run "
            "code: save its metadata as text and numbers."
        ) from error
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, KeyError) as error:
        raise ScreenError(f"{path} cannot be read as a NumPy archive ({error}); it may be broken.") from error
    vectors = _vectors(features, path)
    described = pd.DataFrame(_metadata(written, path), index=range(len(vectors)))
    if places is not None and places.ndim == 2 and places.shape[1] >= 2 and len(places) == len(vectors):
        described["Metadata_Y"] = places[:, 1].astype(float)
        described["Metadata_X"] = places[:, 0].astype(float)
    return metadata_columns(described, str(path)), vectors


def _vectors(features: Any, path: Path) -> NDArray[np.float32]:
    table = np.asarray(features)
    if table.dtype.kind not in "fiu" or table.ndim < 2:
        raise ScreenError(f"{path}: its features are {table.dtype} {table.shape}, and not numbers with a row a cell.")
    if table.ndim > 2:
        table = table.mean(axis=tuple(range(1, table.ndim - 1)), dtype=np.float64)
    with np.errstate(over="ignore"):
        return table.astype(np.float32)


def _metadata(written: Any, path: Path) -> dict[str, Any]:
    """What is known of the whole field, by column."""
    known = written.item() if written is not None and written.shape == () else {}
    found = dict(known) if isinstance(known, dict) else {}
    kept = {str(key): value for key, value in found.items() if np.ndim(value) == 0}
    match = _FIELD.search(path.stem)
    if match and not {"Metadata_Well", "Metadata_Site"} & set(kept):
        kept |= {"Metadata_Well": match["well"], "Metadata_Site": match["site"]}
        before = path.stem[: match.start()].rstrip("_-")
        kept.setdefault("Metadata_Plate", before or path.resolve().parent.name)
    return kept


def _array(archive: zipfile.ZipFile, name: str) -> Any:
    """One array of the archive; of a pickled one only what is harmless."""
    with archive.open(name) as file:
        data = io.BytesIO(file.read())
    version = np.lib.format.read_magic(data)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read(data)
    if dtype.hasobject:
        return _Unpickler(data).load()
    data.seek(0)
    return np.lib.format.read_array(data, allow_pickle=False)


class _Unpickler(pickle.Unpickler):
    """Reads text, numbers, dictionaries and arrays, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)
