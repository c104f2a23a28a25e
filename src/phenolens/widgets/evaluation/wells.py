"""Which wells an evaluation would judge, and what so few of them cannot say: known before anything is translated."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.evaluation import jobs
from phenolens.widgets.kit.style import SPACE, Note, caution, sentence
from phenolens.widgets.kit.workers import JobWorker, Running

if TYPE_CHECKING:
    from phenolens.evaluation.translations.held_out import HeldOut
    from phenolens.screens.conditions import Condition
    from phenolens.screens.table import Screen
    from phenolens.translation.model.adapter import Adapter

_MOST_NAMED = 8


class EvaluationWells(QWidget):
    """Looks for the wells in the background. ``found`` is emitted when they are known, and when there are none."""

    found = Signal()

    def __init__(self, running: Running) -> None:
        super().__init__()
        self._running = running
        self._worker: JobWorker | None = None
        self._asked: tuple[Any, ...] | None = None
        self.held_out: HeldOut | None = None
        self.wells, self.limits, self.wrong = sentence(""), caution(""), Note()
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        for note in (self.wells, self.limits, self.wrong):
            whole.addWidget(note)
        self.forget()

    def forget(self, why: str = "") -> None:
        """Know of no wells, and say why."""
        if self._worker is not None:
            self._worker.quit()
        self._worker, self._asked, self.held_out = None, None, None
        self._say("", ())
        self.wrong.say(why, "error")

    def look(
        self, adapter: "Adapter", screen: "Screen", source: "Condition", target: "Condition", unseen: bool
    ) -> None:
        """Look for the wells of `screen` that are new to `adapter`, unless this very question was asked last."""
        asked = (adapter, screen, source, target, unseen)
        last = self._asked
        # adapters and screens are the same only where they are one and the same
        if last is not None and last[0] is adapter and last[1] is screen and last[2:] == asked[2:]:
            return
        self.forget()
        self._asked = asked
        self._say("Looking for wells that the adapter has not seen…", ())

        def done(held_out: "HeldOut") -> None:
            if self._asked is asked:
                self.held_out = held_out
                self._say(describe(held_out), (*held_out.without_verdict, *held_out.notes))
                self.found.emit()

        def failed(error: BaseException) -> None:
            if self._asked is asked:
                known = isinstance(error, PhenolensError)
                self.forget(str(error) if known else "It failed; the notification has the details.")
                self._asked = asked
                self.found.emit()

        self._worker = self._running.start(
            jobs.choose_wells(*asked),
            "Looking for new wells",
            priority=INTERACTIVE,
            bar=False,
            done=done,
            failed=failed,
        )

    def _say(self, wells: str, limits: tuple[str, ...]) -> None:
        for label, text in ((self.wells, wells), (self.limits, "\n".join(limits))):
            label.setText(text)
            label.setVisible(bool(text))


def describe(held_out: "HeldOut") -> str:
    """The wells that will be judged, in a sentence."""
    control, treated = (
        f"{len(wells)} {kind} well{'s' * (len(wells) != 1)} ({_listed(wells)})"
        for wells, kind in zip(held_out.wells, ("control", "treated"), strict=True)
    )
    seen = "new to the adapter" if held_out.held_out else "all seen in fine-tuning"
    return f"To be judged, {seen}: {control} and {treated}."


def _listed(wells: tuple[str, ...]) -> str:
    """Wells by name, without their plate where all are of one."""
    plates = {name.rpartition("/")[0] for name in wells}
    names = [name.rpartition("/")[2] if len(plates) == 1 else name for name in wells]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
