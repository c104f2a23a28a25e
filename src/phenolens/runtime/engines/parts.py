"""Job arrays: which fields are whose, and who may write to a folder at the same time.

A whole run holds the lock of the folder. The jobs of an array each hold that of their part, so that they run side by
side, but no job twice, and none beside a whole run. Who may begin is settled in a short moment that all take in turn.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from phenolens.runtime.drives.network import ask_anew
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import absolute, temporary_name, writable_folder, write_json
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.locks import Held, Lock, holding
from phenolens.runtime.progress import Job

T = TypeVar("T")
JOBS = ".phenolens-jobs"
"""Folder of the plan and of the jobs' locks."""
_PLAN = "plan.json"
_TRIES = 120
_PAUSE = 0.25  # s


@dataclass(frozen=True)
class Part:
    """One job of an array.

    Parameters
    ----------
    number, count
        Which, from 1, and of how many.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``I/N``; raise `OutputError` where it is none."""
        found = re.fullmatch(r"\s*0*(\d{1,6})/0*(\d{1,6})\s*", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise OutputError(f"--job is I/N with I from 1 to N, such as 3/10, and not {text!r}.")
        return cls(int(found[1]), int(found[2]))

    def of(self, keys: Sequence[str]) -> list[str]:
        """The fields of this job: every N-th, so that a plate whose density changes along the rows is shared evenly."""
        return list(keys[self.number - 1 :: self.count])

    @property
    def lock(self) -> str:
        """Name of the lock file."""
        return f"job-{self.number}-of-{self.count}.lock"


def fingerprint(*about: object) -> str:
    """SHA-256 of what all jobs of an array must agree on."""
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def writing_to(folder: Path, part: Part | None, plan: str, begin: Callable[[], T]) -> Iterator[tuple[Lock, T]]:
    """Hold what a run needs while the block runs: the folder, or the lock of its part.

    Parameters
    ----------
    part
        Which job this is; None for a whole run, and for gathering.
    plan
        Fingerprint of what the jobs agree on.
    begin
        Prepares the folder while nobody else begins.

    Yields
    ------
    The lock, and what `begin` returned.

    Raises
    ------
    OutputError
        Another run holds it: the folder, this part, or, where the plan is another, any part.
    """
    jobs = writable_folder(absolute(folder)) / JOBS
    with ExitStack() as held:
        with _in_turn(folder):
            if part is None:
                lock = held.enter_context(holding(folder))
                _no_job_runs(folder, jobs)
            else:
                with holding(folder):
                    pass
                lock = held.enter_context(holding(folder, writable_folder(jobs) / part.lock))
                _agree(folder, jobs, part, plan)
            begun = begin()
        yield lock, begun


def agreed(folder: Path, name: str, about: str, decide: Callable[[], Job[int]]) -> Job[int]:
    """A number that all jobs go by, which the first that knows it writes into their plan.

    Parameters
    ----------
    about
        Fingerprint of what it depends on.
    decide
        Finds it, where no job has.
    """
    if (known := _decided(folder, name, about)) is not None:
        return known
    mine = yield from decide()
    with _in_turn(folder):
        if (known := _decided(folder, name, about)) is not None:
            return known
        plan = _plan(folder)
        if plan:  # there is none where no job has begun
            decided = plan.get("decided")
            others = decided if isinstance(decided, dict) else {}
            entry = {name: {"about": about, "number": mine}}
            write_json(absolute(folder) / JOBS / _PLAN, {**plan, "decided": {**others, **entry}})
    return mine


def _decided(folder: Path, name: str, about: str) -> int | None:
    decided = _plan(folder).get("decided")
    entry = decided.get(name) if isinstance(decided, dict) else None
    if not isinstance(entry, dict) or entry.get("about") != about:
        return None
    number = entry.get("number")
    return number if isinstance(number, int) else None


def _plan(folder: Path) -> dict[str, Any]:
    """What jobs have agreed on; empty where they have not."""
    try:
        return read_json_object(absolute(folder) / JOBS / _PLAN)
    except (OSError, ValueError):
        return {}


@contextmanager
def _in_turn(folder: Path) -> Iterator[None]:
    """Wait for the others that are just beginning."""
    file = writable_folder(absolute(folder)) / ".beginning.phenolens.lock"
    with ExitStack() as held:
        for left in reversed(range(_TRIES)):
            try:
                held.enter_context(holding(folder, file))
                break
            except Held:
                if not left:
                    raise
                time.sleep(_PAUSE)
        yield


def _no_job_runs(folder: Path, jobs: Path, but: str = "") -> None:
    ask_anew(jobs, temporary_name(jobs / "probe"))
    for file in sorted(jobs.glob("job-*.lock")):
        if file.name != but:
            with holding(folder, file):
                pass


def _agree(folder: Path, jobs: Path, part: Part, plan: str) -> None:
    """Write the plan, or make sure that it is the one of the jobs that run."""
    if _plan(folder).get("fingerprint") == plan:
        return
    try:
        _no_job_runs(folder, jobs, but=part.lock)
    except Held as error:
        raise OutputError(
            f"Jobs that were planned otherwise are writing to {folder}: with another number of jobs, other fields or "
            f"other settings. Wait until they have ended, or choose another folder. ({error})"
        ) from error
    write_json(jobs / _PLAN, {"format": 1, "fingerprint": plan, "jobs": part.count})
