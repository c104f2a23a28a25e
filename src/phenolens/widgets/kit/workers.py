"""Jobs in the viewer: stepped by their device's queue, followed by napari's worker.

napari's activity bar, its question before closing while work goes on, and cancelling come with the worker.
Nothing here touches the viewer from another thread: what a caller connects runs on the viewer's own.
"""

from collections.abc import Callable, Generator
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QObject, QThreadPool, QTimer, Signal

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.queue import BACKGROUND, device_queue

_BAR_MS = 100
# Followers wait rather than compute, so there may be more of them than cores: a click must not wait for a thread.
_FOLLOWERS = 16


class _NamedJob:
    """What napari starts and names in its question before closing."""

    def __init__(self, job: Job[Any], name: str) -> None:
        self._job, self._name = job, name

    def __call__(self) -> Job[Any]:
        return self._job

    def __str__(self) -> str:
        return self._name


class _Refusal(QObject):
    came = Signal(object)


class JobWorker(GeneratorWorker):
    """Follows one job; beside napari's signals, ``refused`` hands over a user's mistake.

    napari's own worker takes a RuntimeError for its own deletion and drops it, and leaves a cancelled generator to the
    garbage collector. Here every error arrives, and the generator is closed before ``aborted`` and ``finished``.
    """

    def __init__(self, start: Callable[[], Generator[Progress, None, Any]]) -> None:
        # the base class wants a generator function to call; the job is one already running
        super().__init__(_nothing)
        self._refusal = _Refusal()
        self.refused = self._refusal.came
        self._gen = start()

    def _relay_error(self, exc: Exception) -> None:
        # whether napari connects this depends on the Qt binding; `Running.start` connects `_show_bug` instead
        pass

    def work(self) -> Any:
        """Step the job until it ends or is cancelled."""
        try:
            while not self.abort_requested:
                try:
                    progress = next(self._gen)
                except StopIteration as stop:
                    return stop.value
                self.yielded.emit(progress)
        except PhenolensError as error:
            self._abort_requested = True
            self.refused.emit(error)
            return None
        finally:
            self._gen.close()
        self.aborted.emit()
        return None


def _nothing() -> Generator[None, None, None]:
    yield


class _Bar(QObject):
    """Moves a worker's bar a few times a second.

    napari lets the window work off its events inside each move of a bar. Moved for every progress, it would work off
    the next progress within the last: callbacks in reverse order, one inside the other until Python gives up.
    """

    def __init__(self, parent: QObject, worker: JobWorker) -> None:
        super().__init__(parent)
        self._worker = worker
        self._latest = Progress(0, 0, "")
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_BAR_MS)
        self._soon.timeout.connect(self._move)
        worker.yielded.connect(self._follow)
        worker.finished.connect(self._end)

    def _follow(self, now: Progress) -> None:
        self._latest = now
        if not self._soon.isActive():
            self._soon.start()

    def _move(self) -> None:
        bar, now = self._worker.pbar, self._latest
        if bar.total != now.total:
            bar.total = now.total
        bar.update(now.step - bar.n)

    def _end(self) -> None:
        self._soon.stop()
        self.deleteLater()


class Running(QObject):
    """The jobs of one dock: starts them, and stops them all when the dock goes.

    ``began`` is emitted before each job, ``ended`` when the last has ended.
    """

    began = Signal()
    ended = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        if (pool := QThreadPool.globalInstance()) is not None:
            pool.setMaxThreadCount(max(_FOLLOWERS, pool.maxThreadCount()))
        self._workers: set[JobWorker] = set()
        self._over = False

    @property
    def busy(self) -> bool:
        """Whether any job is going on."""
        return bool(self._workers)

    def start(
        self,
        job: Job[Any],
        name: str,
        *,
        device: str | None = "cpu",
        priority: int = BACKGROUND,
        bar: bool = True,
        tell: bool = True,
        progress: Callable[[Progress], None] | None = None,
        done: Callable[[Any], None] | None = None,
        cancelled: Callable[[], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
        finished: Callable[[], None] | None = None,
    ) -> JobWorker:
        """Start a job on a device's queue and return its worker, whose ``quit()`` cancels it.

        Parameters
        ----------
        job
            A generator of `Progress`.
        name
            What is going on, for the activity bar.
        device
            The device that steps it; ``None`` steps it on the worker's own thread (downloads).
        bar
            Whether it is shown in the activity bar.
        tell
            Whether errors are shown as notifications, a user's mistake as one sentence.
        progress, done, cancelled, failed, finished
            Called on the viewer's thread: for each progress, with the result, when it was cancelled, with an error, and
            always at the end.
        """
        self.began.emit()
        if device is not None:
            job = device_queue(device).run(job, priority=priority, name=name)
        worker = create_worker(
            _NamedJob(job, name),
            _worker_class=JobWorker,
            _progress={"desc": name} if bar else False,
            _start_thread=False,
            _ignore_errors=True,
        )
        if bar:
            _Bar(self, worker)
        if tell:
            worker.refused.connect(lambda error: show_error(str(error)))
            worker.errored.connect(_show_bug)
        worker.finished.connect(lambda: self._end(worker))
        for signal, callback in (
            (worker.yielded, progress),
            (worker.returned, done),
            (worker.aborted, cancelled),
            (worker.refused, failed),
            (worker.errored, failed),
            (worker.finished, finished),
        ):
            if callback is not None:
                signal.connect(self._while_open(callback))
        self._workers.add(worker)
        worker.start()
        return worker

    def _end(self, worker: JobWorker) -> None:
        self._workers.discard(worker)
        if not self._workers and not self._over:
            self.ended.emit()

    def stop(self) -> None:
        """Ask every job to end at its next step, and call back no more."""
        self._over = True
        for worker in tuple(self._workers):
            worker.quit()

    def _while_open(self, callback: Callable[..., None]) -> Callable[..., None]:
        """What still arrives when the dock is gone must not touch its widgets."""

        def call(*values: Any) -> None:
            if not self._over:
                callback(*values)

        return call


def _show_bug(error: Exception) -> None:
    """Show an error that is no user's mistake as napari does: with its traceback."""
    notification_manager.receive_error(type(error), error, error.__traceback__)
