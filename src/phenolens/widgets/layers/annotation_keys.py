"""Keys on the canvas: 1 to 9 give a cell a class, 0 takes it, Ctrl+Z undoes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from napari import Viewer
from napari.layers import Labels, Layer

from phenolens.widgets.layers.layer_keys import Key, LayerKeys, at_rest
from phenolens.widgets.state.session import Session


def _has_steps_of_its_own(layer: Layer | None) -> bool:
    """Whether Ctrl+Z is for what the user painted: in Labels of their own, napari undoes that, whatever the mode."""
    labels = isinstance(getattr(layer, "__wrapped__", layer), Labels)
    return labels and layer is not None and "phenolens" not in layer.metadata


class AnnotationKeys(LayerKeys):
    """Binds the keys of annotation while they mean something.

    Only keys with a meaning here are bound: 3 is napari's where no class has it, and all keys are while something is
    drawn in the layer.

    Parameters
    ----------
    viewer, session
        Whose keys, and whose classes.
    cells
        Gives the layer of the cells, in which Delete is bound and Ctrl+Z is in any mode.
    annotate
        Called with the number of a key, 0 to 9.
    undo, redo, next_unsure, delete
        Called for Ctrl+Z, Shift+Ctrl+Z, N and Delete.
    """

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        cells: Callable[[], Layer | None],
        annotate: Callable[[int], Any],
        undo: Callable[[], Any],
        redo: Callable[[], Any],
        next_unsure: Callable[[], Any],
        delete: Callable[[], Any],
    ) -> None:
        self._session, self._cells = session, cells
        self._annotate, self._undo, self._redo = annotate, undo, redo
        self._next, self._delete = next_unsure, delete
        signals = (session.pen.changed, session.pen.history_changed, session.cells_changed, session.screen_changed)
        super().__init__(viewer, signals)

    def _wanted(self, layer: Layer | None) -> dict[str, Key]:
        pen = self._session.pen
        if self._session.screen is None:
            return {}
        ours = layer is not None and layer == self._cells()  # napari hands layers to plugins behind proxies
        keys: dict[str, Key] = {}
        if ours or (at_rest(layer) and not _has_steps_of_its_own(layer)):
            keys |= {"Control-Z": self._undo, "Control-Shift-Z": self._redo}
        if self._session.cells is None:
            return keys
        if ours:
            keys["Delete"] = self._delete
        if not at_rest(layer):
            return keys
        numbers = [one.shortcut for one in pen.annotations.classes if one.shortcut is not None]
        for number in [*numbers, 0] if numbers else []:
            keys[str(number)] = partial(self._annotate, number)
        if pen.uncertain:
            keys["N"] = self._next
        return keys
