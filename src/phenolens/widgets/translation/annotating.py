"""Annotating on the image: which cell the pointer is on, what a click and a key do with it, and the way to a cell."""

from typing import TYPE_CHECKING

from napari import Viewer

from phenolens.widgets.layers.annotation_keys import AnnotationKeys
from phenolens.widgets.layers.cells_layer import deletes_cells
from phenolens.widgets.layers.click import ClickTool
from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.layers.layer_keys import at_rest
from phenolens.widgets.layers.ring import Ring, look_at
from phenolens.widgets.state.cell_lookup import centre_of
from phenolens.widgets.state.session import Session
from phenolens.widgets.state.translation_steps import STROKE
from phenolens.widgets.translation.annotate_panel import AnnotatePanel

if TYPE_CHECKING:
    from phenolens.annotation.changes import CellKey


class Annotating:
    """Hands the cells that are meant on the canvas over to the panel.

    Parameters
    ----------
    viewer, session, layers, panel
        Whose pointer and keys, whose cells, where they are shown, and what is done with them.
    """

    def __init__(self, viewer: Viewer, session: Session, layers: FieldLayers, panel: AnnotatePanel) -> None:
        self._viewer, self._session, self._layers, self._panel = viewer, session, layers, panel
        self._wanted: CellKey | None = None
        self._ring = Ring(viewer, "chosen cell")
        self._click = ClickTool(viewer, layers, self._clicked)
        self._click.on = True
        self.keys = AnnotationKeys(
            viewer,
            session,
            cells=lambda: layers.brush,
            annotate=lambda number: panel.annotate(self.cell_meant(), number),
            undo=self.undo,
            redo=self.redo,
            next_unsure=panel.show_next,
            delete=self.delete,
        )
        session.field_changed.connect(self._arrive)
        session.pen.chosen_changed.connect(self._ring.hide)
        panel.wanted.connect(self.show)

    def detach(self) -> None:
        """Let go of the viewer."""
        self._click.detach()
        self.keys.detach()

    def cell_meant(self) -> "CellKey | None":
        """The cell under the pointer while it is on the canvas, else the chosen one."""
        if self._viewer.mouse_over_canvas and (cell := self._at(self._viewer.cursor.position)) is not None:
            return cell
        return self._session.pen.chosen

    def undo(self) -> None:
        """Undo what was done last: a translation, a stroke of the brush, an annotation; the stroke while one draws."""
        steps, cells = self._session.steps, self._layers.cells
        if self._draws() and cells.step_back():
            return
        if not (steps.is_last and steps.undo()) and not self._undo_on_cells():
            steps.undo()

    def _undo_on_cells(self) -> bool:
        cells, annotations = self._layers.cells, self._session.annotations
        last = self._session.steps.last_other
        brush = last == STROKE or deletes_cells(annotations.undoable) or (not last and cells.painted_last)
        return (brush and cells.step_back()) or bool(annotations.undo()) or cells.step_back()

    def redo(self) -> None:
        """Do the last undone thing again."""
        steps, cells = self._session.steps, self._layers.cells
        if self._draws() and cells.step_forth():
            return
        if steps.is_next and steps.redo():
            return
        brush = steps.next_other == STROKE or (not steps.next_other and cells.painted_last)
        if not (brush and cells.step_forth()) and not self._session.annotations.redo():
            steps.redo()

    def _draws(self) -> bool:
        layer = self._layers.brush
        return layer is not None and not at_rest(layer) and self._viewer.layers.selection.active == layer

    def delete(self) -> None:
        """Rub out the cell that is meant: while one draws, the one that the brush paints."""
        layer = self._layers.brush
        if layer is not None and not at_rest(layer):
            self._layers.cells.delete(int(layer.selected_label))
        elif (cell := self.cell_meant()) is not None and cell[0] == self._layers.cells.field:
            self._layers.cells.delete(cell[1])

    def show(self, cell: "CellKey") -> None:
        """Move the viewer to a cell, and encircle it; its field is opened where it is not on display."""
        self._wanted = cell
        if self._session.field is not None and self._session.field.key == cell[0]:
            self._arrive()
        else:
            self._session.ask_for_field(cell[0])

    def _arrive(self) -> None:
        cell, session = self._wanted, self._session
        if cell is None or session.cells is None or session.field is None or session.field.key != cell[0]:
            self._ring.hide()
            return
        centre = centre_of(session.cells, cell)
        if centre is None or not self._layers.channels:
            return
        self._wanted = None
        layer, size = self._layers.channels[0], float(session.window_size())
        look_at(self._viewer, layer, centre, size)
        self._ring.show(centre, size, layer)

    def _clicked(self, y: float, x: float) -> None:
        if not at_rest(self._viewer.layers.selection.active):
            return
        cell = self._session.cell_key_at(y, x)
        if cell is not None:
            self._session.pen.choose(cell)
            if (layer := self._layers.brush) is not None:
                layer.selected_label = cell[1]  # the brush goes on with this cell

    def _at(self, position: tuple[float, ...]) -> "CellKey | None":
        if not self._layers.channels or self._viewer.dims.ndisplay != 2:
            return None
        layer = self._layers.channels[0]
        y, x = layer.world_to_data(position)[-2:]
        height, width = layer.data.shape[-2:]
        if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
            return None
        return self._session.cell_key_at(float(y), float(x))
