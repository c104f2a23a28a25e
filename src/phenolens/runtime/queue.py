"""One worker thread a device, which steps the jobs of that device in turn, the most urgent first.

How it stays free of deadlocks: the worker takes no lock that anybody holds while waiting for it; it learns
everything from one inbox, and each job's mailbox tells its follower everything. Both are
`queue.SimpleQueue`, whose ``put`` may be called anywhere, also in a finalizer that the garbage collector
runs in the middle of something else. Nobody waits for the worker on the worker itself, nor once the
interpreter is going down.
"""

import atexit
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.threads import fitting_threads

T = TypeVar("T")

IDLE = -10
BACKGROUND = 0
INTERACTIVE = 10

_GLANCE = 0.2  # s between looks at whether waiting still makes sense
_PATIENCE_AT_EXIT = 10.0  # s for the jobs to close when the interpreter exits
_log = logging.getLogger(__name__)


class DeviceQueue:
    """The jobs of one device.

    Jobs of equal priority are stepped in turn; one of lower priority is not stepped while there is one of a
    higher. Jobs compute with as many threads as cores are free; background jobs leave one for the viewer. A job
    runs wholly on the queue's thread, its ``finally`` blocks too, and keeps its own torch gradient mode between its
    steps.

    Parameters
    ----------
    device
        Name of the device, such as ``"cuda:1"``; it names the thread.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._inbox: SimpleQueue[_Entry[Any] | None] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, job: Job[T], priority: int = BACKGROUND, name: str = "") -> Job[T]:
        """Give `job` to this device and return a stand-in that any one thread can follow.

        The job is handed over when the stand-in is first stepped, and then goes on by itself, however slowly
        it is followed. The stand-in yields its progress (of events that nobody took in time only the latest
        and those with a preview are kept), returns its result and raises its exception. On the device's own
        thread the job is stepped in place.

        Closing the stand-in, from any thread, closes the job on the device thread before its next step,
        waits for that (except on the device thread itself), and raises what the job raised unseen. Whoever
        follows the stand-in in another thread gets `concurrent.futures.CancelledError`. Dropping the
        stand-in closes the job without waiting.

        Parameters
        ----------
        job
            A generator that nobody else steps.
        priority
            `INTERACTIVE` where a person waits for the result, else `BACKGROUND`; `IDLE` for what may never hold up
            anything.
        name
            For messages.
        """
        return _StandIn(self, _Entry(job, priority, name or getattr(job, "__name__", "job")))

    def close(self, timeout: float | None = None) -> bool:
        """Close every job and end the thread; wait up to `timeout` s and tell whether it has ended."""
        with self._starting:
            self._closed = True
            thread = self._thread
        if thread is None:
            return True
        self._inbox.put(None)
        if thread is not threading.current_thread():
            thread.join(timeout)
        return not thread.is_alive()

    def _is_here(self) -> bool:
        return threading.current_thread() is self._thread

    def _submit(self, entry: "_Entry[Any]") -> None:
        with self._starting:
            if self._closed:
                raise RuntimeError(f"{entry.name} cannot start: the queue of device {self.device} is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"device {self.device}", daemon=True)
                self._thread.start()
            self._inbox.put(entry)

    def _cancel(self, entry: "_Entry[Any]") -> None:
        entry.cancelled = True
        self._inbox.put(entry)

    def _wait(self, entry: "_Entry[Any]") -> None:
        """Wait until the worker is done with `entry`, or is gone."""
        while not entry.over.acquire(timeout=_GLANCE):
            if sys.is_finalizing() or self._thread is None or not self._thread.is_alive():
                return
        entry.over.release()

    def _work(self) -> None:
        # no local name may hold on to the last job while the worker idles
        while self._work_off(self._inbox.get()):
            pass

    def _work_off(self, first: "_Entry[Any] | None") -> bool:
        """Step jobs until there are none; False when told to end."""
        if first is None:
            return False
        entries = [first]
        with _quick_switching:
            while entries:
                for cancelled in [entry for entry in entries if entry.cancelled]:
                    entries.remove(cancelled)
                    cancelled.close()
                # the one just stepped queues up behind those that came meanwhile
                again = []
                if entries:
                    next_one = max(entries, key=lambda entry: entry.priority)
                    entries.remove(next_one)
                    again = [next_one] if next_one.step() else []
                while not self._inbox.empty():
                    news = self._inbox.get()
                    if news is None:
                        for entry in entries + again:
                            entry.close()
                        return False
                    if news not in entries + again:
                        entries.append(news)
                entries += again
        return True


@dataclass
class _End:
    """The last letter in a mailbox. A job that failed or was closed has no result."""

    result: Any = None
    has_result: bool = True


class _Entry(Generic[T]):
    """A job and what its worker and its followers have to know of it.

    The worker alone touches `job` once it is claimed, and `done`; `over` is held until the job has ended.
    """

    def __init__(self, job: Job[T], priority: int, name: str) -> None:
        self.job: Job[T] | None = job
        self.priority = priority
        self.name = name
        self.claim = threading.Lock()  # taken once: by who hands the job over, or closes it unstarted
        self.over = threading.Lock()
        self.over.acquire()
        self.mailbox: SimpleQueue[Progress | _End] = SimpleQueue()
        self.error: BaseException | None = None
        self.cancelled = False
        self.dropped = False
        self._grad = True

    def step(self) -> bool:
        """Step the job; False when it has ended. An exception is the follower's, never the worker's."""
        if self.job is None:
            return False
        try:
            self._swap_grad_mode()
            # one core is the viewer's while the job is one that nobody waits for
            with fitting_threads(leave=1 if self.priority <= BACKGROUND else 0):
                progress = next(self.job)
        except StopIteration as stop:
            self._end(_End(stop.value))
            return False
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that follows
            self._end(_End(has_result=False), error)
            return False
        finally:
            self._swap_grad_mode()
        self.mailbox.put(progress)
        return True

    def close(self) -> None:
        """Close the job, unless it has ended."""
        if self.job is None:
            return
        error: BaseException | None = None
        try:
            self._swap_grad_mode()
            self.job.close()
        except BaseException as raised:  # noqa: BLE001 - raised again in the thread that closes
            error = raised
        finally:
            self._swap_grad_mode()
        self._end(_End(has_result=False), error)

    def _end(self, end: _End, error: BaseException | None = None) -> None:
        self.job = None  # its frame, and the tensors in it, go on this thread
        self.error = error
        if error is not None and self.dropped:
            _log.error("%s failed after it was dropped", self.name, exc_info=error)
        self.mailbox.put(end)
        self.over.release()

    def _swap_grad_mode(self) -> None:
        # a job that yields inside torch.no_grad() must not switch gradients off for its neighbours
        torch: Any = sys.modules.get("torch")
        if hasattr(torch, "set_grad_enabled") and hasattr(torch, "is_grad_enabled"):
            mine, self._grad = self._grad, torch.is_grad_enabled()
            torch.set_grad_enabled(mine)


class _StandIn(Generator[Progress, None, T]):
    """Follows an entry of a queue; see :meth:`DeviceQueue.run`."""

    def __init__(self, queue: DeviceQueue, entry: _Entry[T]) -> None:
        self._queue = queue
        self._entry = entry
        self._ready: deque[Progress | _End] = deque()
        self._in_place: Job[T] | None = None
        self._returned = False
        self._closer: int | None = None

    def send(self, value: None, /) -> Progress:
        if self._closer is not None and self._closer != threading.get_ident():
            raise CancelledError(f"{self._entry.name} was cancelled")
        if self._closer is not None or self._returned:
            raise StopIteration
        if self._queue._is_here():
            return self._step_in_place()
        try:
            if self._entry.claim.acquire(blocking=False):
                self._queue._submit(self._entry)
            event = self._take()
        except BaseException:
            self.close()
            raise
        if isinstance(event, Progress):
            return event
        self._returned = True
        self._raise_error()
        if not event.has_result:
            raise CancelledError(f"{self._entry.name} was cancelled")
        raise StopIteration(event.result)

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None, /) -> Progress:
        self.close()
        return super().throw(typ, val, tb)

    def close(self) -> None:
        if self._closer is None:
            self._closer = threading.get_ident()
        if self._in_place is not None:
            self._in_place.close()
        elif self._entry.claim.acquire(blocking=False):
            if self._entry.job is not None:
                self._entry.job.close()
        elif not self._returned:
            self._queue._cancel(self._entry)
            if not self._queue._is_here():
                self._queue._wait(self._entry)
                self._raise_error()

    def __del__(self) -> None:
        # may run in the middle of anything, so it only leaves word
        if self._in_place is None and not self._returned and self._entry.claim.locked():
            self._entry.dropped = True
            self._queue._cancel(self._entry)

    def _step_in_place(self) -> Progress:
        if self._entry.claim.acquire(blocking=False):
            self._in_place = self._entry.job
        if self._in_place is None:
            raise RuntimeError(f"{self._entry.name} cannot be awaited on the thread that has to run it")
        return next(self._in_place)

    def _take(self) -> Progress | _End:
        """Return the next event, waiting for it; of several that wait, leave out what is out of date."""
        while not self._ready:
            try:
                events = [self._entry.mailbox.get(timeout=1.0)]  # endless waits cannot be interrupted everywhere
            except Empty:
                continue
            while not self._entry.mailbox.empty():
                events.append(self._entry.mailbox.get())
            for event, later in zip(events, [*events[1:], None], strict=True):
                if not isinstance(later, Progress) or getattr(event, "preview", None) is not None:
                    self._ready.append(event)
        return self._ready.popleft()

    def _raise_error(self) -> None:
        error, self._entry.error = self._entry.error, None
        if error is None:
            return
        try:
            raise error
        finally:
            del error  # else its traceback would hold this frame, and this frame the traceback


class _QuickSwitching:
    """Lets threads take turns more often while any worker is busy, so that the viewer stays fluent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = 0
        self._usual = 0.005

    def __enter__(self) -> None:
        with self._lock:
            self._busy += 1
            if self._busy == 1:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(0.0005)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._busy -= 1
            if self._busy == 0:
                sys.setswitchinterval(self._usual)


_quick_switching = _QuickSwitching()
_queues: dict[str, DeviceQueue] = {}
_queues_lock = threading.Lock()


def device_queue(device: str) -> DeviceQueue:
    """Return this process's queue of a device.

    Parameters
    ----------
    device
        A name from `phenolens.runtime.devices.resolve_device`, so that a device has one name.
    """
    with _queues_lock:
        if device not in _queues:
            _queues[device] = DeviceQueue(device)
        return _queues[device]


@atexit.register
def _close_queues() -> None:
    # jobs get to write their checkpoints, and no thread is left inside torch when Python goes
    deadline = time.monotonic() + _PATIENCE_AT_EXIT
    for queue in _queues.values():
        queue.close(timeout=0)
    for queue in _queues.values():
        queue.close(timeout=max(0.0, deadline - time.monotonic()))
