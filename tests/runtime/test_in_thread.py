"""A call that blocks is followed, closed and heard of when it fails, as any job is."""

import threading

import pytest

from phenolens.runtime.in_thread import in_thread
from phenolens.runtime.progress import Progress, finish


def test_its_result_and_how_far_it_was() -> None:
    events: list[Progress] = []
    go = threading.Event()

    def work(cancelled: threading.Event) -> int:
        assert go.wait(10)
        return 7

    def follow(progress: Progress) -> None:
        events.append(progress)
        go.set()

    assert finish(in_thread(work, lambda: Progress(int(go.is_set()), 1)), follow) == 7
    assert (events[0].step, events[-1].step) == (0, 1)


def test_closing_asks_the_call_to_end_and_waits_for_it() -> None:
    ended = threading.Event()

    def work(cancelled: threading.Event) -> None:
        assert cancelled.wait(10)
        ended.set()

    job = in_thread(work, lambda: Progress(0, 0))
    next(job)
    job.close()
    assert ended.is_set()


def test_an_error_of_the_call_is_raised_by_the_job() -> None:
    def work(cancelled: threading.Event) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        finish(in_thread(work, lambda: Progress(0, 0)))
