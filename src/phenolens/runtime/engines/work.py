"""Work on many fields, each done by itself, whoever does it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.progress import Job


def _noted_nowhere(key: str, reason: str) -> None:
    """Nobody goes on without this field."""


@dataclass(frozen=True, kw_only=True)
class Do:
    """How one field is done, by its key: in three stages, so that files do not keep a device waiting.

    While one field is computed, the next may be read and the last one written, each on a thread of its own. So reading
    and writing do not share anything that changes, and reading writes nothing.

    Parameters
    ----------
    read
        Reads what a field is computed from. It is told whether the field is alone; where it is not, and too large to be
        held beside others, it returns None, and is asked again once the others are done.
    compute
        Computes what is to be written, on the thread of the job.
    write
        Writes it, and returns how the field was done: ``"kept"`` where there was nothing to do, else why it was made.
    fail
        Notes why a field cannot be done.
    ahead
        Whether reading takes a while, so that a worker takes its next field before it is done with one.
    """

    read: Callable[[str, bool], Any]
    compute: Callable[[str, Any], Job[Any]]
    write: Callable[[str, Any], str]
    fail: Callable[[str, str], None] = _noted_nowhere
    ahead: bool = True


def at_once(do: Callable[[str], Job[str]], fail: Callable[[str, str], None] = _noted_nowhere) -> Do:
    """What is done in one stage, since most of it is computing; `do` returns how, as `Do.write` does."""
    return Do(
        read=lambda key, alone: key, compute=lambda key, _: do(key), write=lambda key, how: str(how), fail=fail,
        ahead=False,
    )  # fmt: skip


def do_alone(do: Do, key: str) -> Job[str]:
    """Do one field, and nothing beside it."""
    made = yield from do.compute(key, do.read(key, True))
    return do.write(key, made)


class Work(Protocol):
    """What is to be done. It goes to other processes and computers as it is, so it holds paths rather than weights."""

    def open(self, check: Callable[[], None]) -> Do:
        """Load what each field needs, once for each worker.

        Parameters
        ----------
        check
            Called before results are written; raises where they must not be.
        """
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of one field.

    Parameters
    ----------
    key
        Of the field.
    how
        What `Do.write` returned; ``"failed"`` where it raised.
    error
        What it raised.
    """

    key: str
    how: str
    error: PhenolensError | None = None


class Engine(Protocol):
    """Does work on fields somewhere."""

    def run(self, work: Work, keys: Sequence[str], check: Callable[[], None]) -> Job[list[Outcome]]:
        """Do the fields `keys`, one result each.

        A field that cannot be done is an outcome and holds nobody up; what is wrong with a folder or device is raised.
        Closing the job ends the work at once; what is finished is kept by whoever wrote it.

        Parameters
        ----------
        check
            Called now and then; raises where the work must not go on.
        """
        ...
