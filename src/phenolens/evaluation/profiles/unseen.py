"""What a structure tells of a compound that was left out: its effect predicted from the others', against baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.profiles.identities import Identities
from phenolens.evaluation.profiles.splits import scaffold_of
from phenolens.evaluation.reports.parts import Part, not_measured
from phenolens.profiling.molecules.baselines import changes, mean_shift, nearest_compound
from phenolens.profiling.molecules.molecules import fingerprints, read_molecules
from phenolens.profiling.molecules.structure_regression import StructureRegression
from phenolens.profiling.tables.profiles import texts_of
from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from pandas import DataFrame

_KEY, _TITLE = "unseen_compounds", "Unseen compounds: does the structure tell what a compound does?"
_FEWEST = 6
_MOST = 4096
_DRAWS = 2000
REGRESSION, NEAREST, MEAN = "structure regression", "most similar compound", "mean change"


def unseen_compounds(vectors: NDArray[Any], metadata: DataFrame, known: Identities, seed: int) -> Part:
    """Leave compounds out, one by one and by Murcko scaffold, and predict their effects from their structures.

    A prediction is right where, of the effects of the compounds that were kept, the one with the highest cosine is
    of the same mechanism. It is made by regression on structures, by taking the effect of the most similar compound,
    and by taking the mean effect of all.

    Parameters
    ----------
    vectors
        (n, d) wells, corrected.
    metadata
        n rows, with ``Metadata_SMILES``.
    """
    from pandas import DataFrame

    if known.compound is None or known.mechanism is None:
        lacking = "the compounds" if known.compound is None else "the mechanisms"
        return not_measured(_KEY, _TITLE, f"no column names {lacking}")
    codes, smiles, mechanism, notes = _with_structure(metadata, known)
    if len(codes) < _FEWEST or len(np.unique(mechanism)) < 2:
        why = f"{len(codes)} compounds with a structure and a mechanism are too few, or all of one mechanism"
        return not_measured(_KEY, _TITLE, why, notes)
    if len(codes) > _MOST:
        return not_measured(_KEY, _TITLE, f"there are {len(codes)} compounds, and {_MOST} are the most", notes)
    number_of = {int(code): number for number, code in enumerate(codes, 1)}
    numbers = np.array([number_of.get(int(code), -1) for code in known.compound.codes], np.int64)
    numbers[known.control] = 0
    used = numbers >= 0
    plates = known.plate.codes.astype(np.int64) if known.plate is not None else np.zeros(len(vectors), np.int64)
    moved = changes(vectors[used], numbers[used], plates[used])
    bits = fingerprints(smiles)
    scaffolds = np.array([scaffold_of(text, text) for text in smiles], object)
    rows: list[dict[str, Any]] = []
    for left, groups in (("one compound", np.arange(len(codes)).astype(object)), ("one scaffold", scaffolds)):
        if left == "one scaffold" and len(np.unique(groups)) < 3:
            notes.append("Not measured by scaffold: fewer than three Murcko scaffolds.")
            continue
        rows += _judged(left, groups, moved, bits, mechanism, seed)
    first = {row["predicted by"]: row for row in rows if row["left out"] == "one compound"}
    ours, best = first[REGRESSION], max((first[NEAREST], first[MEAN]), key=lambda row: row["right mechanism"])
    above, better = ours["excess"] > 0, ours["right mechanism"] > best["right mechanism"]
    verdict = (
        f"Of {ours['compounds']} compounds, each left out in turn, {ours['right mechanism']:.0%} are predicted to look "
        f"like a compound of their mechanism (chance {ours['chance']:.0%}); by the {best['predicted by']} it is "
        f"{best['right mechanism']:.0%}. "
    )
    if not above:
        verdict += "This does not beat chance: do not read predictions for unseen compounds."
    elif not better:
        verdict += "This is above chance, and the simpler prediction does as well or better."
    else:
        verdict += "This is above chance and above the simpler predictions."
    table = DataFrame(rows).drop(columns="excess")
    return Part(_KEY, _TITLE, verdict, bool(above), {"rows": rows}, table, notes=tuple(notes))


def _with_structure(
    metadata: DataFrame, known: Identities
) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64], list[str]]:
    """Codes, structures and mechanisms of the compounds that have both, and notes on those that have not."""
    assert known.compound is not None
    assert known.mechanism is not None
    column = next((c for c in metadata.columns if str(c).casefold() == "metadata_smiles"), None)
    texts = np.full(len(metadata), "", object) if column is None else texts_of(metadata[column])
    treated = ~known.control & known.compound.known
    codes, smiles, mechanism = [], [], []
    lacking = 0
    for code in np.unique(known.compound.codes[treated]):
        rows = np.flatnonzero(treated & (known.compound.codes == code))
        named = [row for row in rows if known.mechanism.codes[row] >= 0]
        structure = _readable([texts[row] for row in rows])
        if not named or not structure:
            lacking += 1
            continue
        codes.append(int(code))
        smiles.append(structure)
        mechanism.append(int(known.mechanism.codes[named[0]]))
    notes = [f"{lacking} compounds without a readable structure or a mechanism are left out."] if lacking else []
    return np.array(codes, np.int64), smiles, np.array(mechanism, np.int64), notes


def _readable(texts: list[Any]) -> str:
    for text in dict.fromkeys(str(text) for text in texts):
        if text:
            try:
                return read_molecules([text])[0].smiles
            except ScreenError:
                continue
    return ""


def _judged(
    left: str,
    groups: NDArray[Any],
    moved: NDArray[np.float32],
    bits: NDArray[np.float32],
    mechanism: NDArray[np.int64],
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each way to predict; compounds of one group are left out together."""
    spread = moved.std(axis=0) + 1e-9
    unknown = np.zeros((len(moved), 2), np.float32)
    still = np.zeros((1, moved.shape[1]))
    hits: dict[str, list[float]] = {REGRESSION: [], NEAREST: [], MEAN: []}
    alike: dict[str, list[float]] = {name: [] for name in hits}
    chances, unit = [], []
    for group in np.unique(groups):
        out = np.flatnonzero(groups == group)
        kept = np.flatnonzero(groups != group)
        model = StructureRegression.fit(bits[kept], unknown[kept], moved[kept])
        made = model.predict(bits[out], unknown[out])
        for row, prediction in zip(out, made, strict=True):
            chances.append(float((mechanism[kept] == mechanism[row]).mean()))
            unit.append(group)
            predicted = {
                REGRESSION: prediction,
                NEAREST: nearest_compound(still, moved[kept], bits[kept], bits[row])[0],
                MEAN: mean_shift(still, moved[kept])[0],
            }
            for name, change in predicted.items():
                cosine = _cosine(moved[kept] / spread, change / spread)
                hits[name].append(float(mechanism[kept[int(cosine.argmax())]] == mechanism[row]))
                alike[name].append(float(_cosine(moved[[row]] / spread, change / spread)[0]))
    units = np.unique(np.array(unit, object).astype(str), return_inverse=True)[1]
    rows = []
    for name, several in hits.items():
        found, chance = np.array(several), np.array(chances)
        low, high = _interval(found, units, seed)
        excess, _ = _interval(found - chance, units, seed)
        rows.append(
            {
                "left out": left, "predicted by": name, "compounds": len(found), "right mechanism": float(found.mean()),
                "low": low, "high": high, "chance": float(chance.mean()),
                "cosine to the effect": float(np.mean(alike[name])), "excess": excess,
            }
        )  # fmt: skip
    return rows


def _cosine(known: NDArray[np.floating], change: NDArray[np.floating]) -> NDArray[np.floating]:
    lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(change)
    return np.asarray(known @ change / np.maximum(lengths, 1e-12))


def _interval(values: NDArray[np.float64], units: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """95 % interval of the mean, by bootstrap over units."""
    rng = np.random.default_rng([seed, 0x5CA])
    totals, sizes = np.bincount(units, values), np.bincount(units)
    drawn = rng.integers(len(sizes), size=(_DRAWS, len(sizes)))
    means = totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
