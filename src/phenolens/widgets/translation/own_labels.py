"""Labels of the user's own, as layers: which there are, which field each is of, and their pixels by field."""

from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from phenolens.runtime.errors import CellError
from phenolens.screens.label_images import field_of_labels
from phenolens.widgets.kit.eliding import ElidedComboBox
from phenolens.widgets.kit.style import Form
from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.layers.part_layer import KIND
from phenolens.widgets.layers.suggested_layer import NAME
from phenolens.widgets.state.session import Session

_ASK = "which field?"
_ALL = "All that name their field"


class OwnLabels(QWidget):
    """Chooses a Labels layer, and asks for its field where neither its metadata nor its name says it.

    Labels of one field are never taken for another's: nothing is guessed from what happens to be shown.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer, session: Session, field_layers: FieldLayers) -> None:
        super().__init__()
        self._viewer, self._session, self._field_layers = viewer, session, field_layers
        self.layer, self.field = ElidedComboBox(), ElidedComboBox()
        for box in (self.layer, self.field):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(10)
        self.layer.setToolTip("Labels layer with one number a cell")
        self.field.setToolTip("The field that the labels are of; the cells of all other fields stay as they are")
        self.layer.currentIndexChanged.connect(lambda _: self._ask())
        self.field.currentIndexChanged.connect(lambda _: self.changed.emit())
        self._form = Form()
        self._form.row("Labels", self.layer)
        self._form.row("Of field", self.field)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addLayout(self._form)
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self.list_layers)
        session.screen_changed.connect(self.list_layers)
        session.cells_changed.connect(self.list_layers)
        self.list_layers()

    def detach(self) -> None:
        """Stop listening to the viewer."""
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.disconnect(self.list_layers)

    def list_layers(self, *_: Any) -> None:
        """List the Labels layers that could be the user's: all but the cells' own and what is synthetic."""
        names = [layer.name for layer in self._candidates()]
        if len(self._naming()) > 1:
            names.insert(0, _ALL)
        if names == [self.layer.itemText(i) for i in range(self.layer.count())]:
            return
        chosen = self.layer.currentText()
        self.layer.blockSignals(True)
        self.layer.clear()
        self.layer.addItems(names)
        if chosen in names:
            self.layer.setCurrentText(chosen)
        self.layer.blockSignals(False)
        self._ask()

    def _candidates(self) -> list[Labels]:
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Labels)
            and layer != self._field_layers.labels
            and not layer.metadata.get("phenolens", {}).get("synthetic")
            and layer.metadata.get("phenolens", {}).get("kind") not in (NAME, KIND)
        ]

    def _naming(self) -> list[tuple[Labels, str]]:
        """The layers whose metadata or name say which field they are of, and its key."""
        screen = self._session.screen
        if screen is None:
            return []
        naming = []
        for layer in self._candidates():
            facts = layer.metadata.get("phenolens", {})
            marked = facts.get("field") if isinstance(facts, dict) else None
            try:
                key = field_of_labels(screen, layer.data.shape[-2:], marked=marked, name=layer.name, shapes={})
            except CellError:
                key = None  # of another screen, or no field is named
            if key is not None:
                naming.append((layer, key))
        return naming

    def why_not(self) -> str:
        """What is still to be said of the labels; empty where all is known."""
        if not self.layer.currentText():
            return "There is no Labels layer of your own: add one, and give each cell its own number."
        if self.field.isVisibleTo(self) and not self.field.currentData():
            return "Say which field these labels are of."
        return ""

    def chosen_layers(self) -> list[Labels]:
        """The layer that is chosen, or all that name their field."""
        name = self.layer.currentText()
        if name == _ALL:
            return [layer for layer, _ in self._naming()]
        return [layer for layer in self._candidates() if layer.name == name][:1]

    def by_field(self) -> dict[str, NDArray[Any]]:
        """Label images (H, W) by the key of their field.

        Raises
        ------
        CellError
            There is no layer, or it is not said or not possible which field it is of.
        """
        layer, screen = self._chosen(), self._session.screen
        if self.layer.currentText() == _ALL:
            found: dict[str, NDArray[Any]] = {}
            for layer, key in self._naming():
                if key in found:
                    raise CellError(f"Two layers, one of them {layer.name}, say that they are of {key}: rename one.")
                found[key] = self._plane(np.asarray(layer.data), layer.name)
            return found
        if (reason := self.why_not()) or layer is None or screen is None:
            raise CellError(reason or "Open a screen first.")
        data = np.asarray(layer.data)
        if self._a_slice_a_field(data):
            return {one.key: labels for one, labels in zip(screen.fields, data, strict=True)}
        key = self._said(layer) or str(self.field.currentData())
        return {key: self._plane(data, layer.name)}

    def _chosen(self) -> Labels | None:
        """The one layer that is chosen."""
        return None if self.layer.currentText() == _ALL else next(iter(self.chosen_layers()), None)

    def _ask(self) -> None:
        """Fill the fields that could be meant, and choose the one that is known."""
        screen, layer = self._session.screen, self._chosen()
        keys = [] if screen is None else [one.key for one in screen]
        self.field.blockSignals(True)
        self.field.clear()
        ask = screen is not None and layer is not None and not self._a_slice_a_field(np.asanyarray(layer.data))
        if ask and layer is not None:
            try:
                said = self._said(layer)
            except CellError:
                said = None  # the reason is told when the labels are to be used
            self.field.addItem(_ASK, "")
            for key in keys:
                self.field.addItem(key, key)
            self.field.setCurrentIndex(keys.index(said) + 1 if said is not None else 0)
            self.field.setEnabled(said is None or layer.metadata.get("phenolens", {}).get("field") != said)
        self.field.blockSignals(False)
        self._form.show_row(self.field, ask)
        self.changed.emit()

    def _said(self, layer: Labels) -> str | None:
        """The field that a layer's metadata or name says, or the only one; None where one has to ask."""
        screen, field, image = self._session.screen, self._session.field, self._session.image
        if screen is None:
            return None
        shape = tuple(layer.data.shape[-2:])
        shapes: dict[str, Any] = {one.key: shape for one in screen}  # others are read, and checked, when they are used
        if field is not None and image is not None:
            shapes[field.key] = image.shape[-2:]
        facts = layer.metadata.get("phenolens", {})
        marked = facts.get("field") if isinstance(facts, dict) else None
        return field_of_labels(screen, shape, marked=marked, name=layer.name, shapes=shapes)

    def _a_slice_a_field(self, data: NDArray[Any]) -> bool:
        screen = self._session.screen
        return screen is not None and data.ndim == 3 and len(data) == len(screen) and not self._is_stack(data)

    def _is_stack(self, data: NDArray[Any]) -> bool:
        channels = self._field_layers.channels
        return data.ndim > 2 and bool(channels) and data.shape == channels[0].data.shape

    def _plane(self, data: NDArray[Any], name: str) -> NDArray[Any]:
        if self._is_stack(data):
            return np.asarray(data[self._field_layers.index(self._session.position)])
        if data.ndim != 2:
            raise CellError(f"The layer {name} has the shape {data.shape}: labels are one plane, or a slice a field.")
        return data
