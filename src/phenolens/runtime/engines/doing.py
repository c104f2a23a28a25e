"""How a command does the fields of a screen: who does them, which are this run's, and what became of the others."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from phenolens.runtime.engines.failing import known_failures, new_failures
from phenolens.runtime.engines.here import Here
from phenolens.runtime.engines.parts import Part, agreed, fingerprint, writing_to
from phenolens.runtime.engines.work import Engine, Outcome, Work
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import sweep
from phenolens.runtime.manifest import RECORDS, Manifest
from phenolens.runtime.outputs import named
from phenolens.runtime.progress import Job, Progress

T = TypeVar("T")


class OthersFirst(OutputError):
    """What comes next needs what other jobs of an array have not done yet."""


@dataclass(frozen=True, kw_only=True)
class Doing:
    """How the fields of a screen, or other pieces of work, are done.

    Parameters
    ----------
    engine
        Who does them: this process where None.
    part
        Those of one job of an array alone.
    gather
        None is done: what jobs have done is put together.
    retry_failed
        Try those again that could not be done before; they are left out otherwise.
    """

    engine: Engine | None = None
    part: Part | None = None
    gather: bool = False
    retry_failed: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether jobs of an array share the work, of which this is one, or gathers it."""
        return self.part is not None or self.gather

    def mine(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that are this run's."""
        return list(keys) if self.part is None else self.part.of(keys)

    @contextmanager
    def opened(
        self, folder: Path, about: Sequence[object], begin: Callable[[], T]
    ) -> Iterator[tuple[Callable[[], None], T]]:
        """Hold the folder of the results, or what a job needs of it, and sweep what processes left that were ended.

        Parameters
        ----------
        about
            What all jobs of an array must agree on.
        begin
            Opens the folder while nobody else begins.

        Yields
        ------
        What checks that the folder is still held, and what `begin` returned.

        Raises
        ------
        OutputError
            Another run holds the folder; it, or what is kept in it, was removed meanwhile.
        """
        plan = fingerprint(*about, self.part and self.part.count)
        with writing_to(folder, self.part, plan, begin) as (lock, begun):
            try:
                yield lock.check, begun
            except FileNotFoundError as error:
                lock.check()
                gone = error.filename or error
                raise OutputError(f"{gone} was removed while {folder} was written: start again.") from error
            finally:
                for place in (folder, folder / RECORDS):
                    sweep(place)

    def agreed(self, folder: Path, name: str, about: object, decide: Callable[[], Job[int]]) -> Job[int]:
        """A number by which all fields are done; where jobs share them, what the first that knows it writes down.

        Parameters
        ----------
        folder
            The folder of the results, which is held.
        name
            What it is.
        about
            What it depends on.
        decide
            Finds the number, the same in all jobs unless files change meanwhile.
        """
        if not self.is_shared:
            return (yield from decide())
        return (yield from agreed(folder, name, fingerprint(about), decide))

    def each(
        self, work: Work, manifest: Manifest, keys: Sequence[str], check: Callable[[], None], done: str
    ) -> Job[tuple[list[Outcome], dict[str, str]]]:
        """Do those of `keys` that are this run's, each for itself: what cannot be done is left out.

        Parameters
        ----------
        manifest
            Where `work` records what it has done.
        done
            What is done with a field, such as ``"translated"``.

        Returns
        -------
        tuple
            What became of each, and why some failed.

        Raises
        ------
        OthersFirst
            Jobs have not done all that is to be gathered.
        """
        mine = self.mine(keys)
        known = {} if self.retry_failed else known_failures(manifest, mine)
        wanted = [key for key in mine if key not in known]
        if self.gather:
            yield from all_there(manifest, wanted, len(mine), f"fields are not {done} yet")
            return [Outcome(key, "kept") for key in wanted], known
        with closing((self.engine or Here()).run(work, wanted, check)) as job:
            outcomes = yield from job
        return outcomes, known | new_failures(manifest, outcomes)

    def every(
        self, work: Work, manifest: Manifest, keys: Sequence[str], check: Callable[[], None], lacking: str
    ) -> Job[None]:
        """Do those of `keys` that are this run's, where what comes next needs all of them.

        Parameters
        ----------
        manifest
            Where `work` records what it has done.
        lacking
            What is said of those that are not there, such as ``"fields were not searched for cells yet"``.

        Raises
        ------
        OthersFirst
            Others have to do theirs first.
        PhenolensError
            One of them cannot be done; the others are.
        """
        if self.gather:
            yield from all_there(manifest, keys, len(keys), lacking)
            return
        with closing((self.engine or Here()).run(work, self.mine(keys), check)) as job:
            outcomes = yield from job
        new_failures(manifest, outcomes)
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        missing = [] if self.part is None else _missing(manifest, keys)
        if missing:
            raise OthersFirst(
                f"{len(missing)} of {len(keys)} {lacking}, which other jobs do. Start all jobs again once they have "
                "ended."
            )


def all_there(manifest: Manifest, keys: Sequence[str], total: int, lacking: str) -> Job[None]:
    """Make sure that all of `keys` were done and are as they were written; a step is a key.

    Raises
    ------
    OthersFirst
        Some are not.
    """
    missing: list[str] = []
    for number, key in enumerate(keys, start=1):
        missing += _missing(manifest, [key])
        yield Progress(number, total, f"Looking at {key}")
    if missing:
        raise OthersFirst(
            f"{len(missing)} of {total} {lacking}, or their files were changed: {named(missing)}. Start the jobs again "
            "that have not finished, and then gather. What was written last, a network drive may show a minute later."
        )


def _missing(manifest: Manifest, keys: Sequence[str]) -> list[str]:
    return [key for key in keys if manifest.facts(key) is None or manifest.damaged(key)]
