"""How far a run of its own is, in a file that other programs follow; starting such a run, and ending it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from phenolens.runtime.drives.network import move
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import absolute, remove, temporary_name, writable_folder
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.processes import Process, start_mark, this_process
from phenolens.runtime.progress import Progress

PROGRESS, LOG = "progress.json", "run.log"
"""Names of the files of a run in its output folder: how far it is, and what it said."""
_EVERY = 0.5  # s between two writings
State = Literal["running", "done", "failed", "interrupted", "lost"]
_started: list[subprocess.Popen[bytes]] = []  # so that Python waits for those that ended


@dataclass(frozen=True)
class Run:
    """What the file of a run says.

    Parameters
    ----------
    folder
        Its output folder.
    state
        ``"running"``, or how it ended; ``"lost"`` where it ended without a word, for it was killed.
    step, total, message
        As `Progress` has them.
    left
        About how many seconds are left of what it does; None where that is not known yet.
    text
        What it said at the end.
    failed
        How many fields could not be done.
    process
        Which process it is.
    """

    folder: Path
    state: State
    step: int = 0
    total: int = 0
    message: str = ""
    left: float | None = None
    text: str = ""
    failed: int = 0
    process: Process | None = None


class RunFile:
    """Writes how far a run is; what cannot be written is left out, for the run is what counts.

    Parameters
    ----------
    file
        Where; its folder is made where it is not there.

    Raises
    ------
    OutputError
        Something else has this name.
    """

    def __init__(self, file: Path) -> None:
        self.file = absolute(file)
        _check_ours(self.file)
        self._last = 0.0
        self._begun = Progress(0, 0)
        self._since = time.monotonic()
        self._facts: dict[str, Any] = {}
        owner = this_process()
        self._owner = {"pid": owner.pid, "start": owner.start, "host": owner.host}
        self._write(state="running", step=0, total=0, message="")

    def show(self, now: Progress) -> None:
        """Write it, at most twice a second."""
        clock = time.monotonic()
        if now.total != self._begun.total or now.step < self._begun.step:
            self._begun, self._since = now, clock
        if clock - self._last < _EVERY:
            return
        self._last = clock
        done = now.step - self._begun.step
        left = (clock - self._since) / done * (now.total - now.step) if done > 0 else None
        self._write(state="running", step=now.step, total=now.total, message=now.message, left=left)

    def end(self, state: State, text: str, failed: int = 0) -> None:
        """Write how it ended."""
        self._write(**{**self._facts, "state": state, "text": text, "failed": failed, "left": None})

    def _write(self, **facts: Any) -> None:
        self._facts = facts
        partial = temporary_name(self.file)
        with suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({**facts, **self._owner}), encoding="utf-8")
            move(partial, self.file)
        remove(partial)


def read_run(folder: Path) -> Run | None:
    """What is known of the run that writes, or wrote, to a folder; None where nothing is."""
    try:
        facts = read_json_object(folder / PROGRESS)
        process = Process(int(facts["pid"]), str(facts["start"]), str(facts["host"]))
        state: Any = str(facts["state"])
        if state == "running" and process.has_ended:
            state = "lost"
        left = facts.get("left")
        return Run(
            folder, state, int(facts.get("step", 0)), int(facts.get("total", 0)), str(facts.get("message", "")),
            None if left is None else float(left), str(facts.get("text", "")), int(facts.get("failed", 0)), process,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_ours(file: Path) -> None:
    """Raise `OutputError` where a file is there that says nothing of a run, and would be replaced."""
    if not os.path.lexists(file):
        return
    try:
        ours = {"state", "pid", "start", "host"} <= set(read_json_object(file))
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise OutputError(f"{file} does not say how far a run is, and would be replaced: choose another name.")


def start_run(folder: Path, arguments: Sequence[str]) -> Run:
    """Start a command of phenolens in a process of its own, which goes on when this one ends.

    Parameters
    ----------
    folder
        Its output folder, where its files lie.
    arguments
        Of ``phenolens``.

    Raises
    ------
    OutputError
        Another run is at work there, other files have the names of its own, or nothing can be written.
    """
    folder = absolute(folder)
    _check_ours(folder / PROGRESS)
    known = read_run(folder)
    if known is None and os.path.lexists(folder / LOG):
        raise OutputError(f"{folder / LOG} is not the log of a run: move it away, or choose another folder.")
    if known is not None and known.state == "running":
        raise OutputError(f"A run is at work in {folder} already: follow it, or choose another folder.")
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    with (writable_folder(folder) / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "phenolens", *arguments, "--progress", str(folder / PROGRESS)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, **apart,
        )  # fmt: skip
    _started[:] = [one for one in _started if one.poll() is None] + [process]
    owner = Process(process.pid, start_mark(process.pid) or "ended", this_process().host)
    started = {"state": "running", "message": "Starting", "pid": owner.pid, "start": owner.start, "host": owner.host}
    partial = temporary_name(folder / PROGRESS)
    partial.write_text(json.dumps(started), encoding="utf-8")
    move(partial, folder / PROGRESS)
    return Run(folder, "running", message="Starting", process=owner)


def stop_run(run: Run) -> bool:
    """Ask a run to end, which keeps what it has finished; False where it is on another computer."""
    process = run.process
    if process is None or not process.is_here:
        return False
    if not process.has_ended:
        with suppress(OSError):
            os.kill(process.pid, signal.SIGTERM)
    return True


def last_said(folder: Path) -> str:
    """The last line that a run wrote to its log; empty where there is none."""
    try:
        with (folder / LOG).open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - 4096, 0))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
