"""Points and shapes that the user draws: each is of the field on which it was drawn."""

from typing import Any
from weakref import WeakSet

from napari import Viewer
from napari.layers import Layer, Points, Shapes

from phenolens.widgets.state.session import Session


class Drawings:
    """Notes in the metadata of a new layer of points or shapes which field is shown; shows it with that field alone.

    Layers that were read from a file, or that the program makes, are left as they are.

    Parameters
    ----------
    viewer, session
        Where is drawn, and which field is shown.
    """

    def __init__(self, viewer: Viewer, session: Session) -> None:
        self._viewer, self._session = viewer, session
        self._hidden: WeakSet[Layer] = WeakSet()
        viewer.layers.events.inserted.connect(self._inserted)
        session.field_changed.connect(self._show)

    def detach(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.layers.events.inserted.disconnect(self._inserted)

    def _inserted(self, event: Any) -> None:
        layer, field = event.value, self._session.field
        if field is None or not isinstance(layer, (Points, Shapes)):
            return
        if "phenolens" in layer.metadata or layer.source.path is not None:
            return
        layer.metadata["phenolens"] = {"field": field.key, "synthetic": False}

    def _show(self) -> None:
        screen, field = self._session.screen, self._session.field
        if screen is None or field is None:
            return
        known = {one.key for one in screen}
        for layer in self._viewer.layers:
            facts = layer.metadata.get("phenolens", {})
            of = facts.get("field")
            if not isinstance(layer, (Points, Shapes)) or of not in known or facts.get("synthetic", True):
                continue
            if of != field.key and layer.visible:
                layer.visible = False
                self._hidden.add(layer)
            elif of == field.key and layer in self._hidden:
                layer.visible = True
                self._hidden.discard(layer)
