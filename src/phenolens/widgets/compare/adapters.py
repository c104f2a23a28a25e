"""A window of the adapters on this computer: what each was trained on, the chosen cell by several of them, deleting."""

from pathlib import Path

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QMessageBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.progress import Progress
from phenolens.runtime.queue import INTERACTIVE
from phenolens.screens.crops import changed
from phenolens.translation.model.known_adapters import KnownAdapter, delete_adapter, known_adapters
from phenolens.widgets.compare import jobs
from phenolens.widgets.compare.tiles import Tile, TileRow
from phenolens.widgets.kit.channel_colours import composite
from phenolens.widgets.kit.conditions_box import short_condition
from phenolens.widgets.kit.style import SPACE, Note, action
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.state.session import Session

MOST = 4
"""Adapters that are compared at once."""
_HEADS = ("From", "To", "Channels", "Cells", "Loss", "Base", "Made")


class AdaptersWindow(QDialog):
    """Lists adapters, the newest first. ``wanted`` gives the folder of one that is to be used.

    Parameters
    ----------
    session, running
        Whose cell is compared, and what runs the work.
    """

    wanted = Signal(object)

    def __init__(self, parent: QWidget, session: Session, running: Running) -> None:
        super().__init__(parent)
        self.setWindowTitle("Phenolens: adapters on this computer")
        self.resize(760, 460)
        self._session, self._running = session, running
        self.adapters: list[KnownAdapter] = []
        self.about = Note()
        self.table = QTableWidget(0, len(_HEADS))
        self.table.setHorizontalHeaderLabels(list(_HEADS))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.setWordWrap(False)
        if (rows := self.table.verticalHeader()) is not None:
            rows.hide()
        if (columns := self.table.horizontalHeader()) is not None:
            columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            for column in range(3):
                columns.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        self.use = action("Use", "Translate with the adapter that is selected", accent=True)
        self.compare = action("Compare", f"Show the chosen cell as up to {MOST} selected adapters translate it")
        self.delete = action("Delete…", "Delete the adapters that are selected; they cannot be brought back")
        self.tiles = TileRow(MOST + 1)
        self.tiles.hide()
        self.state = Note()
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE)
        for button in (self.use, self.compare, self.delete):
            buttons.addWidget(button)
        buttons.addStretch()
        whole = QVBoxLayout(self)
        for widget in (self.about, self.table):
            whole.addWidget(widget)
        whole.addLayout(buttons)
        whole.addWidget(self.tiles)
        whole.addWidget(self.state)
        self.use.clicked.connect(self._use)
        self.compare.clicked.connect(self._compare)
        self.delete.clicked.connect(self._delete)
        self.table.itemDoubleClicked.connect(lambda _: self._use())
        self.table.itemSelectionChanged.connect(self._chosen)
        session.current_changed.connect(self._chosen)
        self.refresh()

    def refresh(self) -> None:
        """List anew what there is."""
        here = self._session.adapter
        folders = () if here is None or here.folder is None else (here.folder,)
        self.adapters = known_adapters(folders)
        self.table.setRowCount(len(self.adapters))
        for row, one in enumerate(self.adapters):
            source, target = one.conditions
            cells = " + ".join(f"{one.cells[name]:,}" for name in one.conditions if name in one.cells)
            loss = "" if one.loss is None else f"{one.loss:.3g}"
            made = f"{one.made:%Y-%m-%d %H:%M}"
            words = (short_condition(source), short_condition(target), ", ".join(one.channel_names), cells, loss)
            for column, text in enumerate((*words, Path(one.base).name, made)):
                item = QTableWidgetItem(text)
                item.setToolTip(
                    f"{source} → {target}\n{one.method} on {one.base}, {one.size / 1e6:,.1f} MB\n{one.folder}"
                )
                if one.folder in folders:
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                self.table.setItem(row, column, item)
        several = "There is no adapter here yet: fine-tune one, or load one from a folder."
        self.about.say(f"{len(self.adapters)} adapters; the one in use is bold." if self.adapters else several)
        self._chosen()

    def selected(self) -> list[KnownAdapter]:
        """The adapters that are selected, from the top."""
        rows = sorted({item.row() for item in self.table.selectedItems()})
        return [self.adapters[row] for row in rows]

    def _chosen(self) -> None:
        count = len(self.selected())
        self.use.setEnabled(count == 1)
        self.delete.setEnabled(count > 0)
        why = ""
        cell, field = self._session.current, self._session.field
        if cell is None or field is None or cell.field != field.key:
            why = "Click a cell in the image first: it is translated by each of them."
        elif not 1 <= count <= MOST:
            why = f"Select one to {MOST} adapters."
        self.compare.setEnabled(not why)
        self.compare.setToolTip(why or "Show the chosen cell as each of the selected adapters translates it")

    def _use(self) -> None:
        if len(chosen := self.selected()) == 1:
            self.wanted.emit(chosen[0].folder)

    def _delete(self) -> None:
        chosen = self.selected()
        here = self._session.adapter
        if here is not None and here.folder in [one.folder for one in chosen]:
            self.state.say("The adapter in use cannot be deleted: use another one first.", "warning")
            return
        names = "\n".join(str(one.folder) for one in chosen)
        answer = QMessageBox.question(self, "Phenolens", f"Delete for good, with a noise floor beside it?\n\n{names}")
        if answer != QMessageBox.StandardButton.Yes:
            return
        said = ""
        for one in chosen:
            try:
                delete_adapter(one)
            except PhenolensError as error:
                said = str(error)
            if one.folder.is_dir():
                said = said or f"What Phenolens did not write in {one.folder} is left there."
        self.refresh()
        self.state.say(said, "warning")

    def _compare(self) -> None:
        """Translate the chosen cell by each of the selected adapters, and show them beside it."""
        session, cell, chosen = self._session, self._session.current, self.selected()
        if cell is None or session.intensity is None or session.screen is None:
            return
        low, high, colours = np.array(session.intensity.low), np.array(session.intensity.high), session.colours

        def draw(pixels: np.ndarray) -> np.ndarray:
            return composite(pixels.astype(np.float32), low, high, colours)

        known = cell.translation
        real = Tile(None if known is None else draw(known.crop), (cell.name, "REAL"), False, "The image itself")
        tiles = [real, *(Tile(None, ("…", ""), True) for _ in chosen)]

        def came(now: Progress) -> None:
            if now.preview is None:
                return
            place, one = now.preview
            adapter = chosen[place]
            if isinstance(one, str):
                tiles[place + 1] = Tile(None, ("does not fit", adapter.folder.name), True, one)
            else:
                words = (short_condition(adapter.conditions[1]), adapter.folder.name)
                tip = f"Generated pixels: {adapter.conditions[0]} → {adapter.conditions[1]}\n{adapter.folder}"
                tiles[place + 1] = Tile(draw(changed(one.crop, one.difference_at(1.0))), words, True, tip)
            self.tiles.show_tiles(tiles)

        self.tiles.show()
        self.tiles.show_tiles(tiles)
        self.state.say("")
        names, plane = tuple(session.screen.channel_names), session.planes.reader(cell.position)
        self._running.start(
            jobs.by_each([one.folder for one in chosen], plane, (cell.y, cell.x), names, session.queue()),
            "Comparing adapters",
            device=session.queue(),
            priority=INTERACTIVE,
            progress=came,
            failed=lambda error: self.state.say(str(error), "error"),
        )
