"""AnnData files (.h5ad): read and written by their published layout, so that scanpy and its like can use profiles.

The layout is that of anndata 0.8 and later; what 0.7 wrote is read too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.tables.feature_tables import (
    embedding_columns,
    metadata_columns,
    profiles_of_parts,
    profiles_of_table,
)
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import OutputError, PhenolensError, ScreenError
from phenolens.runtime.files import writing

if TYPE_CHECKING:
    from pandas import DataFrame

_CARD = "phenolens"
_EMPTY = ("layers", "obsp", "varm", "varp")


def read_anndata(path: Path, *, leave_out_incomplete: bool = False) -> Profiles:
    """Read X (dense or sparse) as features and obs as metadata; ``obsm["spatial"]`` gives X and Y where obs does not.

    Raises
    ------
    ScreenError
        The file is no AnnData or broken, or h5py is not installed; else as `feature_tables.profiles_of_table`.
    """
    import pandas as pd

    h5py = _h5py(ScreenError)
    try:
        with h5py.File(path, "r") as file:
            if "X" not in file or "obs" not in file or "var" not in file:
                raise ScreenError(
                    f"{path} is no AnnData: it has no X, obs and var. It holds: {', '.join(file) or 'nothing'}."
                )
            values = _matrix(file["X"])
            described = _frame(file["obs"])
            names = [str(name) for name in _frame(file["var"]).index]
            card = _card(file, path)
            if "obsm" in file and "spatial" in file["obsm"] and not {"Metadata_X", "x"} & set(described.columns):
                places = np.asarray(file["obsm"]["spatial"])
                described["Metadata_Y"], described["Metadata_X"] = places[:, 1], places[:, 0]
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise ScreenError(f"{path} cannot be read as AnnData ({error}); it may be broken.") from error
    if values.shape != (len(described), len(names)):
        raise ScreenError(f"{path} is broken: X is {values.shape} beside {len(described)} obs and {len(names)} var.")
    if list(described.index) != [str(number) for number in range(len(described))]:
        described.insert(0, "Metadata_ObsName", described.index)
    described = metadata_columns(described, str(path))
    if names and embedding_columns(names) == names:
        with np.errstate(over="ignore"):
            vectors = np.asarray(values, np.float32)
        return profiles_of_parts(
            described, vectors, names, str(path), card=card, leave_out_incomplete=leave_out_incomplete
        )
    features = pd.DataFrame(values, columns=names)
    return profiles_of_table(
        pd.concat([described, features], axis=1), str(path), card=card, leave_out_incomplete=leave_out_incomplete
    )


def write_h5ad(profiles: Profiles, path: Path, coordinates: ArrayLike | None = None) -> Path:
    """Write `profiles`; see `profile_files.write_anndata`."""
    if path.suffix.lower() != ".h5ad":
        raise OutputError(f"AnnData is written as .h5ad, and {path.name} does not end so: call it {path.stem}.h5ad.")
    places = None if coordinates is None else np.asarray(coordinates, np.float32)
    if places is not None and (places.ndim != 2 or len(places) != len(profiles)):
        raise ScreenError(f"Coordinates {places.shape} were given for {len(profiles)} profiles: give a row for each.")
    h5py = _h5py(OutputError)
    card = json.dumps(profiles.card, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value))
    width = max(4, len(str(profiles.vectors.shape[1] - 1)))
    with writing(path) as partial, h5py.File(partial, "w") as file:
        _mark(file, "anndata", "0.1.0")
        _mark(file.create_dataset("X", data=profiles.vectors), "array", "0.2.0")
        _write_frame(file.create_group("obs"), profiles.metadata, [str(number) for number in range(len(profiles))])
        names = [f"emb_{number:0{width}d}" for number in range(profiles.vectors.shape[1])]
        _write_frame(file.create_group("var"), None, names)
        maps = _mark(file.create_group("obsm"), "dict", "0.1.0")
        if places is not None:
            _mark(maps.create_dataset("X_map", data=places), "array", "0.2.0")
        for name in _EMPTY:
            _mark(file.create_group(name), "dict", "0.1.0")
        notes = _mark(file.create_group("uns"), "dict", "0.1.0")
        _mark(notes.create_dataset(_CARD, data=card, dtype=h5py.string_dtype()), "string", "0.2.0")
    return path


def _write_frame(group: Any, table: DataFrame | None, index: list[str]) -> None:
    names = [] if table is None else [str(column).replace("/", "_") for column in table.columns]
    if len(set(names)) != len(names):
        raise OutputError("Two metadata columns differ in / and _ only, which AnnData cannot hold: rename one.")
    _mark(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    group.attrs.create("column-order", names or np.empty(0), dtype=None if not names else _text_type())
    _write_text(group, "_index", index)
    for number, name in enumerate(names):
        assert table is not None
        column = table.iloc[:, number]
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            _mark(group.create_dataset(name, data=column.to_numpy()), "array", "0.2.0")
            continue
        # a category of -1 is a gap, for which plain text has no word
        missing = column.isna().to_numpy()
        values, codes = np.unique(column.astype(str).to_numpy(object)[~missing], return_inverse=True)
        all_codes = np.full(len(column), -1, np.int32)
        all_codes[~missing] = codes
        category = _mark(group.create_group(name), "categorical", "0.2.0")
        category.attrs["ordered"] = False
        _mark(category.create_dataset("codes", data=all_codes), "array", "0.2.0")
        _write_text(category, "categories", values.tolist())


def _write_text(group: Any, name: str, values: list[str]) -> None:
    data = np.array(values, dtype=object)
    _mark(group.create_dataset(name, data=data, shape=(len(values),), dtype=_text_type()), "string-array", "0.2.0")


def _mark(held: Any, kind: str, version: str) -> Any:
    held.attrs["encoding-type"], held.attrs["encoding-version"] = kind, version
    return held


def _text_type() -> Any:
    import h5py

    return h5py.string_dtype()


def _matrix(held: Any) -> NDArray[Any]:
    if "shape" not in held.attrs and "h5sparse_shape" not in held.attrs:
        return np.asarray(held)
    from scipy import sparse

    shape = tuple(held.attrs.get("shape", held.attrs.get("h5sparse_shape")))
    kind = str(_decoded(held.attrs.get("encoding-type", held.attrs.get("h5sparse_format", "csr"))))
    made = sparse.csc_matrix if kind.startswith("csc") else sparse.csr_matrix
    parts = (np.asarray(held["data"]), np.asarray(held["indices"]), np.asarray(held["indptr"]))
    return np.asarray(made(parts, shape=shape).toarray())


def _frame(held: Any) -> DataFrame:
    """A data frame of the file, its index as text."""
    import pandas as pd

    if hasattr(held, "dtype"):  # a compound array, before anndata 0.7
        rows = held[()]
        names = list(rows.dtype.names)
        index = "index" if "index" in names else names[0]
        columns = {name: _decoded(rows[name]) for name in names if name != index}
        return pd.DataFrame(columns, index=[str(name) for name in _decoded(rows[index])])
    index = str(_decoded(held.attrs.get("_index", "_index")))
    order = [str(_decoded(name)) for name in held.attrs.get("column-order", ())]
    order = order or [name for name in held if name not in (index, "__categories")]
    columns = {name: _column(held[name], held) for name in order}
    return pd.DataFrame(columns, index=[str(name) for name in _column(held[index], held)])


def _column(held: Any, frame: Any) -> Any:
    import pandas as pd

    if hasattr(held, "dtype"):
        values = _decoded(held[()])
        if "categories" not in held.attrs:
            return values
        return _from_codes(values, _decoded(frame.file[held.attrs["categories"]][()]))
    if "codes" in held:
        return _from_codes(np.asarray(held["codes"]), _column(held["categories"], frame))
    return pd.Series(_decoded(held["values"][()])).mask(np.asarray(held["mask"], bool)).to_numpy()


def _from_codes(codes: NDArray[Any], categories: Any) -> NDArray[Any]:
    values: NDArray[Any] = np.array([*categories, None], dtype=object)
    return np.asarray(values[codes])


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        return np.array([item.decode() if isinstance(item, bytes) else item for item in value.tolist()], object)
    return value


def _card(file: Any, path: Path) -> dict[str, Any]:
    try:
        card = json.loads(_decoded(file["uns"][_CARD][()]))
    except (KeyError, ValueError, TypeError, AttributeError):
        card = None
    return card if isinstance(card, dict) else {"file": path.name, "format": "AnnData"}


def _h5py(error: type[PhenolensError]) -> Any:
    try:
        import h5py
    except ImportError as missing:
        raise error(
            "AnnData files need the package h5py: install it with pip install napari-phenolens[anndata]."
        ) from missing
    return h5py
