"""What a command shows and how it ends: a bar on a terminal, one JSON object for machines, an exit status."""

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import typer

from phenolens.runtime.checkpoints import Checkpoints, CheckpointWarning
from phenolens.runtime.engines.doing import OthersFirst
from phenolens.runtime.engines.parts import Part
from phenolens.runtime.engines.run_file import RunFile
from phenolens.runtime.errors import FieldsFailed, PhenolensError
from phenolens.runtime.interrupts import STATUS, stopping
from phenolens.runtime.memory.fitting_batch import SmallerBatch
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.progress_bar import bar_on_terminal
from phenolens.runtime.threads import fitting_threads

T = TypeVar("T")
USER_MISTAKE = 2
SOME_FAILED = 3
INTERRUPTED = STATUS


class Interrupted(Exception):
    """The person at the terminal stopped a job, which has closed; the message says what was kept."""


class Console:
    """The output of one command.

    Parameters
    ----------
    command
        Its name, for the JSON object.
    as_json
        Whether to print one JSON object instead of words.
    """

    def __init__(self, command: str, as_json: bool) -> None:
        self.command = command
        self.as_json = as_json
        self._kept: Callable[[], str] = _nothing
        self._file: RunFile | None = None
        self._silent = False

    def be_silent(self) -> None:
        """Show nothing but what goes wrong: this process is one of several, and another speaks for all."""
        self._silent = True

    def write_progress(self, file: Path | None) -> None:
        """Write how far the jobs that follow are to a file too, where one is wanted."""
        self._file = None if file is None else RunFile(file)

    def follow(self, job: Job[T], kept: Callable[[], str] | None = None) -> T:
        """Step `job` to its end; a bar on stderr follows it where that is a terminal.

        Ctrl-C (or a termination signal) closes the job after its current step, or breaks in where that takes longer
        than a moment; either way the job saves what it has. torch computes with as many threads as cores are free.

        Parameters
        ----------
        kept
            Says, once the job is closed, what is left of it; that nothing was written where None.

        Raises
        ------
        Interrupted
            Where the job was stopped.
        """
        self._kept = kept or _nothing
        with stopping() as stop:
            try:
                with self._shown() as show, fitting_threads() as fit:
                    stop.patient = True
                    while not stop.asked:
                        fit()
                        try:
                            now = next(job)
                        except StopIteration as end:
                            self._kept = kept or _unknown
                            return end.value  # type: ignore[no-any-return]
                        show(now)
            except KeyboardInterrupt:
                pass
            finally:
                # what the job still writes as it closes is not broken off by the first signal
                stop.patient = False
                job.close()
        raise Interrupted(self.interrupted())

    def interrupted(self) -> str:
        """Say that the command was interrupted, and what is kept."""
        return ": ".join(part for part in ("interrupted", self._kept()) if part)

    def last_words(self) -> None:
        """Say so where the process is ended from outside the main thread."""
        self.failed(self.interrupted(), INTERRUPTED)

    def say(self, text: str) -> None:
        """Tell a person something beside the result, on stderr."""
        typer.echo(f"phenolens: {text}", err=True)

    def done(self, text: str, **facts: Any) -> None:
        """Print the result: `text` for a person, `facts` as the one JSON object for a machine."""
        if self._silent:
            return
        if self._file is not None:
            self._file.end("done", text, len(facts.get("failed") or ()))
        if self.as_json:
            self._print_json(facts)
        else:
            typer.echo(text)

    def failed(self, message: str, status: int) -> typer.Exit:
        """Report in one line what went wrong, and return the exception that ends the command with `status`."""
        line = " ".join(message.split())
        self.say(line)
        if self._file is not None:
            self._file.end("interrupted" if status == INTERRUPTED else "failed", line)
        if self.as_json:
            self._print_json({"error": line, "status": status})
        return typer.Exit(status)

    def _print_json(self, facts: dict[str, Any]) -> None:
        typer.echo(json.dumps({"command": self.command, **facts}, default=str))

    def _shown(self) -> AbstractContextManager[Callable[[Progress], None]]:
        if self._file is not None:
            return nullcontext(self._file.show)
        if self._silent or self.as_json or not sys.stderr.isatty():
            return nullcontext(lambda progress: None)
        return bar_on_terminal()


def _nothing() -> str:
    return "nothing was written"


def _unknown() -> str:
    return ""  # a job has ended, and what it made is being written, or was


def follow_part(console: Console, job: Job[Any], part: Part, out: Path) -> None:
    """Step one job of an array whose jobs need one another, and say whether the array has to be started again.

    Parameters
    ----------
    out
        What all of them make.
    """
    finished, said = True, "Once all jobs have ended, the same command with --gather in place of --job ends the work"
    try:
        console.follow(job, lambda: "what was finished is kept; the same command goes on")
    except OthersFirst as wait:
        finished, said = False, str(wait)
    console.done(
        f"Job {part.number} of {part.count} has done its share of what can be done now. {said}",
        out=str(out.resolve()), job=f"{part.number}/{part.count}", finished=finished,
    )  # fmt: skip


def kept_of_training(checkpoint: Path) -> str:
    """Say what is left of a training that was stopped."""
    if Checkpoints(checkpoint).exist():
        return f"the checkpoint {checkpoint} is kept; the same command with --resume goes on from there"
    return "no step was finished, so there is nothing to resume"


@contextmanager
def reporting(command: str, as_json: bool) -> Iterator[Console]:
    """Run the body of a command: a user's mistake ends it with status 2, fields that failed with 3, an interruption
    with 130; bugs keep their traceback."""
    console = Console(command, as_json)
    with stopping() as stop, _warnings_said(console):
        stop.last_words = console.last_words
        try:
            yield console
        except FieldsFailed as error:
            raise console.failed(str(error), SOME_FAILED) from error
        except PhenolensError as error:
            raise console.failed(str(error), USER_MISTAKE) from error
        except Interrupted as end:
            raise console.failed(str(end), INTERRUPTED) from end
        except KeyboardInterrupt as end:
            raise console.failed(console.interrupted(), INTERRUPTED) from end
        except Exception as error:
            # libraries turn a KeyboardInterrupt while they are imported into errors of their own
            if not stop.asked:
                raise
            raise console.failed(console.interrupted(), INTERRUPTED) from error


@contextmanager
def _warnings_said(console: Console) -> Iterator[None]:
    """Say what our own warnings say as a sentence, without the line of code that they come from."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, (CheckpointWarning, SmallerBatch)):
            console.say(str(message))
        else:
            usual(message, category, *where, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual
