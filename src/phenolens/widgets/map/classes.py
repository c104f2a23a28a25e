"""Between the map and the classes: the map's rows as cells of the open screen, in the colours of their classes."""

from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Points
from numpy.typing import NDArray
from qtpy.QtCore import QObject

from phenolens.annotation.changes import CellKey
from phenolens.annotation.embedded_cells import EmbeddedCells
from phenolens.annotation.state import AnnotationState
from phenolens.screens.cells import Cells
from phenolens.widgets.kit.style import ACCENT_HOVER
from phenolens.widgets.layers.field_layers import like
from phenolens.widgets.map.colours import OTHER, Grouping
from phenolens.widgets.map.places import RowPlaces
from phenolens.widgets.map.session import MapSession
from phenolens.widgets.state.session import Session
from phenolens.widgets.state.workplace import Workplace

_SHOWN = "selected on the map"
_SIDE = 0.34  # of a ring, in windows around a cell
TITLE = "Class"
_SUGGESTED_ALPHA = 0.4


class MapClasses(QObject):
    """Follows what is said of cells in the viewer's main dock, and shows in its image what is selected on the map.

    Parameters
    ----------
    viewer, place, session
        Whose image, whose main dock, and which map.
    """

    def __init__(self, parent: QObject, viewer: Viewer, place: Workplace, session: MapSession) -> None:
        super().__init__(parent)
        self._viewer, self._place, self._session = viewer, place, session
        self._followed: Session | None = None
        self._matched: NDArray[np.bool_] | None = None
        self._rings: Points | None = None
        place.changed.connect(self.follow)
        session.data_changed.connect(self._match)
        session.selection_changed.connect(self._show_selection)
        self.follow()

    def follow(self) -> None:
        """Listen to the main dock that is open now."""
        self.let_go()
        if (main := self._place.session) is not None:
            self._followed = main
            main.screen_changed.connect(self._match)
            main.cells_changed.connect(self._match)
            main.field_changed.connect(self._show_selection)
            main.pen.changed.connect(self._colour)
        self._match()

    def let_go(self) -> None:
        """Listen to no dock."""
        if self._followed is not None:
            self._followed.screen_changed.disconnect(self._match)
            self._followed.cells_changed.disconnect(self._match)
            self._followed.field_changed.disconnect(self._show_selection)
            self._followed.pen.changed.disconnect(self._colour)
            self._followed = None

    def close(self) -> None:
        """Let go of the viewer for good."""
        self._place.changed.disconnect(self.follow)
        self.let_go()

    @property
    def main(self) -> Session | None:
        """What the main dock works on, whose annotations are changed here."""
        return self._followed

    def why_not(self) -> str:
        """Why rows of this map cannot get a class; empty where they can."""
        if self._followed is None or self._followed.cells is None:
            return "Open the screen of this map and find its cells in the Phenolens dock; then they can get a class."
        if self._matched is None or not self._matched.any():
            return "The points of this map are not the cells of the open screen, so that they cannot get a class."
        return ""

    def cells(self, rows: NDArray[np.intp]) -> list[CellKey]:
        """Field and label of those of some rows that are cells of the open screen."""
        data = self._session.data
        if data is None or data.embedded is None or self._matched is None:
            return []
        rows = rows[self._matched[rows]]
        fields, labels = data.embedded.fields[rows], data.embedded.labels[rows].tolist()
        return [(str(field), label) for field, label in zip(fields, labels, strict=True)]

    def selected_cells(self) -> list[CellKey]:
        """The cells that are selected on the map."""
        selected = self._session.selected
        return [] if selected is None else self.cells(np.flatnonzero(selected))

    def annotate(self, cells: list[CellKey], name: str | None) -> None:
        """Give cells a class, in one step to undo; a class of a new name is added first."""
        if self._followed is None or not cells:
            return
        annotations = self._followed.annotations
        if name is not None and name not in {one.name for one in annotations.classes}:
            name = annotations.add_class(name).name
        annotations.annotate(cells, name)

    def make_layer(self) -> Points | None:
        """Make a layer of the user's own of the selected cells of the shown field; None where none is in it."""
        main, shown = self._followed, self._place.shown
        cells = self._here(self.selected_cells())
        if main is None or main.field is None or shown is None or not shown.channels or not cells:
            return None
        annotations = main.annotations
        names = [one.name if (one := annotations.class_of(cell)) is not None else "" for cell in cells]
        layer = Points(
            self._centres(cells),
            name=f"selection of {main.field.key}",
            size=_SIDE * main.window_size(),
            face_color="transparent",
            border_color="white",
            border_width=0.04,
            features={
                "label": [label for _, label in cells],
                "class": names,
            },
            metadata={"phenolens": {"made": False, "synthetic": False, "kind": "selection", "field": main.field.key}},
            **like(shown.channels[0], 2),
        )
        return self._viewer.add_layer(layer)

    def _match(self) -> None:
        """See which rows are cells of the open screen, and offer their embeddings for suggestions."""
        data, main = self._session.data, self._followed
        self._matched = None
        if data is not None and data.embedded is not None and main is not None and main.cells is not None:
            self._matched = matched_rows(data.embedded, data.places, main.cells, main.window_size() / 4)
            if main.pen.embedded is None and self._matched.any() and self._covers(main):
                main.pen.set_profiles(data.atlas.profiles, data.embedded.only(self._matched))
        self._colour()
        self._show_selection()

    def _covers(self, main: Session) -> bool:
        """Whether the map holds nearly all cells of the open screen."""
        assert self._matched is not None
        assert main.cells is not None
        return bool(self._matched.sum() >= 0.9 * len(main.cells.table))

    def _colour(self, *_: object) -> None:
        data, main = self._session.data, self._followed
        made = None
        if data is not None and data.embedded is not None and main is not None and self._matched is not None:
            made = class_grouping(main.annotations, data.embedded, self._matched)
        self._session.set_classes(made)

    def _here(self, cells: list[CellKey]) -> list[CellKey]:
        main = self._followed
        return [] if main is None or main.field is None else [cell for cell in cells if cell[0] == main.field.key]

    def _centres(self, cells: list[CellKey]) -> NDArray[np.float64]:
        """(n, 2) centres of cells of the shown field."""
        assert self._followed is not None
        assert self._followed.cells is not None
        table = self._followed.cells.table
        here = table[table["field"] == cells[0][0]].set_index("label") if cells else table
        return here.loc[[label for _, label in cells], ["y", "x"]].to_numpy(float) if cells else np.zeros((0, 2))

    def _show_selection(self) -> None:
        """Encircle in the image the cells of the shown field that are selected on the map."""
        main, shown = self._followed, self._place.shown
        cells = self._here(self.selected_cells()) if main is not None and main.cells is not None else []
        there = self._rings is not None and self._rings in self._viewer.layers
        if main is None or shown is None or not shown.channels or not cells:
            if there and self._rings is not None:
                self._rings.visible = False
            return
        centres, size = self._centres(cells), _SIDE * main.window_size()
        if there and self._rings is not None:
            self._rings.selected_data = set()
            self._rings.data = centres
            self._rings.size = size
            self._rings.visible = True
            return
        active = self._viewer.layers.selection.active
        rings = Points(
            centres,
            name=_SHOWN,
            size=size,
            face_color="transparent",
            border_color=ACCENT_HOVER,
            border_width=0.035,
            metadata={"phenolens": {"made": False, "synthetic": False, "kind": _SHOWN}},
            **like(shown.channels[0], 2),
        )
        self._rings = self._viewer.add_layer(rings)
        self._viewer.layers.selection.active = active


def matched_rows(embedded: EmbeddedCells, places: RowPlaces, cells: Cells, reach: float) -> NDArray[np.bool_]:
    """(n,) rows whose field and label are those of a cell that lies in the same place.

    A map may have been made of another segmentation, whose labels mean other cells.

    Parameters
    ----------
    embedded, places
        The rows.
    cells
        The cells of the open screen.
    reach
        How far apart the two centres may be, in pixels.
    """
    from phenolens.annotation.cell_index import CellIndex

    table = cells.table
    index = CellIndex(table["field"].astype(str).to_numpy(object), table["label"].to_numpy(np.int64))
    at = index.rows_of(list(zip(embedded.fields, embedded.labels.tolist(), strict=True)))
    found = at >= 0
    if places.y is None or places.x is None:
        return found
    y, x = (table[axis].to_numpy(float)[np.maximum(at, 0)] for axis in "yx") if len(table) else (0.0, 0.0)
    away = np.hypot(places.y - y, places.x - x)
    return np.asarray(found & ~(away > reach))  # a row without a centre is taken at its word


def class_grouping(
    annotations: AnnotationState, embedded: EmbeddedCells, matched: NDArray[np.bool_]
) -> Grouping | None:
    """Group rows by the class of their cells; None where there is no class.

    Parameters
    ----------
    annotations
        What is said and suggested.
    embedded, matched
        The rows, and which of them (n,) are cells of the open screen.
    """
    classes = annotations.classes
    if not classes:
        return None
    k, n = len(classes), len(embedded)
    code = {one.number: place for place, one in enumerate(classes)}
    codes = np.full(n, 2 * k, np.int16)
    suggested = annotations.suggested
    if suggested is not None and len(suggested):
        by_name = {one.name: k + place for place, one in enumerate(classes)}
        wanted = np.array([by_name.get(name, 2 * k) for name in suggested.names], np.int16)[suggested.codes]
        at = embedded.index.rows_of(list(zip(suggested.fields, suggested.labels.tolist(), strict=True)))
        codes[at[at >= 0]] = wanted[at >= 0]
    said = [(key, code[one.class_number]) for key, one in annotations.cells.items() if one.class_number is not None]
    if said:
        at = embedded.index.rows_of([key for key, _ in said])
        codes[at[at >= 0]] = np.array([place for _, place in said], np.int16)[at >= 0]
    codes[~matched] = 2 * k
    counts = np.bincount(codes, minlength=2 * k + 1)
    kept = [*range(k), *(place for place in range(k, 2 * k + 1) if counts[place])]
    names = [*(one.name for one in classes), *(f"{one.name}, suggested" for one in classes), "no class"]
    colours = [*(one.colour for one in classes), *(one.colour for one in classes), OTHER]
    alphas = [*(1.0 for _ in classes), *(_SUGGESTED_ALPHA for _ in classes), _SUGGESTED_ALPHA]
    new: dict[int, int] = {old: place for place, old in enumerate(kept)}
    return Grouping(
        TITLE,
        tuple(names[old] for old in kept),
        tuple(colours[old] for old in kept),
        tuple(int(counts[old]) for old in kept),
        _renumbered(codes, new),
        tuple(alphas[old] for old in kept),
    )


def _renumbered(codes: NDArray[Any], new: dict[int, int]) -> NDArray[np.int16]:
    table = np.zeros(max(new, default=0) + 1, np.int16)
    for old, place in new.items():
        table[old] = place
    return table[codes]
