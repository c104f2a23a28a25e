"""Step 4: click cells, move the slider, look at what changed, export."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QFileDialog, QHBoxLayout, QLabel, QMenu, QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.translation.model.known_adapters import remember_adapter
from phenolens.widgets.choices.translate_choices import TranslateChoices
from phenolens.widgets.compare.adapters import AdaptersWindow
from phenolens.widgets.compare.panel import ComparePanel
from phenolens.widgets.kit.conditions_box import short_condition
from phenolens.widgets.kit.eliding import ElidedComboBox
from phenolens.widgets.kit.style import AMBER, SPACE, Form, Note, action
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.layers.layer_groups import VIEWS
from phenolens.widgets.layers.synthetic_layers import SyntheticLayers
from phenolens.widgets.state.session import Session, TranslatedCell
from phenolens.widgets.translation import jobs
from phenolens.widgets.translation.held_channels import HeldChannels
from phenolens.widgets.translation.strength import StrengthSlider
from phenolens.widgets.translation.translating_all import TranslatingAll

if TYPE_CHECKING:
    from phenolens.translation.model.adapter import Adapter

_CLEARING = "clearing"
_VIEW_TIPS = (
    "The real pixels (key O; hold F to flicker)",
    "The field with the clicked cells translated: synthetic (key T; hold F to flicker)",
    "Translated minus original, signed: blue less, black no change, orange more; the bar is in intensity units (key D)",
)


class TranslatePanel(QWidget):
    """Adapter, click tool, slider, view and export.

    Parameters
    ----------
    session, running, layers, compare
        What is translated, what runs the work, what shows it, and what compares it.
    arm
        Called with whether clicks on the canvas pick cells.
    export
        Called with the folder to export to, and the format of the images.
    """

    figure_wanted = Signal(Path, float)

    def __init__(
        self,
        session: Session,
        running: Running,
        layers: SyntheticLayers,
        compare: ComparePanel,
        arm: Callable[[bool], None],
        export: Callable[[Path, str], Any],
    ) -> None:
        super().__init__()
        self.compare = compare
        compare.view_wanted.connect(self.show_view)
        self._session, self._running, self._layers, self._arm, self._export = session, running, layers, arm, export
        self._picked_channel = False
        self._waiting: Adapter | Path | None = None
        self.adapter = Note()
        self.load = action("Load…", "Open the folder of an adapter, or choose among those on this computer")
        ways = QMenu(self.load)
        ways.addAction("Folder…", self._ask_adapter)
        ways.addAction("Adapters on this computer…", self.show_adapters)
        self.load.setMenu(ways)
        self.adapters: AdaptersWindow | None = None
        self.click = action("Click a cell", "While this is on, a click on the image translates that cell", accent=True)
        self.click.setCheckable(True)
        self.click.toggled.connect(self._armed)
        self.all = action("All cells", "Translate every cell of the plane in view, behind your clicks")
        self.all.clicked.connect(self._start_or_cancel_all)
        self.translating_all = TranslatingAll(self, session, running)
        self.translating_all.changed.connect(self._show_all)
        self.why = Note()
        self.slider = StrengthSlider()
        self.slider.moved.connect(session.set_strength)
        self.value = QLabel()
        self.channel = ElidedComboBox()
        self.channel.setToolTip("Channel whose difference is shown")
        self.channel.activated.connect(self._choose_channel)
        self.held = HeldChannels()
        self.held.chosen.connect(session.set_held)
        self.choices = TranslateChoices(session)
        self.views = QButtonGroup(self)
        self.clear = action("Clear", "Forget the translated cells of this field")
        self.clear.clicked.connect(self._clear)
        self.export = action("Export", "Images (translated ones marked synthetic), labels, classes and provenance")
        formats = QMenu(self.export)
        for title, file_format in (("OME-TIFF and CSV…", "ome-tiff"), ("OME-Zarr…", "ome-zarr")):
            formats.addAction(title, lambda *_, chosen=file_format: self._ask_export(chosen))
        self.export.setMenu(formats)
        self.figure = action("Figure", "A picture of what changed, for a paper: PNG, SVG or PDF")
        widths = QMenu(self.figure)
        for title, width in (("Two columns wide (180 mm)…", 180.0), ("One column wide (88 mm)…", 88.0)):
            widths.addAction(title, lambda *_, chosen=width: self._ask_figure(chosen))
        self.figure.setMenu(widths)
        self.state = Note()
        self._lay_out()
        session.devices_changed.connect(self._devices_known)
        session.adapter_changed.connect(self._offer_held)
        session.adapter_changed.connect(self.refresh)
        session.screen_changed.connect(self.refresh)
        session.field_changed.connect(self.refresh)
        session.cells_changed.connect(self._show_all)
        session.plane_changed.connect(self._show_all)
        session.cell_changed.connect(self._cell)
        session.translated_changed.connect(self._came_or_went)
        session.steps.changed.connect(self._stepped)
        session.strength_changed.connect(lambda _: self._show_value())
        self._show_value()
        self.refresh()

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        top = QHBoxLayout()
        top.setSpacing(SPACE)
        top.addWidget(self.adapter, 1)
        top.addWidget(self.load)
        whole.addLayout(top)
        picking = QHBoxLayout()
        picking.setSpacing(SPACE)
        picking.addWidget(self.click, 1)
        picking.addWidget(self.all)
        whole.addLayout(picking)
        whole.addWidget(self.why)
        heading = QHBoxLayout()
        heading.addWidget(QLabel("Strength"))
        heading.addStretch()
        heading.addWidget(self.value)
        whole.addLayout(heading)
        whole.addWidget(self.slider)
        whole.addWidget(Note("A position between two learned conditions, not a dose."))
        segments = QHBoxLayout()
        segments.setSpacing(2)
        for index, (view, tip) in enumerate(zip(VIEWS, _VIEW_TIPS, strict=True)):
            button = action(view.capitalize(), tip)
            button.setCheckable(True)
            button.setChecked(index == 0)
            button.setStyleSheet(
                f"QPushButton:checked {{ background: {AMBER if index else '#61696e'}; color: black; }}"
            )
            self.views.addButton(button, index)
            segments.addWidget(button, 1)
        self.views.idClicked.connect(self._view)
        whole.addLayout(segments)
        whole.addWidget(self.compare)
        form = Form()
        form.row("Difference", self.channel)
        form.row("Unchanged", self.held)
        whole.addLayout(form)
        whole.addWidget(self.choices)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE)
        buttons.addWidget(self.export, 1)
        buttons.addWidget(self.figure, 1)
        buttons.addWidget(self.clear)
        whole.addLayout(buttons)
        whole.addWidget(self.state)

    def show_adapters(self) -> None:
        """Open the window of the adapters on this computer."""
        if self.adapters is None:
            self.adapters = AdaptersWindow(self, self._session, self._running)
            self.adapters.wanted.connect(self.load_adapter)
        self.adapters.refresh()
        self.adapters.show()
        self.adapters.raise_()

    def load_adapter(self, adapter: "Adapter | Path") -> None:
        """Load an adapter (or its folder) in the background; the one in use stays until the new one is ready."""
        name = str(adapter) if isinstance(adapter, Path) else "the new adapter"
        self.state.say("Loading the adapter…")
        self.load.setEnabled(False)
        if not self._session.devices:
            # "auto" has no meaning before the devices are known, moments after the dock has opened
            self._waiting = adapter
            return
        device = self._session.queue()

        def loaded(result: Any) -> None:
            self.state.say("")
            try:
                self._session.set_adapter(*result)
                if result[0].folder is not None:
                    remember_adapter(result[0].folder)
                if self.adapters is not None:
                    self.adapters.refresh()
            except PhenolensError as error:
                from napari.utils.notifications import show_error

                show_error(str(error))
                self.state.say(str(error), "error")

        def failed(error: BaseException) -> None:
            known = isinstance(error, PhenolensError)
            self.state.say(
                str(error) if known else f"{name} could not be loaded; the notification has the details.", "error"
            )

        self._running.start(
            jobs.load_translator(adapter, device),
            "Loading the adapter",
            device=device,
            priority=INTERACTIVE,
            done=loaded,
            failed=failed,
            finished=lambda: self.load.setEnabled(True),
        )

    def _devices_known(self) -> None:
        if self._waiting is not None:
            adapter, self._waiting = self._waiting, None
            self.load_adapter(adapter)

    def _offer_held(self) -> None:
        adapter, translator = self._session.adapter, self._session.translator
        if adapter is not None and translator is not None:
            self.held.offer(adapter.channel_names, translator.held, adapter.card.discriminative or {})

    def refresh(self) -> None:
        """Enable what is usable, and say in a sentence why the rest is not."""
        session = self._session
        direction = session.direction()
        words = " → ".join(map(short_condition, direction)) if direction else "No adapter loaded."
        draft = "" if session.adapter is None else session.adapter.unfinished
        self.adapter.say(f"{words} · still training, {draft}" if draft else words, "warning" if draft else "quiet")
        self.adapter.setToolTip(str(session.adapter.folder) if session.adapter is not None else "")
        why = ""
        if session.translator is None:
            why = "Fine-tune, or load an adapter."
        elif session.field is None:
            why = "Open a screen first."
        self.why.say(why)
        self.click.setEnabled(not why)
        self.held.setEnabled(session.translator is not None)
        if why:
            self.click.setChecked(False)
        self._show_all()
        some = bool(session.in_field())
        for widget in (self.slider, self.channel, self.figure, *self.views.buttons()):
            widget.setEnabled(some)
        self.export.setEnabled(session.field is not None)
        back = self._can_bring_back()
        self.clear.setEnabled(some or back)
        self.clear.setText("Bring back" if back else "Clear")
        self.clear.setToolTip(
            "Show the cells again that were cleared" if back else "Forget the translated cells of this field"
        )
        names = [] if session.screen is None else list(session.screen.channel_names)
        if names != [self.channel.itemText(i) for i in range(self.channel.count())]:
            self.channel.clear()
            self.channel.addItems(names)
            self._picked_channel = False
        if not some:
            self.views.button(0).setChecked(True)

    def show_view(self, view: str) -> None:
        """Show the original, the translated field or the difference."""
        self.compare.leave_side_by_side()
        self.views.button(VIEWS.index(view)).setChecked(True)
        self._layers.set_view(view, self.channel.currentIndex())

    def _view(self, index: int) -> None:
        self.show_view(VIEWS[index])

    def _choose_channel(self) -> None:
        self._picked_channel = True
        self.show_view("difference")

    def _armed(self, on: bool) -> None:
        self._arm(on)
        self.click.setText("Clicking is on" if on else "Click a cell")
        if on:
            self.why.say("Click a cell on the image; drag still pans.")
        else:
            self.refresh()

    def _start_or_cancel_all(self) -> None:
        if self.translating_all.running:
            self.translating_all.cancel()
        else:
            self.translating_all.start()

    def _show_all(self) -> None:
        """Say what the button does now: start, or cancel and how far it is."""
        work = self.translating_all
        if work.running:
            self.all.setText(f"Cancel · {work.done}/{work.total}")
            self.all.setEnabled(True)
            return
        left = len(work.left()) if self._session.translator is not None else 0
        self.all.setText(f"All cells · {left}" if left else "All cells")
        self.all.setEnabled(bool(left))

    def _cell(self, cell: TranslatedCell) -> None:
        here = self._session.in_field()
        self.refresh()
        if not self._session.holds(cell):
            self._layers.set_view(self._layers.view if here else "original")
            return
        if cell.translation is None:
            self.state.say(f"Translating {cell.name}…")
            return
        if not self._picked_channel:
            self.channel.setCurrentIndex(self._layers.strongest_channel())
        if self.compare.side_by_side.on:
            pass  # both are seen
        elif self._layers.view == "original":
            self.show_view("translated")
        elif self._layers.view == "difference":
            self.show_view("difference")
        done = sum(known.translation is not None for known in here)
        self.state.say(f"{done} translated {'cell' if done == 1 else 'cells'} in this field.")

    def _show_value(self) -> None:
        strength = self._session.strength
        past = strength > 1
        self.value.setText(f"{strength:.2f} · extrapolation" if past else f"{strength:.2f}")
        self.value.setStyleSheet(f"font-weight: bold; color: {AMBER};" if past else "font-weight: bold;")
        self.slider.blockSignals(True)
        self.slider.set_value(strength)
        self.slider.blockSignals(False)

    def _can_bring_back(self) -> bool:
        steps = self._session.steps
        return not self._session.in_field() and steps.undoable.startswith(_CLEARING) and steps.is_last

    def _clear(self) -> None:
        """Forget the cells of the field; or, where that was the last thing done, take it back."""
        if self._can_bring_back():
            self._session.steps.undo()
            return
        cells = self._session.in_field()
        self._session.exchange(cells)
        many = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
        self._session.steps.did(f"{_CLEARING} {many}", removed=cells)
        self.state.say(f"Cleared {many}. Ctrl+Z brings {'them' if len(cells) != 1 else 'it'} back.")

    def _came_or_went(self) -> None:
        """Several cells came back or went at once."""
        some = self._session.in_field()
        self.refresh()
        self._layers.set_view(self._layers.view if some else "original")
        if some and self._layers.view == "original":
            self.show_view("translated")

    def _stepped(self, words: str) -> None:
        if words:
            self.state.say(words)
        self.refresh()

    def _ask_adapter(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Load an adapter")
        if path:
            self.load_adapter(Path(path))

    def _ask_export(self, file_format: str) -> None:
        path = QFileDialog.getExistingDirectory(self, "Export to a new folder in")
        if path:
            self._export(Path(path), file_format)

    def _ask_figure(self, width_mm: float) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Draw a figure", "figure.pdf", "PDF (*.pdf);;SVG (*.svg);;PNG (*.png)"
        )
        if path:
            self.figure_wanted.emit(Path(path), width_mm)
