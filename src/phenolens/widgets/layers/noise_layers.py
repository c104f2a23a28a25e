"""Layers that say what of a difference is more than noise: one outline, and one picture that lies over the others."""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Image, Labels, Layer
from napari.utils import DirectLabelColormap

from phenolens.screens.crops import Window
from phenolens.translation.apply.composite import Composite
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

    def mask(self) -> np.ndarray | None:
        """(C, H, W) bool: what is significant in the shown field; None where it cannot be said."""
        from phenolens.evaluation.noise.significance import significant

        session, composite = self._session, self._synthetic.composite
        floor, adapter = session.floor, session.adapter
        if floor is None or adapter is None or composite is None or session.floor_misfit():
            return None
        return significant(
            composite.plane, composite.difference, adapter.intensity, floor, self.alpha, session.strength
        )

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

    def _drawn(self, kind: str) -> Callable[[], np.ndarray | None]:
        return self._difference if kind == "significant_difference" else lambda: self._doubtful(kind)

    def _outline(self) -> np.ndarray | None:
        mask = self.mask()
        return None if mask is None else mask[self.channel].astype(np.uint8)

    def _difference(self) -> np.ndarray | None:
        from phenolens.evaluation.noise.significance import masked

        mask, composite = self.mask(), self._synthetic.composite
        if mask is None or composite is None:
            return None
        return masked(composite.difference, mask)[self.channel]

    def _doubtful(self, kind: str) -> np.ndarray | None:
        shape, known = self._session.plane_shape, self.doubts.get(kind, {})
        cells: dict[Hashable, tuple[Window, np.ndarray]] = {
            cell.id: (cell.translation.window, known[cell.id])
            for cell in self._session.here().values()
            if cell.translation is not None and cell.id in known
        }
        if shape is None or not cells:
            return None
        field = Composite(np.zeros(shape, np.float32))
        field.put_all(cells)
        return field.difference[self.channel]

    def _put(self, kind: str, data: np.ndarray) -> None:
        source = self._field.channels[self.channel]
        layer = self.layers.get(kind)
        if layer is None or layer not in self._viewer.layers:
            active = self._viewer.layers.selection.active
            layer = self.layers[kind] = self._viewer.add_layer(self._made(kind, data, source))
            if kind != OUTLINE and self._synthetic.outlines in self._viewer.layers:
                # over the other pictures, under the outlines
                self._viewer.layers.move(
                    len(self._viewer.layers) - 1, self._viewer.layers.index(self._synthetic.outlines)
                )
            self._viewer.layers.selection.active = active
        elif isinstance(layer, Labels) and layer.data.shape == data.shape:
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

    def _made(self, kind: str, data: np.ndarray, source: Image) -> Layer:
        if kind == OUTLINE:
            layer = Labels(data, colormap=_OUTLINED, **like(source, 2))
            layer.contour = 1
            return layer
        signed = self._synthetic.differences[self.channel].colormap if kind == "significant_difference" else "inferno"
        return Image(data, colormap=signed, blending="opaque", **like(source, 2))

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
