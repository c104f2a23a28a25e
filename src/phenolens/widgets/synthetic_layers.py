"""The translated cells on the canvas: synthetic channels, signed differences, and an outline a cell."""

from collections.abc import Hashable
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Image, Shapes
from napari.utils import Colormap

from phenolens.screens.crops import Window
from phenolens.translation.composite import Composite
from phenolens.widgets.layers import FieldLayers, like
from phenolens.widgets.session import Session, TranslatedCell
from phenolens.widgets.style import AMBER, rgb

VIEWS = ("original", "translated", "difference")

# Blue, black, orange: no change is as dark as the empty canvas, and both ends are told apart by colour-blind eyes.
_SIGNED = Colormap(
    [rgb("#7cc4ff"), rgb("#1f6fd0"), (0, 0, 0), rgb("#d9541e"), rgb("#ffc08a")],
    name="phenolens difference",
    display_name="difference",
)
_SPAN = 0.5


class SyntheticLayers:
    """Layers of one kind a channel, made at the first click and changed in place ever after.

    Parameters
    ----------
    viewer, session
        Where to show what.
    field
        The layers of the source, whose place, colormaps and contrast limits are taken over.
    """

    def __init__(self, viewer: Viewer, session: Session, field: FieldLayers) -> None:
        self._viewer = viewer
        self._session = session
        self._field = field
        self.translated: list[Image] = []
        self.differences: list[Image] = []
        self.outlines: Shapes | None = None
        self.composite: Composite | None = None
        self.view = VIEWS[0]
        self.difference_channel = 0
        self._shown: list[bool] = []
        session.screen_changed.connect(self.remove)
        session.adapter_changed.connect(self._restart)
        session.field_changed.connect(self._restart)
        session.cell_changed.connect(self._show_cell)
        session.strength_changed.connect(self._show_all)

    @property
    def there(self) -> bool:
        """Whether the layers are on the canvas; false also when the user has deleted one."""
        layers = [*self.translated, *self.differences, *([self.outlines] if self.outlines else [])]
        return bool(layers) and all(layer in self._viewer.layers for layer in layers)

    def set_view(self, view: str, channel: int | None = None) -> None:
        """Show the original, the translated field or the difference (of one channel)."""
        groups = dict(zip(VIEWS, (self._field.channels, self.translated, self.differences), strict=True))
        if self.view != "difference" and groups[self.view]:
            self._shown = [layer.visible for layer in groups[self.view]]
        if channel is not None:
            self.difference_channel = channel
        self.view = view
        for name, layers in groups.items():
            for index, layer in enumerate(layers):
                if name != view:
                    layer.visible = False
                elif name == "difference":
                    layer.visible = index == self.difference_channel
                else:
                    layer.visible = self._shown[index] if len(self._shown) == len(layers) and any(self._shown) else True

    def strongest_channel(self) -> int:
        """The channel that changes most, measured in its own contrast range."""
        if self.composite is None:
            return 0
        spans = [max(np.diff(layer.contrast_limits)[0], 1e-6) for layer in self._field.channels]
        return int(np.argmax(np.abs(self.composite.difference).mean((1, 2)) / spans))

    def remove(self) -> None:
        """Take all of them off the canvas."""
        self.set_view("original")
        for layer in [*self.translated, *self.differences, self.outlines]:
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self.translated, self.differences, self.outlines, self.composite = [], [], None, None

    def _restart(self) -> None:
        """Show the cells of another field, or none of an adapter that is gone."""
        if not self._session.here():
            self.remove()
            return
        self._prepare(anew=True)
        self._show_all()

    def _prepare(self, anew: bool = False) -> None:
        plane = self._session.plane
        assert plane is not None
        if not self.there:
            self.remove()
            self._make(plane)
        elif anew or self.composite is None:
            self.composite = Composite(plane)
            for layers, data in (
                (self.translated, self.composite.translated),
                (self.differences, self.composite.difference),
            ):
                for layer, channel in zip(layers, data, strict=True):
                    layer.data = channel

    def _make(self, plane: np.ndarray) -> None:
        composite = self.composite = Composite(plane)
        active = self._viewer.layers.selection.active
        for index, source in enumerate(self._field.channels):
            shared: dict[str, Any] = {**like(source), "visible": False}
            self.translated.append(
                Image(
                    composite.translated[index],
                    name=f"{source.name} · synthetic",
                    colormap=source.colormap,
                    contrast_limits=source.contrast_limits,
                    gamma=source.gamma,
                    blending=source.blending,
                    metadata=self.facts("translated", source),
                    **shared,
                )
            )
            half = _SPAN * float(np.diff(source.contrast_limits)[0])
            self.differences.append(
                Image(
                    composite.difference[index],
                    name=f"{source.name} · synthetic difference",
                    colormap=_SIGNED,
                    contrast_limits=(-half, half),
                    blending="additive",
                    metadata=self.facts("difference", source),
                    **shared,
                )
            )
        self.outlines = Shapes(
            name="synthetic cells",
            ndim=2,
            metadata=self.facts("outlines", self._field.channels[0]),
            features={"note": np.empty(0, object)},
            text={"string": "{note}", "color": AMBER, "size": 9, "anchor": "upper_left", "translation": (-2, 0)},
            opacity=1.0,
            **like(self._field.channels[0]),
        )
        for layer in (*self.translated, *self.differences, self.outlines):
            self._viewer.add_layer(layer)
        # The lowest layer in sight covers the canvas, and the others are added to it. Were that the outlines of the
        # cells, which cover little, pictures would vanish on the white of a light theme.
        layers, labels = self._viewer.layers, self._field.labels
        if labels in layers:
            layers.move(layers.index(labels), layers.index(self.outlines))
        self._viewer.layers.selection.active = active

    def facts(self, kind: str, source: Image) -> dict[str, Any]:
        """Metadata of a synthetic layer: what it shows of the channel `source`, and where it comes from."""
        adapter, field = self._session.adapter, self._session.field
        facts: dict[str, Any] = {"synthetic": True, "kind": kind, "channel": source.name}
        if adapter is not None and field is not None:
            facts |= {
                "field": field.key,
                "adapter": str(adapter.folder),
                "conditions": list(adapter.conditions),
                "base": adapter.base,
            }
        return {"phenolens": facts}

    def _show_cell(self, cell: TranslatedCell) -> None:
        field = self._session.field
        if field is None or cell.field != field.key:
            return
        self._prepare()
        assert self.composite is not None
        if cell.id not in self._session.here():
            self.composite.drop(cell.id)
        else:
            self._draw(cell)
        self._refresh()

    def _show_all(self, *_: Any) -> None:
        if not self._session.here():
            return
        self._prepare()
        assert self.composite is not None
        found: dict[Hashable, tuple[Window, np.ndarray]] = {}
        for cell in self._session.here().values():
            difference = cell.difference(self._session.strength)
            if difference is not None and cell.translation is not None:
                found[cell.id] = (cell.translation.window, difference)
        if found:
            self.composite.put_all(found)
        self._refresh()

    def _draw(self, cell: TranslatedCell) -> None:
        difference = cell.difference(self._session.strength)
        if difference is not None and cell.translation is not None and self.composite is not None:
            self.composite.put(cell.id, cell.translation.window, difference)

    def _refresh(self) -> None:
        for layer in (*self.translated, *self.differences):
            layer.metadata["phenolens"]["strength"] = self._session.strength
            layer.refresh(thumbnail=False, highlight=False, extent=False)
        self._outline()

    def _outline(self) -> None:
        from phenolens.screens.crops import window_at

        if self.outlines is None:
            return
        cells = list(self._session.here().values())
        boxes, notes = [], []
        for cell in cells:
            window = window_at(cell.y, cell.x, self._session.window_size())
            top, left, far = window.y - 0.5, window.x - 0.5, window.size
            boxes.append([[top, left], [top, left + far], [top + far, left + far], [top + far, left]])
            about = "" if cell.has(self._session.strength) else "≈ "
            done = f"{cell.name} · {about}{self._session.strength:.2f}"
            notes.append(done if cell.translation is not None else f"{cell.name} · translating…")
        if len(self.outlines.data) != len(boxes):
            self.outlines.selected_data = set(range(len(self.outlines.data)))
            self.outlines.remove_selected()
            width = max(self._session.window_size() / 48, 0.8)
            self.outlines.feature_defaults = {"note": ""}
            self.outlines.add_rectangles(boxes, edge_color=AMBER, face_color="transparent", edge_width=width)
            self.outlines.selected_data = set()
        self.outlines.features = {"note": np.array(notes, object)}
        self.outlines.refresh_text()
        self.outlines.refresh(thumbnail=False, extent=False)
