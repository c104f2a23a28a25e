"""Every fault over every command that writes, and the page of the docs that says what came of it.

Usage: ``python tests/faults/harness.py [--kills 200] [--commands NAME ...] [--write docs/faults.md]``. With
``--outcomes FILE`` what was seen is added to a file, so that commands can be tried one by one; the page is of all.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

from fault_commands import COMMANDS, Command, named
from fault_damage import damages
from fault_kinds import NAMES, Faults, Outcome, can_be_done
from fault_page import page
from fault_runs import Server


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Server, Path]]:
    """A server of runs, and the folder with what the commands read, but for an adapter."""
    inputs, logs = folder / "inputs", folder / "logs"
    for made in (inputs, logs):
        made.mkdir(parents=True)
    with Server(logs) as server:
        made_inputs = server.run(folder, inputs, call="fault_commands:make_inputs")
        assert made_inputs.status == 0, made_inputs.errors
        yield server, inputs


def add_adapter(server: Server, inputs: Path) -> None:
    """Let an adapter be among what the commands read."""
    if not (inputs / "adapter").exists():
        tuned = server.run(inputs.parent, *named("finetune").line(inputs), **named("finetune").how)
        assert tuned.status == 0, tuned.errors
        (inputs.parent / "out").rename(inputs / "adapter")


def kills(faults: Faults, count: int) -> Iterator[Callable[[], Outcome]]:
    """Kill a command so often, in turn in the middle of a file, before an operation on files, and at a random moment.

    The operations are spread over all that the command does.
    """
    before = np.linspace(1, faults.whole.operations, max(1, count // 3 + 1)).astype(int)
    for number in range(count):
        if number % 3 == 0:
            yield faults.killed_in_a_file
        elif number % 3 == 1:
            yield partial(faults.killed_at_operation, int(before[number // 3]))
        else:
            yield faults.killed_by_time


def others(faults: Faults) -> Iterator[Callable[[], Outcome]]:
    """All faults but kills; fewer of a kind where a run takes long."""
    slow = faults.command.share < 1
    for share in (0.4,) if slow else (0.05, 0.4, 0.8):
        yield partial(faults.full_disk, share)
    yield faults.read_only
    yield from [faults.vanishing] * (1 if slow else 2)
    yield faults.two_at_once
    yield from [faults.interrupted] * (1 if slow else 2)
    if can_be_done("killed_over_an_earlier_result", faults.command):
        for share in (1,) if slow else (0.9, 1):
            yield partial(faults.killed_over_an_earlier_result, int(share * faults.whole.operations))
    for damage in damages(faults.command):
        yield partial(faults.damaged, damage)


def try_all(commands: Sequence[Command], count: int, folder: Path, only: str = "") -> Iterator[Outcome]:
    """Every fault over these commands, with `count` kills in all or a few more; or the faults that `only` names."""
    if not commands:
        return
    shares = sum(command.share for command in commands)
    with serving(folder) as (server, inputs):
        for number, command in enumerate(commands):
            began = time.monotonic()
            try:
                if "adapter" in command.inputs:
                    add_adapter(server, inputs)
                faults = Faults(server, command, folder / "runs" / str(number), inputs, seed=number)
            except AssertionError as error:
                yield _failed(command, error)
                continue
            each = math.ceil(count * command.share / shares)
            for attempt in (*kills(faults, each), *others(faults)) if not only else _only(faults, only):
                try:
                    outcome = attempt()
                except AssertionError as error:
                    outcome = _failed(command, error)
                if outcome.problems:
                    print(f"{outcome.command}, {outcome.fault}: {outcome.problems}", flush=True)
                yield outcome
            print(f"{command.name}: {time.monotonic() - began:.0f} s", flush=True)


def _only(faults: Faults, text: str) -> Iterator[Callable[[], Outcome]]:
    """Of all but the other kills, the faults whose name holds this text."""
    for attempt in others(faults):
        given = attempt.args if isinstance(attempt, partial) else ()
        name = attempt.func.__name__ if isinstance(attempt, partial) else attempt.__name__
        if text in (given[0].fault if name == "damaged" else NAMES[name]):
            yield attempt


def _failed(command: Command, error: AssertionError) -> Outcome:
    print(f"{command.name}: {error}", flush=True)
    return Outcome(command.name, "a run that hung, or failed undisturbed", 1, "", "nothing", [str(error)])


def main() -> None:
    """Try everything, print what is wrong, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--commands", nargs="*", default=[command.name for command in COMMANDS])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--outcomes", type=Path)
    parser.add_argument("--only", default="", help="the faults but kills whose names hold this, and no others")
    chosen = parser.parse_args()
    earlier = _earlier(chosen.outcomes, chosen.commands, chosen.only)
    with tempfile.TemporaryDirectory() as made, (chosen.outcomes or Path(made, "outcomes")).open("a") as kept:
        outcomes = []
        for outcome in try_all([named(name) for name in chosen.commands], chosen.kills, Path(made), chosen.only):
            outcomes.append(outcome)
            kept.write(json.dumps(asdict(outcome)) + "\n")
            kept.flush()
    counts = Counter(outcome.fault for outcome in outcomes)
    in_file = sum(outcome.in_file for outcome in outcomes)
    wrong = [outcome for outcome in outcomes if outcome.problems]
    print(*(f"{fault}: {count}" for fault, count in counts.items()), f"in a file: {in_file}", sep="\n")
    print(f"{len(outcomes)} faults, {len(wrong)} with problems")
    if chosen.write:
        chosen.write.write_text(page([*earlier, *outcomes]), encoding="utf-8")
    sys.exit(bool(wrong))


def _earlier(file: Path | None, commands: Sequence[str], only: str) -> list[Outcome]:
    """What was seen at other times of other commands or faults; the file keeps that alone."""
    if file is None or not file.is_file():
        return []
    found = [Outcome(**json.loads(line)) for line in file.read_text().splitlines()]
    found = [outcome for outcome in found if outcome.command not in commands or only not in outcome.fault]
    file.write_text("".join(json.dumps(asdict(outcome)) + "\n" for outcome in found))
    return found


if __name__ == "__main__":
    main()
