"""Profiles: embeddings of cells, fields or wells beside what is known of each, and their means a field or a well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolens.runtime.errors import ScreenError
from phenolens.screens.conditions import PREFIX, column_named
from phenolens.screens.notebook import first_rows, shown

if TYPE_CHECKING:
    from pandas import DataFrame, Series

LEVELS = ("cell", "field", "well")

CELLS = "Metadata_Cells"
"""Column with the number of cells that a mean is of."""

_OF_ONE_CELL = ("Metadata_Label", "Metadata_Y", "Metadata_X")
_NAMES = ("Compound", "Treatment", "Perturbation", "Genotype", "Condition", "Role")
_ROLES = ("Role", "control_type", "pert_type")
_NEGATIVE_CONTROL = frozenset({"negative control", "negative_control", "negcon"})


@dataclass(frozen=True, eq=False)
class Profiles:
    """Embeddings of cells, fields or wells, a row each.

    Parameters
    ----------
    metadata
        n rows and only ``Metadata_`` columns; its index becomes 0 to n-1.
    vectors
        (n, d) float32.
    card
        What made them: encoder, ``level`` ("cell", "field" or "well"), ``channel_names``, intensity map, corrections.
        It must have a form in JSON.

    Raises
    ------
    ScreenError
        Rows do not match, a column is no ``Metadata_`` column or is there twice, or the level is none of the three.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import phenolens as ph
    >>> wells = pd.DataFrame({"Metadata_Well": ["A01", "A02"], "Metadata_Role": ["negative control", "treated"]})
    >>> profiles = ph.Profiles(wells, np.eye(2, 64, dtype=np.float32), {"level": "well"})
    >>> len(profiles), profiles.level, profiles[0].vectors.shape
    (2, 'well', (1, 64))
    """

    metadata: DataFrame
    vectors: NDArray[np.float32]
    card: dict[str, Any]

    def __post_init__(self) -> None:
        vectors = np.asarray(self.vectors, np.float32)
        if vectors.ndim != 2:
            raise ScreenError(f"Embeddings must be one row each, (n, d), and these have the shape {vectors.shape}.")
        if len(vectors) != len(self.metadata):
            raise ScreenError(f"{len(vectors)} embeddings were given with {len(self.metadata)} rows of metadata.")
        columns = [str(column) for column in self.metadata.columns]
        foreign = [column for column in columns if not column.startswith(PREFIX)]
        if foreign:
            raise ScreenError(f"Column {foreign[0]!r} is no metadata: rename it to {PREFIX}{foreign[0]}.")
        twice = [column for column in dict.fromkeys(columns) if columns.count(column) > 1]
        if twice:
            raise ScreenError(f"Column {twice[0]!r} is there {columns.count(twice[0])} times: keep one.")
        if self.card.get("level", "cell") not in LEVELS:
            raise ScreenError(f"Profiles are of a cell, field or well, and not of a {self.card['level']!r}.")
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "metadata", self.metadata.reset_index(drop=True))

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, which: int | slice) -> Profiles:
        """Return the profiles of one row, counted from 0 (or from the end, from -1), or of a slice of rows."""
        chosen = np.atleast_1d(np.arange(len(self))[which])
        return Profiles(self.metadata.iloc[chosen], self.vectors[chosen], dict(self.card))

    def _repr_html_(self) -> str:
        facts = {
            "a row is": f"a {self.level}",
            "dimensions": self.vectors.shape[1],
            "encoder": self.card.get("encoder") or "unknown",
            "channels": ", ".join(self.card.get("channel_names", ())) or "unknown",
        }
        return shown(f"Profiles of {len(self):,} {self.level}s", facts, first_rows(self.metadata))

    @property
    def level(self) -> str:
        """What a row is: "cell", "field" or "well"; where the card is silent, what the columns tell."""
        if "level" in self.card:
            return str(self.card["level"])
        columns = set(self.metadata.columns)
        if columns.intersection(_OF_ONE_CELL):
            return "cell"
        return "field" if columns & {"Metadata_Field", "Metadata_Site"} else "well"

    def column(self, name: str) -> Series:
        """Return the metadata column `name`, written with or without ``Metadata_``.

        Raises
        ------
        ScreenError
            There is none; the message names the columns there are.
        """
        return self.metadata[column_named(self.metadata, name)]

    def with_vectors(self, vectors: ArrayLike, **card_changes: Any) -> Profiles:
        """Return the same rows with other `vectors` (n, any d) and an amended card."""
        return Profiles(self.metadata, np.asarray(vectors, np.float32), {**self.card, **card_changes})

    def select(self, mask: ArrayLike) -> Profiles:
        """Return the rows that a boolean mask (n,) marks.

        Raises
        ------
        ScreenError
            No row is left, or the mask is not as long as the profiles.
        """
        kept = np.asarray(mask)
        if kept.dtype != bool or kept.shape != (len(self),):
            raise ScreenError(f"A mask needs one true or false value for each of the {len(self)} profiles.")
        if not kept.any():
            raise ScreenError("No profile is selected.")
        return Profiles(self.metadata[kept], self.vectors[kept], dict(self.card))

    def to_anndata(self, coordinates: ArrayLike | None = None) -> Any:
        """Return the profiles as AnnData, for scanpy and the like; needs the extra ``anndata``.

        Parameters
        ----------
        coordinates
            (n, 2) places on a map, which become ``obsm["X_map"]``.

        Returns
        -------
        anndata.AnnData
            ``X`` holds the vectors, ``obs`` the metadata (text as categories), ``uns["phenolens"]`` the card as JSON.

        Raises
        ------
        OutputError
            anndata is not installed, or two columns differ in ``/`` and ``_`` only.
        ScreenError
            There are not as many coordinates as profiles.
        """
        from phenolens.profiling.tables.anndata_files import to_anndata

        return to_anndata(self, coordinates)

    @staticmethod
    def from_anndata(data: Any, *, leave_out_incomplete: bool = False) -> Profiles:
        """Make profiles of AnnData: ``X``, dense or sparse, as features and ``obs`` as metadata.

        ``obsm["spatial"]`` gives X and Y where ``obs`` does not. What `to_anndata` made comes back as it was.

        Parameters
        ----------
        data
            An ``anndata.AnnData``.
        leave_out_incomplete
            Leave out rows in which a feature is missing or infinite, instead of refusing.

        Raises
        ------
        ScreenError
            As `phenolens.profiling.tables.feature_tables.profiles_of_table`.
        """
        from phenolens.profiling.tables.anndata_files import from_anndata

        return from_anndata(data, leave_out_incomplete=leave_out_incomplete)


def aggregate(profiles: Profiles, level: Literal["field", "well"]) -> Profiles:
    """Return the mean embedding of each field or well, in the order in which they first appear.

    A mean of means counts each by its cells, so that cells to wells gives what cells to fields to wells gives.

    Parameters
    ----------
    profiles
        Cells, or fields where wells are wanted; what is of that level already comes back as it is. Wells are told
        apart by source, batch, plate and well, fields by their key or site as well.
    level
        "field" or "well".

    Returns
    -------
    Profiles
        With the metadata that all rows of each mean agree on (gaps agree with gaps), and ``Metadata_Cells``.

    Raises
    ------
    ScreenError
        The profiles are of a higher level, or a column that tells fields or wells apart is missing or has gaps.
    """
    import pandas as pd

    if level not in LEVELS[1:]:
        raise ScreenError(f"Profiles are aggregated to a field or well, and not to a {level!r}.")
    if profiles.level == level:
        return profiles
    if LEVELS.index(profiles.level) > LEVELS.index(level):
        raise ScreenError(f"Profiles of a {profiles.level} cannot be taken apart to a {level}: embed them anew.")
    metadata = profiles.metadata
    group = metadata.groupby(_keys(metadata, level), sort=False, dropna=False).ngroup().to_numpy()
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    first = order[starts]
    cells = _cells(profiles)
    means = np.empty((len(starts), profiles.vectors.shape[1]), np.float32)
    for number, rows in enumerate(np.split(order, starts[1:])):
        means[number] = np.average(profiles.vectors[rows].astype(np.float64), axis=0, weights=cells[rows])
    kept = [
        column
        for column in metadata.columns
        if column not in (*_OF_ONE_CELL, CELLS) and _agrees(metadata[column], group, first)
    ]
    described = metadata.loc[first, kept].reset_index(drop=True)
    described[CELLS] = pd.Series(np.add.reduceat(cells[order], starts)).astype("int64")
    return Profiles(described, means, {**profiles.card, "level": level})


def _keys(metadata: DataFrame, level: str) -> list[str]:
    """Columns that tell fields or wells apart."""
    known = set(metadata.columns)
    keys = [f"{PREFIX}{name}" for name in ("Source", "Batch", "Plate", "Well") if f"{PREFIX}{name}" in known]
    required_columns = ("Field", "Site") if level == "field" else ("Well",)
    required = next((PREFIX + name for name in required_columns if PREFIX + name in known), None)
    if required is None:
        wanted = "Metadata_Field or Metadata_Site" if level == "field" else "Metadata_Well"
        raise ScreenError(
            f"There is no column {wanted} to tell one {level} from another. Columns: {', '.join(metadata.columns)}."
        )
    gaps = int((metadata[required].isna() | (metadata[required].astype(str).str.strip() == "")).sum())
    if gaps:
        raise ScreenError(f"{gaps} of {len(metadata)} rows have no {required}: fill it in, or leave those rows out.")
    return list(dict.fromkeys([*keys, required]))


def _cells(profiles: Profiles) -> NDArray[np.int64]:
    """(n,) how many cells each row stands for; 1 where that is not known."""
    import pandas as pd

    if profiles.level == "cell" or CELLS not in profiles.metadata.columns:
        return np.ones(len(profiles), np.int64)
    counted = pd.to_numeric(profiles.metadata[CELLS], errors="coerce").to_numpy(float)
    if not (counted >= 1).all():
        raise ScreenError(f"{CELLS} must hold how many cells each row is the mean of: correct it, or leave it out.")
    return np.asarray(counted, np.int64)


def _agrees(column: Series, group: NDArray[np.int64], first: NDArray[np.intp]) -> bool:
    """Whether the rows of each group say the same as its first."""
    import pandas as pd

    try:
        values = pd.factorize(column, use_na_sentinel=False)[0]
    except TypeError:  # lists and the like
        values = pd.factorize(column.astype(str))[0]
    return bool((values == values[first][group]).all())


def mechanism_column(metadata: DataFrame) -> str | None:
    """Return the column with the mechanisms of action, Metadata_Mechanism or Metadata_MoA, if one says anything."""
    for name in ("Mechanism", "MoA"):
        for column in metadata.columns:
            if str(column).casefold() == (PREFIX + name).casefold() and texts_of(metadata[column]).any():
                return str(column)
    return None


def is_control(metadata: DataFrame) -> NDArray[np.bool_]:
    """Return (n,) which rows are negative controls by Metadata_Role; none where none is marked.

    Where there is no role, ``Metadata_control_type`` or ``Metadata_pert_type`` "negcon" of JUMP's tables serves.
    """
    column = _first_column(metadata, _ROLES)
    if column is None:
        return np.zeros(len(metadata), bool)
    return np.array([text.casefold() in _NEGATIVE_CONTROL for text in texts_of(metadata[column])], bool)


def treatment_names(metadata: DataFrame) -> Series[str]:
    """Return what was done to each row: "compound", or "compound at dose" where it has a dose that is not 0.

    The dose is Metadata_Concentration in µM, else Metadata_Dose or Metadata_DoseRank as they are. Where no compound is
    named, the treatment, perturbation, genotype, condition or role names it. Controls have no dose.
    """
    import pandas as pd

    names = np.full(len(metadata), "", object)
    for name in _NAMES:
        if (column := _first_column(metadata, (name,))) is not None:
            names = np.where(names == "", texts_of(metadata[column]), names)
    dosed = _first_column(metadata, ("Concentration", "Dose", "DoseRank"))
    if dosed is not None:
        doses = pd.to_numeric(metadata[dosed], errors="coerce").to_numpy(float)
        pattern = {"concentration": "{} at {:g} µM", "doserank": "{} at dose {:g}"}.get(
            dosed.removeprefix(PREFIX).casefold(), "{} at {:g}"
        )
        given = np.isfinite(doses) & (doses != 0) & ~is_control(metadata)
        for row in np.flatnonzero(given):
            names[row] = pattern.format(names[row], doses[row])
    return pd.Series(names, index=metadata.index, dtype=str)


def _first_column(metadata: DataFrame, names: Sequence[str]) -> str | None:
    """The first of `names` that is a column, in any case."""
    folded = {str(column).casefold(): str(column) for column in reversed(list(metadata.columns))}
    return next((folded[(PREFIX + name).casefold()] for name in names if (PREFIX + name).casefold() in folded), None)


def texts_of(column: Series) -> NDArray[Any]:
    """Return values as text, gaps empty; each different value is written once, for there may be a million rows."""
    import pandas as pd

    codes, values = pd.factorize(column)
    return np.asarray(np.array([*(str(value).strip() for value in values), ""], object)[codes])
