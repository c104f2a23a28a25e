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
    """

    def __init__(
        self,
        running: Running,
        start: QPushButton,
        cancel: QPushButton,
        asked: Callable[[], tuple[Any, ...]],
        refresh: Callable[[], None],
    ) -> None:
        super().__init__()
        self._running, self._asked, self._refresh = running, asked, refresh
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
        """Whether starting would go on with the run that was cancelled."""
        return not self.busy and self._unfinished is not None and self._unfinished == self._asked()

    def forget(self) -> None:
        """Go on with no earlier run."""
        self._unfinished = None

    def run(
        self,
        job: Job[Any],
        name: str,
        device: str,
        *,
        progress: Callable[[Progress], None],
        done: Callable[[Any], None],
        kept: Callable[[], bool] | None = None,
    ) -> None:
        """Start `job` on `device`.

        Parameters
        ----------
        job
            A generator of `Progress`.
        name
            What is going on, for the activity bar.
        progress, done
            Called for each progress, and with the result.
        kept
            Whether there is anything yet that a run could be gone on from; once a step is done where None.
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
            self._unfinished = asked if (moved if kept is None else kept()) else None

        def cancelled() -> None:
            keep()
            self.state.say("Cancelled (resumable)." if self._unfinished else "Cancelled.", "warning")

        def failed(error: BaseException) -> None:
            keep()
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
            failed=failed,
            finished=finished,
        )
        self._refresh()

    def show_progress(self, now: Progress, text: str) -> None:
        """Move the bar, and say `text`."""
        self.bar.setRange(0, now.total)
        self.bar.setValue(now.step)
        self.state.say(text)

    def stop(self) -> None:
        """Cancel: the step that is being computed is finished, and what is finished is kept."""
        if self._worker is not None:
            self.state.say("Stopping after this step…")
            self.cancel.setEnabled(False)
            self._worker.quit()
