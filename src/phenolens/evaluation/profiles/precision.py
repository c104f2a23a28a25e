"""Which compounds differ from controls, and which mechanisms hold together, by mean average precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.profiles.identities import Identities
from phenolens.evaluation.reports.parts import Part, not_measured
from phenolens.evaluation.statistics.average_precision import benjamini_hochberg
from phenolens.evaluation.statistics.label_permutation import MOST_BEARERS, UNKNOWN, Permuted, permuted_precision
from phenolens.runtime.progress import Job, Progress

FALSE_DISCOVERY_RATE = 0.05
_MOST_COMPOUNDS = 4096


def activity(vectors: NDArray[Any], known: Identities, permutations: int, seed: int) -> Job[Part]:
    """Do a compound's wells find one another before they find their plates' controls?"""
    key, title = "activity", "Activity: does a compound differ from the controls, the same way each time?"
    if known.compound is None:
        return not_measured(key, title, "no column names the compounds (Metadata_Compound or Metadata_SMILES)")
    notes = []
    plate = known.plate.codes if known.plate is not None else np.zeros(len(vectors), np.int32)
    if known.plate is None:
        notes.append("No column names the plates, so all wells count as one plate.")
    treated = ~known.control & known.compound.known & (plate >= 0)
    controls = known.control & (plate >= 0)
    against = "the controls of their plates"
    if not controls.any():
        against = "the other treatments of their plates"
        notes.append(
            "No well is marked as a negative control (Metadata_Role=negative control), so the other treatments of the "
            "plate stand in: the question is then whether a compound differs from those."
        )
    bare = sorted(set(plate[treated].tolist()) - set(plate[controls].tolist())) if controls.any() else []
    if bare:
        notes.append(f"{len(bare)} plates have no control, and their wells are left out.")
    on_plate = {int(code): np.flatnonzero(plate == code) for code in np.unique(plate[treated])}
    found: list[tuple[str, Permuted]] = []
    compounds = np.unique(known.compound.codes[treated])
    for number, code in enumerate(compounds):
        yield Progress(number, len(compounds), f"Activity of {known.compound.names[code]}")
        strata = []
        for place in np.unique(plate[treated & (known.compound.codes == code)]):
            wells = on_plate[int(place)]
            own = known.compound.codes[wells] == code
            own &= treated[wells]
            others = controls[wells] if controls.any() else treated[wells] & ~own
            strata.append((wells[own], wells[others]))
        result = permuted_precision(vectors, strata, permutations=permutations, seed=seed)
        found.append((known.compound.names[code], result))
    return _permuted_part(key, title, found, "compound", f"from {against}", "two wells beside controls", notes)


def consistency(vectors: NDArray[Any], known: Identities, permutations: int, seed: int) -> Job[Part]:
    """Do the compounds of a mechanism find one another before they find compounds of other mechanisms?"""
    key, title = "consistency", "Consistency: do different compounds of a mechanism look alike?"
    if known.mechanism is None:
        return not_measured(key, title, "no column names the mechanisms (Metadata_Mechanism or Metadata_MoA)")
    if known.compound is None:
        return not_measured(key, title, "no column names the compounds (Metadata_Compound or Metadata_SMILES)")
    wells = np.flatnonzero(~known.control & known.compound.known & known.mechanism.known)
    codes, first, place = np.unique(known.compound.codes[wells], return_index=True, return_inverse=True)
    notes = ["Each compound counts once, by the mean of its wells, so that many wells of one prove nothing about two."]
    if len(codes) > _MOST_COMPOUNDS:
        return not_measured(key, title, f"there are {len(codes)} compounds, and {_MOST_COMPOUNDS} are the most")
    means = np.zeros((len(codes), vectors.shape[1]))
    np.add.at(means, place, vectors[wells].astype(np.float64))
    means /= np.bincount(place, minlength=len(codes))[:, None]
    # a mean that is zero has no direction; a compound whose wells cancel out is like no other
    pointed = np.abs(means).max(axis=1, initial=0) > 0
    mechanism = known.mechanism.codes[wells[first]]
    if (mechanism[place] != known.mechanism.codes[wells]).any():
        notes.append("Some compounds have several mechanisms in the table; the first counts.")
    found = []
    for number, code in enumerate(np.unique(mechanism)):
        yield Progress(number, len(known.mechanism), f"Consistency of {known.mechanism.names[code]}")
        bearers, others = (np.flatnonzero(which & pointed) for which in (mechanism == code, mechanism != code))
        result = permuted_precision(
            means, [(bearers, others)], permutations=permutations, seed=seed, most_others=_MOST_COMPOUNDS
        ) if len(bearers) > 1 else UNKNOWN  # fmt: skip
        found.append((known.mechanism.names[code], result))
    return _permuted_part(
        key, title, found, "mechanism", "from compounds of other mechanisms", "two compounds beside others", notes
    )


def _permuted_part(
    key: str,
    title: str,
    found: list[tuple[str, Permuted]],
    what: str,
    against: str,
    need: str,
    notes: list[str],
) -> Part:
    from pandas import DataFrame

    asked = [(name, one) for name, one in found if np.isfinite(one.observed)]
    left_out = len(found) - len(asked)
    if not asked:
        return not_measured(key, title, f"no {what} has {need}", notes)
    if left_out:
        notes.append(f"{left_out} of {len(found)} {what}s are left out: they lack {need}.")
    q_values = benjamini_hochberg([one.p_value for _, one in asked])
    table = DataFrame(
        {
            what: [name for name, _ in asked],
            "wells" if what == "compound" else "compounds": [one.bearers for _, one in asked],
            "mAP": [one.observed for _, one in asked],
            "by chance": [one.expected for _, one in asked],
            "p": [one.p_value for _, one in asked],
            "q": q_values,
        }
    ).sort_values(["p", "mAP"], ascending=[True, False], kind="stable", ignore_index=True)
    blind = sum(one.least > FALSE_DISCOVERY_RATE for _, one in asked)
    if blind:
        notes.append(
            f"For {blind} of {len(asked)} {what}s no p-value below {FALSE_DISCOVERY_RATE:.2f} is possible with so few "
            "to compare: they cannot be found, whatever they do."
        )
    many = sum(one.bearers >= MOST_BEARERS for _, one in asked)
    if many:
        members = "wells" if what == "compound" else "compounds"
        notes.append(f"{many} {what}s with {MOST_BEARERS} {members} or more are judged by {MOST_BEARERS} of them.")
    significant = int((q_values <= FALSE_DISCOVERY_RATE).sum())
    rate = f"false discovery rate {FALSE_DISCOVERY_RATE:.0%}"
    if significant:
        verdict = f"{significant} of {len(asked)} {what}s can be told {against} ({rate})."
    else:
        verdict = f"None of {len(asked)} {what}s can be told {against} ({rate}): this does not beat its null."
    figures = {
        f"{what}s": len(asked), "significant": significant, "false_discovery_rate": FALSE_DISCOVERY_RATE,
        "mean_mAP": float(table["mAP"].mean()), "mean_by_chance": float(table["by chance"].mean()),
    }  # fmt: skip
    return Part(key, title, verdict, significant > 0, figures, table, notes=tuple(notes))
