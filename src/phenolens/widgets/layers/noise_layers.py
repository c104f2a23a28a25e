"""Layers that say what of a difference is more than noise: one outline, and one picture that lies over the others."""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Image, Labels, Layer
from napari.utils import DirectLabelColormap

from phenolens.screens.crops import Window
from phenolens.screens.large_images import LargePlane, by_levels
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.large_composite import LargeComposite
from phenolens.translation.apply.tile_pyramid import TilePyramid
from phenolens.widgets.layers.composed_levels import ComposedLevel, composed_levels
from phenolens.widgets.layers.field_layers import FieldLayers, like, take_away
from phenolens.widgets.layers.synthetic_layers import SyntheticLayers
from phenolens.widgets.state.session import CellId, Session

PICTURES = {
    "significant_difference": "synthetic difference beyond noise",
    "spread_over_seeds": "synthetic spread over seeds",
    "autoencoder_error": "autoencoder error",
}
"""Kind of a picture, and what its layer is called after the channel's name."""
OUTLINE = "significant"
_BLOCK = 1024
Pixels = np.ndarray | list[ComposedLevel]
"""Of a layer: all of them, or those of a large field at its levels."""
_OUTLINED = DirectLabelColormap(color_dict={0: "transparent", None: "#ffffff"})


class NoiseLayers:
    """The outline of what is significant, and one picture at a time, of the channel whose difference is shown.

    Parameters
    ----------
    viewer, session
        Where to show what.
    field, synthetic
        The source, and the translated cells that are judged.
    """

    def __init__(self, viewer: Viewer, session: Session, field: FieldLayers, synthetic: SyntheticLayers) -> None:
        self._viewer, self._session, self._field, self._synthetic = viewer, session, field, synthetic
        self.channel = 0
        self.alpha = 0.05
        self.outlined = False
        self.picture = ""
        self.doubts: dict[str, dict[CellId, np.ndarray]] = {}
        self.layers: dict[str, Layer] = {}
        for signal in (
            session.screen_changed,
            session.adapter_changed,
            session.field_changed,
            session.plane_changed,
        ):
            signal.connect(self._forget)
        for signal in (
            session.cell_changed,
            session.translated_changed,
            session.strength_changed,
            session.floor_changed,
            session.planes.arrived,
        ):
            signal.connect(self.refresh)
        session.held_changed.connect(self._hold)

    def show(self, outlined: bool, picture: str) -> None:
        """Show the outline or not, and the picture of a kind of `PICTURES`, or none where it is empty."""
        self.outlined, self.picture = outlined, picture
        self.refresh()

    def set_channel(self, channel: int) -> None:
        """Show another channel's."""
        self.channel = max(channel, 0)
        self.refresh()

    def set_alpha(self, alpha: float) -> None:
        """Ask for another error rate."""
        self.alpha = alpha
        self.refresh()

    def _significant(self, difference: bool) -> Pixels | None:
        """What is significant of the channel in the shown field, or the difference there; None where it is unknown."""
        from phenolens.evaluation.noise.significance import masked, significant
        from phenolens.evaluation.noise.significant_tiles import significant_tiles

        session, composite = self._session, self._synthetic.composite
        floor, adapter = session.floor, session.adapter
        if floor is None or adapter is None or composite is None or session.floor_misfit():
            return None
        how = (adapter.intensity, floor, self.alpha, session.strength)
        if isinstance(composite, LargeComposite):
            return self._by_levels(significant_tiles(composite, *how, difference=difference))
        mask = significant(composite.plane, composite.difference, *how)
        shown = masked(composite.difference, mask) if difference else mask.astype(np.uint8)
        return np.asarray(shown[self.channel])

    def _by_levels(self, tiles: TilePyramid) -> list[ComposedLevel]:
        """The channel of what is drawn on a large field, at the levels of the field."""
        import dask.array as da

        shapes = [level.shape[-2:] for level in self._field.channels[self.channel].data]
        levels = [da.zeros(shape, tiles.dtype, chunks=_BLOCK) for shape in shapes]
        return composed_levels(levels, lambda _: tiles, self.channel, tiles.dtype, added=False)

    def refresh(self, *_: Any) -> None:
        """Draw what is wanted anew, and take away what is not."""
        gone = []
        for kind, wanted, draw in (
            (OUTLINE, self.outlined, self._outline),
            *((kind, self.picture == kind, self._drawn(kind)) for kind in PICTURES),
        ):
            data = draw() if wanted and self._session.here() and self._field.channels else None
            if data is not None:
                self._put(kind, data)
            elif (layer := self.layers.pop(kind, None)) is not None:
                gone.append(layer)
        take_away(self._viewer, gone)

    def _drawn(self, kind: str) -> Callable[[], Pixels | None]:
        if kind == "significant_difference":
            return lambda: self._significant(difference=True)
        return lambda: self._doubtful(kind)

    def _outline(self) -> Pixels | None:
        return self._significant(difference=False)

    def _doubtful(self, kind: str) -> Pixels | None:
        shape, known = self._session.plane_shape, self.doubts.get(kind, {})
        cells: dict[Hashable, tuple[Window, np.ndarray]] = {
            cell.id: (cell.translation.window, known[cell.id])
            for cell in self._session.here().values()
            if cell.translation is not None and cell.id in known
        }
        if shape is None or not cells:
            return None
        image = self._session.image
        if image is not None and by_levels(image):
            large = LargeComposite(LargePlane(image, *self._session.position))
            large.put_all(cells)
            return self._by_levels(large.tiles)
        field = Composite(np.zeros(shape, np.float32))
        field.put_all(cells)
        return field.difference[self.channel]

    def _put(self, kind: str, data: Pixels) -> None:
        source = self._field.channels[self.channel]
        layer, large = self.layers.get(kind), isinstance(data, list)
        if layer is not None and layer.multiscale != large:
            take_away(self._viewer, [layer])
        if layer is None or layer not in self._viewer.layers:
            active = self._viewer.layers.selection.active
            layer = self.layers[kind] = self._viewer.add_layer(self._made(kind, data, source))
            if kind != OUTLINE and self._synthetic.outlines in self._viewer.layers:
                # over the other pictures, under the outlines
                self._viewer.layers.move(
                    len(self._viewer.layers) - 1, self._viewer.layers.index(self._synthetic.outlines)
                )
            self._viewer.layers.selection.active = active
        elif isinstance(layer, Labels) and isinstance(data, np.ndarray) and layer.data.shape == data.shape:
            # In place: for a new array napari makes its colours anew, and where that happens twice before the canvas is
            # drawn, vispy may look for those that are gone.
            layer.data[:] = data
            layer.refresh()
        else:
            layer.data = data
        layer.name = f"{source.name} · {'synthetic change beyond noise' if kind == OUTLINE else PICTURES[kind]}"
        layer.metadata = self._synthetic.facts(kind, source)
        if kind in self.doubts:
            layer.metadata["phenolens"] |= {"strength": 1.0}
        else:
            layer.metadata["phenolens"] |= {"strength": self._session.strength, "alpha": self.alpha}
        if isinstance(layer, Image):
            layer.contrast_limits = self._limits(kind)

    def _made(self, kind: str, data: Pixels, source: Image) -> Layer:
        large = isinstance(data, list)
        if kind == OUTLINE:
            layer = Labels(data, colormap=_OUTLINED, multiscale=large, **like(source, 2))
            layer.contour = 1
            return layer
        signed = self._synthetic.differences[self.channel].colormap if kind == "significant_difference" else "inferno"
        return Image(data, colormap=signed, blending="opaque", multiscale=large, **like(source, 2))

    def _limits(self, kind: str) -> tuple[float, float]:
        """Those of the channel's difference; a quarter of them for what would be too dark to see."""
        low, high = self._synthetic.differences[self.channel].contrast_limits
        return (low, high) if kind == "significant_difference" else (0.0, high / 4)

    def _hold(self) -> None:
        """With other channels held, translations spread otherwise."""
        self.doubts.pop("spread_over_seeds", None)
        self.refresh()

    def _forget(self) -> None:
        self.doubts = {}
        self.refresh()
