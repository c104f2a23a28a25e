"""The page of the docs that says what came of each fault."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from fault_commands import COMMANDS
from fault_damage import damages
from fault_kinds import NAMES, Outcome, can_be_done, can_mount

_KILL = "kill -9"
_TOP = """# When something goes wrong on the way

What each command does when it is killed, when the disk is full, when its folder is read-only or vanishes, when it is
started twice, and when what it reads is damaged. This page is written by `python tests/faults/harness.py --kills 200
--write docs/faults.md`, from what was seen.

In every case: nothing half-written lies under a final name, each file that is there can be read and is what its record
says, no process runs on, and the same command given again (with `--resume` where a training goes on) ends with the
same result as one that nothing disturbed, byte for byte but for times, with no temporary file left. Damaged inputs end
with status 2 and a sentence (3 where `cells`, `translate` or `micon embed` finished the other fields), in at most 1 GB
more than the whole ones take, unless what is left of them is an input too (half a table has fewer rows).
"""


def page(outcomes: Sequence[Outcome]) -> str:
    """The page, in Markdown."""
    tried = {outcome.command for outcome in outcomes}
    commands = [command.name for command in COMMANDS if command.name in tried]
    killed = [outcome for outcome in outcomes if outcome.fault.startswith(_KILL)]
    faults = list(dict.fromkeys(outcome.fault for outcome in outcomes if outcome not in killed))
    lines = [_TOP, *_untried(outcomes), "## Killed", "", *_kills(commands, killed), ""]
    disk = "a small disk in memory" if can_mount() else "a limit on the size of files, for none can be mounted"
    for fault in faults:
        lines += [f"## {fault[0].upper()}{fault[1:]}", ""]
        if fault == "full disk":
            lines += [
                f"Tried on {disk}, which held 5, 40 and 80 per cent of what the command writes, or 40 alone",
                "where a run takes long.",
                "",
            ]
        lines += ["| command | status | what is said | what is kept |", "|---|---|---|---|"]
        for command in commands:
            lines += _rows([one for one in outcomes if one.command == command and one.fault == fault])
        lines.append("")
    wrong = [outcome for outcome in outcomes if outcome.problems]
    if wrong:
        lines += ["## What did not hold", "", *(f"- {one.command}, {one.fault}: {one.problems[0]}" for one in wrong)]
    return "\n".join(lines).rstrip() + "\n"


def _untried(outcomes: Sequence[Outcome]) -> list[str]:
    """What is not in the tables: commands, and faults of those that are."""
    seen = Counter((outcome.command, outcome.fault) for outcome in outcomes)
    names = {command for command, _ in seen}
    said = []
    whole = [f"`{shown(command.name)}`" for command in COMMANDS if command.name not in names]
    if whole:
        said += [f"Not in these tables, for they were not tried: {', '.join(whole)}.", ""]
    for command in COMMANDS:
        if command.name not in names:
            continue
        wanted = Counter(damage.fault for damage in damages(command))
        wanted.update(name for method, name in NAMES.items() if can_be_done(method, command))
        said += [
            f"- {fault[0].upper()}{fault[1:]}, `{shown(command.name)}`: {seen[command.name, fault]} of {count} tried."
            for fault, count in wanted.items()
            if seen[command.name, fault] < count
        ]
    return [*said, ""] if said and said[-1] else said


def _kills(commands: Sequence[str], killed: Sequence[Outcome]) -> list[str]:
    kinds = list(dict.fromkeys(outcome.fault for outcome in killed))
    cut = [kind.removeprefix(_KILL).strip() for kind in kinds]
    in_file, lost = sum(one.in_file for one in killed), sum(bool(one.problems) for one in killed)
    counted = f"{len(killed)} kills, {in_file} of them while a file was half-written"
    rows = [
        f"{counted}; {lost} with anything lost, or with another result in the end.",
        "",
        f"| command | {' | '.join(cut)} | while a file was half-written | what was kept |",
        "|---" * (len(kinds) + 3) + "|",
    ]
    for command in commands:
        here = [one for one in killed if one.command == command]
        counts = [str(sum(one.fault == kind for one in here)) for kind in kinds]
        kept = "; ".join(sorted({one.kept for one in here}))
        rows.append(f"| `{shown(command)}` | {' | '.join(counts)} | {sum(one.in_file for one in here)} | {kept} |")
    return rows


def _rows(outcomes: Sequence[Outcome]) -> list[str]:
    seen = dict.fromkeys((one.status, _words(one.said), one.kept) for one in outcomes)
    return [
        f"| `{shown(outcomes[0].command)}` | {status} | {said or ('nothing' if status else 'it ends well')} | {kept} |"
        for status, said, kept in seen
    ]


def shown(command: str) -> str:
    """A command as a user gives it."""
    name, _, kind = command.partition(":")
    return {"": name, "zarr": f"{name} --format zarr", "workers": f"{name} --workers 2",
            "compounds": f"{name} --compounds", "h5ad": f"{name} --out FILE.h5ad"}[kind]  # fmt: skip


def _words(said: str) -> str:
    """A sentence without what changes from run to run."""
    said = said.removeprefix("phenolens: ")
    said = re.sub(r"(?<![\w.])(/[^\s:,;()']+)+/(?=[^\s/]+)", "", said)
    said = re.sub(r"process \d+ on \S+, since [\d -]+[\d:]+", "process 4711 on this computer, since ...", said)
    return said.replace("|", "\\|").replace("<", "&lt;")
