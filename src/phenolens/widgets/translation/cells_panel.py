"""Step 2: find the cells of the screen, take the user's own, and correct them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari import Viewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from phenolens.runtime.errors import CellError, PhenolensError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.screens.segmenters import SEGMENTERS
from phenolens.widgets.kit.channel_colours import is_nuclear
from phenolens.widgets.kit.eliding import ElidedComboBox
from phenolens.widgets.kit.style import SPACE, Form, Note, action, set_accent
from phenolens.widgets.kit.workers import JobWorker, Running
from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.layers.label_levels import too_large_to_paint
from phenolens.widgets.layers.layer_keys import at_rest
from phenolens.widgets.layers.part_layer import NAME
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation import jobs
from phenolens.widgets.translation.own_labels import OwnLabels

if TYPE_CHECKING:
    from phenolens.screens.cells import Cells

_OWN = (
    ("whole", "Each image is one cell"),
    ("labels", "My Labels layer"),
    ("folder", "My label images, a folder"),
    ("inside", "Labels in the OME-Zarr"),
)
_SEGMENTERS = tuple(one.name for one in SEGMENTERS)


class CellsPanel(QWidget):
    """Finds cells in all fields of the screen, and has those of the field on the canvas corrected.

    ``found`` is emitted when cells were found or taken over, and not when they are corrected.
    """

    found = Signal()

    def __init__(self, viewer: Viewer, session: Session, running: Running, field_layers: FieldLayers) -> None:
        super().__init__()
        self._viewer, self._session, self._running, self._field_layers = viewer, session, running, field_layers
        self._worker: JobWorker | None = None
        self._wrong = ""
        self.way = _narrow(ElidedComboBox())
        self._list_ways()
        self.way.currentIndexChanged.connect(lambda _: self.refresh())
        self.nucleus = _narrow(ElidedComboBox())
        self.nucleus.setToolTip("Channel that shows the nuclei")
        self.own = OwnLabels(viewer, session, field_layers)
        self.own.changed.connect(self.refresh)
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("folder with a label image a field")
        self.folder.setToolTip("One TIFF or PNG a field, named after the field or its image (…_labels, …_masks too)")
        self.folder.textChanged.connect(lambda _: self.refresh())
        self.browse = action("…", "Choose the folder")
        self.browse.setFixedWidth(30)
        self.browse.clicked.connect(self._ask_folder)
        self.crop = QSpinBox()
        self.crop.setRange(16, 8192)
        self.crop.setSingleStep(2)
        self.crop.setSuffix(" px")
        self.crop.setToolTip(
            "Side of the square around a cell that the model sees; suggested from the cells until you set it"
        )
        self.crop.valueChanged.connect(self._set_crop)
        self.crop_size = QLabel()
        self.find_button = action("Find cells", "Find the cells of every field", accent=True)
        self.find_button.clicked.connect(self._find_or_cancel)
        self.why = Note()
        self.new_cell = action(
            "New cell", "Paint a cell that was missed: takes the brush of the layer “cells”, with a number of its own"
        )
        self.new_cell.clicked.connect(self._begin_cell)
        self.delete_cell = action(
            "Delete cell",
            "Rub out the cell that was clicked last (or press Delete in the layer “cells”); Ctrl+Z undoes",
        )
        self.delete_cell.clicked.connect(self._delete_cell)
        self._lay_out()
        session.screen_changed.connect(self._another_screen)
        session.field_changed.connect(self.refresh)
        session.cells_changed.connect(self._show_crop)
        session.cells_changed.connect(self.refresh)
        session.pen.chosen_changed.connect(self._allow_correcting)
        self.refresh()

    def _lay_out(self) -> None:
        form = Form()
        form.row("Cells", self.way, tip="Where the cells come from")
        form.row("Nuclei in", self.nucleus)
        form.row("Folder", self.folder, self.browse)
        crop = Form()
        crop.row("Crop", self.crop, self.crop_size)
        self._form, self._crop_form = form, crop
        self._correcting = QWidget()
        correcting = QHBoxLayout(self._correcting)
        correcting.setContentsMargins(0, 0, 0, 0)
        correcting.setSpacing(SPACE)
        correcting.addWidget(self.new_cell, 1)
        correcting.addWidget(self.delete_cell, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        whole.addLayout(form)
        whole.addWidget(self.own)
        whole.addLayout(crop)
        whole.addWidget(self.find_button)
        whole.addWidget(self.why)
        whole.addWidget(self._correcting)

    def use_folder(self, folder: Path) -> None:
        """Take the cells of all fields from the label images in a folder."""
        self.way.setCurrentIndex(self.way.findData("folder"))
        self.folder.setText(str(folder))
        self.begin()

    def detach(self) -> None:
        """Stop listening to the viewer."""
        self.own.detach()

    def begin(self) -> None:
        """Find the cells in the background."""
        session = self._session
        if session.screen is None or self._worker is not None:
            return
        session.pen.collect()
        screen, way = session.screen, str(self.way.currentData())
        stack = session.image is not None and session.image.stack_axes
        position = session.position if stack else None
        nucleus = self.nucleus.currentIndex() if way in _SEGMENTERS else None
        try:
            how = self._how(way)
        except PhenolensError as error:
            self.why.say(str(error), "error")
            return
        known = session.cells if way == "labels" and session.cells_position == position else None
        layers = self.own.chosen_layers() if way == "labels" else []

        def found(result: "tuple[Cells, int]") -> None:
            if session.screen is screen:
                cells, crop = result
                session.set_crop(crop)
                session.set_cells(cells, session.nucleus_channel if way == "labels" else nucleus, position)
                for layer in layers:
                    layer.visible = False  # the same cells are outlined in the layer of the cells
                self.found.emit()

        self._wrong = ""
        self._worker = self._running.start(
            jobs.find(screen if position is None else screen.at_plane(*position), how, nucleus, known),
            "Finding cells",
            priority=INTERACTIVE,
            progress=lambda now: self.why.say(f"{now.message} {now.step}/{now.total}" if now.total else now.message),
            done=found,
            cancelled=self._cancelled,
            failed=self._failed,
            finished=self._finished,
        )
        self.refresh()

    def _how(self, way: str) -> Any:
        """What `find_cells` is to go by."""
        if way == "labels":
            return self.own.by_field()
        if way != "folder":
            return way
        if not self.folder.text().strip():
            raise CellError("Choose the folder that holds a label image for each field.")
        return Path(self.folder.text().strip()).expanduser()

    def _find_or_cancel(self) -> None:
        if self._worker is None:
            self.begin()
        else:
            self.why.say("Stopping after this field…")
            self.find_button.setEnabled(False)
            self._worker.quit()

    def _cancelled(self) -> None:
        self._wrong = "Cancelled. The cells are as they were." if self._session.cells is not None else "Cancelled."

    def _failed(self, error: BaseException) -> None:
        known = isinstance(error, PhenolensError)
        self._wrong = str(error) if known else "The search failed; the notification has the details."

    def _finished(self) -> None:
        self._worker = None
        wrong = self._wrong
        self.refresh()
        if wrong:
            self.why.say(wrong, "warning" if wrong.startswith("Cancelled") else "error")

    def refresh(self) -> None:
        """Show the rows that matter, and say what there is or what is missing."""
        session, way, busy = self._session, str(self.way.currentData()), self._worker is not None
        self._form.show_row(self.nucleus, way in _SEGMENTERS)
        self._form.show_row(self.folder, way == "folder")
        self.own.setVisible(way == "labels")
        missing = self.own.why_not() if way == "labels" and session.screen is not None else ""
        self.find_button.setEnabled(session.screen is not None and (busy or not missing))
        self.find_button.setText("Cancel" if busy else "Find cells" if way in _SEGMENTERS else "Use these cells")
        set_accent(self.find_button, session.cells is None and not busy)
        self._crop_form.show_row(self.crop, session.cells is not None)
        self._allow_correcting()
        if session.screen is None:
            self.why.say("Open a screen first.")
        elif busy:
            pass
        elif missing:
            self.why.say(missing)
        elif session.cells is not None:
            self.why.say(self._count())
        elif way not in _SEGMENTERS or not self._wrong:
            self.why.say("")

    def _allow_correcting(self) -> None:
        cells, field, chosen = self._session.cells, self._session.field, self._session.pen.chosen
        outlined = cells is not None and field is not None and field.key in cells.labels
        self._correcting.setVisible(outlined)
        self.delete_cell.setEnabled(outlined and chosen is not None and field is not None and chosen[0] == field.key)

    def _begin_cell(self) -> None:
        label = self._field_layers.cells.begin_cell()
        if label is not None:
            where = f"the image, layer “{NAME}”" if self._too_large() else "the image"
            self.why.say(f"Paint cell {label} in {where}. It is counted as you paint; Z takes the brush away.")

    def _delete_cell(self) -> None:
        layer, chosen = self._field_layers.brush, self._session.pen.chosen
        if layer is not None and not at_rest(layer) and self._viewer.layers.selection.active == layer:
            self._field_layers.cells.delete(int(layer.selected_label))
        elif chosen is not None and self._session.field is not None and chosen[0] == self._session.field.key:
            self._field_layers.cells.delete(chosen[1])

    def _count(self) -> str:
        cells, field, screen = self._session.cells, self._session.field, self._session.screen
        assert cells is not None
        assert screen is not None
        here = int((cells.table["field"] == field.key).sum()) if field is not None else 0
        found = f"{len(cells.table):,} cells in {len(screen)} field{'s' * (len(screen) != 1)}, {here:,} in this one."
        if self._too_large():
            found += " In a field of this size New cell opens what is in view for the brush."
        if self._session.cells_position is None:
            return found
        return f"{found} Found at {self._session.place(self._session.cells_position)}; used in every plane."

    def _too_large(self) -> bool:
        """Whether the cells of the shown field are painted part by part."""
        cells, field = self._session.cells, self._session.field
        labels = None if cells is None or field is None else cells.labels.get(field.key)
        return labels is not None and too_large_to_paint(labels)

    def _show_crop(self) -> None:
        crop = self._session.crop
        if crop is not None and crop != self.crop.value():
            self.crop.blockSignals(True)
            self.crop.setValue(crop)
            self.crop.blockSignals(False)
        self._show_size(self.crop.value())

    def _set_crop(self, crop: int) -> None:
        self._session.set_crop(crop, chosen=True)
        self._show_size(crop)

    def _show_size(self, crop: int) -> None:
        screen = self._session.screen
        size = screen.pixel_size if screen is not None else None
        self.crop_size.setText(f"{crop * float(np.ravel(size)[0]):.3g} µm" if size is not None else "")

    def _another_screen(self) -> None:
        screen = self._session.screen
        self.nucleus.clear()
        if screen is not None:
            self.nucleus.addItems(list(screen.channel_names))
            names = enumerate(screen.channel_names)
            self.nucleus.setCurrentIndex(next((i for i, name in names if is_nuclear(name)), 0))
        self._allow_inside()
        self._wrong = ""
        self.why.say("")
        self.refresh()

    def _allow_inside(self) -> None:
        """Offer the labels in the images where they are OME-Zarr."""
        screen, at = self._session.screen, self.way.findData("inside")
        inside = screen is not None and any(one.address for one in screen)
        model: Any = self.way.model()
        model.item(at).setEnabled(inside)
        tip = (
            "The labels called nuclei or cells, else the first"
            if inside
            else "The images of this screen are no OME-Zarr"
        )
        self.way.setItemData(at, tip, Qt.ItemDataRole.ToolTipRole)
        if not inside and self.way.currentIndex() == at:
            self.way.setCurrentIndex(0)

    def _list_ways(self) -> None:
        """All ways to cells; a segmenter that is not installed is listed with what to do about it."""
        for one in SEGMENTERS:
            reason = one.unavailable()
            self.way.addItem(f"{one.title} (not installed)" if reason else one.title, one.name)
            self.way.setItemData(self.way.count() - 1, reason or one.title, Qt.ItemDataRole.ToolTipRole)
            if reason:
                item: Any = self.way.model()
                item.item(self.way.count() - 1).setEnabled(False)
        for way, text in _OWN:
            self.way.addItem(text, way)
        self._allow_inside()

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Label images, one a field")
        if path:
            self.folder.setText(path)


def _narrow(box: QComboBox) -> QComboBox:
    """A list that is cut short in the dock rather than the dock made wide: channels may have long names."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)
    return box
