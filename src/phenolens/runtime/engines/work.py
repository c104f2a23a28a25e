"""Work on many fields, each done by itself, whoever does it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from phenolens.runtime.errors import DeviceError, OutputError, PhenolensError
from phenolens.runtime.progress import Job, relabelled

Do = Callable[[str], Job[str]]
"""Does one field, by its key; returns how: ``"kept"`` where there was nothing to do, else why it was made."""


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
        What its `Do` returned; ``"failed"`` where it raised.
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


def attempt(do: Do, key: str) -> Job[Outcome]:
    """Do one field; what is wrong with it is an outcome.

    Raises
    ------
    OutputError, DeviceError
        The folder or the device is not usable, which no other field would escape.
    """
    try:
        return Outcome(key, (yield from relabelled(do(key), lambda now: now)))
    except (OutputError, DeviceError):
        raise
    except PhenolensError as error:
        return Outcome(key, "failed", error.with_traceback(None))
