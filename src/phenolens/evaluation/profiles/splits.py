"""Keep some profiles out to be judged on: whole compounds by scaffold, whole plates, whole batches.

What is kept out depends on the names of the groups and the seed alone: not on the order of the rows, and only little on
which other groups there are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.profiles.identities import Identities
from phenolens.runtime.errors import ScreenError
from phenolens.screens.conditions import column_named

if TYPE_CHECKING:
    from pandas import DataFrame

By = Literal["scaffold", "compound", "plate", "batch", "source"]
BY: tuple[By, ...] = ("scaffold", "compound", "plate", "batch", "source")


def hold_out(metadata: DataFrame, by: By, *, share: float = 0.2, seed: int = 0) -> NDArray[np.bool_]:
    """Choose which rows to keep out of training.

    Parameters
    ----------
    metadata
        With the columns that tell the groups apart (``Metadata_SMILES`` for scaffolds).
    by
        What is never divided. Split by compound or scaffold, controls are not kept out: both sides need them.
    share
        Of the rows that can be kept out, about so many are; at least one group is, and at least one is not.

    Returns
    -------
    (n,) bool, True for rows to keep out.

    Raises
    ------
    ScreenError
        A column is missing or has gaps, a structure cannot be read, or there are fewer than two groups.
    """
    groups = group_names(metadata, by)
    kept_out = np.zeros(len(metadata), bool)
    able = groups != ""
    kept_out[able] = hold_out_groups(groups[able], share=share, seed=seed, what=by)
    return kept_out


def hold_out_groups(
    groups: Sequence[Any] | NDArray[Any], *, share: float = 0.2, seed: int = 0, what: str = "group"
) -> NDArray[np.bool_]:
    """Mark whole groups until about `share` of the rows are marked; see `hold_out`."""
    if not 0 < share < 1:
        raise ScreenError(f"The share to keep out is {share}: give one between 0 and 1, such as 0.2.")
    names = np.array([str(group) for group in groups], object)
    sizes = Counter(names.tolist())
    if len(sizes) < 2:
        raise ScreenError(
            f"There is {'but one' if sizes else 'no'} {what} ({', '.join(sizes) or 'nothing'}): at least two are "
            "needed to keep one out."
        )
    wanted = share * len(names)
    order = sorted(sizes, key=lambda name: _drawn(name, seed))
    chosen: set[str] = set()
    held = 0
    for name in order:
        # a group that would overshoot by more than half of itself is passed over
        if held + sizes[name] / 2 <= wanted and len(chosen) < len(sizes) - 1:
            chosen.add(name)
            held += sizes[name]
    if not chosen:
        chosen.add(min(order, key=lambda name: sizes[name]))
    return np.isin(names, list(chosen))


def folds(groups: Sequence[Any] | NDArray[Any], *, count: int = 5, seed: int = 0) -> NDArray[np.int64]:
    """(n,) number of the fold, from 0, that each row is kept out in; groups are whole and folds about equally large.

    Raises
    ------
    ScreenError
        There are fewer groups than folds.
    """
    names = [str(group) for group in groups]
    sizes = Counter(names)
    if count < 2 or len(sizes) < count:
        raise ScreenError(f"{len(sizes)} groups cannot make {count} folds: ask for 2 to {max(len(sizes), 2)}.")
    filled = [0] * count
    fold: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], _drawn(name, seed))):
        fold[name] = filled.index(min(filled))
        filled[fold[name]] += sizes[name]
    return np.array([fold[name] for name in names], np.int64)


def group_names(metadata: DataFrame, by: By) -> NDArray[Any]:
    """(n,) text that rows share which must stay together; empty where a row is never kept out.

    By scaffold (Murcko), compounds without a ring are each a group of their own.

    Raises
    ------
    ScreenError
        See `hold_out`.
    """
    if by not in BY:
        raise ScreenError(f"There is no split by {by!r}: choose {', '.join(BY[:-1])} or {BY[-1]}.")
    known = Identities.of(metadata)
    if by in ("plate", "batch", "source"):
        column_named(metadata, by)
        found = {"plate": known.plate, "batch": known.batch, "source": known.source}[by]
        able = np.ones(len(metadata), bool)
    else:
        column_named(metadata, "SMILES" if by == "scaffold" else "Compound")
        found, able = known.compound, ~known.control
    gaps = np.flatnonzero(able & (~found.known if found is not None else True))
    if found is None or len(gaps):
        raise ScreenError(
            f"{len(gaps)} rows have no {by if by != 'scaffold' else 'compound'}, the first row {gaps[0]} (counted from "
            "0): fill it in, or leave those rows out."
        )
    names = np.array([found.names[code] if code >= 0 else "" for code in found.codes], object)
    if by == "scaffold":
        names = _scaffolds(metadata, found.codes, names, able)
    names[~able] = ""
    return names


def scaffold_of(smiles: str, compound: str) -> str:
    """Name the group of a compound: its Murcko scaffold, or itself where it has no ring."""
    from phenolens.profiling.molecules.molecules import murcko_scaffold

    scaffold = murcko_scaffold(smiles)
    return f"scaffold {scaffold}" if scaffold else f"without a ring: {compound}"


def _scaffolds(
    metadata: DataFrame, codes: NDArray[np.int32], names: NDArray[Any], able: NDArray[np.bool_]
) -> NDArray[Any]:
    from phenolens.profiling.molecules.molecules import read_molecules

    column = column_named(metadata, "SMILES")
    written = metadata[column]
    given = able & ~np.asarray(written.isna()) & np.asarray(written.astype(str).str.strip() != "")
    rows = np.flatnonzero(given)
    read_molecules(written.iloc[rows], column, rows=(rows + 1).tolist())
    group: dict[int, str] = {}
    for row in rows:
        if codes[row] not in group:
            group[int(codes[row])] = scaffold_of(str(written.iloc[row]), names[row])
    lacking = sorted({str(names[row]) for row in np.flatnonzero(able) if int(codes[row]) not in group})
    if lacking:
        raise ScreenError(
            f"{len(lacking)} compounds have no structure in {column}, such as {lacking[0]}: fill it in, or split by "
            "compound."
        )
    return np.array([group.get(int(code), "") for code in codes], object)


def _drawn(name: str, seed: int) -> bytes:
    """A random place in the order that is always the same for this name and seed."""
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
