"""Which plane of a stack or a series the viewer's sliders stand on."""

from typing import Any

from napari import Viewer

from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.state.session import Session


class PlaneInView:
    """Tells the session which plane of the shown field is in view.

    Parameters
    ----------
    viewer, session
        Whose sliders are followed, and who is told.
    field
        The layers of the shown field.
    """

    def __init__(self, viewer: Viewer, session: Session, field: FieldLayers) -> None:
        self._viewer, self._session, self._field = viewer, session, field
        viewer.dims.events.point.connect(self._look)
        session.field_changed.connect(self._look)

    def detach(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.dims.events.point.disconnect(self._look)

    def _look(self, *_: Any) -> None:
        dims = self._viewer.dims
        channels = [layer for layer in self._field.channels if layer in self._viewer.layers]
        if self._session.image is None or not channels or tuple(dims.displayed[-2:]) != (dims.ndim - 2, dims.ndim - 1):
            return  # a view from the side shows no plane of the field
        index = channels[0].world_to_data(dims.point)[:-2]
        if len(index) == len(self._field.axes):
            self._session.set_position(self._field.position(index))
