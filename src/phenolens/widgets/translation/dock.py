"""The dock: numbered steps from a screen to a translated cell, and whether it is more than noise."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari import Viewer
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QFrame, QScrollArea, QShortcut, QVBoxLayout, QWidget

from phenolens.runtime.errors import CellError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.compare.panel import ComparePanel
from phenolens.widgets.help.help_button import HelpButton
from phenolens.widgets.help.tour import Tour
from phenolens.widgets.help.walk_keys import WalkKeys
from phenolens.widgets.kit.canvas_context import CanvasContext
from phenolens.widgets.kit.closing import Closing
from phenolens.widgets.kit.dock_room import keep_room_for_the_image
from phenolens.widgets.kit.plugin_preferences import follow_preferences, take_first_start
from phenolens.widgets.kit.section import Section
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.layers.click import ClickTool
from phenolens.widgets.layers.drawings import Drawings
from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.layers.layer_keys import LayerKeys
from phenolens.widgets.layers.noise_layers import NoiseLayers
from phenolens.widgets.layers.plane_in_view import PlaneInView
from phenolens.widgets.layers.plane_reading import PlaneReading
from phenolens.widgets.layers.synthetic_layers import SyntheticLayers
from phenolens.widgets.plates.whole_plate import WholePlate
from phenolens.widgets.state.session import Session, TranslatedCell
from phenolens.widgets.state.workplace import workplace
from phenolens.widgets.translation import jobs
from phenolens.widgets.translation.ahead import TranslatingAhead
from phenolens.widgets.translation.annotate_panel import AnnotatePanel
from phenolens.widgets.translation.annotating import Annotating
from phenolens.widgets.translation.cells_panel import CellsPanel
from phenolens.widgets.translation.export import drawn_layers, export_job, looks_of
from phenolens.widgets.translation.figure_job import figure_job
from phenolens.widgets.translation.finetune_panel import FinetunePanel
from phenolens.widgets.translation.noise_panel import NoisePanel
from phenolens.widgets.translation.screen_panel import ScreenPanel
from phenolens.widgets.translation.sessions import Sessions
from phenolens.widgets.translation.translate_panel import TranslatePanel
from phenolens.widgets.translation.translating import Translating

if TYPE_CHECKING:
    from phenolens.translation.model.adapter import Adapter

_Listening = TranslatingAhead | ClickTool | CellsPanel | PlaneInView | Annotating | Drawings | LayerKeys | CanvasContext


class PhenolensDock(QWidget):
    """Open a screen, find its cells, fine-tune on two conditions, click cells to see them treated.

    Parameters
    ----------
    napari_viewer
        The viewer that the dock is in; napari hands it over.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        follow_preferences()
        self.viewer = napari_viewer
        self.session = Session()
        self.running = Running(self)
        self.canvas_context = CanvasContext(napari_viewer, self)
        self.field_layers = FieldLayers(napari_viewer, self.session)
        self.plane_reading = PlaneReading(self, napari_viewer, self.session, self.running)
        self.drawings = Drawings(napari_viewer, self.session)
        self.plane_in_view = PlaneInView(napari_viewer, self.session, self.field_layers)
        self.synthetic = SyntheticLayers(napari_viewer, self.session, self.field_layers)
        self.ahead = TranslatingAhead(self, napari_viewer, self.session, self.running, self.field_layers)
        self.translating = Translating(self, self.session, self.running, self.ahead.take)
        self.click_tool = ClickTool(napari_viewer, self.field_layers, self.translating.translate)
        self.screen_panel = ScreenPanel(napari_viewer, self.session, self.running, self.field_layers)
        self.cells_panel = CellsPanel(napari_viewer, self.session, self.running, self.field_layers)
        self.annotate_panel = AnnotatePanel(self.session, self.running)
        self.annotating = Annotating(napari_viewer, self.session, self.field_layers, self.annotate_panel)
        self.finetune_panel = FinetunePanel(self.session, self.running)
        self.compare_panel = ComparePanel(napari_viewer, self.session, self.running, self.field_layers, self.synthetic)
        self.translate_panel = TranslatePanel(
            self.session, self.running, self.synthetic, self.compare_panel, self._arm, self.export
        )
        self.translate_panel.figure_wanted.connect(self.draw_figure)
        self.noise_layers = NoiseLayers(napari_viewer, self.session, self.field_layers, self.synthetic)
        self.noise_panel = NoisePanel(self.session, self.running, self.noise_layers)
        self.translate_panel.channel.currentIndexChanged.connect(self.noise_layers.set_channel)
        self.translate_panel.views.idClicked.connect(lambda _: self.noise_panel.hide_picture())
        self.finetune_panel.tuned.connect(self._tuned)
        panels = (
            ("Screen", self.screen_panel, "your_data"),
            ("Cells", self.cells_panel, "quickstart"),
            ("Fine-tune", self.finetune_panel, "how_it_works"),
            ("Translate", self.translate_panel, "how_it_works"),
            ("More than noise?", self.noise_panel, "noise_floor"),
        )
        self.sections = [Section(number, *about) for number, about in enumerate(panels, start=1)]
        self.whole_plate_panel = WholePlate(self.session)
        self.whole_plate = Section("▦", "Whole plate", self.whole_plate_panel, "plates")
        self.annotate = Section("✎", "Annotate", self.annotate_panel, "annotation")
        self.walk_keys = WalkKeys(napari_viewer, self.session, self.annotating.show)
        self.tour = Tour(self._show_step)
        self.help = HelpButton(self, self.tour.begin)
        self.sessions = Sessions(self, self)
        self.sessions.box.add(self.help)
        self.closing = Closing(self, self._going_on, self._stop)
        self._lay_out()
        session = self.session
        for signal in (
            session.screen_changed,
            session.cells_changed,
            session.adapter_changed,
            session.cell_changed,
            session.translated_changed,
            session.field_changed,
            session.floor_changed,
        ):
            signal.connect(self._mark)
        session.screen_changed.connect(self._screen_opened)
        self.cells_panel.found.connect(lambda: self.sections[2].unfold())
        session.pen.changed.connect(self._mark_annotations)
        session.adapter_changed.connect(self._adapter_loaded)
        for section in (*self.sections[1:], self.annotate, self.whole_plate):
            section.unfold(False)
        self.whole_plate.unfold(self.whole_plate_panel.busy)
        for keys, step in (("Ctrl+Z", self.annotating.undo), ("Ctrl+Shift+Z", self.annotating.redo)):
            shortcut = QShortcut(QKeySequence(keys), self)  # on the image they are bound to its layers
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(step)
        self._mark()
        if take_first_start():
            self.tour.begin()
        running = self.running
        listening = (
            self.ahead, self.click_tool, self.cells_panel, self.plane_in_view, self.annotating, self.drawings,
            self.compare_panel.keys, self.walk_keys, self.canvas_context,
        )  # fmt: skip
        sessions = self.sessions
        here = workplace(napari_viewer)

        def let_go() -> None:
            sessions.close()
            _release(running, *listening)
            here.leave(session)

        self._let_go = let_go
        self.destroyed.connect(let_go)
        here.enter(self, session, self.field_layers, sessions.memory)
        self.running.start(jobs.name_devices(), "Looking for devices", device=None, bar=False, done=session.set_devices)

    def _lay_out(self) -> None:
        column = QWidget()
        stack = QVBoxLayout(column)
        stack.setContentsMargins(0, 0, 0, 0)
        stack.setSpacing(0)
        stack.addWidget(self.sessions.box)
        stack.addWidget(self.tour)
        for section in (*self.sections[:2], self.annotate, *self.sections[2:], self.whole_plate):
            stack.addWidget(section)
        stack.addStretch()
        area = QScrollArea()
        area.setWidget(column)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)
        keep_room_for_the_image(self, "Phenolens")

    def _show_step(self, step: int) -> None:
        for number, section in enumerate(self.sections):
            section.unfold(number == step)

    def open_screen(self, path: str | Path) -> None:
        """Open a table, a folder or an image in the background."""
        self.screen_panel.open_path(path)

    def take_up(self, session: str | Path) -> None:
        """Bring back a session that was saved, in the background, and go on with it."""
        self.sessions.take_up(session)

    def load_adapter(self, adapter: "Adapter | str | Path") -> None:
        """Load an adapter in the background."""
        self.translate_panel.load_adapter(Path(adapter) if isinstance(adapter, str) else adapter)

    def export(self, folder: Path, file_format: str = "ome-tiff") -> None:
        """Write the shown field, and those with translated cells or drawings, to a new folder in `folder`."""
        state = self.translate_panel.state

        def written(out: Path) -> None:
            state.say(f"Exported to {out}.")
            show_info(f"Exported to {out}.")

        state.say("Exporting…")
        self.session.pen.collect()
        channels, made = self.field_layers.channels, self.synthetic
        looks = looks_of(channels, made.translated, made.differences)
        drawn = drawn_layers(self.viewer.layers)
        self.running.start(
            export_job(self.session, folder, looks, drawn, file_format),
            "Exporting",
            priority=INTERACTIVE,
            done=written,
            failed=lambda error: state.say(str(error), "error"),
        )

    def _going_on(self) -> str:
        """The long work that is going on, in words; empty where there is none."""
        parts = []
        for job, name in ((self.finetune_panel.job, "Fine-tuning"), (self.noise_panel.job, "Fitting the noise floor")):
            if job.busy:
                parts.append(f"{name}, {job.bar.value()} of {job.bar.maximum()}" if job.bar.maximum() > 0 else name)
        if self.translate_panel.translating_all.running:
            parts.append("Translating all cells")
        return " and ".join(parts)

    def _stop(self) -> None:
        """End all long work at its next step."""
        self.finetune_panel.job.stop()
        self.noise_panel.job.stop()
        self.translate_panel.translating_all.cancel()

    def draw_figure(self, path: Path, width_mm: float) -> None:
        """Draw a figure of the translated cells of the plane in view to a PNG, SVG or PDF file."""
        state, made = self.translate_panel.state, self.synthetic
        looks = looks_of(self.field_layers.channels, made.translated, made.differences)
        try:
            job = figure_job(self.session, path, looks, width_mm)
        except CellError as error:
            state.say(str(error), "error")
            return
        state.say("Drawing the figure…")
        self.running.start(
            job,
            "Drawing the figure",
            priority=INTERACTIVE,
            done=lambda out: state.say(f"Wrote {out}."),
            failed=lambda error: state.say(str(error), "error"),
        )

    def _arm(self, on: bool) -> None:
        self.click_tool.on = on

    def _tuned(self, adapter: "Adapter") -> None:
        self.load_adapter(adapter)

    def _screen_opened(self) -> None:
        self.sections[1].unfold()

    def _adapter_loaded(self) -> None:
        if self.session.adapter is not None:
            self.sections[3].unfold()

    def _mark(self, _: TranslatedCell | None = None) -> None:
        session = self.session
        screen, cells = session.screen, session.cells
        self.sections[0].mark(session.screen_name, done=screen is not None)
        self.sections[1].mark(f"{len(cells.table):,}" if cells is not None else "", done=cells is not None)
        adapter = session.adapter
        ready_to_use = adapter is not None and not adapter.unfinished
        said = "adapter ready" if ready_to_use else "still training" if adapter is not None else ""
        self.sections[2].mark(said, done=ready_to_use)
        ready = sum(cell.translation is not None for cell in session.in_field())
        self.sections[3].mark(f"{ready} in this field" if ready else "", done=ready > 0)
        self.sections[4].mark("floor ready" if session.floor is not None else "", done=session.floor is not None)

    def _mark_annotations(self, _: Any = None) -> None:
        counts = self.session.annotations.counts()
        total = sum(counts.values())
        self.annotate.mark(f"{total:,} in {len(counts)} class{'es' * (len(counts) != 1)}" if total else "", total > 0)

    def closeEvent(self, event: Any) -> None:
        """Take in what was painted last, stop what is going on, and leave the viewer's layers as they are."""
        self.compare_panel.close_down()
        self.field_layers.cells.close()
        self._let_go()
        super().closeEvent(event)


def _release(running: Running, *listening: _Listening) -> None:
    """Let go of the viewer; also called when Qt has deleted the dock already."""
    running.stop()
    for one in listening:
        one.detach()
