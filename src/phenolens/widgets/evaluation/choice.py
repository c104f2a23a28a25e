"""What an evaluation judges: an adapter, on the open screen, from one condition to another."""

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.evaluation import jobs
from phenolens.widgets.evaluation.wells import EvaluationWells
from phenolens.widgets.kit.conditions_box import ConditionBox, control_of, offered, short_condition, target_of
from phenolens.widgets.kit.style import SPACE, Form, Note
from phenolens.widgets.kit.workers import Running

if TYPE_CHECKING:
    from phenolens.screens.table import Screen
    from phenolens.translation.model.adapter import Adapter
    from phenolens.widgets.state.session import Session

_IN_USE, _OWN = range(2)


class EvaluationChoice(QWidget):
    """Adapter and conditions, and the wells that they leave to be judged.

    ``changed`` is emitted when anything of it is another, or the wells are known.
    """

    changed = Signal()

    def __init__(self, running: Running) -> None:
        super().__init__()
        self._running = running
        self._own: Adapter | None = None
        self._filled: tuple[Adapter | None, Screen | None] = None, None
        self.session: Session | None = None
        self.adapter: Adapter | None = None
        self.why = ""
        self.adapters = QComboBox()
        self.adapters.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.adapters.setMinimumContentsLength(12)
        self.adapters.activated.connect(self._choose)
        self.opened = Note()
        self.source, self.target = ConditionBox(), ConditionBox()
        self.unseen = QCheckBox("Adapter of another screen")
        self.unseen.setToolTip("Count every well as new to the adapter, whatever the fields are called")
        self.wells = EvaluationWells(running)
        form = Form()
        form.row("Adapter", self.adapters)
        form.row("Screen", self.opened, tip="The screen that is open in the Phenolens dock")
        whole_condition = "The whole {} condition: the wells of it that fine-tuning has not used are judged"
        form.row("Control", self.source, tip=whole_condition.format("control"))
        form.row("Treated", self.target, tip=whole_condition.format("treated"))
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        whole.addLayout(form)
        whole.addWidget(self.unseen)
        whole.addWidget(self.wells)
        self.source.chosen.connect(self.refresh)
        self.target.chosen.connect(self.refresh)
        self.unseen.toggled.connect(lambda _: self.refresh())
        self.wells.found.connect(self.changed)
        self.refresh()

    def follow(self, session: "Session | None") -> None:
        """Judge what this session has open; None where there is no Phenolens dock."""
        self.let_go()
        self.session = session
        if session is not None:
            session.screen_changed.connect(self.refresh)
            session.adapter_changed.connect(self.refresh)
        self.refresh()

    def let_go(self) -> None:
        """Follow no session; also where Qt has deleted this widget already."""
        if self.session is not None:
            self.session.screen_changed.disconnect(self.refresh)
            self.session.adapter_changed.disconnect(self.refresh)
            self.session = None

    def open_folder(self, folder: Path) -> None:
        """Judge the adapter of a folder; the one before stays until it is read."""
        self.wells.wrong.say(f"Reading {folder.name}…")

        def loaded(adapter: "Adapter") -> None:
            self._own = adapter
            self._offer_adapters(_OWN)
            self.refresh()

        def failed(error: BaseException) -> None:
            known = isinstance(error, PhenolensError)
            text = str(error) if known else "It could not be read; the notification has the details."
            self.wells.wrong.say(text, "error")

        self._running.start(
            jobs.load_adapter(folder),
            "Loading an adapter",
            priority=INTERACTIVE,
            bar=False,
            done=loaded,
            failed=failed,
        )

    @property
    def held(self) -> tuple[str, ...] | None:
        """The channels that the Phenolens dock holds as they are, if its adapter is judged; else None."""
        session = self.session
        if session is None or session.translator is None or self.adapter is not session.adapter:
            return None
        return tuple(session.translator.held)

    def lock(self, locked: bool) -> None:
        """Let nothing be chosen while an evaluation runs."""
        for widget in (self.adapters, self.source, self.target, self.unseen):
            widget.setEnabled(not locked)

    def refresh(self) -> None:
        """Take what the Phenolens dock has open by now, and look which wells are new."""
        session = self.session
        self._offer_adapters(self.adapters.currentIndex())
        in_use = session.adapter if session is not None else None
        self.adapter = self._own if self.adapters.currentIndex() == _OWN else in_use
        screen = session.screen if session is not None else None
        if session is None or screen is None:
            self.opened.say("none is open")
            self.why = "Open a screen in the Phenolens dock first."
        else:
            self.opened.say(f"{session.screen_name}, {len(screen):,} fields")
            self.why = "" if self.adapter else "Load an adapter in the Phenolens dock, or choose the folder of one."
            if self.adapter is not None and self.adapter.unfinished:
                self.why = "The adapter in use is still being trained: wait until it is done, or choose another."
        if self._filled[0] is not self.adapter or self._filled[1] is not screen:
            self._filled = self.adapter, screen
            self._fill_conditions(screen)
        self._look(screen)
        self.changed.emit()

    def _offer_adapters(self, choose: int) -> None:
        """The adapter in use, one of a folder if it was opened, and to open another."""
        in_use = self.session.adapter if self.session is not None else None
        self.adapters.clear()
        self.adapters.addItem(f"in use: {_name(in_use)}" if in_use is not None else "none is in use")
        if self._own is not None:
            self.adapters.addItem(_name(self._own))
        self.adapters.addItem("Folder…")
        self.adapters.setCurrentIndex(_OWN if choose == _OWN and self._own is not None else _IN_USE)
        chosen = self._own if self.adapters.currentIndex() == _OWN else in_use
        about = ["The adapter that is judged"]
        if chosen is not None:
            about += [" → ".join(map(short_condition, chosen.conditions)), str(chosen.folder or "")]
        self.adapters.setToolTip("\n".join(about))

    def _choose(self, index: int) -> None:
        if index < self.adapters.count() - 1:
            self.refresh()
            return
        self._offer_adapters(_OWN if self._own is not None and self.adapter is self._own else _IN_USE)
        if path := QFileDialog.getExistingDirectory(self, "The folder of an adapter"):
            self.open_folder(Path(path))

    def _fill_conditions(self, screen: "Screen | None") -> None:
        """Offer the screen's conditions, and choose the adapter's with the wells that fine-tuning left out."""
        offers = [] if screen is None else offered(screen)
        for number, (box, likely) in enumerate(((self.source, control_of), (self.target, target_of))):
            if self.adapter is None or screen is None:
                box.fill(offers, None)
                continue
            try:
                whole = (self.adapter.source, self.adapter.target)[number].without_exclusions("Well")
                whole.mask(screen.table)
            except PhenolensError:
                box.fill(offers, likely(offers))  # the adapter is of another screen
                continue
            known = [index for index, offer in enumerate(offers) if "{}={}".format(*offer[:2]) == whole.text]
            box.fill(offers, known[0] if known else None)
            if not known:
                box.setEditText(whole.text)

    def _look(self, screen: "Screen | None") -> None:
        if self.adapter is None or screen is None:
            self.wells.forget()
            return
        chosen = []
        for box in (self.source, self.target):
            condition, _, wrong = box.condition(screen)
            if condition is None:
                self.wells.forget(wrong or "Choose the control and the treated condition.")
                return
            chosen.append(condition)
        self.wells.look(self.adapter, screen, chosen[0], chosen[1], self.unseen.isChecked())


def _name(adapter: "Adapter") -> str:
    return adapter.folder.name if adapter.folder is not None else " → ".join(map(short_condition, adapter.conditions))
