"""Keys that go from cell to cell and from field to field."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari import Viewer
from napari.layers import Layer

from phenolens.widgets.layers.layer_keys import Key, LayerKeys, at_rest
from phenolens.widgets.state.session import Session

if TYPE_CHECKING:
    from phenolens.annotation.changes import CellKey

FIELDS = {"PageUp": -1, "PageDown": 1}
CELLS = {",": -1, ".": 1}


class WalkKeys(LayerKeys):
    """Binds them while a screen is open and nothing is being drawn.

    Parameters
    ----------
    viewer, session
        Whose keys, and whose fields and cells.
    show
        Called with a cell that is to be looked at.
    """

    def __init__(self, viewer: Viewer, session: Session, show: "Callable[[CellKey], Any]") -> None:
        self._session, self._show = session, show
        super().__init__(viewer, (session.screen_changed, session.cells_changed, session.field_changed))

    def _wanted(self, layer: Layer | None) -> dict[str, Key]:
        if self._session.screen is None or self._session.field is None or not at_rest(layer):
            return {}
        keys: dict[str, Key] = {key: partial(self._go_to_field, step) for key, step in FIELDS.items()}
        if self._session.cells is not None:
            keys |= {key: partial(self._go_to_cell, step) for key, step in CELLS.items()}
        return keys

    def _go_to_field(self, step: int) -> None:
        session = self._session
        if session.screen is not None and session.field is not None:
            keys = [field.key for field in session.screen.fields]
            session.ask_for_field(keys[(keys.index(session.field.key) + step) % len(keys)])

    def _go_to_cell(self, step: int) -> None:
        """The next cell of the field by its number; the first or last one where none of the field is chosen."""
        session = self._session
        if session.cells is None or session.field is None:
            return
        table, key = session.cells.table, session.field.key
        labels = sorted(int(label) for label in table.loc[table["field"] == key, "label"])
        if not labels:
            return
        chosen = session.pen.chosen
        if chosen is not None and chosen[0] == key and chosen[1] in labels:
            label = labels[(labels.index(chosen[1]) + step) % len(labels)]
        else:
            label = labels[0] if step > 0 else labels[-1]
        session.pen.choose((key, label))
        self._show((key, label))
