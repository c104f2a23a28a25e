"""Step 3: fine-tune the base model on the two conditions, in the background."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from phenolens.runtime.checkpoints import About, Checkpoints
from phenolens.runtime.choices.costs import Cost, last_cost, remember_cost
from phenolens.runtime.choices.preferences import preferences
from phenolens.runtime.errors import MemoryEnded, ScreenError
from phenolens.runtime.files import absolute
from phenolens.runtime.memory.device_memory import MemoryTaken, memory_of
from phenolens.runtime.progress import Job, Progress
from phenolens.translation.model.known_adapters import own_adapters
from phenolens.translation.training.finetune_settings import FinetuneSettings, checkpoint_of, request_of
from phenolens.widgets.choices.device_row import DeviceRow
from phenolens.widgets.choices.finetune_choices import FinetuneChoices
from phenolens.widgets.kit.durations import duration
from phenolens.widgets.kit.job_box import JobBox
from phenolens.widgets.kit.style import SPACE, Form, Note, action, set_accent
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation.chart import LossCurve
from phenolens.widgets.translation.thumbnails import PreviewStrip

if TYPE_CHECKING:
    from phenolens.translation.model.adapter import Adapter


_START = "Train on the two conditions; you can go on working meanwhile"
_RESUME = "Go on with the unfinished run in the adapter's folder; it ends with the adapter of an unbroken one"
_CANCEL = "Stop at the next step and keep a checkpoint"
_TRY = (
    "Translate the cells that you click with the adapter as it is by now; strength 1 is not matched to the treated\n"
    "cells yet. They are translated again when it is done"
)
_ON_CPU = "Not even one crop fitted into the memory of this device. The CPU takes longer and has the computer's memory"
_START_OVER = "Give up the unfinished run in the adapter's folder, and train from the first step"


class FinetunePanel(QWidget):
    """Settings, start, cancel and resume; progress, loss and previews.

    ``tuned`` is emitted with the new adapter, and with one that is still being trained where the user wants to try it;
    ``asked`` where other settings are chosen.
    """

    tuned = Signal(object)
    asked = Signal()

    def __init__(self, session: Session, running: Running) -> None:
        super().__init__()
        self._session = session
        self._began: tuple[int, float] | None = None
        self._step_takes = 0.0  # s
        self._memory: MemoryTaken | None = None
        self._drawn: tuple[Path, str] | None = None
        self.steps = _spin(
            preferences().steps,
            1,
            100_000,
            "Steps of training; a few hundred adapt to about 100 cells a condition",
        )
        self.rank = _spin(16, 1, 128, "Rank of the LoRA weights: how much the model may change")
        self.seed = _spin(0, 0, 2**31 - 1, "The same seed and data give the same adapter")
        self.steps.setSingleStep(100)
        self.choices = FinetuneChoices(session)
        self.where = DeviceRow(session)
        self.device = self.where.box
        self.out = QLineEdit()
        self.out.setToolTip("Folder of the adapter; its checkpoint lies beside it until it is whole")
        browse = QToolButton()
        browse.setText("…")
        browse.setToolTip("Choose the folder that the adapter's folder is made in")
        browse.clicked.connect(self._browse)
        self.start = action("Fine-tune", _START, accent=True)
        self.start.clicked.connect(lambda: self.begin())
        self.cancel = action("Cancel", _CANCEL)
        self.cancel.clicked.connect(self._stop_or_start_over)
        self.job = JobBox(running, self.start, self.cancel, self._asked, self.refresh, self._is_left)
        self._request: tuple[tuple[Any, ...], str] | None = None
        self.job.bar.setFormat("%v / %m steps")
        self.curve = LossCurve()
        self.strip = PreviewStrip()
        self._draft: Adapter | None = None
        self.try_it = action("Click cells now", _TRY)
        self.try_it.clicked.connect(lambda: self.tuned.emit(self._draft))
        self.try_it.hide()
        form = Form()
        form.row("Steps", self.steps)
        form.row("Rank", self.rank)
        form.row("Seed", self.seed)
        self.where.add_to(form)
        form.row("Adapter", self.out, browse)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        self.on_cpu = action("Try again on the CPU", _ON_CPU)
        self.on_cpu.clicked.connect(self._try_on_cpu)
        self.on_cpu.hide()
        self.cost = Note()
        whole.addLayout(form)
        for widget in (self.choices, self.cost, self.job, self.on_cpu, self.curve, self.strip, self.try_it):
            whole.addWidget(widget)
        self.curve.hide()
        for spin in (self.steps, self.rank, self.seed):
            spin.valueChanged.connect(lambda _: self.refresh())
        self.out.textChanged.connect(lambda _: self.refresh())
        for signal in (self.steps.valueChanged, self.rank.valueChanged, self.seed.valueChanged, self.out.textChanged):
            signal.connect(self.asked.emit)
        self.choices.changed.connect(self.refresh)
        self.choices.changed.connect(self.asked.emit)
        session.devices_changed.connect(self.refresh)
        session.device_changed.connect(self.refresh)
        session.screen_changed.connect(self._another_screen)
        session.conditions_changed.connect(self.refresh)
        session.cells_changed.connect(self.refresh)
        session.adapter_changed.connect(self.refresh)
        self.refresh()

    def settings(self) -> dict[str, Any]:
        """What is asked for, in a form that a session keeps."""
        numbers = {"steps": self.steps.value(), "rank": self.rank.value(), "seed": self.seed.value()}
        numbers |= {**self.choices.settings(), "leave_out": self.choices.leave_out.isChecked()}
        return {**numbers, "base": self._session.base, "out": str(absolute(self._folder()))}

    def ask_again(self, settings: Mapping[str, Any]) -> bool:
        """Ask for what `settings` gave; return whether a run of that was left unfinished, and can be resumed."""
        for name, box in (("steps", self.steps), ("rank", self.rank), ("seed", self.seed)):
            value = settings.get(name)
            if isinstance(value, int) and box.minimum() <= value <= box.maximum():
                box.setValue(value)
        self.choices.ask_again(dict(settings))
        base, out = settings.get("base"), settings.get("out")
        if isinstance(base, str) and base:
            self._session.set_base(base)
        # the folder of a finished adapter is not asked for again: the next run is not to replace it
        if isinstance(out, str) and out and not Path(out).is_dir():
            self.out.setText(out)
        self.refresh()
        return self._is_left()

    def refresh(self) -> None:
        """Enable what is usable, and say in a sentence why the rest is not."""
        session = self._session
        why = ""
        if session.screen is None:
            why = "Open a screen first."
        elif session.source is None or session.target is None:
            why = "Choose a control and a treated condition first."
        elif session.cells is None:
            why = "Find cells first."
        elif not session.devices:
            why = "Looking for devices…"
        busy, missing = self.job.busy, bool(why)
        left = None if busy or missing else self._left()
        resumable = left is not None and left.request == self._requested()
        anything = not (busy or missing) and self._kept().exist()
        if left is None and anything:
            why = "The checkpoint in this adapter's folder is damaged. Start over, or choose another folder."
        elif left is not None and not resumable:
            why = (
                f"This adapter's folder holds an unfinished run of another screen, conditions or settings, at "
                f"{left.reached}. Choose another folder, set them back, or start over, which gives that run up."
            )
        self.job.why.say("" if busy else why)
        self.start.setEnabled(not why and not busy)
        set_accent(self.start, session.adapter is None or resumable)
        self.start.setText(f"Resume at step {left.step}" if left is not None and resumable else "Fine-tune")
        self.start.setToolTip(_RESUME if resumable else _START)
        self.cancel.setText("Start over" if anything else "Cancel")
        self.cancel.setToolTip(_START_OVER if anything else _CANCEL)
        self.cancel.setEnabled(busy or anything)
        for widget in (self.steps, self.rank, self.seed, self.device, self.out, self.choices):
            widget.setEnabled(not busy)
        if not busy:
            self._draft = None
            self.try_it.hide()
        self.cost.say("" if why or busy else self._about_time(left.step if left is not None and resumable else 0))

    def begin(self, start_over: bool = False) -> None:
        """Start, or go on from the checkpoint of an unfinished run."""
        resume = not start_over and self._is_left()
        run = (self._folder(), self._requested())
        if not resume or run != self._drawn:
            self.curve.clear(self.steps.value())
            self.strip.clear()
        self._began, self._drawn, self._step_takes = None, run, 0.0
        self._memory = MemoryTaken(self._session.queue())
        self.on_cpu.hide()
        self.curve.show()
        self.job.run(
            self._memory.during(self._job(self._folder(), resume, start_over)),
            "Fine-tuning",
            self._session.queue(),
            progress=self._progress,
            done=self._done,
            failed=self._failed,
        )

    def _stop_or_start_over(self) -> None:
        if self.job.busy:
            self.job.stop()
        else:
            self.begin(start_over=True)

    def _folder(self) -> Path:
        return Path(self.out.text().strip() or self._default_folder())

    def _kept(self) -> Checkpoints:
        return Checkpoints(checkpoint_of(self._folder()))

    def _left(self) -> About | None:
        """What the unfinished run in the adapter's folder is of, by its checkpoint."""
        return self._kept().about()

    def _is_left(self) -> bool:
        left = self._left()
        return left is not None and left.request == self._requested()

    def _requested(self) -> str:
        """Fingerprint of the run that starting now would begin; empty where it cannot begin."""
        session, asked = self._session, self._asked()
        screen = session.screen_of_cells()
        wells = self.choices.conditions
        if screen is None or wells is None:
            return ""
        if session.cells is None or session.crop is None:
            return ""
        if self._request is None or self._request[0] != asked:
            conditions, settings = (wells.source, wells.target), FinetuneSettings(**self._settings())
            made = ""
            with suppress(ScreenError):
                made = request_of(screen, *conditions, session.cells, session.base, settings, session.crop)
            self._request = asked, made
        return self._request[1]

    def _settings(self) -> dict[str, Any]:
        return {
            "steps": self.steps.value(),
            "rank": self.rank.value(),
            "seed": self.seed.value(),
            "crop": self._session.crop,
            **self.choices.settings(),
        }

    def _kind(self) -> tuple[str, ...]:
        """What a step's time depends on."""
        chosen = self.choices.settings()
        return ("finetune", self._session.queue(), self._session.base, chosen["method"], f"batch {chosen['batch']}")

    def _about_time(self, done: int) -> str:
        cost = last_cost(self._kind())
        if cost is None:
            return "How long it takes, and how much memory, is known once it has run on this device."
        memory = f" and {cost.memory / 1e9:.1f} GB" if cost.memory > 1e8 else ""
        words = f"About {duration(cost.seconds * max(self.steps.value() - done, 0))}{memory}, as the last time here."
        free = memory_of(self._session.queue())
        if free is not None and cost.memory > free[0]:
            words += f" Only {free[0] / 1e9:.1f} GB are free: close what else needs memory, or each step takes longer."
        return words

    def _try_on_cpu(self) -> None:
        """Go on where memory ended, on the device that has more of it."""
        self._session.set_device("cpu")
        self.begin(start_over=not self._is_left())

    def _job(self, out: Path, resume: bool, start_over: bool) -> "Job[Adapter]":
        from phenolens.widgets.translation.jobs import finetune

        session, screen = self._session, self._session.screen_of_cells()
        assert screen is not None
        wells = self.choices.conditions
        assert wells is not None
        return finetune(
            screen,
            wells.source,
            wells.target,
            session.cells,
            out=out,
            base=session.base,
            settings=self._settings(),
            device=session.device,
            nucleus_channel=session.nucleus_channel,
            resume=resume,
            start_over=start_over,
        )

    def _asked(self) -> tuple[Any, ...]:
        """All that a run depends on, as cheaply compared."""
        session = self._session
        conditions = tuple(c.text if c is not None else "" for c in (session.source, session.target))
        numbers = (self.steps.value(), self.rank.value(), self.seed.value(), session.crop)
        plane = (session.cells_position, session.base)
        chosen = (*self.choices.settings().values(), self.choices.leave_out.isChecked())
        return (id(session.screen), id(session.cells), *plane, *conditions, *numbers, *chosen, self.out.text())

    def _progress(self, now: Progress) -> None:
        if "loss" in now.values:
            self.curve.add(now.step, now.values["loss"])
            self.job.show_progress(now, f"loss {now.values['loss']:.3g} · {self._time_left(now)}")
        else:
            self.job.show_stage(now)
        if now.preview is not None:
            self.strip.show_preview(now.preview, self._session.colours)
            if now.preview.draft is not None:
                self._draft = now.preview.draft
                self.try_it.setText(f"Click cells now, at step {now.step:,}")
                self.try_it.show()

    def _time_left(self, now: Progress) -> str:
        if self._began is None or now.step < self._began[0]:
            self._began = (now.step, time.monotonic())
        first, began = self._began
        if now.step == first:
            # The time of one step is known from the second one on.
            return f"{now.total - now.step} steps left"
        self._step_takes = (time.monotonic() - began) / (now.step - first)
        return f"about {duration(self._step_takes * (now.total - now.step))} left"

    def _failed(self, error: BaseException) -> None:
        # a smaller batch would not help, for no single crop did fit
        self.on_cpu.setVisible(isinstance(error, MemoryEnded) and self._session.queue() != "cpu")

    def _done(self, adapter: "Adapter") -> None:
        if self._step_takes:
            # what a run before has taken may still be held, and is not taken again
            known = last_cost(self._kind())
            most = max(0 if self._memory is None else self._memory.most, 0 if known is None else known.memory)
            remember_cost(self._kind(), Cost(self._step_takes, most))
        self.job.state.say(f"Done. The adapter is in {adapter.folder}.")
        show_info("The fine-tuning is done: click a cell to translate it.")
        if adapter.folder is not None and adapter.folder.parent == self._default_folder().parent:
            # the next run is not to replace this one
            self.out.setText(str(self._default_folder()))
        self.tuned.emit(adapter)

    def _another_screen(self) -> None:
        self.out.setText(str(self._default_folder()))
        self.refresh()

    def _default_folder(self) -> Path:
        name = self._session.screen_name or "screen"
        folder = own_adapters()
        taken = {path.name for path in folder.glob("*")} if folder.is_dir() else set()
        names = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
        return folder / next(candidate for candidate in names if candidate not in taken)

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Where to make the adapter's folder")
        if chosen:
            self.out.setText(str(Path(chosen) / (self._session.screen_name or "adapter")))


def _spin(value: int, low: int, high: int, tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    box.setToolTip(tip)
    return box
