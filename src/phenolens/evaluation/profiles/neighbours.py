"""What a well's nearest neighbours tell: its compound, its mechanism, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.profiles.batch_predictability import NEIGHBOURS, predictability
from phenolens.evaluation.profiles.identities import Groups, Identities
from phenolens.evaluation.profiles.matching import CONFIDENCE, Matching, MatchRule, exchanged_p_value, match
from phenolens.evaluation.reports.parts import Part, not_measured

_FEW_UNITS = 10
_LEVEL = 0.05
# a row each for plate, batch and source, by treated wells and by controls, may err
_STRICT = 1 - (1 - CONFIDENCE) / 6


def replicates(vectors: NDArray[Any], given: NDArray[Any] | None, known: Identities, seed: int) -> Part:
    """Is the nearest well elsewhere of the same compound? By other well, plate, batch and source, as far as known.

    Parameters
    ----------
    vectors
        (n, d).
    given
        The same before standardisation, to compare; None where nothing was done.
    """
    key, title = "replicate_matching", "Replicates: is the nearest well elsewhere of the same compound?"
    if known.compound is None:
        return not_measured(key, title, "no column names the compounds (Metadata_Compound or Metadata_SMILES)")
    treated = ~known.control
    places: list[tuple[str, Groups | None]] = [
        ("well", known.well), ("plate", known.plate), ("batch", known.batch), ("source", known.source)
    ]  # fmt: skip
    rules, lacking = [], {}
    for name, groups in places:
        if name == "well":
            barred = (groups,) if groups is not None else ()
        elif groups is None:
            lacking[f"other {name}"] = f"no column Metadata_{name.capitalize()}"
            continue
        elif len(np.unique(groups.codes[treated & groups.known])) < 2:
            lacking[f"other {name}"] = f"all treated wells are of one {name}"
            continue
        else:
            barred = (groups,)
        rules.append(MatchRule(f"other {name}", known.compound, barred, treated))
    return _matching_part(key, title, vectors, given, rules, lacking, known, seed, "the same compound")


def mechanisms(vectors: NDArray[Any], given: NDArray[Any] | None, known: Identities, seed: int) -> Part:
    """Is the nearest well of another compound of the same mechanism (NSC), also from another batch (NSCB)?"""
    key, title = "mechanism_matching", "Mechanisms: is the nearest well of another compound of the same mechanism?"
    if known.mechanism is None:
        return not_measured(key, title, "no column names the mechanisms (Metadata_Mechanism or Metadata_MoA)")
    if known.compound is None:
        return not_measured(key, title, "no column names the compounds, so none could be distinguished from another")
    treated, lacking = ~known.control, {}
    rules = [MatchRule("other compound", known.mechanism, (known.compound,), treated)]
    other, name = (known.batch, "batch") if _several(known.batch, treated) else (known.plate, "plate")
    if other is not None and _several(other, treated):
        rules.append(MatchRule(f"other compound and {name}", known.mechanism, (known.compound, other), treated))
    else:
        lacking["other compound and batch"] = "all treated wells are of one batch or plate, or neither is known"
    part = _matching_part(key, title, vectors, given, rules, lacking, known, seed, "the same mechanism")
    return _against_exchanges(part, known.mechanism, known.compound, seed)


def batch_effects(vectors: NDArray[Any], given: NDArray[Any] | None, known: Identities, seed: int) -> Part:
    """Can plate, batch and source be read from the neighbours of other compounds, and from other controls?"""
    from pandas import DataFrame

    key, title = "batch_predictability", "Batches: do a well's neighbours give away where it comes from?"
    rows: list[dict[str, Any]] = []
    lacking: list[str] = []
    for name, labels, nested in (
        ("plate", known.plate, ()),
        ("batch", known.batch, (known.plate,)),
        ("source", known.source, (known.batch, known.plate)),
    ):
        if labels is None or not _several(labels, labels.known):
            why = f"no column Metadata_{name.capitalize()}" if labels is None else "there is but one"
            lacking.append(f"the {name} ({why})")
            continue
        measured = len(rows)
        inner = next((groups for groups in nested if groups is not None and len(groups) > len(labels)), None)
        for who, eligible in (("treated wells, of other compounds", ~known.control), ("controls", known.control)):
            if not eligible.any() or ("treated" in who and known.compound is None):
                continue
            barred = [groups for groups in (inner, known.well if name == "plate" else None) if groups is not None]
            units = known.plate if known.plate is not None else labels
            if "treated" in who and known.compound is not None:
                barred, units = [*barred, known.compound], known.compound
            for form, table in (("", vectors), ("as given", given)):
                if table is None:
                    continue
                found = predictability(table, labels, tuple(barred), eligible, units, seed=seed)
                if len(found.rows) < 2:
                    continue
                low, high = found.interval(seed)
                above = found.interval(seed, _STRICT)[0] > found.chance
                rows.append(
                    {
                        "predicted": name, "from": f"{who}{', ' + form if form else ''}", "wells": len(found.rows),
                        "share": found.share, "low": low, "high": high, "chance": found.chance,
                        "most frequent": found.largest, "given": bool(form), "above chance": bool(above),
                    }
                )  # fmt: skip
        if len(rows) == measured:
            lacking.append(f"the {name} (no well has another compound's, or another control, of its {name} to go by)")
    if not rows:
        return not_measured(key, title, ", ".join(lacking))
    named = _named_by(rows, given=False)
    if named:
        verdict = f"Where a well comes from shows: {NEIGHBOURS} neighbours name {named}."
    else:
        names = _and(dict.fromkeys(row["predicted"] for row in rows))
        verdict = f"{NEIGHBOURS} neighbours name a well's {names} no more often than chance."
    if before := _named_by(rows, given=True):
        verdict += f" In the profiles as given, they name {before}."
    table = DataFrame(rows)
    notes = [f"Not measured for {one}." for one in lacking]
    figures = {"neighbours": NEIGHBOURS, "rows": rows}
    table = table.drop(columns=["given", "above chance"])
    return Part(key, title, verdict, not named, figures, table, notes=tuple(notes))


def _matching_part(
    key: str,
    title: str,
    vectors: NDArray[Any],
    given: NDArray[Any] | None,
    rules: list[MatchRule],
    lacking: dict[str, str],
    known: Identities,
    seed: int,
    what: str,
) -> Part:
    from pandas import DataFrame

    assert known.compound is not None
    found = match(vectors, rules, known.compound)
    before = match(given, rules, known.compound) if given is not None else []
    rows, figures, asked = [], {}, []
    for one, form in [*((one, "") for one in found), *((one, "as given") for one in before)]:
        if not len(one.rows):
            lacking[one.rule] = f"no well has a candidate of {what} there"
            continue
        low, high = one.interval(seed)
        excess = one.excess_interval(seed)
        name = f"{one.rule}, {form}" if form else one.rule
        figures[name] = {
            "wells": len(one.rows), "wells_without_match": one.without_match, "rate": one.rate, "low": low,
            "high": high, "chance": one.chance_rate, "excess_low": excess[0], "excess_high": excess[1],
        }  # fmt: skip
        rows.append(
            {
                "candidates": name, "wells": len(one.rows), "without match": one.without_match, "top 1": one.rate[0],
                "low": low[0], "high": high[0], "chance": one.chance_rate[0], "top 10": one.rate[-1],
                "chance of top 10": one.chance_rate[-1],
            }
        )  # fmt: skip
        if not form:
            asked.append(one)
    notes = [f"Not measured for {name}: {why}." for name, why in lacking.items()]
    if not asked:
        return not_measured(key, title, "; ".join(dict.fromkeys(lacking.values())) or "there is no treated well", notes)
    strictest = _strictest(asked)
    units = len(np.unique(strictest.units))
    if units < _FEW_UNITS:
        notes.append(f"{units} compounds are few for an interval: read it as a rough one.")
    excess = strictest.excess_interval(seed)
    rate, chance = strictest.rate, strictest.chance_rate
    good = bool(excess[0, 0] > 0)
    rate_found = f"{rate[0]:.1%} of the nearest wells ({strictest.rule}) are of {what}, where chance is {chance[0]:.1%}"
    if good:
        verdict = f"{rate_found}: {rate[0] / chance[0]:.1f} times chance, and above it."
    elif excess[0, -1] > 0:
        verdict = f"{rate_found}: not above chance. Among the ten nearest there is one more often than by chance."
    else:
        verdict = f"{rate_found}: this does not beat chance."
    if good and chance[0] > 0.99:
        good, verdict = False, f"{rate_found}: there is nothing to compare."
    return Part(key, title, verdict, good, figures, DataFrame(rows), tuple(asked), tuple(notes))


def _against_exchanges(part: Part, mechanism: Groups, compound: Groups, seed: int) -> Part:
    """The same, good only if it also beats exchanging the mechanisms among the compounds."""
    if not part.measured:
        return part
    strictest = _strictest(part.curves)
    p_value = exchanged_p_value(strictest, mechanism, compound, seed=seed)
    figures = {**part.figures, "exchanged_p_value": p_value}
    null = f" Exchanging the mechanisms among the compounds gives p = {p_value:.2g}"
    if part.good and p_value > _LEVEL:
        verdict = f"{part.verdict}{null}, so that it may be chance all the same: too few compounds look alike."
        return replace(part, verdict=verdict, good=False, figures=figures)
    return replace(part, verdict=f"{part.verdict}{null}.", figures=figures)


def _strictest(found: Sequence[Matching]) -> Matching:
    """By other batch where that was asked, else the last."""
    return next((one for one in found if "batch" in one.rule), None) or found[-1]


def _named_by(rows: list[dict[str, Any]], given: bool) -> str:
    """What neighbours name more often than by chance, in words; for each the most frequent kind of well."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["given"] == given and row["above chance"]:
            best = found.get(row["predicted"])
            if best is None or row["share"] > best["share"]:
                found[row["predicted"]] = row
    return _and(
        f"the {name} {row['share']:.0%} of the time (chance {row['chance']:.0%})" for name, row in found.items()
    )


def _several(groups: Groups | None, among: NDArray[np.bool_]) -> bool:
    return groups is not None and len(np.unique(groups.codes[among & groups.known])) > 1


def _and(words: Any) -> str:
    listed = list(words)
    if not listed:
        return ""
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
