"""One thread a device: order, cancelling, errors, and no way to hang."""

import contextlib
import gc
import itertools
import random
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError

import pytest

from phenolens.runtime.progress import Job, Progress, finish
from phenolens.runtime.queue import BACKGROUND, INTERACTIVE, DeviceQueue, device_queue

# an exception on a thread, or in a finalizer, is a failure too
pytestmark = [
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def queue() -> Iterator[DeviceQueue]:
    queue = DeviceQueue("test")
    yield queue
    assert queue.close(timeout=5)


def counting(
    steps: int, seen: list[str] | None = None, name: str = "job", gate: threading.Event | None = None
) -> Job[str]:
    """Take `steps` steps, each allowed by `gate`, and keep a diary in `seen`."""
    seen = seen if seen is not None else []
    try:
        for step in range(steps):
            if gate is not None:
                assert gate.wait(5)
            seen.append(f"{name} {step}")
            yield Progress(step + 1, steps)
    finally:
        seen.append(f"{name} closed on {threading.current_thread().name}")
    return name


def endless(closed_on: list[str]) -> Job[None]:
    try:
        while True:
            time.sleep(0.001)
            yield Progress(1, 0)
    finally:
        closed_on.append(threading.current_thread().name)


def follow(job: Job[str], outcome: list[object]) -> threading.Thread:
    def body() -> None:
        try:
            outcome.append(finish(job))
        except BaseException as error:  # noqa: BLE001 - handed to the test
            outcome.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


def until(condition: Callable[[], object], timeout: float = 5.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def test_result_and_progress_come_through(queue: DeviceQueue) -> None:
    seen: list[str] = []
    steps: list[int] = []
    assert finish(queue.run(counting(3, seen)), lambda progress: steps.append(progress.step)) == "job"
    assert steps[-1] == 3
    assert steps == sorted(steps)
    assert seen == ["job 0", "job 1", "job 2", "job closed on device test"]


def test_nothing_runs_before_the_first_step(queue: DeviceQueue) -> None:
    seen: list[str] = []
    stand_in = queue.run(counting(3, seen))
    time.sleep(0.02)
    stand_in.close()
    assert seen == []
    with pytest.raises(StopIteration):
        next(stand_in)


def test_interactive_overtakes_training(queue: DeviceQueue) -> None:
    seen: list[str] = []
    training = queue.run(counting(2000, seen, "train"), BACKGROUND)
    next(training)
    assert finish(queue.run(counting(50, seen, "click"), INTERACTIVE)) == "click"
    training.close()
    start, end = seen.index("click 0"), seen.index("click closed on device test")
    assert start > 0
    assert not [entry for entry in seen[start:end] if entry.startswith("train")]
    assert seen[-1] == "train closed on device test"


def test_a_more_urgent_job_does_not_disturb_the_result(queue: DeviceQueue) -> None:
    outcome: list[object] = []
    thread = follow(queue.run(counting(200, name="train")), outcome)
    for _ in range(20):
        assert finish(queue.run(counting(5, name="click"), INTERACTIVE)) == "click"
    thread.join(5)
    assert outcome == ["train"]


def test_equals_are_stepped_in_turn(queue: DeviceQueue) -> None:
    seen: list[str] = []
    gate = threading.Event()
    outcomes: list[object] = []
    threads = []
    for name in "abc":
        threads.append(follow(queue.run(counting(4, seen, name, gate)), outcomes))
    time.sleep(0.05)
    gate.set()
    for thread in threads:
        thread.join(5)
    assert sorted(map(str, outcomes)) == ["a", "b", "c"]
    # from the second round on all three are known, and none is stepped twice before the others
    rounds = [entry.split()[1] for entry in seen if "closed" not in entry]
    assert max(abs(int(a) - int(b)) for a, b in itertools.pairwise(rounds)) <= 1


def test_cancel_closes_on_the_device_thread_and_waits(queue: DeviceQueue) -> None:
    closed_on: list[str] = []
    stand_in = queue.run(endless(closed_on))
    next(stand_in)
    stand_in.close()
    assert closed_on == ["device test"]
    stand_in.close()
    with pytest.raises(StopIteration):
        next(stand_in)


def test_cancel_waits_for_the_current_step_only(queue: DeviceQueue) -> None:
    seen: list[str] = []
    gate = threading.Event()
    gate.set()
    stand_in = queue.run(counting(10**9, seen, gate=gate))
    next(stand_in)
    gate.clear()
    time.sleep(0.05)
    before = len(seen)
    threading.Timer(0.05, gate.set).start()
    stand_in.close()
    assert seen[before:] == [f"job {before}", "job closed on device test"]


def test_a_waiting_job_can_be_cancelled_while_a_more_urgent_one_runs(queue: DeviceQueue) -> None:
    closed_on: list[str] = []
    urgent_closed_on: list[str] = []
    waiting = queue.run(endless(closed_on), BACKGROUND)
    next(waiting)
    urgent = queue.run(endless(urgent_closed_on), INTERACTIVE)
    next(urgent)
    waiting.close()
    assert closed_on == ["device test"]
    assert urgent_closed_on == []
    urgent.close()


def test_exception_keeps_its_traceback_and_the_queue_goes_on(queue: DeviceQueue) -> None:
    def failing() -> Job[None]:
        yield Progress(1, 2)
        raise ValueError("the loss is not a number")

    with pytest.raises(ValueError, match="not a number") as caught:
        finish(queue.run(failing()))
    assert "failing" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert finish(queue.run(counting(1))) == "job"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), CancelledError()])
def test_no_exception_ends_the_worker(queue: DeviceQueue, error: BaseException) -> None:
    def failing() -> Job[None]:
        raise error
        yield

    with pytest.raises(type(error)):
        next(queue.run(failing()))
    assert finish(queue.run(counting(1))) == "job"


def test_an_exception_while_closing_reaches_the_one_who_closes(queue: DeviceQueue) -> None:
    def stubborn() -> Job[None]:
        try:
            while True:
                yield Progress(1, 0)
        finally:
            raise OSError("disk full")

    stand_in = queue.run(stubborn())
    next(stand_in)
    with pytest.raises(OSError, match="disk full"):
        stand_in.close()
    assert finish(queue.run(counting(1))) == "job"


def test_a_failure_nobody_has_seen_is_raised_when_closing(queue: DeviceQueue) -> None:
    def failing() -> Job[None]:
        yield Progress(1, 2)
        raise ValueError("bad")

    stand_in = queue.run(failing())
    next(stand_in)
    finish(queue.run(counting(1)))
    with pytest.raises(ValueError, match="bad"):
        stand_in.close()


def test_a_follower_learns_that_another_thread_closed_the_job(queue: DeviceQueue) -> None:
    closed_on: list[str] = []
    outcome: list[object] = []
    stand_in = queue.run(endless(closed_on))
    thread = follow(stand_in, outcome)  # type: ignore[arg-type]
    time.sleep(0.05)
    stand_in.close()
    thread.join(5)
    assert closed_on == ["device test"]
    assert isinstance(outcome[0], CancelledError)


def test_closing_and_first_stepping_at_once_never_hangs(queue: DeviceQueue) -> None:
    for _ in range(200):
        outcome: list[object] = []
        stand_in = queue.run(counting(3))
        thread = follow(stand_in, outcome)
        stand_in.close()
        thread.join(5)
        assert not thread.is_alive()
        assert outcome[0] == "job" or isinstance(outcome[0], CancelledError)


def test_a_dropped_stand_in_closes_its_job(queue: DeviceQueue) -> None:
    closed_on: list[str] = []
    stand_in = queue.run(endless(closed_on))
    next(stand_in)
    del stand_in
    until(lambda: closed_on)
    assert closed_on == ["device test"]


def test_a_dropped_generator_around_a_stand_in_closes_its_job(queue: DeviceQueue) -> None:
    closed_on: list[str] = []

    def outer() -> Job[None]:
        return (yield from queue.run(endless(closed_on)))

    job = outer()
    next(job)
    holder: list[object] = [job]
    holder.append(holder)  # only the garbage collector finds this one
    del job, holder
    gc.collect()
    assert closed_on == ["device test"]


def test_the_collector_may_run_on_the_device_thread(queue: DeviceQueue) -> None:
    closed_on: list[str] = []

    def outer() -> Job[None]:
        return (yield from queue.run(endless(closed_on)))

    def collecting() -> Job[str]:
        yield Progress(1, 1)
        gc.collect()
        return "collected"

    gc.disable()
    try:
        job = outer()
        next(job)
        holder: list[object] = [job]
        holder.append(holder)
        del job, holder
        assert finish(queue.run(collecting(), INTERACTIVE)) == "collected"
    finally:
        gc.enable()
    until(lambda: closed_on)


def test_a_job_may_use_its_own_queue(queue: DeviceQueue) -> None:
    def outer() -> Job[str]:
        inner = yield from queue.run(counting(3, name="inner"))
        return f"outer of {inner}"

    assert finish(queue.run(outer())) == "outer of inner"


def test_a_slow_follower_does_not_stall_the_job_and_misses_no_preview(queue: DeviceQueue) -> None:
    done = threading.Event()

    def job() -> Job[str]:
        for step in range(1, 1001):
            yield Progress(step, 1000, preview=step if step % 100 == 0 else None)
        done.set()
        return "all"

    stand_in = queue.run(job())
    got = [next(stand_in)]
    assert done.wait(5)
    for progress in stand_in:
        got.append(progress)
        time.sleep(0.002)
    steps = [progress.step for progress in got]
    assert [progress.preview for progress in got if progress.preview] == list(range(100, 1001, 100))
    assert steps == sorted(steps)
    assert len(steps) < 20


def test_the_last_progress_is_not_skipped(queue: DeviceQueue) -> None:
    stand_in = queue.run(counting(500))
    first = next(stand_in)
    finish(queue.run(counting(1), priority=-1))
    steps = [first.step, *(progress.step for progress in stand_in)]
    assert steps[-1] == 500
    assert len(steps) <= 2, "of those that waited only the latest is kept"


def test_many_jobs_from_many_threads(queue: DeviceQueue) -> None:
    outcome: list[object] = []
    threads = [follow(queue.run(counting(20, name=f"{n}"), priority=n % 3), outcome) for n in range(60)]
    for thread in threads:
        thread.join(20)
    assert sorted(map(str, outcome)) == sorted(str(n) for n in range(60))


def test_threads_switch_quickly_only_while_a_job_runs(queue: DeviceQueue) -> None:
    usual = sys.getswitchinterval()
    stand_in = queue.run(endless([]))
    next(stand_in)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    stand_in.close()
    until(lambda: sys.getswitchinterval() == pytest.approx(usual))


def test_a_job_keeps_its_gradient_mode_to_itself(queue: DeviceQueue) -> None:
    torch = pytest.importorskip("torch")
    modes: dict[str, set[bool]] = {"without": set(), "with": set()}

    def without() -> Job[str]:
        with torch.no_grad():
            for step in range(50):
                modes["without"].add(torch.is_grad_enabled())
                yield Progress(step, 50)
        return "without"

    def with_gradients() -> Job[str]:
        for step in range(50):
            modes["with"].add(torch.is_grad_enabled())
            yield Progress(step, 50)
        return "with"

    outcome: list[object] = []
    threads = [follow(queue.run(without()), outcome), follow(queue.run(with_gradients()), outcome)]
    for thread in threads:
        thread.join(10)
    assert sorted(map(str, outcome)) == ["with", "without"]
    assert modes == {"without": {False}, "with": {True}}


def test_closing_the_queue_closes_its_jobs(queue: DeviceQueue) -> None:
    closed_on: list[str] = []
    outcome: list[object] = []
    thread = follow(queue.run(endless(closed_on)), outcome)  # type: ignore[arg-type]
    until(lambda: sys.getswitchinterval() < 0.001)
    assert queue.close(timeout=5)
    thread.join(5)
    assert closed_on == ["device test"]
    assert isinstance(outcome[0], CancelledError)
    with pytest.raises(RuntimeError, match="closed"):
        next(queue.run(counting(1)))


def test_one_queue_a_device() -> None:
    assert device_queue("some device") is device_queue("some device")
    assert device_queue("some device") is not device_queue("another device")


@pytest.mark.parametrize("ending", ["", "raise SystemExit(0)", "del job", "cycle = [job]; cycle.append(cycle)"])
def test_the_interpreter_exits_while_a_job_runs(ending: str) -> None:
    script = """
    from phenolens.runtime.progress import Progress
    from phenolens.runtime.queue import device_queue
    import time

    def endless():
        try:
            while True:
                time.sleep(0.01)
                yield Progress(1, 0)
        finally:
            print("checkpoint", flush=True)

    def outer():
        yield from device_queue("cpu").run(endless())

    job = outer()
    next(job)
    """
    command = [sys.executable, "-c", textwrap.dedent(script) + ending]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "checkpoint", "")


@pytest.mark.slow
def test_a_storm_of_jobs_closed_dropped_and_failing_leaves_nothing_behind() -> None:
    queue = DeviceQueue("storm")
    started: list[int] = []
    ended: list[int] = []
    started_lock = threading.Lock()

    def job(number: int, steps: int) -> Job[int]:
        with started_lock:
            started.append(number)
        try:
            for step in range(steps):
                if number % 7 == 0 and step == steps // 2:
                    raise ValueError(number)
                yield Progress(step, steps, preview=step if step % 5 == 0 else None)
        finally:
            ended.append(number)
        return number

    def close(stand_in: Job[int]) -> None:
        with contextlib.suppress(ValueError):  # the job's own, where nobody has seen it yet
            stand_in.close()

    def storm(seed: int) -> None:
        chance = random.Random(seed)
        until_time = time.monotonic() + 20
        while time.monotonic() < until_time:
            number = chance.randrange(10**6)
            stand_in = queue.run(job(number, chance.randrange(1, 40)), chance.choice([BACKGROUND, INTERACTIVE]))
            closer = threading.Timer(chance.random() * 0.005, close, [stand_in]) if chance.random() < 0.3 else None
            if closer is not None:
                closer.start()
            with contextlib.suppress(StopIteration, CancelledError, ValueError):
                for _ in range(chance.randrange(60)):
                    next(stand_in)
                if chance.random() < 0.5:
                    stand_in.close()
            if closer is not None:
                closer.join()
            if chance.random() < 0.05:
                cycle: list[object] = [stand_in]
                cycle.append(cycle)
            del stand_in, closer

    failures: list[BaseException] = []

    def guarded(seed: int) -> None:
        try:
            storm(seed)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(seed,), daemon=True) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failures == []
    gc.collect()
    until(lambda: sorted(started) == sorted(ended))
    assert len(started) > 1000
    assert queue.close(timeout=5)


def test_background_jobs_leave_a_core_to_the_viewer(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("phenolens.runtime.threads.thread_count", lambda: 64)  # nobody else computes here
    used = {}

    def counting(name):
        used[name] = torch.get_num_threads()
        yield Progress(0, 0)

    # a thread has the number that new threads start with, not that of this one
    thread = threading.Thread(target=lambda: used.update(here=torch.get_num_threads()))
    thread.start()
    thread.join()
    here = used.pop("here")
    queue = DeviceQueue("cores")
    for name, priority in (("background", BACKGROUND), ("click", INTERACTIVE), ("background again", BACKGROUND)):
        finish(queue.run(counting(name), priority))
    queue.close()
    assert used == {"background": max(1, here - 1), "click": here, "background again": max(1, here - 1)}
    assert torch.get_num_threads() == here, "this thread keeps its own"
