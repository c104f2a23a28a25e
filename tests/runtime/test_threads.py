"""The number of threads follows what other processes leave, and never exceeds what was asked for."""

import subprocess
import sys
import time

import pytest
import torch

from phenolens.runtime import threads
from phenolens.runtime.threads import EVERY, Sample, ThreadCount, fitting_threads, take_sample, usable_cores


class Machine:
    """Clocks of a machine of `cores`, on which `others` cores are used by others and the rest as `use` says."""

    def __init__(self, cores: int = 4) -> None:
        self.cores, self.at, self.own, self.idle, self.running = cores, 100.0, 0.0, 0.0, 1

    def sample(self) -> Sample:
        return Sample(self.at, self.own, self.idle, self.running)

    def goes_on(self, own: float, idle: float, seconds: float = EVERY) -> None:
        """Let time pass, in which this process uses `own` cores and `idle` are used by nobody."""
        self.at += seconds
        self.own += own * seconds
        self.idle += idle * seconds

    def count(self) -> ThreadCount:
        return ThreadCount(self.sample, lambda: float(self.cores), lambda: self.at)


def test_alone_all_cores_are_used():
    machine = Machine()
    count = machine.count()
    assert count.now() == 4
    machine.goes_on(own=4, idle=0)
    assert count.now() == 4
    machine.goes_on(own=1, idle=3)
    assert count.now() == 4


def test_threads_are_given_up_at_once_and_taken_again_after_two_looks():
    machine = Machine()
    count = machine.count()
    assert count.now() == 4
    machine.goes_on(own=2, idle=0)  # others hold two cores
    assert count.now() == 2
    machine.goes_on(own=2, idle=0)
    assert count.now() == 2
    machine.goes_on(own=2, idle=2)
    assert count.now() == 2, "it may be a pause"
    machine.goes_on(own=2, idle=0)
    assert count.now() == 2
    for expected in (2, 4):
        machine.goes_on(own=2, idle=2)
        assert count.now() == expected


@pytest.mark.parametrize(("own", "expected"), [(1.8, 2), (1.7, 2), (1.4, 1), (0.2, 1)])
def test_short_visits_of_others_cost_no_thread(own, expected):
    machine = Machine(cores=2)
    count = machine.count()
    assert count.now() == 2
    machine.goes_on(own=own, idle=0)
    assert count.now() == expected


def test_two_jobs_of_ours_share_the_cores():
    jobs = [Machine(cores=2), Machine(cores=2)]
    counts = [machine.count() for machine in jobs]
    assert [count.now() for count in counts] == [2, 2]
    for _ in range(4):
        for machine in jobs:
            machine.goes_on(own=1, idle=0)
        assert [count.now() for count in counts] == [1, 1]


def test_it_looks_no_more_often_than_every_few_seconds():
    machine = Machine()
    count = machine.count()
    assert count.now() == 4
    machine.goes_on(own=1, idle=0, seconds=EVERY / 2)
    assert count.now() == 4


def test_the_first_look_and_one_after_a_long_pause_go_by_what_runs_now():
    machine = Machine()
    machine.running = 4  # three others
    count = machine.count()
    assert count.now() == 1
    machine.running = 1
    machine.goes_on(own=0, idle=0.5, seconds=3600)  # what was in that hour says nothing of now
    assert count.now() == 4


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/jobs/mine\n", {"jobs/mine/cpu.max": "max 100000\n", "jobs/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 0.5),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, float("inf")),
        ("0::/\n", {}, float("inf")),
    ],
)
def test_the_quota_of_a_control_group_is_a_limit(groups, files, expected, tmp_path, monkeypatch):
    (tmp_path / "self").write_text(groups)
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    monkeypatch.setattr(threads, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(threads, "_OWN_GROUPS", tmp_path / "self")
    assert threads._quota() == expected
    assert usable_cores() <= expected


@pytest.fixture
def three_threads():
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(usual)


def test_what_the_user_set_is_an_upper_bound_and_is_put_back(three_threads, monkeypatch):
    free = iter([64, 2, 64])
    monkeypatch.setattr(threads, "thread_count", lambda: next(free))
    with fitting_threads() as look:
        seen = [torch.get_num_threads()]
        for _ in range(2):
            look()
            seen.append(torch.get_num_threads())
    assert seen == [3, 2, 3]
    assert torch.get_num_threads() == 3
    monkeypatch.setattr(threads, "thread_count", lambda: 64)
    with fitting_threads(leave=1):
        assert torch.get_num_threads() == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's clocks")
def test_busy_processes_are_seen():
    many = max(2, int(usable_cores()) * 2)
    spin = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(spin) for _ in range(many)]
    try:
        time.sleep(0.5)
        before, until = take_sample(), time.monotonic() + 2
        while time.monotonic() < until:
            sum(range(1000))
        after = take_sample()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    free = (after.own - before.own + after.idle - before.idle) / (after.at - before.at)
    assert free < 0.8 * usable_cores()
    assert after.running > many / 2
