"""Compounds of a screen: one way to write each, what they are made of, and which are alike.

The same drug comes as a salt, with its protons elsewhere, or with its atoms in another order. Here each is brought to
one standard form before anything is computed from it, so that how a table was written does not matter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator
from scipy.spatial.distance import cdist

from phenolens.profiling.molecules.chemistry import standard_form_of
from phenolens.profiling.molecules.standard_forms import fault, parse
from phenolens.runtime.errors import ScreenError

__all__ = [
    "BITS", "RADIUS", "Molecule", "fingerprints", "molecule_key", "murcko_scaffold", "nearest", "parse",
    "read_molecules", "standardise", "tanimoto",
]  # fmt: skip

BITS = 2048
RADIUS = 2

_CHUNK = 4096  # training rows compared at once


@dataclass(frozen=True)
class Molecule:
    """One compound.

    Parameters
    ----------
    smiles
        Its standard form; see `standardise`.
    key
        InChIKey of the standard form: the same for the same drug, however it was written.
    """

    smiles: str
    key: str


def standardise(smiles: str) -> str:
    """Write a compound in the one standard form of its parent.

    Counter-ions and solvents go (a solvent or an acid alone stays, as in the rows of DMSO), metals are taken off their
    salts, functional groups are written in one way, charges that protons can take away go, of all tautomers the
    canonical one is taken, and the atoms come in canonical order. Stereo is kept where it is given, isotopes too.
    Standardising twice changes nothing.

    Parameters
    ----------
    smiles
        One SMILES, without a name or extensions behind it.

    Raises
    ------
    ScreenError
        The text is empty or no molecule, there is nothing organic in it, it is a mixture of two compounds, it holds
        elements that are neither organic nor usual counter-ions, or it is larger than is read or takes too long (see
        `phenolens.runtime.limits`).
    """
    return standard_form_of(smiles.strip()).smiles


def read_molecules(
    column: Iterable[object], name: str = "Metadata_SMILES", rows: Sequence[int] | None = None
) -> tuple[Molecule, ...]:
    """Read the compounds of a table, a row each; every different text is standardised once.

    Parameters
    ----------
    column
        SMILES, such as a column of a pandas table.
    name
        Name of the column, for messages.
    rows
        Numbers of the rows in the user's table, counted from 1; counted through where not given.

    Raises
    ------
    ScreenError
        A row has no usable structure (see `standardise`). The first is named by number and text, more by number.
    """
    known: dict[str, Molecule | ScreenError] = {}
    texts = [_text(value) for value in column]
    for text in texts:
        if text not in known:
            try:
                known[text] = Molecule(standardise(text), molecule_key(text))
            except ScreenError as error:
                known[text] = error
    numbers = range(1, len(texts) + 1) if rows is None else rows
    found = []
    faults: list[tuple[int, ScreenError]] = []
    for number, text in zip(numbers, texts, strict=True):
        read = known[text]
        if isinstance(read, Molecule):
            found.append(read)
        else:
            faults.append((number, read))
    if faults:
        number, fault = faults[0]
        more = [str(other) for other, _ in faults[1:]]
        listed = ", ".join(more[:5]) + (", ..." if len(more) > 5 else "")
        also = f" Nor can row{'s' * (len(more) > 1)} {listed} be used." if more else ""
        raise ScreenError(f"Row {number} of column {name}: {fault}{also}") from fault
    return tuple(found)


def molecule_key(smiles: str) -> str:
    """InChIKey (27 characters) of the standard form.

    Raises
    ------
    ScreenError
        See `standardise`; or there is no InChI for this structure.
    """
    key = standard_form_of(smiles.strip()).key
    if not key:
        raise fault(smiles, "has no InChIKey")
    return key


def murcko_scaffold(smiles: str) -> str:
    """Rings of the standard form with what links them, as SMILES without stereo; empty where there is no ring.

    G. W. Bemis, M. A. Murcko, J. Med. Chem. 39, 2887 (1996); atoms that hang on it by a double bond stay. Compounds
    without a ring share the empty scaffold but are no family: a split by scaffolds has to put each by itself.

    Raises
    ------
    ScreenError
        See `standardise`.
    """
    with rdBase.BlockLogs():
        scaffold = Chem.MurckoDecompose(Chem.MolFromSmiles(standardise(smiles)))
        return Chem.MolToSmiles(scaffold, isomericSmiles=False)


def fingerprints(
    smiles: Sequence[str], bits: int = BITS, radius: int = RADIUS, chirality: bool = False
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Count how often each circular neighbourhood of an atom occurs in each compound's standard form.

    D. Rogers, M. Hahn, J. Chem. Inf. Model. 50, 742 (2010): Morgan (extended-connectivity) fingerprints, folded.

    Parameters
    ----------
    smiles
        n compounds, in any form.
    bits
        Length, onto which neighbourhoods are folded.
    radius
        Bonds from the atom to the edge of the largest neighbourhood.
    chirality
        Tell mirror images apart.

    Returns
    -------
    (n, bits) float32 counts, none of whose rows is all zero.

    Raises
    ------
    ScreenError
        See `standardise`.
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits, includeChirality=chirality)
    counts = np.empty((len(smiles), bits), np.float32)
    with rdBase.BlockLogs():
        for row, one in zip(counts, smiles, strict=True):
            row[:] = generator.GetCountFingerprintAsNumPy(Chem.MolFromSmiles(standardise(one)))
    return counts


def tanimoto(one: np.ndarray, other: np.ndarray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Tanimoto similarity (n, m), 0 to 1, of counts (n, bits) and (m, bits): the smaller ones over the larger ones."""
    # With d = |a - b|, the smaller counts add up to (a + b - d) / 2 and the larger ones to (a + b + d) / 2.
    total = one.sum(axis=1, dtype=np.float64)[:, None] + other.sum(axis=1, dtype=np.float64)
    apart = cdist(one, other, "cityblock")
    return np.asarray(np.divide(total - apart, total + apart, out=np.zeros_like(total), where=total > 0))


def nearest(
    training: np.ndarray, query: np.ndarray
) -> tuple[np.ndarray[Any, np.dtype[np.intp]], np.ndarray[Any, np.dtype[np.float64]]]:
    """Find the training compound most like each query, and how like it is: what a prediction can be trusted for.

    Tanimoto on counts: the sum over bits of the smaller count divided by that of the larger one, 1 for equal counts.

    Parameters
    ----------
    training
        (n, bits) counts of at least one compound.
    query
        (m, bits) counts, or (bits,) of one compound.

    Returns
    -------
    index
        (m,) or () rows of `training`; the first of equals.
    similarity
        (m,) or () float64 from 0 to 1.
    """
    if training.ndim != 2 or not len(training) or query.ndim not in (1, 2) or query.shape[-1] != training.shape[1]:
        raise ValueError(f"fingerprints of shapes {training.shape} and {query.shape} cannot be compared")
    asked = np.atleast_2d(query)
    index = np.zeros(len(asked), np.intp)
    best = np.full(len(asked), -1.0)
    for start in range(0, len(training), _CHUNK):
        alike = tanimoto(asked, training[start : start + _CHUNK])
        here = alike.argmax(axis=1)
        similarity = alike[np.arange(len(asked)), here]
        better = similarity > best
        index[better] = here[better] + start
        best[better] = similarity[better]
    return index.reshape(query.shape[:-1]), best.reshape(query.shape[:-1])


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    import pandas as pd

    return "" if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)) else str(value)
