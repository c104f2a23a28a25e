"""Runs of commands in forked processes: start one, wait for it, end it at a chosen moment."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 120.0
_BEGINNING = 180.0
_HERE = Path(__file__).parent


@dataclass
class Run:
    """A run that was started.

    Parameters
    ----------
    status
        Its exit status, None while it runs; below zero the signal that ended it.
    """

    server: Server
    number: int
    pid: int
    log: Path
    began: float
    status: int | None = None
    ended: float = 0.0
    megabytes: int = 0

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.ended - self.began

    @property
    def said(self) -> str:
        """The last line that it wrote to stderr."""
        lines = self.errors.strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def errors(self) -> str:
        """All that it wrote to stderr."""
        with suppress(OSError):
            return Path(f"{self.log}.err").read_text(errors="replace")
        return ""

    @property
    def operations(self) -> int:
        """How often it changed something in the folder that was watched."""
        return int(Path(f"{self.log}.operations").read_text() or 0)

    def is_over(self) -> bool:
        """Whether it has ended, by now."""
        self.server.listen(0)
        return self.status is not None

    def wait(self, seconds: float = SECONDS) -> Run:
        """Wait until it has ended; a hang is an error."""
        began = time.monotonic()
        while self.status is None:
            self.server.listen(0.2)
            if time.monotonic() > began + seconds * _load():
                self.send(signal.SIGKILL)
                raise AssertionError(f"it hung for {seconds:g} s: {self.errors[-500:]}")
        return self

    def send(self, number: int) -> None:
        """Send a signal to the run, but not to what it started."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def left_running(self) -> list[int]:
        """Processes that it started and that still run; they are ended."""
        found = _group(self.pid)
        until = time.monotonic() + 3 * _load()
        while found and time.monotonic() < until:
            time.sleep(0.02)
            found = _group(self.pid)
        if found:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return found


class Server:
    """The process that forks for each run; a context manager."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._runs: dict[int, Run] = {}
        self._count = 0
        self._buffer = b""
        self.threads: list[str] = []

    def __enter__(self) -> Server:
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
        quiet = {"PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
        # Arrow's own pool of memory has a thread.
        plain = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}
        self._child = subprocess.Popen(
            [sys.executable, str(_HERE / "fault_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, **one, **quiet, **plain},
        )  # fmt: skip
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._in, self._out = self._child.stdin, self._child.stdout.fileno()
        until = time.monotonic() + _BEGINNING
        self.ready = False
        while not self.ready:
            self.listen(0.5)
            assert self._child.poll() is None, "the server of runs did not begin"
            assert time.monotonic() < until, "the server of runs did not begin"
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs.values():
            if run.status is None and run.pid:
                run.send(signal.SIGKILL)
        self._in.close()
        self._child.wait(30)
        os.close(self._out)

    def start(self, folder: Path, *arguments: str | Path, **how: Any) -> Run:
        """Start ``phenolens`` with these arguments in `folder`; `how` are further parts of the request.

        Parameters
        ----------
        call
            A function, as ``"module:name"``, to be called with the arguments instead.
        prepare
            A function to be called first.
        watched, kill_at
            Folder in which the run's operations on files are counted; the run is killed just before this one.
        file_bytes
            Size that no file of the run may have more than.
        user
            Number of the user that the run belongs to.
        """
        self._count += 1
        log = self.logs / f"{self._count}"
        request = {"id": self._count, "folder": str(folder), "arguments": list(map(str, arguments)), "log": str(log)}
        run = Run(self, self._count, 0, log, time.monotonic())
        self._runs[self._count] = run
        self._in.write(json.dumps(request | how).encode() + b"\n")
        self._in.flush()
        while not run.pid:
            self.listen(1)
            assert self._child.poll() is None, "the server of runs ended"
        return run

    def run(self, folder: Path, *arguments: str | Path, **how: Any) -> Run:
        """Start a run and wait for its end."""
        return self.start(folder, *arguments, **how).wait()

    def listen(self, seconds: float) -> None:
        """Take in what the server says, waiting for it so long at most."""
        if not select.select([self._out], [], [], seconds)[0]:
            return
        *lines, self._buffer = (self._buffer + os.read(self._out, 1 << 16)).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "ready" in said:
                self.ready, self.threads = True, said["threads"]
            elif "began" in said:
                self._runs[said["began"]].pid = said["pid"]
            else:
                run = self._runs[said["ended"]]
                run.ended, run.megabytes, run.status = time.monotonic(), said["megabytes"], said["status"]


def _group(number: int) -> list[int]:
    """Processes of a group that run."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with suppress(OSError):
                facts = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                if int(facts[2]) == number and facts[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def _load() -> float:
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
