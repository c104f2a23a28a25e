"""The nearest real cells of what is marked on the map, with pictures at one contrast, distances and structures."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from phenolens.annotation.classes import CellClass
from phenolens.widgets.kit.style import AMBER, SPACE, Note
from phenolens.widgets.map.neighbour_tile import NeighbourTile, TileContent
from phenolens.widgets.map.selecting import ClassButton
from phenolens.widgets.map.session import CELL, COMPOUND, DIRECT, NEIGHBOURS, SELECTION, TRANSLATED, MapSession, Mark
from phenolens.widgets.map.theme import MapTheme

if TYPE_CHECKING:
    from pandas import DataFrame

_HEADS = {
    CELL: "like this {level}",
    SELECTION: "of the selection",
    TRANSLATED: "like it after treatment",
    DIRECT: "like MICON's prediction",
    COMPOUND: "like the SMILES predicts",
}
_EMPTY = "Click a point on the map, or a cell in the image, to see which real cells are most like it."


class NeighbourColumn(QWidget):
    """A mark and its neighbours, one below the other."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.kind = ""
        self.head = QLabel()
        self.head.setWordWrap(True)
        self.own = NeighbourTile()
        self.own.chosen.connect(self.chosen)
        self.tiles: list[NeighbourTile] = []
        self._stack = QVBoxLayout(self)
        self._stack.setContentsMargins(0, 0, 0, 0)
        self._stack.setSpacing(2)
        for widget in (self.own, self.head):
            self._stack.addWidget(widget)
        self._stack.addStretch()

    def show_mark(self, mark: Mark, own: TileContent, rows: list[TileContent], theme: MapTheme, waiting: str) -> None:
        """Show a mark's own tile, and a tile for each of its neighbours."""
        self.kind = mark.kind
        level = mark.title.removeprefix("this ") if mark.kind == CELL else "cell"
        colour = AMBER if mark.synthetic else theme.text
        self.head.setText(_HEADS[mark.kind].format(level=level))
        self.head.setStyleSheet(f"color: {colour}; font-weight: bold; background: transparent; padding-left: 4px;")
        self.own.setVisible(mark.kind != SELECTION)
        self.own.show_content(
            own, theme, waiting if mark.crop is not None or not mark.synthetic else "no image: a prediction"
        )
        while len(self.tiles) < len(rows):
            tile = NeighbourTile()
            tile.chosen.connect(self.chosen)
            self._stack.insertWidget(self._stack.count() - 1, tile)
            self.tiles.append(tile)
        for tile, content in zip(self.tiles, rows, strict=False):
            tile.show_content(content, theme, waiting)
            tile.show()
        for tile in self.tiles[len(rows) :]:
            tile.hide()

    def show_picture(self, row: int, picture: NDArray[np.uint8]) -> None:
        """Show the picture of a row wherever the row is."""
        for tile in (self.own, *self.tiles):
            if tile.content.row == row and not tile.isHidden():
                tile.show_picture(picture)


class NeighboursPanel(QWidget):
    """Two columns: the real cell or selection, and beside it what is synthetic or predicted.

    ``chosen`` gives the row of a clicked tile, ``classed`` the class (None for none) that all shown are to get.
    """

    chosen = Signal(int)
    classed = Signal(object)

    def __init__(self, session: MapSession, classes: Callable[[], tuple[CellClass, ...]]) -> None:
        super().__init__()
        self._session = session
        self.to_class = ClassButton("All shown → class", "Give all real cells that are listed here a class", classes)
        self.to_class.chosen.connect(self.classed)
        self.theme = MapTheme()
        self.waiting = ""
        self.empty = Note(_EMPTY)
        self.left, self.right = NeighbourColumn(), NeighbourColumn()
        for column in (self.left, self.right):
            column.chosen.connect(self.chosen)
        self.count = QSpinBox()
        self.count.setRange(1, 48)
        self.count.setValue(NEIGHBOURS)
        self.count.setToolTip("How many neighbours to list")
        self.others = QCheckBox("other wells only")
        self.others.setToolTip("Leave out the well of the cell itself, which resembles it for reasons of its own")
        self.which = QComboBox()
        self.which.setToolTip("What stands beside the cell")
        self.which.activated.connect(lambda _: self.refresh())
        self.count.valueChanged.connect(self._ask)
        self.others.toggled.connect(self._ask)
        choices = QHBoxLayout()
        choices.setSpacing(SPACE)
        choices.addWidget(QLabel("Nearest"))
        choices.addWidget(self.count)
        choices.addStretch()
        columns = QHBoxLayout()
        columns.setSpacing(SPACE)
        columns.addWidget(self.left, 1)
        columns.addWidget(self.right, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        whole.addLayout(choices)
        whole.addWidget(self.others)
        whole.addWidget(self.to_class)
        whole.addWidget(self.which)
        whole.addWidget(self.empty)
        whole.addLayout(columns)
        self.refresh()

    def refresh(self) -> None:
        """Show the marks of the session."""
        marks = self._session.marks
        beside = [kind for kind in (TRANSLATED, DIRECT, COMPOUND) if kind in marks]
        main = SELECTION if SELECTION in marks and CELL not in marks else CELL
        if main == CELL and SELECTION in marks:
            beside.append(SELECTION)
        chosen = self.which.currentData()
        if [self.which.itemData(i) for i in range(self.which.count())] != beside:
            known = {self.which.itemData(i) for i in range(self.which.count())}
            self.which.clear()
            for kind in beside:
                self.which.addItem(_HEADS[kind], kind)
            new = next((kind for kind in beside if kind not in known), None)
            wanted = chosen if chosen in beside and new in (None, DIRECT) else (new or (beside[0] if beside else None))
            self.which.setCurrentIndex(beside.index(wanted) if wanted in beside else -1)
        self.which.setVisible(len(beside) > 1)
        self.empty.setVisible(not marks)
        self.to_class.setVisible(bool(marks))
        self._fill(self.left, marks, main if main in marks else "")
        self._fill(self.right, marks, self.which.currentData() or "")

    def rows(self) -> list[int]:
        """The rows whose pictures are shown, those of real cells alone."""
        tiles = [tile for column in (self.left, self.right) if column.kind for tile in (column.own, *column.tiles)]
        rows = [tile.content.row for tile in tiles if tile.content.row is not None and not tile.isHidden()]
        return list(dict.fromkeys(rows))

    def show_picture(self, row: int, picture: NDArray[np.uint8]) -> None:
        """Show a row's picture in both columns."""
        for column in (self.left, self.right):
            column.show_picture(row, picture)

    def _fill(self, column: NeighbourColumn, marks: Mapping[str, Mark], kind: str) -> None:
        column.setVisible(bool(kind))
        if not kind:
            column.kind = ""
            return
        mark, data = marks[kind], self._session.data
        assert data is not None
        own = TileContent(None, (mark.title,), mark.smiles, mark.synthetic, mark.title)
        if mark.row is not None:
            own = _contents(data.atlas.profiles.metadata.iloc[[mark.row]].assign(row=mark.row, distance=np.nan))[0]
        column.show_mark(mark, own, _contents(mark.neighbours), self.theme, self.waiting)

    def set_count(self, count: int, other_wells: bool) -> None:
        """List this many neighbours, from other wells only or not."""
        self.count.setValue(count)
        self.others.setChecked(other_wells)

    def _ask(self, _: Any) -> None:
        self._session.set_neighbours(self.count.value(), self.others.isChecked())


def _contents(table: "DataFrame") -> list[TileContent]:
    """What the tiles of neighbours say."""
    from phenolens.profiling.tables.profiles import treatment_names

    names = treatment_names(table).tolist()
    made = []
    for treatment, (_, row) in zip(names, table.iterrows(), strict=True):
        distance = "" if np.isnan(row["distance"]) else f"distance {row['distance']:.3f}"
        where = " · ".join(
            str(row[column])
            for column in ("Metadata_Plate", "Metadata_Well")
            if column in table.columns and row[column] == row[column]
        )
        smiles = str(row.get("Metadata_SMILES", "") or "")
        known = [
            f"{column.removeprefix('Metadata_')}: {row[column]}"
            for column in table.columns
            if column.startswith("Metadata_")
        ]
        lines = tuple(line for line in (treatment or "no treatment named", distance, where) if line)
        made.append(TileContent(int(row["row"]), lines, smiles if smiles != "nan" else "", tip="\n".join(known)))
    return made
