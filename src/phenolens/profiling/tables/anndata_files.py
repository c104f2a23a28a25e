"""AnnData: profiles to and from the objects and .h5ad files that scanpy and its like work with."""

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
from phenolens.profiling.tables.hdf5_check import check_declared, check_hdf5
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import OutputError, PhenolensError, ScreenError
from phenolens.runtime.files import writing
from phenolens.runtime.json_files import parsed_json
from phenolens.runtime.limits import unpacked_bytes
from phenolens.screens.tablefiles import check_table_size, one_line

if TYPE_CHECKING:
    from pandas import Series

_CARD = "phenolens"


def to_anndata(profiles: Profiles, coordinates: ArrayLike | None = None) -> Any:
    """Return profiles as AnnData; see `Profiles.to_anndata`."""
    import pandas as pd

    anndata = _anndata(OutputError)
    places = None if coordinates is None else np.asarray(coordinates, np.float32)
    if places is not None and (places.ndim != 2 or len(places) != len(profiles)):
        raise ScreenError(f"Coordinates {places.shape} were given for {len(profiles)} profiles: give a row for each.")
    names = [str(column).replace("/", "_") for column in profiles.metadata.columns]
    if len(set(names)) != len(names):
        raise OutputError("Two metadata columns differ in / and _ only, which AnnData cannot hold: rename one.")
    # as objects: not every version of anndata can write the text columns of every version of pandas
    rows = pd.Index([str(number) for number in range(len(profiles))], dtype=object)
    columns = {name: _storable(profiles.metadata[held]) for name, held in zip(names, profiles.metadata, strict=True)}
    width = max(4, len(str(profiles.vectors.shape[1] - 1)))
    features = [f"emb_{number:0{width}d}" for number in range(profiles.vectors.shape[1])]
    card = json.dumps(profiles.card, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value))
    return anndata.AnnData(
        X=profiles.vectors,
        obs=pd.DataFrame(columns, index=rows),
        var=pd.DataFrame(index=pd.Index(features, dtype=object)),
        obsm={} if places is None else {"X_map": places},
        uns={_CARD: card},
    )


def from_anndata(data: Any, source: str = "The AnnData", *, leave_out_incomplete: bool = False) -> Profiles:
    """Make profiles of AnnData; see `Profiles.from_anndata`."""
    import pandas as pd

    if data.X is None:
        raise ScreenError(f"{source} has no X, the matrix of features.")
    values = np.asarray(data.X.toarray() if hasattr(data.X, "toarray") else data.X)
    described = pd.DataFrame({str(name): _plain(data.obs[name]) for name in data.obs.columns})
    described.index = pd.Index([str(name) for name in data.obs_names], dtype=object)
    names = [str(name) for name in data.var_names]
    if "spatial" in data.obsm and not {"Metadata_X", "x"} & set(described.columns):
        places = np.asarray(data.obsm["spatial"])
        described["Metadata_Y"], described["Metadata_X"] = places[:, 1], places[:, 0]
    if list(described.index) != [str(number) for number in range(len(described))]:
        described.insert(0, "Metadata_ObsName", described.index)
    described = metadata_columns(described, source)
    card = _card(data.uns.get(_CARD), source)
    if names and embedding_columns(names) == names:
        with np.errstate(over="ignore"):
            vectors = np.asarray(values, np.float32)
        return profiles_of_parts(
            described, vectors, names, source, card=card, leave_out_incomplete=leave_out_incomplete
        )
    table = pd.concat([described, pd.DataFrame(values, columns=names)], axis=1)
    return profiles_of_table(table, source, card=card, leave_out_incomplete=leave_out_incomplete)


def read_anndata(path: Path, *, leave_out_incomplete: bool = False) -> Profiles:
    """Read a .h5ad file; see `Profiles.from_anndata`.

    Raises
    ------
    ScreenError
        The file is no AnnData or broken, it refers to other files or declares more than may be read, or anndata is not
        installed; else as `feature_tables.profiles_of_table`.
    """
    anndata = _anndata(ScreenError)
    import h5py

    try:
        check_hdf5(path)
        with h5py.File(path, "r") as file:
            if missing := [name for name in ("X", "obs", "var") if name not in file]:
                raise ScreenError(
                    f"{path} is no AnnData: it has no {', '.join(missing)}. It holds: {', '.join(file) or 'nothing'}."
                )
        data = anndata.read_h5ad(path)
        _check_dense(data.shape, path)
        return from_anndata(data, str(path), leave_out_incomplete=leave_out_incomplete)
    except PhenolensError:
        raise
    except Exception as error:  # HDF5 and anndata raise whatever a broken file leads them to
        raise ScreenError(f"{path} cannot be read as AnnData ({one_line(error)}); it may be broken.") from error


def write_h5ad(profiles: Profiles, path: Path, coordinates: ArrayLike | None = None) -> Path:
    """Write `profiles`; see `profile_files.write_anndata`."""
    if path.suffix.lower() != ".h5ad":
        raise OutputError(f"AnnData is written as .h5ad, and {path.name} does not end so: call it {path.stem}.h5ad.")
    data = to_anndata(profiles, coordinates)
    with writing(path) as partial:
        data.write_h5ad(partial)
    return path


def is_own(path: Path) -> bool:
    """Whether `write_h5ad` wrote a file."""
    try:
        import h5py

        with h5py.File(path, "r") as file:
            return _CARD in file.get("uns", ())
    except Exception:  # noqa: BLE001 - whatever a strange file leads the library to
        return False


def _check_dense(shape: tuple[int, int], path: Path) -> None:
    """Of a sparse matrix, which a few bytes can declare, all values are held."""
    check_table_size(shape[0], shape[1], path)
    check_declared(shape[0] * shape[1], 4, max(unpacked_bytes(path.stat().st_size), 2**29), path)


def _storable(column: Series) -> Any:
    """A column of numbers as it is; anything else as categories of text, of which a gap is none."""
    import pandas as pd

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column.to_numpy()
    missing = column.isna().to_numpy()
    values, codes = np.unique(column.astype(str).to_numpy(object)[~missing], return_inverse=True)
    all_codes = np.full(len(column), -1, np.int32)
    all_codes[~missing] = codes
    return pd.Categorical.from_codes(all_codes, pd.Index(values.tolist(), dtype=object))


def _plain(column: Series) -> NDArray[Any]:
    """Values of a column as NumPy has them; gaps in text are None, in numbers NaN."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype) and not column.isna().any():
        return np.asarray(column, bool)
    if pd.api.types.is_numeric_dtype(column.dtype):
        plain = isinstance(column.dtype, np.dtype)
        return np.asarray(column if plain else column.to_numpy(float, na_value=np.nan))
    values: Series = column.astype(object)
    return np.asarray(values.where(column.notna(), None), object)


def _card(written: Any, source: str) -> dict[str, Any]:
    try:
        card = parsed_json(written) if isinstance(written, str) else None
    except ValueError:
        card = None
    return card if isinstance(card, dict) else {"file": Path(source).name, "format": "AnnData"}


def _anndata(error: type[PhenolensError]) -> Any:
    try:
        import anndata
    except ImportError as missing:
        raise error(
            "AnnData needs the package anndata: install it with pip install napari-phenolens[anndata]."
        ) from missing
    return anndata
