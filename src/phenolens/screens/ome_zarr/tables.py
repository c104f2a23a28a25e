"""Tables inside OME-Zarr as ngio writes and reads them: features of labels, conditions of wells."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.errors import ImageError
from phenolens.runtime.files import write_json, writing
from phenolens.screens.ome_zarr.folders import ZarrGroup, check_arrays_below, is_url, joined, open_group

if TYPE_CHECKING:
    from pandas import DataFrame

_LARGEST_TABLE = 2**30


def table_names(address: str | os.PathLike[str], kind: str | None = None) -> tuple[str, ...]:
    """Names of the tables in an OME-Zarr image or plate; those of one `kind` where it is given.

    Parameters
    ----------
    kind
        ngio's type of a table, such as ``feature_table`` or ``condition_table``.

    Raises
    ------
    ImageError
        There is no OME-Zarr, or its metadata are damaged.
    """
    return tuple(_tables(open_group(address), kind))


def read_table_inside(address: str | os.PathLike[str], name: str) -> DataFrame:
    """Read a table that lies inside an OME-Zarr image or plate (CSV, Parquet or JSON).

    Raises
    ------
    ImageError
        There is no such table, it is damaged, or it is of a kind that cannot be read.
    """
    group = open_group(address)
    found = _tables(group)
    if name not in found:
        raise ImageError(f"{address} has no table {name!r}; it has: {', '.join(found) or 'none'}.")
    return _read(found[name])


def condition_table(group: ZarrGroup) -> tuple[str, DataFrame] | None:
    """Name and rows of the first table of conditions of a plate, None where it has none."""
    found = _tables(group, "condition_table")
    return next(((name, _read(table)) for name, table in found.items()), None)


def _tables(group: ZarrGroup, kind: str | None = None) -> dict[str, ZarrGroup]:
    tables = group.child("tables")
    listed = [] if tables is None else tables.attributes.get("tables", [])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ImageError(f"The OME-Zarr {group.address} is damaged: its tables are not a list of names.")
    found = group.children([f"tables/{name}" for name in listed])
    named = {name: one for name, one in zip(listed, found, strict=True) if one is not None}
    return {name: one for name, one in named.items() if kind in (None, one.attributes.get("type"))}


def _read(table: ZarrGroup) -> DataFrame:
    import pandas as pd

    backend = table.attributes.get("backend", "anndata")
    try:
        if backend == "csv":
            from phenolens.screens.tablefiles import as_numbers

            text = pd.read_csv(_content(joined(table.address, "table.csv")), dtype=str, keep_default_na=False)
            rows = text.apply(as_numbers)
        elif backend == "parquet":
            from pyarrow.parquet import read_table

            from phenolens.screens.tablefiles import checked

            rows = checked(read_table(_content(joined(table.address, "table.parquet"))))
        elif backend == "json":
            within = table.child("table")
            rows = pd.DataFrame(dict(within.attributes) if within is not None else {})
        elif backend in ("anndata", "anndata_v1"):
            rows = _from_anndata(table)
        else:
            raise ImageError(
                f"The table {table.address} is stored as {str(backend)[:40]}, which cannot be read: "
                "store it as CSV, Parquet, JSON or AnnData."
            )
    except ImageError:
        raise
    except Exception as error:  # whatever a broken table leads the readers to
        raise ImageError(f"The table {table.address} cannot be read ({str(error) or type(error).__name__}).") from error
    return rows.reset_index() if rows.index.name is not None else rows


def _from_anndata(table: ZarrGroup) -> DataFrame:
    """Rows of a table that ngio stored as AnnData: text in obs, numbers in X."""
    import numpy as np
    import pandas as pd

    if is_url(table.address):
        raise ImageError(
            f"The table {table.address} is stored as AnnData, which is read from disk alone: store it as CSV."
        )
    check_arrays_below(Path(table.address))
    try:
        from anndata import read_zarr
    except ImportError as error:
        raise ImageError(f"The table {table.address} needs the package anndata: pip install anndata.") from error
    stored = read_zarr(table.address)
    rows = pd.DataFrame(stored.obs).reset_index(drop=stored.obs.index.name is None)
    if stored.X is not None and stored.n_vars:
        rows = rows.join(pd.DataFrame(np.asarray(stored.X), columns=list(map(str, stored.var_names))))
    return rows.astype({name: object for name in rows.columns if rows[name].dtype.kind not in "biuf"})


def _content(address: str) -> io.BytesIO:
    if not is_url(address):
        if Path(address).stat().st_size > _LARGEST_TABLE:
            raise ImageError(f"The table {address} is larger than {_LARGEST_TABLE:,} bytes.")
        return io.BytesIO(Path(address).read_bytes())
    from fsspec.core import url_to_fs

    files, name = url_to_fs(address)
    return io.BytesIO(files.cat_file(name))


def write_tables(folder: Path, tables: Mapping[str, tuple[DataFrame, Mapping[str, Any]]], zarr_format: int) -> None:
    """Write tables (as Parquet) with their attributes into the group at `folder`, each whole or not at all."""
    if not tables:
        return
    write_group(folder / "tables", zarr_format, {"tables": list(tables)})
    for name, (table, attributes) in tables.items():
        where = folder / "tables" / name
        write_group(where, zarr_format, {"backend": "parquet", "table_version": "1", **attributes})
        with writing(where / "table.parquet") as temporary:
            table.to_parquet(temporary, index=False)


def features_of(labels: str | None) -> dict[str, Any]:
    """Attributes of a table with a row for each label of the label image `labels`."""
    about: dict[str, Any] = {
        "type": "feature_table", "index_key": "label", "index_type": "int", "instance_key": "label",
    }  # fmt: skip
    return about | ({"region": {"path": f"../labels/{labels}"}} if labels else {})


def write_group(folder: Path, zarr_format: int, attributes: Mapping[str, Any]) -> None:
    """Write the metadata of a group, in a folder that is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    if zarr_format == 3:
        write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})
        return
    write_json(folder / ".zgroup", {"zarr_format": 2})
    write_json(folder / ".zattrs", dict(attributes))
