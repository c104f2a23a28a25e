"""One long job that can be cancelled and gone on with: its two buttons, its bar, and what is said of it."""

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.queue import BACKGROUND
from phenolens.widgets.kit.style import ACCENT, SPACE, Note
from phenolens.widgets.kit.workers import JobWorker, Running


class JobBox(QWidget):
    """Runs one job at a time behind the clicks, and knows whether the last one can be gone on with.

    Parameters
    ----------
    running
        Where the jobs run.
    start, cancel
        Its buttons; what they do when pressed is the panel's.
    asked
        All that an unfinished run depends on: going on with it is offered while none of it has changed.
    refresh
        Called whenever a run begins or ends.
    left
        Whether an unfinished run, by what lies on the disk, would be gone on with; by what this box remembers of its
        last run where None.
    """

    def __init__(
        self,
        running: Running,
        start: QPushButton,
        cancel: QPushButton,
        asked: Callable[[], tuple[Any, ...]],
        refresh: Callable[[], None],
        left: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__()
        self._running, self._asked, self._refresh = running, asked, refresh
        self._left = left
        self._worker: JobWorker | None = None
        self._unfinished: tuple[Any, ...] | None = None
        self.start, self.cancel = start, cancel
        self.why, self.state = Note(), Note()
        self.bar = QProgressBar()
        self.bar.setStyleSheet(f"QProgressBar::chunk {{ background: {ACCENT}; }}")
        self.bar.hide()
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE)
        buttons.addWidget(start, 1)
        buttons.addWidget(cancel)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        whole.addLayout(buttons)
        for widget in (self.why, self.bar, self.state):
            whole.addWidget(widget)

    @property
    def busy(self) -> bool:
        """Whether the job is going on."""
        return self._worker is not None

    @property
    def resumable(self) -> bool:
        """Whether starting would go on with an unfinished run."""
        if self.busy:
            return False
        if self._left is not None:
            return self._left()
        return self._unfinished is not None and self._unfinished == self._asked()

    def run(
        self,
        job: Job[Any],
        name: str,
        device: str,
        *,
        progress: Callable[[Progress], None],
        done: Callable[[Any], None],
        failed: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """Start `job` on `device`.

        Parameters
        ----------
        job
            A generator of `Progress`.
        name
            What is going on, for the activity bar.
        progress, done, failed
            Called for each progress, with the result, and with the error that ended it.
        """
        asked, moved = self._asked(), False
        self._unfinished = None
        self.bar.setRange(0, 0)
        self.bar.show()
        self.state.say("Starting…")

        def follow(now: Progress) -> None:
            nonlocal moved
            moved = moved or now.step > 0
            progress(now)

        def keep() -> None:
            self._unfinished = asked if moved else None

        def cancelled() -> None:
            keep()
            resumable = self._unfinished is not None if self._left is None else self._left()
            self.state.say("Cancelled (resumable)." if resumable else "Cancelled.", "warning")

        def told(error: BaseException) -> None:
            keep()
            failed(error)
            known = isinstance(error, PhenolensError)
            self.state.say(str(error) if known else f"{name} failed; the notification has the details.", "error")

        def finished() -> None:
            self._worker = None
            self.bar.hide()
            self._refresh()

        self._worker = self._running.start(
            job,
            name,
            device=device,
            priority=BACKGROUND,
            progress=follow,
            done=done,
            cancelled=cancelled,
            failed=told,
            finished=finished,
        )
        self._refresh()

    def show_progress(self, now: Progress, text: str) -> None:
        """Move the bar, and say `text`."""
        self.bar.setRange(0, now.total)
        self.bar.setValue(now.step)
        self.state.say(text)

    def show_stage(self, now: Progress) -> None:
        """Say what is being done beside the steps that the bar counts, which goes back and forth meanwhile."""
        self.bar.setRange(0, 0)
        self.state.say(f"{now.message} {now.step}/{now.total}" if now.total else f"{now.message}…")

    def stop(self) -> None:
        """Cancel: the step that is being computed is finished, and what is finished is kept."""
        if self._worker is not None:
            self.state.say("Stopping after this step…")
            self.cancel.setEnabled(False)
            self._worker.quit()
