"""The faults: what is done to a command, what must hold after it, and what a user sees of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fault_checks import broken, contents, difference, half_written, left_over
from fault_commands import Command
from fault_damage import Damage, change_card
from fault_runs import Run, Server

NAMES = {
    "full_disk": "full disk", "read_only": "read-only folder", "vanishing": "folder removed midway",
    "two_at_once": "two at once", "interrupted": "SIGTERM",
    "killed_over_an_earlier_result": "kill -9 over an earlier result",
}  # fmt: skip
"""Of what is done beside other kills and damages: the method, and what the fault is called."""
NOBODY = 65534
_SLACK = 1024  # MB beyond what the undisturbed run took


@dataclass
class Outcome:
    """What came of one fault.

    Parameters
    ----------
    status, said
        How the command ended, and the last line that it wrote.
    kept
        What was left of its work.
    problems
        What should not be.
    in_file
        Whether it was ended while it wrote a file.
    """

    command: str
    fault: str
    status: int
    said: str
    kept: str
    problems: list[str] = field(default_factory=list)
    in_file: bool = False


@dataclass
class Whole:
    """An undisturbed run: what it wrote, how long it took, and how often it changed a file."""

    contents: dict[str, str]
    seconds: float
    operations: int
    bytes: int
    megabytes: int


class Faults:
    """Faults of all kinds for one command.

    Parameters
    ----------
    place
        An empty folder for its runs.
    inputs
        What the commands read.
    """

    def __init__(self, server: Server, command: Command, place: Path, inputs: Path, seed: int = 0) -> None:
        self.server, self.command, self.place, self.inputs = server, command, place, inputs
        self.random = np.random.default_rng(seed)
        self.whole = self._undisturbed()

    def _undisturbed(self) -> Whole:
        folder = self._new("undisturbed")
        run = self._begin(folder, watched=str(folder)).wait()
        assert run.status == 0, f"{self.command.name} fails undisturbed: {run.errors[-3000:]}"
        wrong = [*broken(folder), *left_over(folder)]
        assert not wrong, f"{self.command.name}, undisturbed: {wrong}"
        size = sum(path.stat().st_size for path in folder.rglob("*"))
        return Whole(contents(folder), run.seconds, run.operations, size, run.megabytes)

    # Killed ------------------------------------------------------------------------------------------------------

    def killed_by_time(self) -> Outcome:
        """Ended as by kill -9 at a random moment."""
        folder = self._new("killed")
        run = self._begin(folder)
        moment = run.began + float(self.random.uniform(0.02, 1.0)) * self.whole.seconds
        while not run.is_over() and time.monotonic() < moment:
            time.sleep(0.002)
        return self._end_and_go_on(folder, run, "kill -9 at a random moment")

    def killed_in_a_file(self) -> Outcome:
        """Ended as by kill -9 while a file is being written: one with a temporary name is there, and has content."""
        folder = self._new("killed")
        run = self._begin(folder)
        skipped = int(self.random.integers(0, 6))
        seen: set[str] = set()
        while not run.is_over():
            new = {name for name in half_written(folder) if name not in seen}
            seen |= new
            if new and len(seen) > skipped:
                break
        return self._end_and_go_on(folder, run, "kill -9 in the middle of a file")

    def killed_at_operation(self, number: int) -> Outcome:
        """Ended as by kill -9 just before it changes a file, or the name of one, for the n-th time."""
        folder = self._new("killed")
        run = self._begin(folder, watched=str(folder), kill_at=number).wait()
        return self._end_and_go_on(folder, run, "kill -9 before an operation on files")

    def _end_and_go_on(self, folder: Path, run: Run, fault: str) -> Outcome:
        run.send(signal.SIGKILL)
        run.wait()
        problems = [f"process {pid} ran on" for pid in run.left_running()]
        in_file = run.status == -signal.SIGKILL and bool(half_written(folder))
        problems += [f"after the kill: {one}" for one in broken(folder)]
        kept = self._kept(folder)
        again = self._begin(folder, again=True).wait()
        problems += self._is_whole(folder, again)
        return Outcome(self.command.name, fault, run.status or 0, "", kept, problems, in_file)

    def killed_over_an_earlier_result(self, number: int) -> Outcome:
        """Ended while it replaces what an earlier run wrote: one of the two is there, whole."""
        folder = self._new("replaced")
        shutil.copytree(self.place / "undisturbed", folder, dirs_exist_ok=True)
        run = self._begin(folder, watched=str(folder), kill_at=number).wait()
        problems = [f"after the kill: {one}" for one in broken(folder)]
        there = (folder / self.command.out).exists() or any(folder.glob(".replaced-*"))
        problems += [] if there else ["the earlier result is gone"]
        again = self._begin(folder, again=True).wait()
        problems += self._is_whole(folder, again)
        fault = NAMES["killed_over_an_earlier_result"]
        return Outcome(self.command.name, fault, run.status or 0, "", "the earlier result", problems)

    def interrupted(self) -> Outcome:
        """Asked to stop by SIGTERM at a random moment."""
        folder = self._new("interrupted")
        run = self._begin(folder)
        moment = run.began + float(self.random.uniform(0.05, 0.9)) * self.whole.seconds
        while not run.is_over() and time.monotonic() < moment:
            time.sleep(0.002)
        asked = time.monotonic()
        run.send(signal.SIGTERM)
        run.wait()
        problems = [] if run.status in (0, 130) else [f"status {run.status}: {run.said}"]
        problems += [f"process {pid} ran on" for pid in run.left_running()]
        late = run.ended - asked
        problems += [f"it took {late:.1f} s"] if late > 3 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)) else []
        problems += [*broken(folder), *left_over(folder)]
        kept, said = self._kept(folder), run.said
        problems += self._is_whole(folder, self._begin(folder, again=True).wait())
        return Outcome(self.command.name, NAMES["interrupted"], run.status or 0, said, kept, problems)

    # The disk ----------------------------------------------------------------------------------------------------

    def full_disk(self, share: float) -> Outcome:
        """A disk that holds only a share of what the command writes; then there is room, and it is given again."""
        folder = self._new("full")
        size = max(16, int(share * self.whole.bytes) // 4096 * 4)
        if not can_mount():
            run = self._begin(folder, file_bytes=max(1, int(share * self._largest()))).wait()
            return self._refused_then_whole(folder, run, NAMES["full_disk"])
        with mounted(folder, f"size={size}k") as remount:
            run = self._begin(folder).wait()
            remount("size=2g")
            return self._refused_then_whole(folder, run, NAMES["full_disk"])

    def _largest(self) -> int:
        return max(path.stat().st_size for path in (self.place / "undisturbed").rglob("*") if path.is_file())

    def read_only(self) -> Outcome:
        """A folder that may be read alone; then it may be written to."""
        folder = self._new("read-only")
        if can_mount():
            with mounted(folder, "size=2g") as remount:
                remount("ro")
                run = self._begin(folder).wait()
                remount("rw")
                return self._refused_then_whole(folder, run, NAMES["read_only"])
        folder.chmod(0o555)
        run = self._begin(folder, **({"user": NOBODY} if os.geteuid() == 0 else {})).wait()
        folder.chmod(0o755)
        return self._refused_then_whole(folder, run, NAMES["read_only"])

    def vanishing(self) -> Outcome:
        """The folder that is written to is removed at a random moment of the run."""
        folder = self._new("vanishing") / "there"
        folder.mkdir()
        outer = folder.parent
        run = self._begin(outer, out=f"there/{self.command.out}")
        moment = run.began + float(self.random.uniform(0.1, 0.9)) * self.whole.seconds
        while not run.is_over() and time.monotonic() < moment:
            time.sleep(0.002)
        shutil.rmtree(folder, ignore_errors=True)
        run.wait()
        problems = _no_sentence(run, allowed=(0, 2))
        problems += [*broken(outer), *left_over(outer)]
        if run.status == 0:
            inside = folder / self.command.out
            found = contents(folder) if inside.exists() else {}
            # Removed after its end, or made anew: whole, or not there at all.
            problems += _but_for_checkpoints(difference(found, self.whole.contents) if found else [])
        kept, said = self._kept(folder), run.said
        again = self._begin(outer, again=True, out=f"there/{self.command.out}").wait()
        problems += _but_for_checkpoints(self._is_whole(folder, again))
        return Outcome(self.command.name, NAMES["vanishing"], run.status or 0, said, kept, problems)

    def two_at_once(self) -> Outcome:
        """The same command twice on one output."""
        folder = self._new("two")
        runs = [self._begin(folder), self._begin(folder)]
        for run in runs:
            run.wait()
        problems = [one for run in runs for one in _no_sentence(run, allowed=(0, 2))]
        problems += [] if any(run.status == 0 for run in runs) else ["neither of them ended well"]
        problems += [*broken(folder), *left_over(folder), *difference(contents(folder), self.whole.contents)]
        second = next((run for run in runs if run.status), runs[1])
        kept = "the result of the first" if second.status else "the result, from either"
        return Outcome(self.command.name, NAMES["two_at_once"], second.status or 0, second.said, kept, problems)

    # What is read ------------------------------------------------------------------------------------------------

    def damaged(self, damage: Damage) -> Outcome:
        """An input that is cut short, holds what is no number, or claims to be huge."""
        folder = self._new("damaged")
        inputs = folder / "inputs"
        inputs.mkdir()
        for entry in self.inputs.iterdir():
            (inputs / entry.name).symlink_to(entry)
        if damage.entry == "base" and "adapter" in self.command.inputs:
            change_card(self._copied(inputs, "adapter"), base=str(inputs / "base"))
        damage.do(self._copied(inputs, damage.entry))
        place = folder / "run"
        place.mkdir()
        run = self.server.run(place, *self.command.line(inputs), **self.command.how)
        problems = _no_sentence(run, allowed=damage.allowed)
        problems += [*broken(place), *left_over(place)]
        if run.megabytes > self.whole.megabytes + _SLACK:
            problems.append(f"it took {run.megabytes} MB, and undisturbed {self.whole.megabytes}")
        # What is made of the fields that were whole is kept, and goes on where the others are mended.
        results = [name for name in contents(place) if name in self.whole.contents and "/." not in f"/{name}"]
        if run.status != 0 and results and not self.command.by_field:
            problems.append(f"it left a result: {results[0]}")
        return Outcome(self.command.name, damage.fault, run.status or 0, run.said, self._kept(place), problems)

    # Parts -------------------------------------------------------------------------------------------------------

    def _new(self, name: str) -> Path:
        folder = self.place / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _copied(self, inputs: Path, entry: str) -> Path:
        """A copy of one of the inputs instead of a link to it."""
        copy, source = inputs / entry, self.inputs / entry
        copy.unlink()
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
        return copy

    def _begin(self, folder: Path, *, again: bool = False, out: str | None = None, **how: object) -> Run:
        line = self.command.line(self.inputs, again=again)
        if out is not None:
            line[line.index("--out") + 1] = out
        return self.server.start(folder, *line, **self.command.how, **how)

    def _refused_then_whole(self, folder: Path, run: Run, fault: str) -> Outcome:
        problems = _no_sentence(run, allowed=(0, 2))
        problems += [*broken(folder), *left_over(folder)]
        kept = self._kept(folder)
        problems += self._is_whole(folder, self._begin(folder, again=True).wait())
        return Outcome(self.command.name, fault, run.status or 0, run.said, kept, problems)

    def _is_whole(self, folder: Path, run: Run) -> list[str]:
        """What keeps the end of a run from being that of an undisturbed one."""
        if run.status != 0:
            return [f"again: status {run.status}: {run.errors[-600:]}"]
        problems = [*broken(folder), *left_over(folder), *difference(contents(folder), self.whole.contents)]
        return [f"again: {one}" for one in problems]

    def _kept(self, folder: Path) -> str:
        """In words, what a folder holds of the work of a run."""
        found = contents(folder)
        if not difference(found, self.whole.contents):
            return "the whole result"
        results = {name for name in found if name in self.whole.contents and "/." not in f"/{name}"}
        checkpoints = [name for name in found if name.endswith(".pt")]
        if checkpoints:
            return "checkpoints"
        unfinished = [name for name in found if name not in self.whole.contents and "/." not in f"/{name}"]
        if results:
            return f"{len(results)} finished files" if len(results) > 1 else "1 finished file"
        return "what was finished, to go on from" if unfinished else "nothing"


def _but_for_checkpoints(problems: list[str]) -> list[str]:
    """Without what is missing of a checkpoint, which may have gone with the folder and is needed no more."""
    return [one for one in problems if one.startswith("again: status") or "/checkpoint/" not in one]


def _no_sentence(run: Run, allowed: tuple[int, ...]) -> list[str]:
    """What is wrong with how a run ended: by a status or in words that it should not."""
    problems = [f"process {pid} ran on" for pid in run.left_running()]
    if run.status not in allowed:
        problems.append(f"status {run.status}: {run.errors[-700:]}")
    elif "Traceback" in run.errors:
        problems.append(f"a traceback: {run.errors[-700:]}")
    elif run.status in (2, 3) and not (run.said.startswith("phenolens: ") and run.said.endswith((".", ")"))):
        problems.append(f"a poor sentence: {run.said[-300:]!r}")
    return problems


def can_be_done(method: str, command: Command) -> bool:
    """Whether a method of `Faults` makes sense for a command."""
    # translations are filled field by field, and never replaced
    return method != "killed_over_an_earlier_result" or not command.name.startswith("translate")


def can_mount() -> bool:
    """Whether a small disk can be mounted here."""
    global _mounts
    if _mounts is None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            asked = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
            _mounts = os.geteuid() == 0 and shutil.which("mount") is not None
            _mounts = _mounts and subprocess.run(asked, capture_output=True, check=False).returncode == 0
            if _mounts:
                subprocess.run(["umount", folder], check=True)
    return _mounts


_mounts: bool | None = None


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Callable[[str], None]]:
    """A small disk in memory at `folder`; yields what changes its options."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)

    def change(more: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{more}", str(folder)], check=True)

    try:
        yield change
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
