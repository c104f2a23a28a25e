"""What compares: the strip of strengths, playing, side by side, and how much of a crop is changed."""

from napari import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from phenolens.widgets.compare.compare_keys import CompareKeys
from phenolens.widgets.compare.inversion_note import InversionNote
from phenolens.widgets.compare.layers_box import LayersBox
from phenolens.widgets.compare.playing import STEP, Playing
from phenolens.widgets.compare.real_cells import RealCellsBox
from phenolens.widgets.compare.side_by_side import SideBySide
from phenolens.widgets.compare.strip import StrengthStrip
from phenolens.widgets.compare.what_changed import WhatChanged
from phenolens.widgets.kit.style import SPACE, Form, action
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.layers.layer_groups import VIEWS
from phenolens.widgets.layers.synthetic_layers import SyntheticLayers
from phenolens.widgets.state.session import Session

_MOST = 1.5
_LIMITS = {"cell": "The cell alone", "crop": "Its whole crop"}


class ComparePanel(QWidget):
    """Looks at a translated cell in every way. ``view_wanted`` asks for one of the views by name.

    Parameters
    ----------
    viewer, session, running, field, synthetic
        Whose canvas, whose cells, what runs work on them, and their layers.
    """

    view_wanted = Signal(str)

    def __init__(
        self, viewer: Viewer, session: Session, running: Running, field: FieldLayers, synthetic: SyntheticLayers
    ) -> None:
        super().__init__()
        self._session, self._synthetic = session, synthetic
        self._held_from = ""
        self.layers = LayersBox(session, synthetic.groups)
        self.strip = StrengthStrip(session)
        self.inversion = InversionNote(session)
        self.real = RealCellsBox(session, running)
        self.what_changed = WhatChanged(session, running)
        self.playing = Playing(self, session)
        self.side_by_side = SideBySide(viewer, field, synthetic)
        self.play = action("▶ Play", "Move the slider back and forth between the cell and its treated version")
        self.play.clicked.connect(self.playing.toggle)
        self.playing.changed.connect(self._show_playing)
        self.beside = action("Side by side", "The original at the left, the translated field at the right; one camera")
        self.beside.setCheckable(True)
        self.beside.clicked.connect(self._put_beside)
        self.limit = QComboBox()
        for limit, words in _LIMITS.items():
            self.limit.addItem(words, limit)
        self.limit.setToolTip(
            "The cell alone: its change ends, feathered, before the next cell, and the line follows the cell.\n"
            "Its whole crop: all within the square around it is changed, neighbours too.\n"
            "Where no label says what the cell is, the crop is changed. Exported tables say which."
        )
        self.limit.activated.connect(lambda _: session.set_limit(self.limit.currentData()))
        self.keys = CompareKeys(
            viewer, session, self.view_wanted.emit, self.layers.toggle, self._flicker, self._settle, self._step
        )
        self._lay_out()
        for signal in (
            session.cell_changed,
            session.translated_changed,
            session.field_changed,
            session.adapter_changed,
            session.screen_changed,
        ):
            signal.connect(self._refresh)
        session.limit_changed.connect(self._show_limit)
        self._refresh()

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(SPACE)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE)
        buttons.addWidget(self.play, 1)
        buttons.addWidget(self.beside, 1)
        whole.addLayout(buttons)
        whole.addWidget(self.layers)
        whole.addWidget(self.strip)
        whole.addWidget(self.inversion)
        whole.addWidget(self.real)
        whole.addWidget(self.what_changed)
        form = Form()
        form.row("Change", self.limit)
        whole.addLayout(form)

    def close_down(self) -> None:
        """Leave the viewer as it was."""
        self.playing.stop()
        self.leave_side_by_side()
        self.layers.detach()

    def leave_side_by_side(self) -> None:
        """Go back to one picture."""
        self.side_by_side.hide()
        self.beside.setChecked(False)

    def _put_beside(self, on: bool) -> None:
        if not on:
            self.leave_side_by_side()
            return
        self.side_by_side.show()
        self.beside.setChecked(self.side_by_side.on)

    def _flicker(self) -> None:
        """While the key is held: the original; where that is on display, the translated field."""
        self._held_from = self._synthetic.view
        self.view_wanted.emit(VIEWS[1] if self._held_from == VIEWS[0] else VIEWS[0])

    def _settle(self) -> None:
        if self._held_from:
            self.view_wanted.emit(self._held_from)
            self._held_from = ""

    def _step(self, step: int) -> None:
        self.playing.stop()
        self._session.set_strength(min(max(self._session.strength + step * STEP, 0.0), _MOST))

    def _show_playing(self) -> None:
        self.play.setText("■ Stop" if self.playing.on else "▶ Play")

    def _show_limit(self) -> None:
        self.limit.setCurrentIndex(self.limit.findData(self._session.limit))

    def _refresh(self, _: object = None) -> None:
        some = bool(self._session.in_field())
        self.play.setEnabled(some)
        self.beside.setEnabled(some)
        if not some:
            self.playing.stop()
        if not (some and self.side_by_side.intact):
            self.leave_side_by_side()
