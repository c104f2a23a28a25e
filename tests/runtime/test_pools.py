"""Processes that share work end with it: at once where it is broken off."""

import os
import signal
import time
from concurrent.futures import wait
from pathlib import Path

import psutil
import pytest

from phenolens.runtime.errors import DeviceError
from phenolens.runtime.pools import process_pool
from phenolens.runtime.progress import Job, Progress

SOON = 10.0  # what is broken off would last for minutes


def test_the_work_is_shared_and_each_process_begun(tmp_path: Path) -> None:
    with process_pool(2, "os:chdir", str(tmp_path)) as pool:
        assert list(pool.map(pow, [2, 3, 4], [2, 2, 2])) == [4, 9, 16]
        assert pool.submit(os.getcwd).result() == str(tmp_path.resolve())
        process = pool.submit(os.getpid).result()
    assert process != os.getpid()
    assert not psutil.pid_exists(process)


def job(pids: list[int]) -> Job[None]:
    with process_pool(2) as pool:
        pids.append(pool.submit(os.getpid).result())
        working = [pool.submit(time.sleep, 300) for _ in range(20)]
        while True:
            wait(working, timeout=0.1)
            yield Progress(0, 1)


def test_closing_a_job_ends_its_processes_in_the_middle_of_what_they_do() -> None:
    pids: list[int] = []
    running = job(pids)
    next(running)
    begun = time.monotonic()
    running.close()
    assert time.monotonic() - begun < SOON
    assert not psutil.pid_exists(pids[0])


def test_an_error_ends_the_others() -> None:
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError), process_pool(2) as pool:
        pool.submit(time.sleep, 300)
        pool.submit(divmod, 1, 0).result()
    assert time.monotonic() - begun < 60, "it does not wait for those that go on"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_process_that_is_ended_from_outside_is_a_sentence() -> None:
    with pytest.raises(DeviceError, match="ended from outside"), process_pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        answer = pool.submit(time.sleep, 300)
        os.kill(pid, signal.SIGKILL)
        answer.result()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signal to one process")
def test_a_signal_to_the_whole_group_is_left_to_the_parent() -> None:
    with process_pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        assert pool.submit(pow, 2, 3).result() == 8
