"""The layers of a field by group and channel: one click shows or hides a group, another a channel of it."""

from functools import partial
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QGridLayout, QPushButton, QVBoxLayout, QWidget

from phenolens.widgets.kit.eliding import ElidedLabel
from phenolens.widgets.kit.folded import Folded
from phenolens.widgets.kit.style import AMBER, SPACE
from phenolens.widgets.layers.layer_groups import VIEWS, LayerGroups
from phenolens.widgets.state.session import Session

_WORDS = {"original": "Real", "translated": "Translated", "difference": "Difference"}


class LayersBox(QWidget):
    """A chip a group above a row a channel, folded away at first.

    Parameters
    ----------
    session, groups
        Whose field, and its layers.
    """

    def __init__(self, session: Session, groups: LayerGroups) -> None:
        super().__init__()
        self._session, self._groups = session, groups
        self._followed: list[Layer] = []
        self.ticks: dict[str, list[QCheckBox]] = {view: [] for view in VIEWS}
        self.chips: dict[str, QPushButton] = {}
        self._rows: list[QWidget] = []
        inner = QWidget()
        self._grid = QGridLayout(inner)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(SPACE // 2)
        self._grid.setColumnStretch(0, 1)
        for column, (view, word) in enumerate(_WORDS.items(), start=1):
            chip = QPushButton(word)
            chip.setCheckable(True)
            key = f"Shift+{view[0].upper()}"
            chip.setToolTip(f"Show or hide all layers of this group; each channel stays as it is ticked (key {key})")
            fill = "#61696e" if view == "original" else AMBER
            chip.setStyleSheet(
                f"QPushButton {{ padding: 3px 5px; }} QPushButton:checked {{ background: {fill}; color: black; }}"
            )
            chip.clicked.connect(partial(groups.show, view))
            self.chips[view] = chip
            self._grid.addWidget(chip, 0, column)
        self.folded = Folded(inner, "Layers by group and channel: real, translated and difference", "Layers")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.folded)
        for signal in (
            session.cell_changed,
            session.translated_changed,
            session.field_changed,
            session.adapter_changed,
            session.screen_changed,
        ):
            signal.connect(self.refresh)
        self.refresh()

    def toggle(self, view: str) -> None:
        """Show a group where it is hidden, and hide it where it is shown."""
        self._groups.show(view, not self._groups.shown(view))

    def detach(self) -> None:
        """Follow the layers no more."""
        for layer in self._followed:
            layer.events.visible.disconnect(self._show)
        self._followed = []

    def refresh(self, _: object = None) -> None:
        """List the layers that are there now."""
        groups = {view: list(self._groups.of(view)) for view in VIEWS}
        layers = [layer for group in groups.values() for layer in group]
        if layers != self._followed:
            self.detach()
            self._followed = layers
            for layer in layers:
                layer.events.visible.connect(self._show)
            self._list(groups)
        self._show()

    def _list(self, groups: dict[str, list[Layer]]) -> None:
        for widget in self._rows:
            self._grid.removeWidget(widget)
            widget.deleteLater()
        self._rows, self.ticks = [], {view: [] for view in VIEWS}
        for row, channel in enumerate(groups["original"], start=1):
            name = ElidedLabel(channel.name)
            self._rows.append(name)
            self._grid.addWidget(name, row, 0)
            for column, view in enumerate(VIEWS, start=1):
                if row > len(groups[view]):
                    continue
                tick = QCheckBox()
                layer = groups[view][row - 1]
                tick.setToolTip(layer.name)
                tick.clicked.connect(partial(setattr, layer, "visible"))
                self.ticks[view].append(tick)
                self._rows.append(tick)
                self._grid.addWidget(tick, row, column, Qt.AlignmentFlag.AlignHCenter)

    def _show(self, _: Any = None) -> None:
        self.setEnabled(bool(self._followed))
        for view, chip in self.chips.items():
            layers = self._groups.of(view)
            chip.setEnabled(bool(layers))
            chip.setChecked(self._groups.shown(view))
            for tick, layer in zip(self.ticks[view], layers, strict=False):
                tick.setChecked(layer.visible)
