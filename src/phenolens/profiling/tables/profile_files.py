"""Profiles as files: Parquet of this project, and embeddings or features that other programs wrote."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.profiling.tables.feature_tables import (
    check_once,
    embedding_columns,
    profiles_of_parts,
    profiles_of_table,
)
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import OutputError, PhenolensError, ScreenError
from phenolens.runtime.files import writable_folder, writing
from phenolens.runtime.json_files import parsed_json
from phenolens.runtime.limits import ROWS, UNPACKED_MB, BoundedReader, unpacked_bytes
from phenolens.screens.conditions import PREFIX
from phenolens.screens.tablefiles import MOST_HEADER, as_numbers, check_table_size, checked, header_of, one_line

if TYPE_CHECKING:
    from pandas import DataFrame

_CARD = b"phenolens"
_ROWS = 1 << 16  # rows written or read at a time
_BLANK = ["", "nan", "NaN", "NA", "N/A", "None", "null", "NULL", "#N/A"]
_KINDS = {"parquet": "Parquet", "pq": "Parquet", "csv": "CSV", "tsv": "CSV", "h5ad": "HDF5", "npz": "NumPy archive"}
_BEGINNINGS = {b"PAR1": "Parquet", b"\x89HDF": "HDF5", b"PK\x03\x04": "NumPy archive", b"\x1f\x8b": "gzip"}


def read_profiles(path: str | os.PathLike[str], *, leave_out_incomplete: bool = False) -> Profiles:
    """Read profiles that this project or another program wrote.

    Parameters
    ----------
    path
        ``.parquet``, ``.csv``, ``.tsv`` (also with ``.gz``) with ``Metadata_`` and ``emb_0000`` columns, or with the
        columns of features that CellProfiler or the like measured; ``.h5ad``; ``.npz`` of DeepProfiler, or a folder
        of these.
    leave_out_incomplete
        Leave out rows in which a feature is missing or infinite, and count them in ``card["left_out_rows"]``, instead
        of refusing the file. Embeddings of this project have none.

    Returns
    -------
    Profiles
        The card is the file's own or tells its name and format. Features without one that differs from row to row are
        named in ``card["dropped_columns"]``, the others in ``card["features"]``. Positions and numbers of objects are
        metadata, never features.

    Raises
    ------
    ScreenError
        There is no such file, it is of another kind, broken or empty, or its columns or rows cannot be used; the
        message names the column.
    """
    path = Path(path)
    if path.is_dir():
        from phenolens.profiling.tables.deepprofiler_files import read_deepprofiler_folder

        return read_deepprofiler_folder(path, leave_out_incomplete=leave_out_incomplete)
    kind = _kind(path)
    if kind == "Parquet":
        return _read_parquet(path, leave_out_incomplete)
    if kind == "HDF5":
        from phenolens.profiling.tables.anndata_files import read_anndata

        return read_anndata(path, leave_out_incomplete=leave_out_incomplete)
    if kind == "NumPy archive":
        from phenolens.profiling.tables.deepprofiler_files import read_deepprofiler

        return read_deepprofiler(path, leave_out_incomplete=leave_out_incomplete)
    card = {"file": path.name, "format": "CSV"}
    return profiles_of_table(_read_csv(path), str(path), card=card, leave_out_incomplete=leave_out_incomplete)


def check_profiles_output(path: Path, overwrite: bool = False, read: Path | None = None) -> None:
    """Make sure that writing profiles to `path` replaces nothing but profiles that this project wrote.

    Parameters
    ----------
    overwrite
        Replace the file whatever it is.
    read
        The file that is read, which is not to be replaced either.

    Raises
    ------
    OutputError
        The file is another program's, or the one that is read, or nothing can be written there.
    """
    writable_folder(path.parent)
    if os.path.isdir(path):
        raise OutputError(f"Cannot write the file {path}: a folder of that name exists. Choose another name.")
    if overwrite or not os.path.exists(path):
        return
    if read is not None and os.path.exists(read) and os.path.samefile(path, read):
        raise OutputError(f"{path} is the file that is read: give another name, or --overwrite, which replaces it.")
    if not _is_own(path):
        raise OutputError(
            f"{path} exists and is no file of profiles that phenolens wrote: give another name, so that nothing is "
            "overwritten, or --overwrite, which replaces it."
        )


def _is_own(path: Path) -> bool:
    if path.suffix.lower() == ".h5ad":
        from phenolens.profiling.tables.anndata_files import is_own

        return is_own(path)
    import pyarrow.parquet as pq

    try:
        return _CARD in (pq.read_schema(path).metadata or {})
    except Exception:  # noqa: BLE001 - whatever a strange file leads the library to
        return False


def write_profiles(profiles: Profiles, path: str | os.PathLike[str]) -> Path:
    """Write profiles as Parquet, whole or not at all; `read_profiles` gives the same numbers back.

    Columns are the metadata and ``emb_0000``... as float32; the card is JSON in the schema's metadata, under
    "phenolens". Metadata columns that mix text with numbers become text.

    Raises
    ------
    OutputError
        The name does not end in .parquet, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if path.suffix.lower() not in {".parquet", ".pq"}:
        raise OutputError(
            f"Profiles are written as Parquet, and {path.name} does not end so: call it {path.stem}.parquet."
        )
    described = pa.Table.from_pandas(_plain(profiles.metadata), preserve_index=False)
    width = max(4, len(str(profiles.vectors.shape[1] - 1)))
    names = [f"emb_{number:0{width}d}" for number in range(profiles.vectors.shape[1])]
    card = json.dumps(profiles.card, default=_json, ensure_ascii=False).encode()
    schema = pa.schema(
        [*described.schema, *(pa.field(name, pa.float32()) for name in names)],
        {**(described.schema.metadata or {}), _CARD: card},
    )
    with (
        writing(path) as partial,
        pq.ParquetWriter(
            partial, schema, compression="zstd", use_dictionary=list(described.column_names), write_statistics=False
        ) as writer,
    ):
        for start in range(0, max(len(profiles), 1), _ROWS):
            rows = np.ascontiguousarray(profiles.vectors[start : start + _ROWS].T)
            part = described.slice(start, _ROWS)
            writer.write_table(pa.Table.from_arrays([*part.columns, *map(pa.array, rows)], schema=schema))
    return path


def write_anndata(profiles: Profiles, path: str | os.PathLike[str], coordinates: ArrayLike | None = None) -> Path:
    """Write profiles as AnnData (.h5ad) for scanpy and the like: X, obs, and a map's `coordinates` as obsm["X_map"].

    Parameters
    ----------
    coordinates
        (n, 2) places of the profiles on a map.

    Raises
    ------
    OutputError
        The name does not end in .h5ad, anndata is not installed, or the file cannot be written.
    ScreenError
        There are not as many coordinates as profiles.
    """
    from phenolens.profiling.tables.anndata_files import write_h5ad

    return write_h5ad(profiles, Path(path), coordinates)


def _kind(path: Path) -> str:
    """What kind of file `path` is by its name, once it has been seen to begin like one."""
    suffixes = [suffix.lower().lstrip(".") for suffix in path.suffixes]
    packed = suffixes[-1:] == ["gz"]
    kind = _KINDS.get(suffixes[-2] if packed and len(suffixes) > 1 else suffixes[-1] if suffixes else "")
    if not path.exists():
        raise ScreenError(f"There is no file {path}; give profiles as .parquet, .csv, .h5ad or .npz.")
    if kind is None or (packed and kind != "CSV"):
        raise ScreenError(
            f"Profiles are read from .parquet, .csv, .csv.gz, .tsv, .h5ad and .npz, and {path.name} is none of them."
        )
    try:
        with path.open("rb") as file:
            beginning = file.read(4)
    except OSError as error:
        raise ScreenError(f"{path} cannot be read ({error}).") from error
    if not beginning:
        raise ScreenError(f"{path} is empty.")
    found = next((what for magic, what in _BEGINNINGS.items() if beginning.startswith(magic)), "CSV")
    expected = "gzip" if packed else kind
    if found != expected:
        what = "text, or is broken" if found == "CSV" else found
        raise ScreenError(f"{path.name} should be {expected} by its name but holds {what}: give it the right ending.")
    return kind


def _read_parquet(path: Path, leave_out_incomplete: bool) -> Profiles:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            check_table_size(file.metadata.num_rows, file.metadata.num_columns, path)
            names = list(file.schema_arrow.names)
            card = _own_card((file.schema_arrow.metadata or {}).get(_CARD), path)
            check_once(names, str(path))
            features = embedding_columns(names)
            others = [name for name in names if name not in set(features)]
            described = checked(file.read(others))
            if not features:
                return profiles_of_table(described, str(path), card=card, leave_out_incomplete=leave_out_incomplete)
            vectors = _read_vectors(file, features, path)
    except PhenolensError:
        raise
    except Exception as error:  # Arrow and pandas raise whatever a broken file leads them to
        raise ScreenError(f"{path} cannot be read as Parquet ({one_line(error)}); it may be broken.") from error
    if not isinstance(described.index, type(described.reset_index(drop=True).index)):
        described = described.reset_index()  # an index with a name is metadata too
    return profiles_of_parts(
        described, vectors, features, str(path), card=card, leave_out_incomplete=leave_out_incomplete
    )


def _read_vectors(file: Any, features: list[str], path: Path) -> NDArray[np.float32]:
    size = 4 * file.metadata.num_rows * len(features)
    if size > unpacked_bytes(path.stat().st_size):
        raise ScreenError(
            f"{path} unpacks to {size / 2**20:,.0f} MiB, out of all proportion to its size; {UNPACKED_MB.raised_by()}."
        )
    vectors = np.empty((file.metadata.num_rows, len(features)), np.float32)
    start = 0
    for batch in file.iter_batches(_ROWS, columns=features):
        columns = np.empty((len(features), batch.num_rows), np.float32)
        for number, name in enumerate(features):
            try:
                values = batch.column(name).to_numpy(zero_copy_only=False)
                with np.errstate(over="ignore"):
                    columns[number] = values
            except (TypeError, ValueError) as error:
                raise ScreenError(f"{path}: column {name!r} does not hold numbers.") from error
        vectors[start : start + batch.num_rows] = columns.T
        start += batch.num_rows
    if start != len(vectors):  # Arrow ends early, without a word, where a column has fewer values than the file says
        raise ScreenError(f"{path} has {len(vectors)} rows by its own word, and embeddings for {start}: copy it again.")
    return vectors


def _read_csv(path: Path) -> DataFrame:
    import pandas as pd

    try:
        packed = path.suffix.lower() == ".gz"
        with _text_of(path, packed) as file:
            header, separator = header_of(file.readline(MOST_HEADER))
        check_table_size(0, len(header), path)
        check_once(header, str(path))
        # text first: a compound called "null" or "NA" is a name, not a gap
        described = [name for name in header if name.startswith(PREFIX)]
        rest = [name for name in header if not name.startswith(PREFIX)]
        with _text_of(path, packed) as file:
            table = pd.read_csv(
                file, sep=separator, index_col=False, keep_default_na=False, low_memory=False, nrows=ROWS() + 1,
                dtype=dict.fromkeys(described, str), na_values=dict.fromkeys(rest, _BLANK),
            )  # fmt: skip
    except PhenolensError:
        raise
    except Exception as error:  # parsers raise whatever a broken file leads them to
        raise ScreenError(f"{path} cannot be read as CSV ({one_line(error)}); it may be broken.") from error
    check_table_size(len(table), table.shape[1], path)
    for name in described:
        table[name] = as_numbers(table[name])
    return table


@contextmanager
def _text_of(path: Path, packed: bool) -> Iterator[TextIO]:
    """The text of a file, unpacked within bounds where it is packed."""
    with path.open("rb") as file:
        if not packed:
            yield io.TextIOWrapper(file, "utf-8-sig", newline="")
            return
        with cast("IO[bytes]", gzip.open(file)) as unpacked:
            bounded = BoundedReader(unpacked, unpacked_bytes(path.stat().st_size))
            yield io.TextIOWrapper(io.BufferedReader(bounded, 1 << 20), "utf-8-sig", newline="")


def _own_card(text: bytes | None, path: Path) -> dict[str, Any]:
    try:
        card = parsed_json(text) if text else None
    except ValueError:
        card = None
    return card if isinstance(card, dict) else {"file": path.name, "format": "Parquet"}


def _plain(metadata: DataFrame) -> DataFrame:
    """`metadata` with columns of one type each."""
    import pandas as pd

    mixed = {
        str(name): column.where(column.isna(), column.astype(str))
        for name, column in metadata.items()
        if column.dtype == object
        and pd.api.types.infer_dtype(column, skipna=True) in {"mixed", "mixed-integer", "mixed-integer-float"}
    }
    return metadata.assign(**mixed) if mixed else metadata


def _json(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
