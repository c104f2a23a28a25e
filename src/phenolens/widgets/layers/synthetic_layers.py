"""The translated cells on the canvas: synthetic channels, signed differences, and an outline a cell."""

from functools import partial
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Image, Shapes
from napari.utils import Colormap
from qtpy.QtCore import QTimer

from phenolens.screens.crops import window_at
from phenolens.screens.large_images import by_levels
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.large_composite import LargeComposite
from phenolens.translation.apply.tile_pyramid import TilePyramid
from phenolens.widgets.kit.style import AMBER, rgb
from phenolens.widgets.layers.composed_levels import composed_levels
from phenolens.widgets.layers.field_layers import FieldLayers, like, take_away
from phenolens.widgets.layers.layer_groups import VIEWS, LayerGroups
from phenolens.widgets.layers.plane_stack import PlaneStack
from phenolens.widgets.layers.translated_planes import TranslatedPlanes
from phenolens.widgets.state.session import Session, TranslatedCell

# Blue, black, orange: no change is as dark as the empty canvas, and both ends are told apart by colour-blind eyes.
_SIGNED = Colormap(
    [rgb("#7cc4ff"), rgb("#1f6fd0"), (0, 0, 0), rgb("#d9541e"), rgb("#ffc08a")],
    name="phenolens difference",
    display_name="difference",
)
_SPAN = 0.5


class SyntheticLayers:
    """Layers of one kind a channel, made at the first click and changed in place ever after.

    Where the field is a stack or a series they have its axes, and a cell shows in the plane it was translated in.

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
        self._planes = TranslatedPlanes(session)
        self._boxes: list[list[list[float]]] = []
        self._outlined: list[TranslatedCell] = []
        self._columns: dict[tuple[Any, Any], dict[str, Any]] = {}
        self._drawing = False
        self.groups = LayerGroups(lambda: (field.channels, self.translated, self.differences))
        session.screen_changed.connect(self._another_screen)
        session.adapter_changed.connect(self._restart)
        session.field_changed.connect(self._restart)
        session.cells_changed.connect(self._restart)
        session.limit_changed.connect(self._restart)
        session.cell_changed.connect(self._show_cell)
        session.translated_changed.connect(self._restart)
        session.strength_changed.connect(self._show_all)
        session.planes.arrived.connect(self._show_all)

    @property
    def there(self) -> bool:
        """Whether the layers are on the canvas; false also when the user has deleted one."""
        layers = [*self.translated, *self.differences, *([self.outlines] if self.outlines else [])]
        return bool(layers) and all(layer in self._viewer.layers for layer in layers)

    @property
    def composite(self) -> Composite | LargeComposite | None:
        """The plane in view with its cells translated; None where there is none."""
        return self._planes.at(self._session.position) if self.translated and self._session.field else None

    @property
    def view(self) -> str:
        """Which of the `VIEWS` was last asked for."""
        return self.groups.view

    @property
    def difference_channel(self) -> int:
        """The channel whose difference is shown."""
        return self.groups.difference_channel

    def set_view(self, view: str, channel: int | None = None) -> None:
        """Show the original, the translated field or the difference (of one channel)."""
        self.groups.show_alone(view, channel)

    def strongest_channel(self) -> int:
        """The channel that changes most, measured in its own contrast range."""
        composite = self.composite
        if composite is None:
            return 0
        spans = [max(np.diff(layer.contrast_limits)[0], 1e-6) for layer in self._field.channels]
        return int(np.argmax(composite.mean_change() / spans))

    def remove(self) -> None:
        """Take all of them off the canvas."""
        self.set_view(VIEWS[0])
        outlines = [] if self.outlines is None else [self.outlines]
        self._remember_columns()
        take_away(self._viewer, [*self.translated, *self.differences, *outlines])
        self.translated, self.differences, self.outlines = [], [], None
        self._boxes, self._outlined = [], []
        self._planes.forget()

    def _another_screen(self) -> None:
        self.remove()
        self._columns.clear()

    def _restart(self) -> None:
        """Show the cells of another field, or none of an adapter that is gone."""
        if not self._session.in_field():
            self.remove()
            return
        self._prepare(anew=True)
        self._refresh()

    def _prepare(self, anew: bool = False) -> None:
        source = self._field.channels[0]
        if not self.there or (self.translated[0].ndim, self.translated[0].multiscale) != (source.ndim, self._large):
            self.remove()
            self._make()
        elif anew:
            self._planes.forget()
            for index, (translated, difference) in enumerate(zip(self.translated, self.differences, strict=True)):
                translated.data, difference.data = self._data(index)

    @property
    def _large(self) -> bool:
        """Whether the field is shown by its levels."""
        return self._session.image is not None and by_levels(self._session.image)

    def _data(self, channel: int) -> tuple[Any, Any]:
        """Translated pixels and differences of a channel: of the field, or of what of it is looked at."""
        session, source = self._session, self._field.channels[channel]
        composite = None if self._field.axes else self._planes.at(session.position)
        if isinstance(composite, Composite):
            return composite.translated[channel], composite.difference[channel]
        image, shape = session.image, source.data.shape
        none = np.zeros(shape[-2:], np.float32)

        def plane(index: tuple[int, ...], read: bool = True) -> Composite | LargeComposite | None:
            # the canvas may ask once more for a field that is not shown any longer
            return self._planes.at(self._field.position(index), read) if session.image is image else None

        def tiles(index: tuple[int, ...]) -> TilePyramid | None:
            composite = plane(index)
            return composite.tiles if isinstance(composite, LargeComposite) else None

        if self._large:
            return (
                composed_levels(source.data, tiles, channel, source.dtype, added=True),
                composed_levels(source.data, tiles, channel, np.float32, added=False),
            )

        def translated(index: tuple[int, ...], read: bool = True) -> np.ndarray | None:
            if (composite := plane(index, read)) is not None:
                return np.asarray(composite.translated[channel])
            position = self._field.position(index)
            if read:
                return np.asarray(session.planes.reader(position, image)()[channel])
            known = session.planes.known(position) if session.image is image else None
            return None if known is None else np.asarray(known[channel])

        def difference(index: tuple[int, ...], read: bool = True) -> np.ndarray:
            composite = plane(index, read)
            return none if composite is None else composite.difference[channel]

        return (
            PlaneStack(shape[:-2], shape[-2:], source.dtype, translated, partial(translated, read=False)),
            PlaneStack(shape[:-2], shape[-2:], np.float32, difference, partial(difference, read=False)),
        )

    def _make(self) -> None:
        active = self._viewer.layers.selection.active
        for index, source in enumerate(self._field.channels):
            translated, difference = self._data(index)
            shared: dict[str, Any] = {**like(source), "visible": False, "multiscale": self._large}
            self.translated.append(
                Image(
                    translated,
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
                    difference,
                    name=f"{source.name} · synthetic difference",
                    colormap=_SIGNED,
                    contrast_limits=(-half, half),
                    blending="additive",
                    metadata=self.facts("difference", source),
                    **shared,
                )
            )
        ndim = self._field.channels[0].ndim
        above = (*(0,) * (ndim - 2), -2, 0)
        self.outlines = Shapes(
            name="synthetic cells",
            ndim=ndim,
            metadata=self.facts("outlines", self._field.channels[0]),
            features={"note": np.empty(0, object)},
            text={"string": "{note}", "color": AMBER, "size": 9, "anchor": "upper_left", "translation": above},
            opacity=1.0,
            **like(self._field.channels[0]),
        )
        self.outlines.events.data.connect(self._edited)
        for layer in (*self.translated, *self.differences, self.outlines):
            self._viewer.add_layer(layer)
        for layer in self.differences:
            layer.colorbar.visible = True  # in the intensity units of the file, as the difference is
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
                "adapter": str(adapter.folder or adapter.unfinished),
                "conditions": list(adapter.conditions),
                "base": adapter.base,
            }
        return {"phenolens": facts}

    def _show_cell(self, cell: TranslatedCell) -> None:
        field = self._session.field
        if field is None or cell.field != field.key:
            return
        self._planes.update(cell)
        if self._session.in_field():
            self._prepare()
        if self.there:
            self._refresh()

    def _show_all(self, *_: Any) -> None:
        if self._session.in_field():
            self._prepare()
            self._refresh()

    def _refresh(self) -> None:
        _ = self.composite  # draws the plane in view
        for layer in (*self.translated, *self.differences):
            layer.metadata["phenolens"] |= {"strength": self._session.strength, "changed": self._session.limit}
            layer.refresh(thumbnail=False, highlight=False, extent=False)
        self._outline()

    def _outline(self) -> None:
        """Draw a line around what is changed of each translated cell; columns that the user gave the lines stay."""
        if self.outlines is None:
            return
        boxes, notes = [], []
        cells = self._session.in_field()
        for cell in cells:
            corners = _box(cell, self._session.window_size()) if cell.outline is None else cell.outline.tolist()
            boxes.append([[*self._field.index(cell.position), *corner] for corner in corners])
            about = "" if cell.has(self._session.strength) else "≈ "
            done = f"{cell.name} · {about}{self._session.strength:.2f}"
            notes.append(done if cell.translation is not None else f"{cell.name} · translating…")
        self._remember_columns()
        if self._boxes != boxes or len(self.outlines.data) != len(boxes):
            self._drawing = True
            there = len(self._boxes)
            if not there or len(self.outlines.data) != there or boxes[:there] != self._boxes:
                there = 0
                self.outlines.selected_data = set(range(len(self.outlines.data)))
                self.outlines.remove_selected()
                self.outlines.features = {"note": np.empty(0, object)}
                self.outlines.feature_defaults = {"note": ""}
            width = max(self._session.window_size() / 48, 0.8)
            self.outlines.add_polygons(boxes[there:], edge_color=AMBER, face_color="transparent", edge_width=width)
            self._boxes = boxes
            self.outlines.selected_data = set()
            self._drawing = False
        self._outlined = cells
        self.outlines.features = self._features(cells, notes)
        self.outlines.refresh_text()
        self.outlines.refresh(thumbnail=False, extent=False)

    def _features(self, cells: list[TranslatedCell], notes: list[str]) -> Any:
        """A table with our note on each line, what is changed of the crop, and the user's own columns."""
        import pandas as pd

        own = pd.DataFrame([self._columns.get((cell.plane, cell.id), {}) for cell in cells], index=range(len(cells)))
        own.insert(0, "note", np.array(notes, object))
        own.insert(1, "changed part", np.array([cell.limit for cell in cells], object))
        return own

    def _remember_columns(self) -> None:
        """Keep what the user has written into columns of the boxes' own table, by cell."""
        if self.outlines is None or len(self.outlines.features) != len(self._outlined):
            return
        own = self.outlines.features.drop(columns=["note", "changed part"], errors="ignore")
        if len(own.columns):
            for cell, row in zip(self._outlined, own.to_dict("records"), strict=True):
                self._columns[cell.plane, cell.id] = row

    def _edited(self, event: Any) -> None:
        """A box that the user deletes takes its translated cell with it."""
        if self._drawing or str(getattr(event.action, "value", event.action)) != "removing":
            return
        self._remember_columns()
        gone = [self._outlined[index] for index in getattr(event, "data_indices", ()) if index < len(self._outlined)]

        if not gone:
            return

        def remove() -> None:
            self._session.exchange(gone)
            self._session.steps.did(f"taking back {gone[0].name}", removed=gone)

        QTimer.singleShot(0, remove)  # napari is not done with the deletion yet


def _box(cell: TranslatedCell, size: int) -> list[list[float]]:
    """Corners (4, 2) of the crop around a cell."""
    window = window_at(cell.y, cell.x, size)
    top, left, far = window.y - 0.5, window.x - 0.5, window.size
    return [[top, left], [top, left + far], [top + far, left + far], [top + far, left]]
