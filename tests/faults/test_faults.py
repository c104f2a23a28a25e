"""Some faults over some commands; ``python tests/faults/harness.py`` tries all of them, with hundreds of kills."""

import re
import sys

import pytest

from fault_checks import broken, contents, difference, left_over
from fault_commands import COMMANDS, named
from fault_damage import damages
from fault_kinds import Faults, Outcome
from fault_page import page, shown
from fault_runs import Server
from harness import add_adapter, kills, others, serving
from project import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs are forked, and watched through /proc")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.fixture
def faults(request, served, tmp_path):
    server, inputs = served
    command = named(request.param)
    if "adapter" in command.inputs:
        add_adapter(server, inputs)
    return Faults(server, command, tmp_path, inputs, seed=5)


def fine(outcome):
    assert not outcome.problems, f"{outcome.command}, {outcome.fault}: {outcome.problems}"
    return outcome


@pytest.mark.parametrize("faults", ["micon map", pytest.param("micon train", marks=pytest.mark.slow)], indirect=True)
def test_a_killed_command_loses_nothing_and_ends_with_the_same_result(faults):
    fine(faults.killed_in_a_file())
    fine(faults.killed_at_operation(faults.whole.operations * 2 // 3))


@pytest.mark.parametrize("faults", ["simulate:zarr"], indirect=True)
def test_what_the_disk_refuses_is_said_and_leaves_nothing_behind(faults):
    full, locked = fine(faults.full_disk(0.4)), fine(faults.read_only())
    assert full.status == locked.status == 2
    assert "no space is left" in full.said or "too large" in full.said
    assert "read-only" in locked.said
    fine(faults.killed_at_operation(faults.whole.operations // 2))


@pytest.mark.parametrize("faults", ["micon correct"], indirect=True)
def test_vanishing_two_at_once_and_damaged_inputs(faults):
    fine(faults.vanishing())
    fine(faults.two_at_once())
    fine(faults.killed_over_an_earlier_result(faults.whole.operations))
    for damage in damages(faults.command):
        fine(faults.damaged(damage))


@pytest.mark.slow
@pytest.mark.parametrize("faults", ["simulate", "micon embed", "micon map"], indirect=True)
def test_every_fault(faults):
    for attempt in (*kills(faults, 3), *others(faults)):
        fine(attempt())


@pytest.mark.slow
@pytest.mark.parametrize("faults", ["finetune", "translate", "export"], indirect=True)
def test_commands_that_compute_for_long_go_on_after_a_kill(faults):
    for attempt in kills(faults, 3):
        fine(attempt())


def test_the_docs_tell_of_every_command_and_that_nothing_was_lost():
    told = (ROOT / "docs" / "faults.md").read_text()
    for title in ("## Killed", "## Full disk", "## SIGTERM", "## Two at once"):
        table = told.partition(title)[2].partition("\n## ")[0]
        for command in COMMANDS:
            assert f"| `{shown(command.name)}` |" in table, title
    counted = re.search(r"(\d+) kills, \d+ of them while a file was half-written; 0 with anything lost", told)
    assert counted
    assert int(counted[1]) >= 200
    assert "What did not hold" not in told


def test_the_page_says_what_was_not_tried():
    tried = [Outcome("micon correct", damage.fault, 2, "", "nothing") for damage in damages(named("micon correct"))]
    told = page(tried)
    assert "they were not tried: `simulate`, " in told
    assert "of 2 tried" not in told
    assert "- Full disk, `micon correct`: 0 of 1 tried." in told
    assert "- Truncated input, `micon correct`: 1 of 2 tried." in page(tried[1:])


def test_what_is_looked_for_is_found(tmp_path):
    """The checks themselves: a half file, a broken promise, what is left over, and another result."""
    whole, other = tmp_path / "whole", tmp_path / "other"
    for folder in (whole, other):
        folder.mkdir()
        (folder / "a.json").write_text('{"time": 1, "b": 2}')
    assert broken(whole) == left_over(whole) == []
    assert difference(contents(whole), contents(other)) == []
    (other / "a.json").write_text('{"time": 5, "b": 2}')
    assert difference(contents(whole), contents(other)) == []
    (other / "a.json").write_text('{"time": 5, "b": 3}')
    (other / "c.csv").write_text("x\n1\n")
    assert difference(contents(other), contents(whole)) == ["a.json differs", "c.csv too much"]
    (other / "a.json").write_text('{"time": 5, "b":')
    (other / ".phenolens.json").write_text('{"kind": "screen", "files": ["c.csv", "d.csv"]}')
    (other / ".partial-1-abc-d").mkdir()
    assert len(broken(other)) == 2
    assert left_over(other) == [".partial-1-abc-d"]


def test_a_run_is_ended_where_it_is_asked_to(served, tmp_path):
    server, _ = served
    assert isinstance(server, Server)
    run = server.start(tmp_path, str(tmp_path), call="test_faults:write_three", watched=str(tmp_path), kill_at=2).wait()
    assert run.status == -9
    assert run.operations == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0"]


def write_three(folder):
    from pathlib import Path

    for number in range(3):
        Path(folder, str(number)).write_text("x")
