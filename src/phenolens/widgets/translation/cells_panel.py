"""Step 2: find the cells of the screen, or take the user's own."""

from typing import TYPE_CHECKING, Any

import numpy as np
from napari import Viewer
from napari.layers import Labels
from qtpy.QtWidgets import QComboBox, QLabel, QSpinBox, QVBoxLayout, QWidget

from phenolens.runtime.errors import CellError, PhenolensError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.widgets.kit.channel_colours import is_nuclear
from phenolens.widgets.kit.style import MUTED, SPACE, Form, Note, action, set_accent
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation import jobs

if TYPE_CHECKING:
    from phenolens.screens.cells import Cells

_WAYS = (
    ("auto", "Segment the nuclei"),
    ("whole", "Each image is one cell"),
    ("labels", "My Labels layer"),
)


class CellsPanel(QWidget):
    """Finds cells in all fields of the screen and shows those of the field on the canvas."""

    def __init__(self, viewer: Viewer, session: Session, running: Running, field_layers: FieldLayers) -> None:
        super().__init__()
        self._viewer, self._session, self._running, self._field_layers = viewer, session, running, field_layers
        self._busy = self._wrong = False
        self.way = QComboBox()
        for way, text in _WAYS:
            self.way.addItem(text, way)
        self.way.currentIndexChanged.connect(lambda _: self.refresh())
        self.nucleus = QComboBox()
        self.nucleus.setToolTip("Channel that shows the nuclei")
        self.layer = QComboBox()
        self.layer.setToolTip("Labels layer with one number a cell")
        self.crop = QSpinBox()
        self.crop.setRange(16, 8192)
        self.crop.setSingleStep(2)
        self.crop.setSuffix(" px")
        self.crop.setToolTip("Side of the square around a cell that the model sees; suggested from the cells")
        self.crop.valueChanged.connect(self._set_crop)
        self.crop_size = QLabel()
        self.crop_size.setStyleSheet(f"color: {MUTED};")
        self.find_button = action("Find cells", "Find the cells of every field", accent=True)
        self.find_button.clicked.connect(self.begin)
        self.why = Note()
        form = Form()
        form.row("Cells", self.way, tip="Where the cells come from")
        form.row("Nuclei in", self.nucleus)
        form.row("Labels", self.layer)
        form.row("Crop", self.crop, self.crop_size)
        self._form = form
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        whole.addLayout(form)
        whole.addWidget(self.find_button)
        whole.addWidget(self.why)
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._list_layers)
        session.screen_changed.connect(self._another_screen)
        session.field_changed.connect(self.refresh)
        session.cells_changed.connect(self._found)
        self.refresh()

    def detach(self) -> None:
        """Stop listening to the viewer."""
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.disconnect(self._list_layers)

    def begin(self) -> None:
        """Find the cells in the background."""
        session = self._session
        if session.screen is None:
            return
        screen, way = session.screen, self.way.currentData()
        stack = session.image is not None and session.image.stack_axes
        position = session.position if stack else None
        nucleus = self.nucleus.currentIndex() if way == "auto" else None
        try:
            how = self._own_labels() if way == "labels" else way
        except PhenolensError as error:
            self.why.say(str(error), "error")
            return

        def found(result: "tuple[Cells, int, dict[str, np.ndarray]]") -> None:
            if session.screen is screen:
                cells, crop, labels = result
                session.crop = crop
                # the user's own layer shows its labels itself
                session.labels = {} if way == "labels" else labels
                session.set_cells(cells, nucleus, position)

        self._busy, self._wrong = True, False
        self._running.start(
            jobs.find(screen if position is None else screen.at_plane(*position), how, nucleus),
            "Finding cells",
            priority=INTERACTIVE,
            progress=lambda now: self.why.say(f"{now.message} {now.step}/{now.total}" if now.total else now.message),
            done=found,
            failed=self._failed,
            finished=self._finished,
        )
        self.refresh()

    def _failed(self, error: BaseException) -> None:
        self._wrong = True
        known = isinstance(error, PhenolensError)
        self.why.say(str(error) if known else "The search failed; the notification has the details.", "error")

    def _finished(self) -> None:
        self._busy = False
        if self._wrong:
            self.find_button.setEnabled(self._session.screen is not None)
        else:
            self.refresh()

    def refresh(self) -> None:
        """Show the rows that matter, and say what there is or what is missing."""
        session, way = self._session, self.way.currentData()
        self._form.show_row(self.nucleus, way == "auto")
        self._form.show_row(self.layer, way == "labels")
        self.find_button.setEnabled(session.screen is not None and not self._busy)
        self.find_button.setText("Find cells" if way == "auto" else "Use these cells")
        set_accent(self.find_button, session.cells is None)
        self._form.show_row(self.crop, session.cells is not None)
        if session.screen is None:
            self.why.say("Open a screen first.")
        elif session.cells is not None and not self._busy:
            self.why.say(self._count())

    def _count(self) -> str:
        cells, field, screen = self._session.cells, self._session.field, self._session.screen
        assert cells is not None
        assert screen is not None
        here = int((cells.table["field"] == field.key).sum()) if field is not None else 0
        found = f"{len(cells.table):,} cells in {len(screen)} field{'s' * (len(screen) != 1)}, {here} in this one."
        if self._session.cells_position is None:
            return found
        return f"{found} Found at {self._session.place(self._session.cells_position)}; used in every plane."

    def _found(self) -> None:
        if self._session.crop is not None:
            self.crop.blockSignals(True)
            self.crop.setValue(self._session.crop)
            self.crop.blockSignals(False)
        self._set_crop(self.crop.value())
        self.refresh()

    def _set_crop(self, crop: int) -> None:
        self._session.crop = crop
        screen = self._session.screen
        size = screen.pixel_size if screen is not None else None
        self.crop_size.setText(f"= {crop * float(np.ravel(size)[0]):.3g} µm" if size is not None else "")

    def _another_screen(self) -> None:
        screen = self._session.screen
        self.nucleus.clear()
        if screen is not None:
            self.nucleus.addItems(list(screen.channel_names))
            names = enumerate(screen.channel_names)
            self.nucleus.setCurrentIndex(next((i for i, name in names if is_nuclear(name)), 0))
        self.why.say("")
        self.refresh()

    def _list_layers(self, *_: Any) -> None:
        names = [x.name for x in self._viewer.layers if isinstance(x, Labels) and "phenolens" not in x.metadata]
        chosen = self.layer.currentText()
        self.layer.clear()
        self.layer.addItems(names)
        if chosen in names:
            self.layer.setCurrentText(chosen)

    def _own_labels(self) -> dict[str, np.ndarray]:
        """Labels by field: of the shown field, of its plane in view, or of every slice of a stack."""
        screen, field = self._session.screen, self._session.field
        name = self.layer.currentText()
        if not name:
            raise CellError("There is no Labels layer of your own: add one, and give each cell its own number.")
        data = np.asarray(self._viewer.layers[name].data)
        assert screen is not None
        channels = self._field_layers.channels
        if field is not None and data.ndim > 2 and channels and data.shape == channels[0].data.shape:
            return {field.key: data[self._field_layers.index(self._session.position)]}
        if data.ndim == 3 and len(data) == len(screen):
            return {item.key: labels for item, labels in zip(screen.fields, data, strict=True)}
        shape = self._session.plane.shape[-2:] if self._session.plane is not None else None
        if field is None or data.shape != shape:
            raise CellError(
                f"The layer {name} has the shape {data.shape}, the shown field {shape}: use labels of this field."
            )
        return {field.key: data}
