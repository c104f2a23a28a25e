"""Closing a job closes what it consists of, at once and aloud."""

import pytest

from phenolens.runtime.progress import Job, Progress, finish, relabelled


def writing_its_checkpoint(log: list[str]) -> Job[str]:
    try:
        yield Progress(1, 2, "one")
        yield Progress(2, 2, "two")
    finally:
        log.append("closed")
        if "full" in log:
            raise OSError("no space left")
    return "done"


def longer(job: Job[str]) -> Job[str]:
    return (yield from relabelled(job, lambda now: Progress(now.step + 10, 12)))


def test_a_relabelled_job_is_closed_with_the_longer_one() -> None:
    log: list[str] = []
    inner = writing_its_checkpoint(log)
    outer = longer(inner)
    assert next(outer).step == 11
    outer.close()
    assert log == ["closed"], "although somebody else holds the inner job"


def test_what_goes_wrong_in_closing_is_raised() -> None:
    outer = longer(writing_its_checkpoint(["full"]))
    next(outer)
    with pytest.raises(OSError, match="no space"):
        outer.close()


def test_a_job_is_closed_where_its_follower_fails() -> None:
    log: list[str] = []
    job = writing_its_checkpoint(log)

    def follower(_: Progress) -> None:
        raise ValueError("the bar broke")

    with pytest.raises(ValueError, match="the bar broke"):
        finish(job, follower)
    assert log == ["closed"]


def test_a_finished_job_gives_its_result() -> None:
    seen: list[int] = []
    assert finish(longer(writing_its_checkpoint([])), lambda now: seen.append(now.step)) == "done"
    assert seen == [11, 12]
