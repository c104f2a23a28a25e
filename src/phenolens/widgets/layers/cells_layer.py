"""The Labels layer of the cells: outlines in the colours of their classes, corrected with napari's own brush."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Labels, Layer
from napari.utils.notifications import show_error
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from phenolens.annotation.changes import CellKey, Value
from phenolens.annotation.columns import checked_column, checked_value
from phenolens.runtime.errors import AnnotationError, CellError
from phenolens.widgets.layers.cell_colours import CellColours, recolour
from phenolens.widgets.layers.class_colours import OURS, cell_features, dash_colours, outline_colours
from phenolens.widgets.layers.label_levels import label_levels, too_large_to_paint
from phenolens.widgets.layers.part_layer import PartLayer, Patch
from phenolens.widgets.layers.suggested_layer import MOST_PIXELS, SuggestedLayer
from phenolens.widgets.state.session import Session
from phenolens.widgets.state.translation_steps import STROKE

_SETTLE_MS = 300
_SETTLE_PART_MS = 1000  # of a large field, whose label image is copied whole for each correction
_LARGE = 24  # pixels across


class CellsLayer:
    """Shows the cells of the field, takes in what is painted and what is written into the columns of its features.

    Parameters
    ----------
    viewer, session
        Where they are shown, and whose cells.
    place
        Keyword arguments that place a layer on the shown field.
    below
        The layer that stays active when this one is added.
    """

    def __init__(
        self, viewer: Viewer, session: Session, place: Callable[[], dict[str, Any]], below: Callable[[], Layer]
    ) -> None:
        self._viewer, self._session, self._place, self._below = viewer, session, place, below
        self.layer: Labels | None = None
        self._suggested = SuggestedLayer(viewer, place)
        self._part = PartLayer(viewer, place, self._painted, self._settled)
        self._field = ""
        self._base: NDArray[Any] | None = None
        self._highest: dict[str, int] = {}
        self._columns: dict[CellKey, dict[str, Any]] = {}
        self._written: Any = None
        self._painted_last = self._applying = self._classed = False
        self._soon = QTimer()
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.apply)
        session.cells_changed.connect(self.show)
        session.pen.changed.connect(self._say)
        session.pen.collecting.connect(self.apply)

    @property
    def layers(self) -> list[Labels]:
        """All layers that show the cells."""
        return [layer for layer in (self.layer, self._suggested.layer, self._part.layer) if layer is not None]

    @property
    def brush(self) -> Labels | None:
        """The layer that the brush paints in: of a large field, that of the part in view, where it is open."""
        part = self._part.layer
        return part if part is not None and part in self._viewer.layers else self.layer

    @property
    def field(self) -> str:
        """Key of the field whose cells are shown; empty where none are."""
        return self._field

    def forget(self) -> None:
        """Show no cells: another screen is opened. The layer is its caller's to remove."""
        self._soon.stop()
        self._suggested.forget()
        self._part.forget()
        self.layer, self._base, self._field = None, None, ""
        self._highest, self._columns = {}, {}
        self._classed = False

    def close(self) -> None:
        """Take in what was painted last, and stop listening."""
        self.apply()
        self._soon.stop()

    def show(self) -> None:
        """Show the cells of the session's field."""
        self.apply()
        field, cells = self._session.field, self._session.cells
        labels = cells.labels.get(field.key) if field is not None and cells is not None else None
        if self.layer is not None and self.layer not in self._viewer.layers:
            self.layer = None
        if labels is None or field is None:
            self._part.forget()
            for layer in self.layers:
                layer.visible = False
            self._base, self._field = None, ""
            return
        another = field.key != self._field or not self._shows(labels)
        if another and not self._applying:
            self._part.forget()
        self._base, self._field = labels, field.key
        if self.layer is not None and self.layer.multiscale != too_large_to_paint(labels):
            self._viewer.layers.remove(self.layer)
            self.layer = None
        if self.layer is None:
            self._add(labels)
        elif another:
            self.layer.data = _shown(labels)
            self.layer.visible = True
            self._painted_last = self._applying
        assert self.layer is not None
        self.layer.metadata["phenolens"]["field"] = field.key
        self._say(None)

    def _shows(self, labels: NDArray[Any]) -> bool:
        """Whether the layer shows these labels."""
        if self.layer is None or self.layer.multiscale or too_large_to_paint(labels):
            return labels is self._base
        return np.array_equal(self.layer.data, labels)

    def apply(self) -> None:
        """Count the cells as they are painted now, and keep what was written into columns of the user's own."""
        self._soon.stop()
        cells, layer = self._session.cells, self.layer
        if layer is None or layer not in self._viewer.layers or cells is None or self._base is None:
            return
        if self._applying or cells.labels.get(self._field) is not self._base:
            return  # what was painted is being counted, or the cells were found anew meanwhile
        self._remember_columns()
        if layer.multiscale:  # which is not painted in itself
            if (patch := self._part.painted(self._base)) is not None:
                self._correct_part(patch.corner, patch.after)
            return
        painted = np.asarray(layer.data)
        if np.array_equal(painted, self._base):
            return
        labels = np.array(painted, np.int32)
        self._highest[self._field] = max(self._highest.get(self._field, 0), int(self._base.max(initial=0)))
        base, self._base = self._base, labels  # what follows must not find anything to apply
        self._applying = True
        try:
            self._session.correct_cells(self._field, labels)
        except CellError as error:
            self._base = base
            show_error(str(error))
        finally:
            self._applying = False

    def free_label(self) -> int:
        """A label that no cell of the field has or has had."""
        layer, table = self.layer, None if self._session.cells is None else self._session.cells.table
        known = [self._highest.get(self._field, 0)]
        if layer is not None and not layer.multiscale:
            known.append(int(np.max(layer.data, initial=0)))
        if table is not None:
            known.append(int(table.loc[table["field"] == self._field, "label"].max() or 0) if len(table) else 0)
        self._highest[self._field] = max(known)
        return max(known) + 1

    def begin_cell(self) -> int | None:
        """Take the brush to paint a new cell; return its label, or None where none can be painted."""
        if self.layer is None or self._base is None:
            return None
        self.apply()
        label, layer = self.free_label(), self.layer
        if layer.multiscale:
            layer = self._part.open(layer, self._base, self._field)
            self._say(None)
        self._viewer.layers.selection.active = layer
        layer.visible = True
        layer.selected_label = label
        layer.mode = "paint"
        return label

    def delete(self, label: int) -> bool:
        """Rub a cell out; the brush's undo brings it back. False where the field has no such cell."""
        layer = self.layer
        if layer is None or self._base is None or not label:
            return False
        if layer.multiscale:
            return self._delete_part(label)
        there = np.nonzero(np.asarray(layer.data) == label)
        if not len(there[0]):
            return False
        layer.data_setitem(there, 0)
        self._painted_last = True
        self.apply()
        return True

    @property
    def painted_last(self) -> bool:
        """Whether the brush was used after the last class was given."""
        return self._painted_last

    def step_back(self) -> bool:
        """Undo the last stroke of the brush, and what it did to annotations; return whether there was one."""
        return self._step(undo=True)

    def step_forth(self) -> bool:
        """Paint the last undone stroke again; return whether there was one."""
        return self._step(undo=False)

    def _step(self, undo: bool) -> bool:
        layer, annotations = self.layer, self._session.annotations
        if layer is None or self._base is None:
            return False
        self.apply()
        before = self._base
        if layer.multiscale:
            return self._step_part(undo)
        if undo:
            layer.undo()
        else:
            layer.redo()
        self.apply()
        if self._base is before:
            return False  # there was no stroke
        back = set(np.unique(self._base)) - set(np.unique(before))
        if undo and back and deletes_cells(annotations.undoable):
            annotations.undo()  # what was said of the cell comes back with it
        self._painted_last = True
        self._session.steps.other(STROKE, "undone" if undo else "redone")
        return True

    def _step_part(self, undo: bool) -> bool:
        patch, annotations = self._part.step(undo), self._session.annotations
        if patch is None:
            return False
        before = self._labels_here()
        self._correct_part(patch.corner, patch.before if undo else patch.after)
        if undo and self._labels_here() - before and deletes_cells(annotations.undoable):
            annotations.undo()
        self._painted_last = True
        self._session.steps.other(STROKE, "undone" if undo else "redone")
        return True

    def _delete_part(self, label: int) -> bool:
        from phenolens.screens.cell_editing import outline_of

        self.apply()
        if self._session.cells is None or self._base is None or label not in self._labels_here():
            return False
        (top, left), mask = outline_of(self._session.cells, self._field, label)
        before = self._base[top : top + mask.shape[0], left : left + mask.shape[1]]
        if (patch := Patch.between(before, np.where(mask, 0, before), (top, left))) is None:
            return False
        self._part.note(patch)
        self._session.steps.other(STROKE)
        self._correct_part(patch.corner, patch.after)
        self._painted_last = True
        return True

    def _labels_here(self) -> set[int]:
        """Labels of the cells that the field has."""
        cells = self._session.cells
        return set() if cells is None else set(cells.table.loc[cells.table["field"] == self._field, "label"].tolist())

    def _correct_part(self, corner: tuple[int, int], after: NDArray[Any]) -> None:
        """Make a part of the field's labels what was painted."""
        self._highest[self._field] = max(self._highest.get(self._field, 0), *self._labels_here(), 0)
        self._applying = True
        try:
            self._session.correct_cells(self._field, after, corner)
        except CellError as error:
            show_error(str(error))
        finally:
            self._applying = False
        if self._base is not None:
            self._part.show(self._base)

    def _settled(self) -> NDArray[Any] | None:
        """Take in what was painted, and return the labels of the field."""
        self.apply()
        return self._base

    def _painted(self, _: Any = None) -> None:
        self._painted_last = True
        self._session.steps.other(STROKE)
        large = self.layer is not None and self.layer.multiscale
        self._soon.start(_SETTLE_PART_MS if large else _SETTLE_MS)

    def _add(self, labels: NDArray[Any]) -> None:
        made = {"phenolens": {"made": True, "synthetic": False, "kind": "cells"}}
        layer = Labels(
            _shown(labels), name="cells", metadata=made, multiscale=too_large_to_paint(labels), **self._place()
        )
        layer.contour, self._classed = 1, False
        layer.events.paint.connect(self._painted)
        self.layer = layer
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = self._below()

    def _say(self, keys: tuple[CellKey, ...] | None) -> None:
        """Write into features and outlines what is said of the cells; `keys` are those that changed."""
        layer, cells = self.layer, self._session.cells
        if layer is None or layer not in self._viewer.layers or cells is None or self._base is None:
            return
        if keys is not None and not any(field == self._field for field, _ in keys):
            return
        self._remember_columns()
        if keys is not None and not self._applying:
            self._painted_last = False
        table = cells.table
        labels = table.loc[table["field"] == self._field, "label"].to_numpy()
        features = cell_features(self._session.annotations, self._field, labels)
        self._add_unsaved(features)
        layer.features, self._written = features, features.copy()
        annotations = self._session.annotations
        if annotations.classes and not self._classed:
            self._classed = True
            # colours are told apart in thick lines; once, for the user may want others
            layer.contour, layer.opacity = self._line_width(), 1.0
        dashed = self._base.size <= MOST_PIXELS
        colours = outline_colours(annotations, self._field, dashed)
        recolour(layer, CellColours.of_cells(labels, colours))
        self._part.dress(labels, colours, layer)
        self._suggested.show(self._base, labels, dash_colours(annotations, self._field), self._line_width())

    def _line_width(self) -> int:
        """Pixels that an outline may take of a cell: one where cells are small, or little of them would be seen."""
        cells = self._session.cells
        middle = 0.0 if cells is None or not len(cells) else float(np.sqrt(cells.table["area"].median()))
        return 2 if middle >= _LARGE else 1

    def _remember_columns(self) -> None:
        """Make columns that the user wrote part of the annotations; what no table can hold stays with the layer."""
        layer = self.layer
        if layer is None or "index" not in layer.features:
            return
        features, written = layer.features, self._written
        if written is not None and features.equals(written):
            return
        wanted: dict[CellKey, dict[str, Value | None]] = {}
        for name in (str(name) for name in features.columns if name not in OURS):
            there = written is not None and name in written and len(written) == len(features)
            before = list(written[name]) if there else [None] * len(features)
            for label, value, old in zip(features["index"], features[name], before, strict=True):
                if value is old or value == old or (value != value and (old is None or old != old)):
                    continue  # as it was written here
                cell = (self._field, int(label))
                if (clean := _storable(name, value)) is None and value == value and value not in (None, ""):
                    self._columns.setdefault(cell, {})[name] = value
                else:
                    wanted.setdefault(cell, {})[name] = clean
        self._written = features.copy()
        if wanted:
            self._session.annotations.set_values(wanted)

    def _add_unsaved(self, features: Any) -> None:
        names = {name for cell, kept in self._columns.items() if cell[0] == self._field for name in kept}
        for name in sorted(names - set(features.columns)):
            features[name] = [self._columns.get((self._field, int(i)), {}).get(name) for i in features["index"]]


def _shown(labels: NDArray[Any]) -> Any:
    """What the layer is given: a copy that the brush may write to, or levels of a large image."""
    return label_levels(labels) if too_large_to_paint(labels) else np.array(labels, np.int32)


def deletes_cells(words: str) -> bool:
    """Whether a step of annotations came of cells that were deleted, by its words."""
    return re.fullmatch(r"deleting [\d,]+ cells?", words) is not None


def _storable(name: str, value: Any) -> Value | None:
    """A value as annotations hold it; None where neither they nor a column of that name can."""
    try:
        return checked_value(value) if checked_column(name) == name else None
    except AnnotationError:
        return None
