"""Work on what strangers made, in a process of its own: what crashes or hangs a library ends that process alone.

The process is started when it is first asked, kept for what is asked next, and started again after it died. It limits
its own memory and the computing time of each answer, and ends when this process does, since its input ends then: at
once, or when the answer in hand is done or out of time.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.interrupts import undone_at_end

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from phenolens.runtime.guarded_process import serve; serve(sys.argv[2], int(sys.argv[3]))"
)
_PATIENCE = 20  # seconds by the clock for each second of computing, for machines that are busy otherwise


@dataclass(frozen=True)
class Outcome:
    """What came of asking.

    Parameters
    ----------
    kind
        "answer"; "sentence" where a `PhenolensError` was raised; "failed" where another error was; "late" where it took
        longer than it may; "died" where the process crashed or ran out of memory.
    value
        The answer, or what the error said.
    """

    kind: Literal["answer", "sentence", "failed", "late", "died"]
    value: Any = None


class GuardedProcess:
    """A process that calls one function, again and again.

    Parameters
    ----------
    function
        Its module and name, as ``"package.module:name"``; it takes one value and returns one, both plain (JSON).
    """

    def __init__(self, function: str) -> None:
        self.function = function
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._owner = 0
        atexit.register(self.close)
        undone_at_end(self._kill)

    def ask(self, value: Any, seconds: int, megabytes: int) -> Outcome:
        """Call the function with `value`, in at most `seconds` of computing and `megabytes` of memory.

        The memory is that which the process was started with.

        Raises
        ------
        PhenolensError
            The process cannot be started.
        """
        with self._lock:
            child = self._running(megabytes)
            try:
                said = self._exchange(child, value, seconds)
            except BaseException:
                self._end()  # an answer that nobody waits for any more must not be taken for the next one
                raise
            if said is None:
                self._end()
                return Outcome("late" if _was_stopped(child.returncode) else "died")
        return Outcome(*said)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _kill(self) -> None:
        # Without the lock: whoever holds it may wait for an answer.
        child = self._child
        if child is not None and self._owner == os.getpid():
            child.kill()

    def _running(self, megabytes: int) -> subprocess.Popen[str]:
        ours = self._owner == os.getpid()
        if self._child is not None and ours and self._child.poll() is None:
            return self._child
        if ours:
            self._end()
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), self.function, str(megabytes)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
                env={**os.environ, **one_thread},
            )  # fmt: skip
        except OSError as error:
            raise PhenolensError(f"A process of its own for {self.function} cannot be started ({error}).") from error
        self._owner = os.getpid()
        assert self._child.stdout is not None
        if not self._child.stdout.readline():
            self._end()
            raise PhenolensError(f"The process for {self.function} ended at its start: install napari-phenolens again.")
        return self._child

    def _exchange(self, child: subprocess.Popen[str], value: Any, seconds: int) -> list[Any] | None:
        """What the process says, or None where it died of the question."""
        assert child.stdin is not None
        assert child.stdout is not None
        watch = threading.Timer(_PATIENCE * seconds, child.kill)
        watch.daemon = True
        watch.start()
        try:
            child.stdin.write(json.dumps([seconds, value]) + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except OSError:
            line = ""
        finally:
            watch.cancel()
        if not line.endswith("\n"):
            child.wait(10)
            return None
        said: list[Any] = json.loads(line)
        return said

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # what could not be sent is not wanted any more
        child.wait()


def _was_stopped(code: int | None) -> bool:
    """Whether a process ended by the signal of its own clock or of ours."""
    return code is not None and -code in {getattr(signal, name, 0) for name in ("SIGPROF", "SIGKILL")} - {0}


def serve(function: str, megabytes: int) -> None:
    """Call `function` for each line of the input, and write what came of it, until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - what a library prints must not pass for an answer
        os.dup2(nothing.fileno(), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides when this one ends
    module, name = function.split(":")
    call = getattr(importlib.import_module(module), name)
    _limit_memory(megabytes * 2**20)
    _say(answers, ["ready"])
    for line in sys.stdin:
        seconds, value = json.loads(line)
        _limit_time(seconds)
        said = _called(call, value)
        _limit_time(0)
        _say(answers, said)


def _say(answers: TextIO, said: list[Any]) -> None:
    answers.write(json.dumps(said) + "\n")
    answers.flush()


def _called(call: Any, value: Any) -> list[Any]:
    try:
        return ["answer", call(value)]
    except PhenolensError as error:
        return ["sentence", str(error)]
    except MemoryError:
        os._exit(3)  # as after any other crash: nothing that is left here can be relied on
    except Exception as error:  # noqa: BLE001 - libraries raise whatever strange input leads them to
        return ["failed", " ".join(str(error).split())[:200] or type(error).__name__]


def _limit_time(seconds: int) -> None:
    """Let the system end this process after so much computing; 0 takes the limit away."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(most: int) -> None:
    try:
        import resource

        with open("/proc/self/statm") as file:  # noqa: PTH123
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + most, held + most))
    except (ImportError, OSError, ValueError):
        return  # no such limit on this system; that of time stays
