"""The second dock: a map of embeddings to read phenotypes on, linked to the cells in the image."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QSplitter, QVBoxLayout, QWidget

from phenolens.runtime.errors import PhenolensError
from phenolens.widgets.choices.projection_choice import ProjectionChoice
from phenolens.widgets.kit.dock_room import stand_beside
from phenolens.widgets.kit.section import Section
from phenolens.widgets.kit.style import SPACE, Note
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.map import jobs
from phenolens.widgets.map.classes import MapClasses
from phenolens.widgets.map.densities import MapDensities
from phenolens.widgets.map.encoder_box import EncoderBox
from phenolens.widgets.map.head import MapHead
from phenolens.widgets.map.link import MapLink
from phenolens.widgets.map.neighbours_panel import NeighboursPanel
from phenolens.widgets.map.pictures import MapPictures
from phenolens.widgets.map.predicting import MapPredicting
from phenolens.widgets.map.remembering import MapMemory
from phenolens.widgets.map.selecting import SelectionBox
from phenolens.widgets.map.session import COMPOUND, SYNTHETIC, MapData, MapSession
from phenolens.widgets.map.smiles_box import SmilesBox
from phenolens.widgets.map.theme import MapTheme
from phenolens.widgets.map.view import MapView
from phenolens.widgets.state.workplace import workplace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from phenolens.annotation.changes import CellKey
    from phenolens.annotation.classes import CellClass
    from phenolens.profiling.atlas.structure_search import Prediction
    from phenolens.runtime.progress import Job
    from phenolens.widgets.state.session import Session

WIDGET = "Phenolens map"
_EMPTY = (
    "No map yet.\n\nOpen the folder of an atlas, or a file of profiles.\n\nOr open a screen and find its cells in the "
    "Phenolens dock; then “Embed this screen” makes a map of them."
)


class MapDock(QWidget):
    """Open an atlas, or embed the open screen; click points and cells, draw around them, type a structure.

    Parameters
    ----------
    napari_viewer
        The viewer that the dock is in; napari hands it over.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.place = workplace(napari_viewer)
        self.session = session = MapSession()
        self.running = Running(self)
        self.head = MapHead()
        self.empty = Note(_EMPTY)
        self.view = MapView(session)
        self.densities = MapDensities(self, session, self.running, self.view)
        self.state = Note()
        self.comparison = Note()
        self.neighbours = NeighboursPanel(session, self._known_classes)
        self.selecting = SelectionBox(self._known_classes)
        self.encoder = EncoderBox(session, self.running)
        self.smiles = SmilesBox()
        self.projection = ProjectionChoice()
        self.link = MapLink(self, napari_viewer, self.place, session, self.state.say)
        self.classes = MapClasses(self, napari_viewer, self.place, session)
        self.predicting = MapPredicting(self, self.place, session, self.running, self.link.row_of_cell)
        self.pictures = MapPictures(self, self.place, session, self.running)
        self.memory = MapMemory(self, self.place, session, self.open_path, self.neighbours.set_count)
        self._worker: JobWorker | None = None
        self._followed: Session | None = None
        self._open = True
        self._lay_out()
        stand_beside(self, lambda: self.place.dock, "Map")
        self._connect()
        self._theme()
        self._show_data()
        self._encoder_changed()
        self._main_changed()

    def _lay_out(self) -> None:
        column = QWidget()
        stack = QVBoxLayout(column)
        stack.setContentsMargins(0, 0, SPACE, SPACE)
        stack.setSpacing(SPACE)
        predicting = QWidget()
        below = QVBoxLayout(predicting)
        below.setContentsMargins(0, 0, 0, SPACE)
        below.addWidget(self.smiles)
        below.addWidget(self.encoder)
        self.compound = Section("⌬", "Compound", predicting, "profiles")
        self.compound.unfold(False)
        for part in (
            self.view.selection, self.selecting, self.state, self.comparison, self.compound, self.neighbours,
            self.projection,
        ):  # fmt: skip
            stack.addWidget(part)
        stack.addStretch()
        area = QScrollArea()
        area.setWidget(column)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setMinimumHeight(90)
        self.parts = QSplitter(Qt.Orientation.Vertical)
        self.parts.setChildrenCollapsible(False)
        self.parts.addWidget(self.view)
        self.parts.addWidget(area)
        self.parts.setSizes([460, 400])
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(SPACE, SPACE, SPACE, 0)
        whole.setSpacing(SPACE)
        whole.addWidget(self.head)
        whole.addWidget(self.empty, 1)
        whole.addWidget(self.parts, 1)

    def _connect(self) -> None:
        session = self.session
        self.head.opened.connect(self.open_path)
        self.head.embedding.connect(self.embed)
        self.head.cancelled.connect(self._cancel)
        self.view.picked.connect(self.link.show_row)
        self.neighbours.chosen.connect(self.link.show_row)
        self.projection.chosen.connect(self._project)
        self.smiles.asked.connect(self._predict)
        self.smiles.cleared.connect(self._clear_compound)
        self.predicting.placed.connect(self._placed_compound)
        self.predicting.refused.connect(self.smiles.refuse)
        self.predicting.compared.connect(self.comparison.say)
        self.pictures.came.connect(self.neighbours.show_picture)
        self.selecting.to_class.chosen.connect(lambda name: self._give(self.classes.selected_cells(), name))
        self.selecting.layer.connect(self._make_layer)
        self.neighbours.classed.connect(lambda name: self._give(self.classes.cells(self._shown_rows()), name))
        session.selection_changed.connect(self._allow_classes)
        session.grouping_changed.connect(self._allow_classes)
        session.data_changed.connect(self._show_data)
        session.encoder_changed.connect(self._encoder_changed)
        session.marks_changed.connect(self._list)
        self.place.changed.connect(self._main_changed)
        self.viewer.events.theme.connect(self._theme)
        self.destroyed.connect(lambda: self._let_go())

    def open_path(self, path: str | Path) -> None:
        """Open the folder of an atlas, or a file of profiles, in the background."""
        path = Path(path)
        self._begin(jobs.open_map(path), f"Opening {path.name}", path)

    def embed(self) -> None:
        """Embed the cells of the screen that is open in the main dock, and make a map of them."""
        main = self.place.session
        if main is None or main.screen is None or main.cells is None or main.intensity is None:
            return
        name = main.screen_name or "screen"
        main.pen.collect()
        known = main.pen.profiles
        job = jobs.embed_screen(main.screen, main.cells, main.window_size(), main.intensity, name, known)
        self._begin(job, f"Embedding {name}")

    def _project(self, projection: str) -> None:
        """Draw the rows of the map by another projection."""
        data = self.session.data
        if data is None or self._worker is not None:
            self._show_projection()
            return

        def done(moved: MapData) -> None:
            if self.session.data is data:
                self.session.move_points(moved)

        self._run(jobs.project_anew(data, projection), "Another projection", done)

    def _show_projection(self) -> None:
        if self.session.data is not None:
            self.projection.show_projection(str(self.session.data.atlas.card.projection))

    def _begin(self, job: "Job[MapData]", name: str, path: Path | None = None) -> None:
        def done(data: MapData) -> None:
            main = self.place.session
            self.memory.opened(path)
            self.session.set_data(data, main.screen if main is not None else None)

        self._run(job, name, done)

    def _run(self, job: "Job[MapData]", name: str, done: "Callable[[MapData], None]") -> None:
        self.head.begin(f"{name}…")
        problem: list[str] = []

        def failed(error: BaseException) -> None:
            known = isinstance(error, PhenolensError)
            problem.append(str(error) if known else f"{name} failed; the notification has the details.")

        def finished() -> None:
            self._worker = None
            self.head.end()
            self._show_projection()
            if problem:
                self.head.about.say(problem[0], "error")
            elif self.session.data is not None:
                self.head.describe(self.session.data)
            else:
                self.head.about.say("")

        self._worker = self.running.start(
            job,
            name,
            progress=lambda now: self.head.about.say(
                f"{name}: {now.message} {now.step}/{now.total}" if now.total else f"{name}: {now.message}"
            ),
            done=done,
            failed=failed,
            finished=finished,
        )

    def _cancel(self) -> None:
        if self._worker is not None:
            self._worker.quit()

    def _show_data(self) -> None:
        there = self.session.data is not None
        self.empty.setVisible(not there)
        self.parts.setVisible(there)
        self.smiles.forget()
        self.state.say("")
        self._allow_classes()

    def _list(self) -> None:
        """List the neighbours anew, and fetch their pictures."""
        self.neighbours.waiting = self.pictures.waiting()
        self.neighbours.refresh()
        for column in (self.neighbours.left, self.neighbours.right):
            mark = self.session.marks.get(column.kind)
            if mark is not None and mark.kind in SYNTHETIC and (own := self.pictures.of_crop(mark.crop)) is not None:
                column.own.show_picture(own)
        self.pictures.want(self.neighbours.rows())

    def _known_classes(self) -> "tuple[CellClass, ...]":
        main = self.place.session
        return () if main is None else main.annotations.classes

    def _shown_rows(self) -> "NDArray[np.intp]":
        return np.array(self.neighbours.rows(), np.intp)

    def _allow_classes(self) -> None:
        """Enable what can be done with the selection and with the neighbours, or say why it cannot."""
        why, selected = self.classes.why_not(), self.session.selected
        self.selecting.show_for(-1 if selected is None else len(self.classes.selected_cells()), why)
        self.neighbours.to_class.allow(why)

    def _give(self, cells: "list[CellKey]", name: str | None) -> None:
        """Give cells a class, and say how many."""
        try:
            self.classes.annotate(cells, name)
        except PhenolensError as error:
            self.state.say(str(error), "error")
            return
        many = f"{len(cells):,} cell{'s' * (len(cells) != 1)}"
        self.state.say(f"{many}: {name if name is not None else 'no class'}. Ctrl+Z on the image undoes.")

    def _make_layer(self) -> None:
        layer = self.classes.make_layer()
        if layer is None:
            self.state.say("No selected cell lies in the shown field: go to a field that has some.", "warning")
        else:
            self.state.say(f"Made the layer {layer.name}: {len(layer.data):,} cells. It is yours to change and save.")

    def _main_changed(self) -> None:
        self._unfollow()
        self._followed = self.place.session
        if self._followed is not None:
            self._followed.screen_changed.connect(self._allow_embedding)
            self._followed.cells_changed.connect(self._allow_embedding)
        self._allow_embedding()

    def _unfollow(self) -> None:
        if self._followed is not None:
            self._followed.screen_changed.disconnect(self._allow_embedding)
            self._followed.cells_changed.disconnect(self._allow_embedding)
            self._followed = None

    def _allow_embedding(self) -> None:
        main = self.place.session
        why = ""
        if main is None or main.screen is None:
            why = "Open a screen in the Phenolens dock first."
        elif main.cells is None:
            why = "Find the cells of the screen in the Phenolens dock first."
        self.head.allow_embedding(why)

    def _encoder_changed(self) -> None:
        known = self.session.knows_compounds
        if self.session.encoder is None:
            self.smiles.allow("Load the encoder of this map first.")
            self.compound.mark("no encoder", done=False)
        elif known:
            self.smiles.allow("")
            self.compound.mark("type a SMILES", done=False)
        else:
            self.smiles.allow(
                "This encoder was trained without compounds and predicts none. Load one that was trained on a screen "
                "with structures (phenolens micon train)."
            )
            self.compound.mark("none known", done=False)

    def _predict(self, smiles: str, dose: float | None) -> None:
        self.smiles.begin()
        self.predicting.predict(smiles, dose)

    def _placed_compound(self, prediction: "Prediction") -> None:
        self.smiles.show_prediction(prediction)
        self.compound.mark(f"similarity {prediction.applicability.similarity:.2f}", done=True)

    def _clear_compound(self) -> None:
        self.session.remove(COMPOUND)
        self._encoder_changed()

    def _theme(self, _: Any = None) -> None:
        theme = MapTheme.of(self.viewer)
        self.view.set_theme(theme)
        self.densities.set_theme(theme)
        self.smiles.set_theme(theme)
        self.neighbours.theme = theme
        if self.session.data is not None:
            self._list()

    def _let_go(self) -> None:
        """Let go of the viewer and its main dock; also called when Qt has deleted this dock already."""
        if self._open:
            self._open = False
            self.running.stop()
            self.link.close()
            self.classes.close()
            self.predicting.close()
            self.memory.close()
            self._unfollow()
            self.place.changed.disconnect(self._main_changed)
            self.viewer.events.theme.disconnect(self._theme)

    def closeEvent(self, event: Any) -> None:
        """Stop what is going on and let go of the viewer."""
        self._let_go()
        self.view.canvas.close_canvas()
        super().closeEvent(event)


def open_map(viewer: Viewer) -> MapDock:
    """The viewer's map dock, opened where it is not open yet."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-phenolens", WIDGET)
    return dock
