"""What the map is showing, without Qt: the atlas, its colours, what is selected, and the marks on it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from phenolens.annotation.embedded_cells import EmbeddedCells
from phenolens.runtime.errors import AnnotationError
from phenolens.widgets.map.colours import Grouping, groupings
from phenolens.widgets.map.places import RowPlaces

if TYPE_CHECKING:
    from pandas import DataFrame

    from phenolens.profiling.atlas.atlas import Atlas
    from phenolens.profiling.encoders.encoder import CellEncoder
    from phenolens.screens.table import Screen

CELL, SELECTION, TRANSLATED, DIRECT, COMPOUND = "cell", "selection", "translated", "direct", "compound"
SYNTHETIC = (TRANSLATED, DIRECT, COMPOUND)
NEIGHBOURS = 8


@dataclass(frozen=True, eq=False)
class MapData:
    """An atlas with what the map needs to know of its rows, prepared away from the viewer's thread.

    Parameters
    ----------
    atlas
        What is searched and seen.
    name
        For the title.
    groupings
        Ways to colour it, by title.
    places
        Where its rows lie in a screen.
    order
        (n,) rows in the order they are drawn in: mixed, so that no group covers another.
    controls
        (n,) True for negative controls.
    encoder
        What made its embeddings; None where it is not at hand.
    embedded
        Its rows as cells with field and label; None where they are no cells or do not say it.
    """

    atlas: Atlas
    name: str
    groupings: dict[str, Grouping]
    places: RowPlaces
    order: NDArray[np.intp]
    controls: NDArray[np.bool_]
    encoder: CellEncoder | None = None
    embedded: EmbeddedCells | None = None

    @classmethod
    def prepare(cls, atlas: Atlas, name: str, encoder: CellEncoder | None = None) -> MapData:
        """Look at every row once."""
        from phenolens.profiling.tables.profiles import is_control

        metadata = atlas.profiles.metadata
        atlas.neighbours(np.array(atlas.vectors[0]), top=1)  # the first search measures all rows
        order = np.random.default_rng(0).permutation(len(metadata))
        made = groupings(metadata)
        embedded = None
        if atlas.profiles.level == "cell":
            with suppress(AnnotationError):  # profiles of other programs need not name their cells
                embedded = EmbeddedCells.of_profiles(metadata, atlas.profiles.vectors)
                _ = embedded.index
        return cls(atlas, name, made, RowPlaces(metadata), order, is_control(metadata), encoder, embedded)


@dataclass(frozen=True, eq=False)
class Mark:
    """Something that has a place among the points.

    Parameters
    ----------
    kind
        `CELL` or `SELECTION` of real rows; `TRANSLATED` (from a synthetic image), `DIRECT` and `COMPOUND` (predicted
        by the encoder without an image).
    title
        What it is, in words.
    vector
        (d,) corrected embedding.
    position
        (2,) place on the map.
    neighbours
        Nearest real rows with their distances, as `Atlas.neighbours` gives them.
    row
        The row it is, where it is one.
    crop
        (C, h, w) its pixels in file units, where it has any of its own.
    smiles
        The compound that was predicted.
    """

    kind: str
    title: str
    vector: NDArray[np.float32]
    position: NDArray[np.float32]
    neighbours: DataFrame
    row: int | None = None
    crop: NDArray[Any] | None = None
    smiles: str = ""

    @property
    def synthetic(self) -> bool:
        """Whether it is no real cell."""
        return self.kind in SYNTHETIC


class MapSession:
    """State of one map. Every change goes through a method, which emits the signal named after what changed."""

    data_changed = Signal()
    places_changed = Signal()
    grouping_changed = Signal()
    selection_changed = Signal()
    marks_changed = Signal()
    encoder_changed = Signal()
    contours_changed = Signal()

    def __init__(self) -> None:
        self.data: MapData | None = None
        self.encoder: CellEncoder | None = None
        self.in_screen = False
        self.grouping: Grouping | None = None
        self.classes: Grouping | None = None
        self._colour_chosen = False
        self.entries: frozenset[int] = frozenset()
        self.lassoed: NDArray[np.bool_] | None = None
        self.marks: dict[str, Mark] = {}
        self.count = NEIGHBOURS
        self.other_wells = False
        self.contours = False

    def set_data(self, data: MapData, screen: Screen | None) -> None:
        """Show another atlas, coloured as the last one where it can be."""
        before = self.grouping.title if self.grouping is not None else ""
        self.data = data
        self.in_screen = screen is not None and data.places.fit(screen)
        self.marks, self.entries, self.lassoed = {}, frozenset(), None
        self._colour_chosen &= self.grouping is not self.classes
        self.classes = None  # it is of the rows of the map before
        self.grouping = data.groupings.get(before) or next(iter(data.groupings.values()))
        self.encoder = data.encoder
        self.data_changed.emit()
        self.encoder_changed.emit()
        self.marks_changed.emit()

    def move_points(self, data: MapData) -> None:
        """Show the same rows at other places; colours, selection and marks stay, the marks where they now belong."""
        self.data = data
        for kind, mark in self.marks.items():
            if mark.row is not None:
                position = data.atlas.coordinates[mark.row]
            elif kind == SELECTION and self.selected is not None:
                position = data.atlas.coordinates[self.selected].mean(0)
            else:
                position = data.atlas.place(mark.vector[None])[0]
            self.marks[kind] = replace(mark, position=position)
        self.places_changed.emit()
        self.marks_changed.emit()

    def set_screen(self, screen: Screen | None) -> None:
        """Look for the rows in another screen; what was translated in the old one is forgotten."""
        self.in_screen = screen is not None and self.data is not None and self.data.places.fit(screen)
        self.remove(TRANSLATED, DIRECT)
        self.marks_changed.emit()

    def set_encoder(self, encoder: CellEncoder | None) -> None:
        """Embed what is new with `encoder`."""
        self.encoder = encoder
        self.encoder_changed.emit()

    @property
    def knows_compounds(self) -> bool:
        """Whether the encoder predicts what a compound does."""
        return self.encoder is not None and self.encoder.compounds is not None

    def colour_by(self, title: str) -> None:
        """Colour the points by another property; entries of the old legend are no longer chosen."""
        if self.data is not None:
            self.grouping, self.entries = self.ways[title], frozenset()
            self._colour_chosen = True
            self.grouping_changed.emit()

    @property
    def ways(self) -> dict[str, Grouping]:
        """The ways to colour the points by title; by class first, where there are classes."""
        known = {} if self.data is None else self.data.groupings
        return known if self.classes is None else {self.classes.title: self.classes, **known}

    def show_contours(self, on: bool) -> None:
        """Draw lines around the densest parts of each group, or none."""
        if on != self.contours:
            self.contours = on
            self.contours_changed.emit()

    def set_classes(self, classes: Grouping | None) -> None:
        """Take what is said of the cells as a way to colour; it is used until another is chosen by hand."""
        before, self.classes = self.classes, classes
        if self.data is None or (before is None and classes is None):
            return
        shown = self.grouping is not None and self.grouping is before
        if classes is None and shown:
            self.grouping, self.entries = next(iter(self.data.groupings.values())), frozenset()
        elif classes is not None and (shown or not self._colour_chosen):
            kept = before is not None and before.names == classes.names
            self.grouping, self.entries = classes, self.entries if shown and kept else frozenset()
        self.grouping_changed.emit()

    def choose_entry(self, code: int, add: bool = False) -> None:
        """Show the points of one entry of the legend alone, or all again; `add` adds it to those that are chosen."""
        if add:
            self.entries = self.entries ^ {code}
        else:
            self.entries = frozenset() if self.entries == {code} else frozenset({code})
        self.selection_changed.emit()

    def select(self, mask: NDArray[np.bool_] | None) -> None:
        """Select points (n,), or none; their middle gets the nearest of them as its neighbours."""
        self.lassoed = mask if mask is not None and mask.any() else None
        self.marks.pop(SELECTION, None)
        chosen = self.selected if self.lassoed is not None else None
        if chosen is not None and chosen.any() and self.data is not None:
            rows = np.flatnonzero(chosen)
            middle = self.data.atlas.vectors[rows].mean(0)
            position = self.data.atlas.coordinates[rows].mean(0)
            found = self._nearest(middle, ~chosen)
            self.marks[SELECTION] = Mark(SELECTION, f"typical of {len(rows):,} selected", middle, position, found)
        self.selection_changed.emit()
        self.marks_changed.emit()

    @property
    def selected(self) -> NDArray[np.bool_] | None:
        """(n,) points inside the lasso and of the chosen entries; None where neither is used."""
        chosen = None
        if self.entries and self.grouping is not None:
            chosen = np.isin(self.grouping.codes, list(self.entries))
        if self.lassoed is None:
            return chosen
        return self.lassoed if chosen is None else self.lassoed & chosen

    def focus(self, row: int) -> None:
        """Mark a row; what was derived from another cell goes."""
        if self.data is None:
            return
        atlas = self.data.atlas
        old = self.marks.get(CELL)
        if old is None or old.row != row:
            for kind in (TRANSLATED, DIRECT):
                self.marks.pop(kind, None)
        vector = np.array(atlas.vectors[row])
        self.marks[CELL] = Mark(
            CELL,
            f"this {atlas.profiles.level}",
            vector,
            atlas.coordinates[row],
            self._nearest(vector, self._left_out(row)),
            row,
        )
        self.marks_changed.emit()

    def place(
        self, kind: str, title: str, vector: NDArray[np.float32], crop: NDArray[Any] | None = None, smiles: str = ""
    ) -> None:
        """Mark something that is no row, by its corrected embedding (d,)."""
        if self.data is None:
            return
        position = self.data.atlas.place(vector[None])[0]
        row = None
        if kind != COMPOUND and (cell := self.marks.get(CELL)) is not None:
            row = cell.row
        found = self._nearest(vector, self._left_out(row) if row is not None else None)
        self.marks[kind] = Mark(kind, title, vector, position, found, None, crop, smiles)
        self.marks_changed.emit()

    def remove(self, *kinds: str) -> None:
        """Take marks off the map."""
        gone = [self.marks.pop(kind, None) for kind in kinds]
        if any(mark is not None for mark in gone):
            self.marks_changed.emit()

    def set_neighbours(self, count: int, other_wells: bool) -> None:
        """List `count` neighbours of each mark, from other wells than the cell's own if so wished."""
        self.count, self.other_wells = count, other_wells
        cell = self.marks.get(CELL)
        own = None if cell is None or cell.row is None else self._left_out(cell.row)
        for kind, mark in self.marks.items():
            left_out = ~self.selected if kind == SELECTION and self.selected is not None else own
            left_out = None if kind == COMPOUND else left_out
            self.marks[kind] = replace(mark, neighbours=self._nearest(mark.vector, left_out))
        self.marks_changed.emit()

    def _left_out(self, row: int) -> NDArray[np.bool_]:
        """(n,) the row itself, or all of its well."""
        assert self.data is not None
        metadata = self.data.atlas.profiles.metadata
        out = np.zeros(len(metadata), bool)
        out[row] = True
        if self.other_wells and "Metadata_Well" in metadata.columns:
            same = np.ones(len(metadata), bool)
            for name in ("Metadata_Batch", "Metadata_Plate", "Metadata_Well"):
                if name in metadata.columns:
                    values = metadata[name]
                    same &= (values == values.iloc[row]).to_numpy(bool)
            out |= same
        return out

    def _nearest(self, vector: NDArray[np.float32], left_out: NDArray[np.bool_] | None) -> DataFrame:
        assert self.data is not None
        atlas = self.data.atlas
        if left_out is not None and left_out.all():
            return atlas.profiles.metadata.iloc[:0].assign(row=0, distance=0.0)
        return atlas.neighbours(vector, top=self.count, exclude=left_out)
