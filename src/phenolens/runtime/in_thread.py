"""A call that blocks, such as a library's download, as a job that can be followed and closed."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from phenolens.runtime.progress import Job, Progress

T = TypeVar("T")

_LOOK = 0.1  # seconds between two looks at how far it is
_LEAVE = 5.0  # seconds that closing waits for the call to notice


def in_thread(work: Callable[[threading.Event], T], so_far: Callable[[], Progress]) -> Job[T]:
    """Run `work` on a thread of its own.

    Parameters
    ----------
    work
        Called with an event that is set when the job is closed: it is to end soon then.
    so_far
        How far `work` is; called on the job's thread.

    Returns
    -------
    What `work` returns; an error that it raises is raised here.
    """
    cancelled, outcome = threading.Event(), Future[T]()
    ended = threading.Event()

    def run() -> None:
        try:
            outcome.set_result(work(cancelled))
        except BaseException as error:  # noqa: BLE001 - raised on the job's thread
            outcome.set_exception(error)
        ended.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while not ended.wait(_LOOK):
            yield so_far()
        yield so_far()
    finally:
        cancelled.set()
        thread.join(_LEAVE)
    return outcome.result()
