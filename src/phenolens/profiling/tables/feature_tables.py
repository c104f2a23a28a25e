"""Which columns of a table made elsewhere are features, and what is to be said of those that are not usable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import ScreenError
from phenolens.screens.conditions import PREFIX

if TYPE_CHECKING:
    from pandas import DataFrame, Series

EMBEDDING = re.compile(r"emb_(\d+)", re.ASCII)

# what tells where or which a cell is, and must never be taken for what it looks like
_STANDARD_NAMES = {
    name.casefold(): name
    for name in (
        "Source", "Batch", "Plate", "Well", "Site", "Field", "Label", "Y", "X", "Compound", "SMILES", "InChIKey",
        "Concentration", "Dose", "DoseRank", "Role", "Mechanism", "MoA", "Genotype", "Treatment", "Perturbation",
        "Replicate",
    )
} | {
    "objectnumber": "Label", "location_center_x": "X", "location_center_y": "Y", "centroid-0": "Y", "centroid-1": "X",
    "centroid_x": "X", "centroid_y": "Y", "x_centroid": "X", "y_centroid": "Y",
}  # fmt: skip
_PLACES = frozenset({"z", "t", "id", "index", "row", "col", "column", "frame", "time", "timepoint", "bbox", "centroid"})
_NUMBER_OF_A_THING = re.compile(
    r"(?:^|_)(?:image|object|table|group|track|cell|nucleus|parent|field|site|plate|well)_?(?:number|id|index)(?:_|$)"
    r"|(?:image|object)number(?:_|$)|(?:^|_)parents?(?:_|$)|(?:^|_)location_|areashape_(?:center|boundingbox)|trackobjects_"
    r"|^(?:weighted_)?centroid[-_]|^bbox[-_]|^unnamed: \d+$|^level_\d+$"
    r"|(?:^|_)(?:center|centre|pos|position|coord|centroid)_?[xyz]$|^[xyz]_(?:px|um|center|centre|centroid|pos|position)$"
    r"|^(?:image_)?(?:executiontime|moduleerror|group|url|filename|pathname|md5digest|series|frame|height|width|scaling)_"
)
_SHOWN = 8


def embedding_columns(columns: Sequence[str]) -> list[str]:
    """Return which of `columns` are called ``emb_`` and a number, in the order of the numbers."""
    found = {column: int(match[1]) for column in columns if (match := EMBEDDING.fullmatch(column))}
    return sorted(found, key=found.__getitem__)


def check_once(columns: Sequence[str], source: str) -> None:
    """Raise a ScreenError if a column is there twice."""
    twice = [column for column in dict.fromkeys(columns) if columns.count(column) > 1] if _repeats(columns) else []
    if twice:
        raise ScreenError(
            f"{source} has {columns.count(twice[0])} columns {twice[0]!r}: rename or leave out all but one."
        )


def profiles_of_table(
    table: DataFrame, source: str, *, card: dict[str, Any] | None = None, leave_out_incomplete: bool = False
) -> Profiles:
    """Tell features from metadata in a table whose every row is one profile.

    With ``emb_0000`` columns these are the vector. Without, it is every other column of numbers, save those that say
    where or which a cell is (positions, bounding boxes, numbers of images, objects and parents): these become
    ``Metadata_`` columns, as does text.

    Parameters
    ----------
    table
        Any columns; ``Metadata_`` ones are never features.
    source
        What the table is called in messages.
    card
        To begin the card with.
    leave_out_incomplete
        Leave out rows in which a feature is missing or infinite, and count them in ``card["left_out_rows"]``.

    Raises
    ------
    ScreenError
        There is no row or no feature, a column is there twice or mixes numbers and text, or rows are incomplete.
    """
    columns = [str(column) for column in table.columns]
    check_once(columns, source)
    table = table.set_axis(columns, axis=1)
    features = embedding_columns(columns)
    by_name = bool(features)
    if not by_name:
        table, features = _number_columns(table, source)
    vectors = np.empty((len(table), len(features)), np.float32)
    if features:
        with np.errstate(over="ignore"):
            try:
                vectors[:] = table[features].to_numpy(np.float32, na_value=np.nan)
            except (TypeError, ValueError) as error:
                raise ScreenError(
                    f"{source}: the columns {features[0]} to {features[-1]} are not all numbers."
                ) from error
    return profiles_of_parts(
        table.drop(columns=features),
        vectors,
        features,
        source,
        card=card,
        droppable=not by_name,
        leave_out_incomplete=leave_out_incomplete,
    )


def profiles_of_parts(
    described: DataFrame,
    vectors: NDArray[np.float32],
    features: Sequence[str],
    source: str,
    *,
    card: dict[str, Any] | None = None,
    droppable: bool = False,
    leave_out_incomplete: bool = False,
) -> Profiles:
    """Make profiles of what describes each row and its vector (n, d), whose d columns are called `features`.

    `droppable` says that columns without any number, or with the same one throughout, may go; the card names them in
    ``dropped_columns``. The other parameters and errors are those of `profiles_of_table`.
    """
    card = dict(card or {})
    if not len(described):
        raise ScreenError(f"{source} has no rows.")
    if not features:
        shown = ", ".join(map(str, described.columns[:_SHOWN])) + (" ..." if described.shape[1] > _SHOWN else "")
        raise ScreenError(
            f"{source} has no columns of features: embeddings are columns emb_0000, emb_0001 and so on, or other "
            f"columns of numbers that do not start with {PREFIX}. Columns: {shown}."
        )
    finite = np.isfinite(vectors)
    if droppable:
        kept = _informative(vectors, finite)
        if not kept.any():
            raise ScreenError(f"{source}: none of the {len(features)} columns of features differs from row to row.")
        card["dropped_columns"] = [name for name, keep in zip(features, kept, strict=True) if not keep]
        features = [name for name, keep in zip(features, kept, strict=True) if keep]
        card["features"] = list(features)
        if not kept.all():
            vectors, finite = vectors[:, kept], finite[:, kept]
    metadata = metadata_columns(described, source)
    whole = finite.all(axis=1)
    if not whole.all():
        if not leave_out_incomplete or not whole.any():
            raise ScreenError(_incomplete(finite, features, source))
        card["left_out_rows"] = int((~whole).sum())
        metadata, vectors = metadata[whole].reset_index(drop=True), vectors[whole]
    card.setdefault("level", _level(metadata))
    return Profiles(metadata, vectors, card)


def metadata_columns(table: DataFrame, source: str) -> DataFrame:
    """Give every column of `table` a name with ``Metadata_``, known ones as this project writes them."""
    taken = {str(column) for column in table.columns if str(column).startswith(PREFIX)}
    names: dict[str, str] = {}
    for column in map(str, table.columns):
        if column.startswith(PREFIX):
            names[column] = column
            continue
        bare = column.removeprefix("Image_") if column.startswith(f"Image_{PREFIX}") else column
        bare = bare.removeprefix(PREFIX)
        name = PREFIX + _STANDARD_NAMES.get(bare.casefold(), bare)
        if name in taken:
            name = PREFIX + bare
        if name in taken:
            first = next((old for old, new in names.items() if new == name), name)
            raise ScreenError(f"{source}: columns {first!r} and {column!r} would both become {name}: leave one out.")
        taken.add(name)
        names[column] = name
    return table.set_axis([names[str(column)] for column in table.columns], axis=1).reset_index(drop=True)


def _number_columns(table: DataFrame, source: str) -> tuple[DataFrame, list[str]]:
    """Columns of numbers that are features; numbers written as text are read."""
    import pandas as pd

    features: list[str] = []
    read: dict[str, Series] = {}
    for name in map(str, table.columns):
        column = table[name]
        if (
            name.startswith((PREFIX, f"Image_{PREFIX}"))
            or _says_which(name)
            or pd.api.types.is_bool_dtype(column.dtype)
        ):
            continue
        if pd.api.types.is_numeric_dtype(column.dtype):
            if not pd.api.types.is_complex_dtype(column.dtype):
                features.append(name)
        elif isinstance(column.dtype, pd.CategoricalDtype) or not (
            pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)
        ):
            continue
        elif (numbers := _read_numbers(column, name, source)) is not None:
            read[name] = numbers
            features.append(name)
    return (table.assign(**read) if read else table), features


def _read_numbers(column: Series, name: str, source: str) -> Series | None:
    import pandas as pd

    filled = column.notna() & (column.astype(str).str.strip() != "")
    numbers = pd.to_numeric(column.where(filled).astype(object), errors="coerce").astype(float)
    text = filled & numbers.isna() & ~column.astype(str).str.strip().str.casefold().isin(["nan"])
    if not filled.any() or text.sum() > filled.sum() / 2:
        return None
    if text.any():
        first = int(np.flatnonzero(text.to_numpy())[0])
        raise ScreenError(
            f"{source}: column {name!r} mixes numbers and text, {str(column.iloc[first])!r} in row {first + 1} and "
            f"{int(text.sum())} such values in all: correct them, or rename the column to {PREFIX}{name}."
        )
    return numbers


def _says_which(name: str) -> bool:
    folded = name.strip().casefold()
    return not folded or folded in _STANDARD_NAMES or folded in _PLACES or _NUMBER_OF_A_THING.search(folded) is not None


def _informative(vectors: NDArray[np.float32], finite: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(d,) which columns hold a number and, where there are several rows, more than one."""
    some = finite.any(axis=0)
    if len(vectors) < 2:
        return np.asarray(some, bool)
    low = np.where(finite, vectors, np.inf).min(axis=0)
    high = np.where(finite, vectors, -np.inf).max(axis=0)
    return np.asarray(some & (high > low), bool)


def _incomplete(finite: NDArray[np.bool_], features: Sequence[str], source: str) -> str:
    lacking = (~finite).sum(axis=0)
    worst = int(lacking.argmax())
    rows = int((~finite.all(axis=1)).sum())
    others = int((lacking > 0).sum()) - 1
    also = f" ({others} other columns lack some too)" if others > 1 else " (one other column too)" if others else ""
    return (
        f"{source}: {rows} of {len(finite)} rows are incomplete; column {features[worst]!r} has no finite number in "
        f"{lacking[worst]} of them{also}. Leave out those rows or those columns."
    )


def _level(metadata: DataFrame) -> str:
    """Whether rows are cells, fields or wells, by what tells them apart."""
    columns = [str(column) for column in metadata.columns]
    bare = [column.removeprefix(PREFIX).casefold() for column in columns]
    if {"label", "x", "y"}.intersection(bare) or any(
        "object_number" in name or "objectnumber" in name for name in bare
    ):
        return "cell"
    where = [c for c in columns if c.removeprefix(PREFIX) in {"Source", "Batch", "Plate", "Well", "Site", "Field"}]
    if not where or metadata.duplicated(where).any():
        return "cell"
    return "field" if {"Metadata_Site", "Metadata_Field"}.intersection(where) else "well"


def _repeats(columns: Sequence[str]) -> bool:
    return len(set(columns)) != len(columns)
