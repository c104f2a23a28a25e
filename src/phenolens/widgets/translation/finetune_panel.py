"""Step 3: fine-tune the base model on the two conditions, in the background."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from platformdirs import user_data_path
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from phenolens.runtime.progress import Job, Progress
from phenolens.widgets.kit.job_box import JobBox
from phenolens.widgets.kit.style import SPACE, Form, action, set_accent
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation.chart import LossCurve
from phenolens.widgets.translation.thumbnails import PreviewStrip

if TYPE_CHECKING:
    from phenolens.translation.model.adapter import Adapter


class FinetunePanel(QWidget):
    """Settings, start, cancel and resume; progress, loss and previews. ``tuned`` is emitted with the new adapter."""

    tuned = Signal(object)

    def __init__(self, session: Session, running: Running) -> None:
        super().__init__()
        self._session = session
        self._began = (0, 0.0)
        self._step = 0
        self.steps = _spin(
            900, 1, 100_000, "Steps of training; a few hundred adapt well to about 100 cells a condition"
        )
        self.rank = _spin(16, 1, 128, "Rank of the LoRA weights: how much the model may change")
        self.seed = _spin(0, 0, 2**31 - 1, "The same seed and data give the same adapter")
        self.steps.setSingleStep(100)
        self.device = QComboBox()
        self.device.addItem("auto", "auto")
        self.device.setToolTip("Where to compute; auto takes a GPU where there is one")
        self.device.activated.connect(self._choose_device)
        self.out = QLineEdit()
        self.out.setToolTip("Folder of the adapter; its checkpoint lies beside it until it is whole")
        browse = QToolButton()
        browse.setText("…")
        browse.setToolTip("Choose the folder that the adapter's folder is made in")
        browse.clicked.connect(self._browse)
        self.start = action("Fine-tune", "Train on the two conditions; you can go on working meanwhile", accent=True)
        self.start.clicked.connect(self.begin)
        self.cancel = action("Cancel", "Stop at the next step and keep a checkpoint")
        self.cancel.clicked.connect(self._stop_or_start_over)
        self.job = JobBox(running, self.start, self.cancel, self._asked, self.refresh)
        self.job.bar.setFormat("%v / %m steps")
        self.curve = LossCurve()
        self.strip = PreviewStrip()
        form = Form()
        form.row("Steps", self.steps)
        form.row("Rank, seed", self.rank, self.seed)
        form.row("Device", self.device)
        form.row("Adapter", self.out, browse)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        whole.addLayout(form)
        for widget in (self.job, self.curve, self.strip):
            whole.addWidget(widget)
        self.curve.hide()
        for spin in (self.steps, self.rank, self.seed):
            spin.valueChanged.connect(lambda _: self.refresh())
        self.out.textChanged.connect(lambda _: self.refresh())
        session.devices_changed.connect(self._offer_devices)
        session.screen_changed.connect(self._another_screen)
        session.conditions_changed.connect(self.refresh)
        session.cells_changed.connect(self.refresh)
        session.adapter_changed.connect(self.refresh)
        self.refresh()

    def _offer_devices(self) -> None:
        """Fill the device row with what this machine has."""
        self.device.clear()
        for name in ("auto", *self._session.devices):
            self.device.addItem(name, name)
        self.device.setCurrentIndex(max(self.device.findData(self._session.device), 0))
        self.refresh()

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
        busy, resumable = self.job.busy, self.job.resumable
        self.job.why.say("" if busy else why)
        self.start.setEnabled(not why and not busy)
        set_accent(self.start, session.adapter is None or resumable)
        self.start.setText("Resume" if resumable else "Fine-tune")
        self.cancel.setText("Start over" if resumable else "Cancel")
        self.cancel.setEnabled(busy or resumable)
        for widget in (self.steps, self.rank, self.seed, self.device, self.out):
            widget.setEnabled(not busy)

    def begin(self) -> None:
        """Start, or go on from the checkpoint of the run that was cancelled."""
        resume = self.job.resumable
        out = Path(self.out.text().strip() or self._default_folder())
        if not resume:
            self.curve.clear(self.steps.value())
            self.strip.clear()
            self._step = 0
        self._began = (self._step, time.monotonic())
        self.curve.show()
        self.job.run(
            self._job(out, resume),
            "Fine-tuning",
            self._session.queue(),
            progress=self._progress,
            done=self._done,
            kept=lambda: self._step > 0,
        )

    def _stop_or_start_over(self) -> None:
        if self.job.busy:
            self.job.stop()
        else:
            self.job.forget()
            self.begin()

    def _job(self, out: Path, resume: bool) -> "Job[Adapter]":
        from phenolens.widgets.translation.jobs import finetune

        session, screen = self._session, self._session.screen_of_cells()
        assert screen is not None
        assert session.source is not None
        assert session.target is not None
        return finetune(
            screen,
            session.source,
            session.target,
            session.cells,
            out=out,
            base=session.base,
            settings={
                "steps": self.steps.value(),
                "rank": self.rank.value(),
                "seed": self.seed.value(),
                "crop": session.crop,
            },
            device=session.device,
            nucleus_channel=session.nucleus_channel,
            resume=resume,
        )

    def _asked(self) -> tuple[Any, ...]:
        """All that a checkpoint depends on: resuming is offered while none of it has changed."""
        session = self._session
        conditions = tuple(c.text if c is not None else "" for c in (session.source, session.target))
        numbers = (self.steps.value(), self.rank.value(), self.seed.value(), session.crop)
        return (id(session.screen), id(session.cells), *conditions, *numbers, self.out.text())

    def _progress(self, now: Progress) -> None:
        if "loss" in now.values:
            self._step = now.step
            self.curve.add(now.step, now.values["loss"])
            self.job.show_progress(now, self._rate(now))
        elif not self._step:
            self.job.state.say(f"{now.message} {now.step}/{now.total}" if now.total else f"{now.message}…")
        if now.preview is not None:
            self.strip.show_preview(now.preview)

    def _rate(self, now: Progress) -> str:
        first, began = self._began
        if first == 0 or now.step < first:
            self._began = first, began = max(now.step, 1), time.monotonic()
        seconds = (time.monotonic() - began) / max(now.step - first, 1)
        left = seconds * (now.total - now.step)
        loss = f"loss {now.values['loss']:.3g}"
        return f"{loss} · about {left / 60:.0f} min left" if left > 90 else f"{loss} · about {left:.0f} s left"

    def _done(self, adapter: "Adapter") -> None:
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
        folder = user_data_path("napari-phenolens") / "adapters"
        taken = {path.name for path in folder.glob("*")} if folder.is_dir() else set()
        names = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
        return folder / next(candidate for candidate in names if candidate not in taken)

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Where to make the adapter's folder")
        if chosen:
            self.out.setText(str(Path(chosen) / (self._session.screen_name or "adapter")))

    def _choose_device(self) -> None:
        self._session.device = self.device.currentData()


def _spin(value: int, low: int, high: int, tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    box.setToolTip(tip)
    return box
