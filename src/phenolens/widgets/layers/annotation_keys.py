"""Keys on the canvas: 1 to 9 give a cell a class, 0 takes it, Ctrl+Z undoes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from napari import Viewer
from napari.layers import Labels, Layer
from napari.utils.key_bindings import coerce_keybinding

from phenolens.widgets.state.session import Session

_AT_REST = ("pan_zoom", "transform")


def at_rest(layer: Layer | None) -> bool:
    """Whether nothing is being drawn in a layer, so that clicks and keys may mean cells."""
    return layer is None or str(layer.mode) in _AT_REST


def _has_steps_of_its_own(layer: Layer | None) -> bool:
    """Whether Ctrl+Z is for what the user painted: in Labels of their own, napari undoes that, whatever the mode."""
    labels = isinstance(getattr(layer, "__wrapped__", layer), Labels)
    return labels and layer is not None and "phenolens" not in layer.metadata


class AnnotationKeys:
    """Binds keys to the layer that is active, or to the viewer where none is, and takes them off again.

    napari asks the active layer before the viewer, so that a binding of the viewer alone would never be reached for
    the keys that layers have. Only keys with a meaning here are bound: 3 is napari's where no class has it, and all
    keys are while something is drawn in the layer.

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
        self._viewer, self._session, self._cells = viewer, session, cells
        self._annotate, self._undo, self._redo = annotate, undo, redo
        self._next, self._delete = next_unsure, delete
        self._holder: Any = None
        self._followed: Layer | None = None
        self._bound: list[Any] = []
        viewer.layers.selection.events.active.connect(self._follow)
        session.pen.changed.connect(self._bind)
        session.pen.history_changed.connect(self._bind)
        session.cells_changed.connect(self._bind)
        session.screen_changed.connect(self._bind)
        self._follow()

    def detach(self) -> None:
        """Give all keys back."""
        self._viewer.layers.selection.events.active.disconnect(self._follow)
        self._session.pen.changed.disconnect(self._bind)
        self._session.pen.history_changed.disconnect(self._bind)
        self._session.cells_changed.disconnect(self._bind)
        self._session.screen_changed.disconnect(self._bind)
        self._unfollow()

    def _unfollow(self) -> None:
        self._release()
        if self._followed is not None:
            self._followed.events.mode.disconnect(self._bind)
            self._followed = None

    def _follow(self, _: Any = None) -> None:
        self._unfollow()
        self._followed = self._viewer.layers.selection.active
        if self._followed is not None:
            self._followed.events.mode.connect(self._bind)
        self._bind()

    def _bind(self, *_: Any) -> None:
        self._release()
        # the viewer behind napari's proxy for plugins: its own keymap is what napari looks into
        holder = self._followed if self._followed is not None else getattr(self._viewer, "__wrapped__", self._viewer)
        self._holder = holder
        for key, call in self._wanted().items():
            binding = coerce_keybinding(key)
            if binding not in holder.keymap:  # what the user bound stays
                holder.bind_key(binding, _pressed(call))
                self._bound.append(binding)

    def _wanted(self) -> dict[str, Callable[[], Any]]:
        pen, layer = self._session.pen, self._followed
        if self._session.screen is None:
            return {}
        ours = layer is not None and layer == self._cells()  # napari hands layers to plugins behind proxies
        keys: dict[str, Callable[[], Any]] = {}
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

    def _release(self) -> None:
        for binding in self._bound:
            self._holder.keymap.pop(binding, None)
        self._bound = []


def _pressed(call: Callable[[], Any]) -> Callable[[Any], None]:
    def pressed(_: Any) -> None:
        call()

    return pressed
