"""Standard forms of structures, found in a process of its own: see `phenolens.runtime.guarded_process`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from phenolens.profiling.molecules.standard_forms import check_length, fault
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.guarded_process import GuardedProcess
from phenolens.runtime.limits import STRUCTURE_MB, STRUCTURE_SECONDS

process = GuardedProcess("phenolens.profiling.molecules.standard_forms:standardised")


@dataclass(frozen=True)
class StandardForm:
    """SMILES and InChIKey of a compound's standard form; the key is empty where there is none."""

    smiles: str
    key: str


def standard_form_of(text: str) -> StandardForm:
    """Standardise one SMILES; see `phenolens.profiling.molecules.molecules.standardise`.

    Raises
    ------
    ScreenError
        There is no standard form, or finding it takes more time or memory than is given.
    PhenolensError
        The process cannot be started.
    """
    found = answer(text)
    if isinstance(found, str):
        raise ScreenError(found)
    return found


@lru_cache(maxsize=1 << 16)
def answer(text: str) -> StandardForm | str:
    """The standard form, or why there is none; kept, so that a structure is worked on once."""
    try:
        check_length(text)
    except ScreenError as error:
        return str(error)
    outcome = process.ask(text, STRUCTURE_SECONDS(), STRUCTURE_MB())
    if outcome.kind == "answer":
        return StandardForm(*outcome.value)
    if outcome.kind == "sentence":
        return str(outcome.value)
    why = {
        "late": f"takes more than {STRUCTURE_SECONDS()} seconds to standardise",
        "died": f"crashes the chemistry library, or takes more than {STRUCTURE_MB()} MB of memory",
        "failed": f"cannot be standardised ({outcome.value})",
    }
    return str(fault(text, why[outcome.kind]))
