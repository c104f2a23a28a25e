"""What a command shows and how it ends: a bar on a terminal, one JSON object for machines, an exit status."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import typer

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.progress_bar import bar_on_terminal

T = TypeVar("T")
USER_MISTAKE = 2
INTERRUPTED = 130


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

    def follow(self, job: Job[T], kept: Callable[[], str] = lambda: "nothing was written") -> T:
        """Step `job` to its end; a bar on stderr follows it where that is a terminal.

        Ctrl-C (or a termination signal) closes the job after its current step, so that it saves what it has; a second
        one breaks in at once.

        Parameters
        ----------
        kept
            Says, once the job is closed, what is left of it.

        Raises
        ------
        Interrupted
            Where the job was stopped.
        """
        try:
            with _held_signals() as stopped, self._shown() as show:
                while True:
                    try:
                        show(next(job))
                    except StopIteration as end:
                        return end.value  # type: ignore[no-any-return]
                    if stopped():
                        break
        except KeyboardInterrupt:
            pass
        finally:
            job.close()
        raise Interrupted(f"interrupted: {kept()}")

    def say(self, text: str) -> None:
        """Tell a person something beside the result, on stderr."""
        typer.echo(f"phenolens: {text}", err=True)

    def done(self, text: str, **facts: Any) -> None:
        """Print the result: `text` for a person, `facts` as the one JSON object for a machine."""
        if self.as_json:
            self._print_json(facts)
        else:
            typer.echo(text)

    def failed(self, message: str, status: int) -> typer.Exit:
        """Report in one line what went wrong, and return the exception that ends the command with `status`."""
        line = " ".join(message.split())
        self.say(line)
        if self.as_json:
            self._print_json({"error": line, "status": status})
        return typer.Exit(status)

    def _print_json(self, facts: dict[str, Any]) -> None:
        typer.echo(json.dumps({"command": self.command, **facts}, default=str))

    def _shown(self) -> AbstractContextManager[Callable[[Progress], None]]:
        if self.as_json or not sys.stderr.isatty():
            return nullcontext(lambda progress: None)
        return bar_on_terminal()


@contextmanager
def reporting(command: str, as_json: bool) -> Iterator[Console]:
    """Run the body of a command: a user's mistake ends it with status 2, an interruption with 130; bugs keep their
    traceback."""
    console = Console(command, as_json)
    try:
        yield console
    except PhenolensError as error:
        raise console.failed(str(error), USER_MISTAKE) from error
    except Interrupted as stop:
        raise console.failed(str(stop), INTERRUPTED) from stop
    except KeyboardInterrupt as stop:
        raise console.failed("interrupted: nothing was written", INTERRUPTED) from stop


@contextmanager
def _held_signals() -> Iterator[Callable[[], bool]]:
    """Only take note of the first signal to stop, so that no step breaks off half-way; a second one breaks in."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = False

    def note(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        # A signal may come in the middle of another write, where Python's own streams refuse.
        os.write(2, b"\nphenolens: stopping after this step; once more breaks off at once\n")

    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
