"""Original and translated field side by side, in napari's grid, whose pictures share one camera."""

from napari import Viewer
from napari.layers import Layer

from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.layers.synthetic_layers import SyntheticLayers


class SideBySide:
    """Turns napari's grid on and off, and the layers with it; what was there before comes back.

    napari fills the places of its grid with so many layers each, in the order of the list: while it is on, the channels
    of the field are the first in the list, those of the translated field the next, and all other layers are hidden.

    Parameters
    ----------
    viewer, field, synthetic
        Whose grid, and what is shown in it.
    """

    def __init__(self, viewer: Viewer, field: FieldLayers, synthetic: SyntheticLayers) -> None:
        self._viewer, self._field, self._synthetic = viewer, field, synthetic
        self._order: list[Layer] = []
        self._seen: dict[Layer, bool] = {}
        self._grid: tuple[bool, int, tuple[int, int]] | None = None
        self._named: list[Layer] = []

    @property
    def on(self) -> bool:
        """Whether they are side by side."""
        return self._grid is not None

    @property
    def intact(self) -> bool:
        """Whether the first layers of the list are still those that napari puts side by side."""
        first = [*self._field.channels, *self._synthetic.translated]
        return list(self._viewer.layers)[: len(first)] == first

    def show(self) -> None:
        """Put them side by side."""
        layers, grid = self._viewer.layers, self._viewer.canvas.grid
        if self.on or not self._synthetic.there:
            return
        self._order, self._seen = list(layers), {layer: layer.visible for layer in layers}
        self._grid = grid.enabled, grid.stride, grid.shape
        first = [*self._field.channels, *self._synthetic.translated]
        visible = [layer.visible for layer in self._shown_channels()]
        if not any(visible):
            visible = [True] * len(visible)
        for layer in layers:
            layer.visible = False
        self._sort(first)
        for group in (self._field.channels, self._synthetic.translated):
            for layer, shown in zip(group, visible, strict=True):
                layer.visible = shown
        grid.stride, grid.shape, grid.enabled = len(self._field.channels), (1, 2), True
        # the name of a layer of either side on the canvas says which one is synthetic
        for group in (self._field.channels, self._synthetic.translated):
            self._named += [layer for layer in group if layer.visible and not layer.name_overlay.visible][:1]
        for layer in self._named:
            layer.name_overlay.visible = True
        self._viewer.reset_view()

    def hide(self) -> None:
        """Go back to one picture, with the layers that were there in the order that they had."""
        if self._grid is None:
            return
        grid, (enabled, stride, shape) = self._viewer.canvas.grid, self._grid
        self._grid = None
        for layer in self._named:
            layer.name_overlay.visible = False
        self._named = []
        grid.enabled, grid.stride, grid.shape = enabled, stride, shape
        self._sort([layer for layer in self._order if layer in self._viewer.layers])
        for layer, visible in self._seen.items():
            if layer in self._viewer.layers:
                layer.visible = visible
        self._synthetic.set_view(self._synthetic.view)  # another may have become the right one meanwhile
        self._order, self._seen = [], {}
        self._viewer.reset_view()

    def _shown_channels(self) -> list[Layer]:
        """The group whose channels were last on display, so that the same are seen on both sides."""
        groups = (self._field.channels, self._synthetic.translated)
        return list(next((group for group in groups if any(layer.visible for layer in group)), self._field.channels))

    def _sort(self, first: list[Layer]) -> None:
        for place, layer in enumerate(first):
            at = self._viewer.layers.index(layer)
            if at != place:
                self._viewer.layers.move(at, place)
