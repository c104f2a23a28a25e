"""A small window of what lies in the cache: models, networks, samples; their size, and a button that deletes."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QHeaderView, QMessageBox, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from phenolens.runtime.choices.kept import Kept, delete_kept, kept_in_cache
from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.outputs import named
from phenolens.samples.collection import SAMPLES
from phenolens.widgets.kit.style import Note, action


class KeptModels(QDialog):
    """Lists what is kept. Adapters, which are your own results, are no part of the cache and not listed."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Phenolens: models and samples on this computer")
        self.resize(560, 320)
        self._kept: list[Kept] = []
        self.about = Note()
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["What", "Name", "Size"])
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QTableWidget.SelectionMode.SingleSelection)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.table.itemSelectionChanged.connect(self._chosen)
        self.delete = action("Delete…", "Delete what is selected; it is made or downloaded again when it is needed")
        self.delete.clicked.connect(self._delete)
        whole = QVBoxLayout(self)
        for widget in (self.about, self.table, self.delete):
            whole.addWidget(widget)
        self.refresh()

    def refresh(self) -> None:
        """List anew what there is."""
        self._kept = kept_in_cache(tuple(SAMPLES))
        self.table.setRowCount(len(self._kept))
        for row, one in enumerate(self._kept):
            for column, text in enumerate((one.kind, one.name, f"{one.size / 1e6:,.1f} MB")):
                item = QTableWidgetItem(text)
                if column == 2:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(row, column, item)
        total = sum(one.size for one in self._kept) / 1e6
        self.about.say(
            f"{total:,.1f} MB in {cache_folder()}. The base 'compact', the encoder and the demo's adapter are part of "
            "the program."
        )
        self._chosen()

    def _chosen(self) -> None:
        self.delete.setEnabled(bool(self.table.selectedItems()))

    def _delete(self) -> None:
        one = self._kept[self.table.currentRow()]
        answer = QMessageBox.question(self, "Phenolens", f"Delete {one.name} ({one.size / 1e6:,.1f} MB)?")
        if answer != QMessageBox.StandardButton.Yes:
            return
        try:
            left = delete_kept(one)
        except PhenolensError as error:
            self.about.say(str(error), "error")
            return
        self.refresh()
        if left:
            self.about.say(
                f"{one.name} is deleted, but for what Phenolens did not write in {one.path}: {named(left)}.", "warning"
            )
