"""Step 5: fit the noise floor in the background, and see what of a difference is beyond it."""

from math import isfinite
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from phenolens.runtime.progress import Progress
from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.kit.eliding import ElidedComboBox
from phenolens.widgets.kit.job_box import JobBox
from phenolens.widgets.kit.style import SPACE, Form, Note, action, set_accent
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.layers.noise_layers import NoiseLayers
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation import noise_jobs

if TYPE_CHECKING:
    from phenolens.evaluation.noise.noise_floor import NoiseFloor

SPREAD = "spread_over_seeds"
_DOUBT = (
    "Size of the spread over seeds beside the size of the change, over all channels: what depends on the noise that "
    "was drawn. Where it is small the cell may still be drawn wrong: it says little of how right the cell is."
)
_SHOWN = (
    ("nothing", "", "Leave the view as it is"),
    ("difference beyond noise", "significant_difference", "The difference where it is significant, black elsewhere"),
    ("spread over seeds", SPREAD, "How much translations differ that draw other noise, at strength 1"),
    (
        "autoencoder error",
        "autoencoder_error",
        "What the base cannot represent of the raw cell; no translation changes it",
    ),
)


class NoisePanel(QWidget):
    """Fit, cancel and resume; error rate, outline and pictures; what is beyond noise in words."""

    def __init__(self, session: Session, running: Running, layers: NoiseLayers) -> None:
        super().__init__()
        self._session, self._running, self._layers = session, running, layers
        self._asking = False
        self.splits = QSpinBox()
        self.splits.setRange(1, 20)
        self.splits.setValue(2)
        self.splits.setToolTip("How often the control wells are split; an adapter is trained on each split")
        self.steps = QSpinBox()
        self.steps.setRange(0, 100_000)
        self.steps.setSingleStep(100)
        self.steps.setSpecialValueText("as the adapter")
        self.steps.setToolTip("Training steps of each; fewer than the adapter's are a makeshift")
        self.fit = action("Fit the noise floor", "See what translation changes between control wells", accent=True)
        self.fit.clicked.connect(self.begin)
        self.cancel = action("Cancel", "Stop at the next step and keep what is finished")
        self.job = JobBox(running, self.fit, self.cancel, self._asked, self.refresh)
        self.cancel.clicked.connect(self.job.stop)
        self.alpha = QDoubleSpinBox()
        self.alpha.setRange(0.01, 0.5)
        self.alpha.setSingleStep(0.01)
        self.alpha.setValue(layers.alpha)
        self.alpha.setToolTip("Share of unchanged cells in which any pixel may be called significant")
        self.alpha.valueChanged.connect(self._choose_alpha)
        self.outline = QCheckBox("outline")
        self.outline.setToolTip("Outline what is beyond the noise floor, in the channel whose difference is shown")
        self.outline.toggled.connect(self._look)
        self.picture = ElidedComboBox()
        for text, kind, tip in _SHOWN:
            self.picture.addItem(text, kind)
            self.picture.setItemData(self.picture.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.picture.setToolTip("A picture over the others, of the channel whose difference is shown")
        self.picture.currentIndexChanged.connect(self._look)
        self.found = Note()
        self.doubt = Note()
        self.doubt.setToolTip(_DOUBT)
        self._lay_out()
        for signal in (session.screen_changed, session.cells_changed, session.devices_changed, session.floor_changed):
            signal.connect(self.refresh)
        session.adapter_changed.connect(self._another_adapter)
        for signal in (
            session.cell_changed,
            session.translated_changed,
            session.strength_changed,
            session.held_changed,
            session.field_changed,
            session.plane_changed,
        ):
            signal.connect(lambda *_: self._say_found())
        for signal in (session.cell_changed, session.translated_changed, session.plane_changed):
            signal.connect(lambda *_: self._ask())
        session.current_changed.connect(lambda *_: self._say_doubt())
        self.refresh()

    def _lay_out(self) -> None:
        form, view = Form(), Form()
        form.row("Splits", self.splits)
        form.row("Steps", self.steps)
        view.row("Error rate", self.alpha, self.outline)
        view.row("Show", self.picture)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        whole.addWidget(Note("Control cells are translated between control wells, where nothing should change."))
        whole.addLayout(form)
        whole.addWidget(self.job)
        whole.addLayout(view)
        whole.addWidget(self.found)
        whole.addWidget(self.doubt)

    def refresh(self) -> None:
        """Enable what is usable, and say in a sentence why the rest is not."""
        session, busy = self._session, self.job.busy
        why = ""
        if session.adapter is None:
            why = "Fine-tune, or load an adapter."
        elif session.screen is None:
            why = "Open the screen of the adapter first."
        elif session.cells is None:
            why = "Find cells first."
        self.fit.setEnabled(not why and not busy)
        self.fit.setText("Resume" if self.job.resumable else "Fit again" if session.floor else "Fit the noise floor")
        set_accent(self.fit, session.floor is None)
        self.cancel.setEnabled(busy)
        for number in (self.splits, self.steps):
            number.setEnabled(not busy)
        for widget in (self.alpha, self.outline):
            widget.setEnabled(session.floor is not None)
        self.picture.setEnabled(session.adapter is not None)
        self.job.why.say(why)
        self._say_found()

    def begin(self) -> None:
        """Fit the floor with the channels that are held now, or go on from the run that was cancelled."""
        session = self._session
        assert session.adapter is not None
        screen = session.screen_of_cells()
        assert screen is not None
        assert session.translator is not None
        adapter = session.adapter
        job = noise_jobs.fit_floor(
            adapter,
            screen,
            session.cells,
            settings={"splits": self.splits.value(), "steps": self.steps.value() or None},
            held=session.translator.held,
            device=session.device,
            resume=self.job.resumable,
        )

        def done(floor: "NoiseFloor") -> None:
            if session.adapter is adapter:
                session.set_floor(floor)
                self._look()

        self.job.run(job, "Fitting the noise floor", session.queue(), progress=self._progress, done=done)

    def hide_picture(self) -> None:
        """Show no picture over the others."""
        self.picture.setCurrentIndex(0)

    def _asked(self) -> tuple[Any, ...]:
        """All that an unfinished run depends on: resuming is offered while none of it has changed."""
        session = self._session
        held = session.translator.held if session.translator is not None else ()
        return (
            id(session.adapter),
            id(session.screen),
            id(session.cells),
            held,
            self.splits.value(),
            self.steps.value(),
        )

    def _progress(self, now: Progress) -> None:
        self.job.show_progress(now, now.message.removeprefix("Noise floor, ").capitalize() + "…")

    def _another_adapter(self) -> None:
        adapter = self._session.adapter
        self.hide_picture()
        self.job.state.say("")
        self.refresh()
        if adapter is None:
            return

        def loaded(floor: "NoiseFloor | None") -> None:
            if floor is not None and self._session.adapter is adapter:
                self._session.set_floor(floor)

        self._running.start(
            noise_jobs.load_floor(adapter),
            "Loading the noise floor",
            device=None,
            bar=False,
            tell=False,
            done=loaded,
            failed=lambda error: self.job.state.say(str(error), "warning"),
        )

    def _choose_alpha(self, alpha: float) -> None:
        self._layers.set_alpha(alpha)
        self._say_found()

    def _look(self, *_: Any) -> None:
        self._layers.show(self.outline.isChecked(), str(self.picture.currentData()))
        self._ask()

    def _ask(self) -> None:
        """Ask what is doubtful of cells of which it was not asked, where that is to be shown."""
        self._say_doubt()
        session, kind = self._session, str(self.picture.currentData())
        if kind in ("", "significant_difference") or session.translator is None:
            return
        known = self._layers.doubts.setdefault(kind, {})
        cells = [c for c in session.here().values() if c.translation is not None and c.id not in known]
        if not cells or self._asking:
            return

        def arrived(now: Progress) -> None:
            if now.preview is None:
                return
            cell, found = now.preview
            if session.here().get(cell.id) is cell:
                known[cell.id] = found
                self._layers.refresh()
                self._say_doubt()

        def finished() -> None:
            self._asking = False
            self._ask()

        self._asking = True
        self._running.start(
            noise_jobs.doubts(kind, session.translator, cells),
            "Asking what is doubtful",
            device=session.translator_device,
            priority=INTERACTIVE,
            bar=False,
            progress=arrived,
            failed=lambda _: self.hide_picture(),
            finished=finished,
        )

    def _say_doubt(self) -> None:
        """Say of the chosen cell, or of the last one, how much of its change other noise draws otherwise."""
        session = self._session
        cells = [cell for cell in session.here().values() if cell.translation is not None]
        cell = session.current if session.current in cells else cells[-1] if cells else None
        spread = None if cell is None else self._layers.doubts.get(SPREAD, {}).get(cell.id)
        if self.picture.currentData() != SPREAD or cell is None or spread is None or session.adapter is None:
            self.doubt.say("")
            return
        share = noise_jobs.share_of(cell, spread, session.adapter)
        known = share is not None and isfinite(share)
        self.doubt.say(f"Other noise draws {share:.0%} of the change of {cell.name} otherwise." if known else "")

    def _say_found(self) -> None:
        session, floor = self._session, self._session.floor
        if self.job.busy:
            return
        if floor is not None:
            weak = floor.card.get("weak", [])
            known = f"Fitted on {len(floor.groups):,} translations of control cells."
            self.job.state.say(" ".join([known, *weak]), "warning" if weak else "quiet")
        if floor is None or session.adapter is None:
            self.found.say("")
            return
        if misfit := session.floor_misfit():
            self.found.say(misfit, "warning")
            return
        cells = [cell for cell in session.here().values() if cell.translation is not None]
        if not cells:
            self.found.say("Translate a cell to hold it to the floor.")
            return
        chance = noise_jobs.chance_of(floor, cells[-1], session.strength, session.adapter)
        if chance is None:
            self.found.say("")
        elif chance <= self.alpha.value():
            self.found.say(f"{cells[-1].name} changes more than noise (p = {chance:.2g}).")
        else:
            self.found.say(f"{cells[-1].name} changes no more than control cells do (p = {chance:.2g}).", "warning")
