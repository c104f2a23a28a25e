"""What profiles are good for, each figure beside its chance or null: replicates, mechanisms, batches, activity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phenolens.evaluation.profiles.identities import Identities
from phenolens.evaluation.profiles.neighbours import batch_effects, mechanisms, replicates
from phenolens.evaluation.profiles.precision import activity, consistency
from phenolens.evaluation.profiles.unseen import unseen_compounds
from phenolens.evaluation.reports.parts import Evaluation, Part
from phenolens.profiling.corrections.standardise import PlateScaling
from phenolens.profiling.tables.profiles import Profiles, aggregate
from phenolens.profiling.vectors.search import unit_rows
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress

_FEWEST_WELLS = 6  # to take a plate's own centre and spread
_FEWEST_TREATMENTS = 3
# without these on every well of one mean, the wells cannot be judged
_TELLING = ("compound", "smiles", "role", "mechanism", "moa", "plate", "batch", "source")


def evaluate_profiles(profiles: Profiles, *, seed: int = 0, permutations: int = 10_000) -> Job[Evaluation]:
    """Measure what `profiles` are good for.

    Cells and fields are averaged to wells first. Unless the card names corrections, each plate's wells are centred and
    scaled by all of them, treated ones too: by the controls alone, treated wells would share their error and so find
    one another too easily. Where no control is marked, that is done over all plates together, for each plate may hold
    other compounds. What is missing (controls, structures, mechanisms, batches) makes the answers that need it
    "not measured", with the reason, or is stood in for, with a note.

    Parameters
    ----------
    profiles
        n rows from one, with ``Metadata_`` columns.
    seed
        Of permutations, bootstraps and random neighbours: the same seed gives the same figures.
    permutations
        Exchanges drawn for each p-value, from 1.

    Raises
    ------
    ScreenError
        There are fewer than three wells, cells cannot be told apart by well, or a vector has no direction.
    """
    if permutations < 1:
        raise ScreenError(f"{permutations} permutations were asked for: at least one is needed.")
    yield Progress(0, 7, "Wells")
    wells, notes = _to_wells(profiles)
    if len(wells) < 3:
        raise ScreenError(f"There are {len(wells)} wells to evaluate: at least three are needed.")
    unit_rows(wells.vectors)
    known = Identities.of(wells.metadata)
    notes += known.notes
    vectors, standardised, scaling = _standardised(wells, known)
    notes.append(scaling)
    notes += _about(known)
    if profiles.card.get("encoder_mode"):
        notes.append(
            "The encoder was trained on a screen's compounds by name. If it was this screen, these figures flatter it: "
            "judge it on batches that it has not seen."
        )
    given = wells.vectors if standardised else None
    parts: list[Part] = []
    for number, (name, measure) in enumerate(
        (("Replicates", replicates), ("Mechanisms", mechanisms), ("Batches", batch_effects)), 1
    ):
        yield Progress(number, 7, name)
        parts.append(measure(vectors, given, known, seed))
    parts.append((yield from activity(vectors, known, permutations, seed)))
    parts.append((yield from consistency(vectors, known, permutations, seed)))
    yield Progress(6, 7, "Unseen compounds")
    parts.append(unseen_compounds(vectors, wells.metadata, known, seed))
    facts = {
        "rows": len(profiles),
        "level": profiles.level,
        "evaluated": len(wells),
        "evaluated_level": wells.level,
        "dimension": wells.vectors.shape[1],
        "compounds": _count(known, "compound"),
        "controls": int(known.control.sum()),
        "mechanisms": _count(known, "mechanism"),
        "plates": _count(known, "plate"),
        "batches": _count(known, "batch"),
        "sources": _count(known, "source"),
        "standardised": standardised,
        "seed": seed,
        "permutations": permutations,
        "card": profiles.card,
    }
    return Evaluation(facts, tuple(parts), tuple(notes))


def _to_wells(profiles: Profiles) -> tuple[Profiles, list[str]]:
    if profiles.level == "well":
        return profiles, []
    if profiles.level == "field" and "metadata_well" not in {str(c).casefold() for c in profiles.metadata.columns}:
        return profiles, ["No column Metadata_Well says which fields share a well, so each field counts as one."]
    wells = aggregate(profiles, "well")
    lost = [
        str(column)
        for column in profiles.metadata.columns
        if column not in wells.metadata.columns and str(column).removeprefix("Metadata_").casefold() in _TELLING
    ]
    if lost:
        raise ScreenError(
            f"{lost[0]} differs between rows of the same well: correct the table, or write the wells that are meant "
            "into Metadata_Well."
        )
    return wells, [f"{len(profiles)} {profiles.level}s were averaged to {len(wells)} wells."]


def _standardised(profiles: Profiles, known: Identities) -> tuple[NDArray[np.float32], bool, str]:
    """Vectors to evaluate, whether they differ from those given, and what to tell about it."""
    applied = profiles.card.get("corrections")
    if applied:
        listed = ", ".join(map(str, applied)) if isinstance(applied, (list, tuple)) else str(applied)
        return profiles.vectors, False, (
            f"The profiles come corrected ({listed}) and are evaluated as they are. Where the correction was fitted on "
            "these very controls, activity looks somewhat stronger than it is."
        )  # fmt: skip
    everyone = np.ones(len(profiles), bool)
    plates = ["all"] * len(profiles)
    why = "some plate has too few wells or treatments to be its own reference"
    if not known.control.any():
        why = "no control is marked and plates may hold different compounds"
    reference = f"over all plates together, as {why} (median and median absolute deviation)."
    if known.plate is not None and known.control.any() and _full_plates(known):
        plates = [known.plate.names[code] for code in known.plate.codes]
        reference = (
            "by all wells of its plate, treated ones too (median and median absolute deviation). What all treatments "
            "of a plate have in common is lost by that."
        )
    made = PlateScaling.fit(profiles.vectors, plates, everyone).apply(profiles.vectors, plates)
    if not np.isfinite(made).all() or not np.abs(made).max(axis=1).all():
        return profiles.vectors, False, "The profiles are evaluated as they are: scaled, some would have no direction."
    note = f"Each feature was centred and scaled {reference} Figures marked 'as given' are without it."
    return made, True, note


def _full_plates(known: Identities) -> bool:
    assert known.plate is not None
    if not known.plate.known.all():
        return False
    for code in range(len(known.plate)):
        wells = known.plate.codes == code
        treatments = wells.sum() if known.compound is None else len(np.unique(known.compound.codes[wells]))
        if wells.sum() < _FEWEST_WELLS or treatments < _FEWEST_TREATMENTS:
            return False
    return True


def _about(known: Identities) -> list[str]:
    notes = []
    treated = ~known.control
    if not known.control.any():
        notes.append("No well is marked as a negative control (Metadata_Role=negative control).")
    if known.compound is not None and (unnamed := int((treated & ~known.compound.known).sum())):
        notes.append(f"{unnamed} wells have neither a compound nor a structure and are left out where it matters.")
    if known.batch is None or len(known.batch) < 2:
        why = "No column names the batches" if known.batch is None else "There is but one batch"
        instead = "plates take their place" if known.plate is not None else "nor are plates named"
        notes.append(f"{why} (Metadata_Batch): {instead}.")
    if known.compound is not None and known.position is not None:
        both = treated & known.compound.known & known.position.known
        pairs = np.unique(np.stack([known.compound.codes[both], known.position.codes[both]]), axis=1)
        several = np.bincount(known.compound.codes[both]) > 1
        if several.any() and pairs.shape[1] == len(np.unique(known.compound.codes[both])):
            notes.append(
                "Every compound is always in the same position of the plate, so that an effect of the position cannot "
                "be distinguished from one of the compound."
            )
    return notes


def _count(known: Identities, name: str) -> int | None:
    groups = getattr(known, name)
    if groups is None:
        return None
    return len(np.unique(groups.codes[groups.known & ~known.control])) if name == "compound" else len(groups)
