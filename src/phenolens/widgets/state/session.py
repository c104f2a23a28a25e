"""What the dock is working on, without Qt: the panels read it, change it, and listen to it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from phenolens.runtime.choices.preferences import preferences
from phenolens.runtime.errors import CellError, ModelError
from phenolens.screens.images import FieldImage
from phenolens.screens.large_images import Plane
from phenolens.widgets.kit.channel_colours import image_colours
from phenolens.widgets.state.cell_lookup import cell_key_at, nearest_cell
from phenolens.widgets.state.origin import Origin
from phenolens.widgets.state.pen import Pen
from phenolens.widgets.state.planes import Planes
from phenolens.widgets.state.translated_cell import CellId, Limit, PlaneId, TranslatedCell
from phenolens.widgets.state.translation_steps import TranslationSteps

if TYPE_CHECKING:
    from phenolens.annotation.annotations import Annotations
    from phenolens.annotation.changes import CellKey
    from phenolens.evaluation.noise.noise_floor import NoiseFloor
    from phenolens.screens.cell_editing import CellChanges
    from phenolens.screens.cells import Cells
    from phenolens.screens.conditions import Condition
    from phenolens.screens.intensity import IntensityMap
    from phenolens.screens.table import Field, Screen
    from phenolens.translation.apply.cell_translation import CellTranslation
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter

__all__ = ["CellId", "PlaneId", "Session", "TranslatedCell"]


class Session:
    """State of one dock. Every change goes through a method, which emits the signal named after what changed."""

    devices_changed = Signal()
    leaving = Signal()
    """The screen that is open will be another in a moment."""
    device_changed = Signal()
    base_changed = Signal()
    screen_changed = Signal()
    conditions_changed = Signal()
    field_wanted = Signal(str)
    field_changed = Signal()
    plane_changed = Signal()
    cells_changed = Signal()
    crop_changed = Signal()
    adapter_changed = Signal()
    cell_changed = Signal(object)
    translated_changed = Signal()
    """Several translated cells came or went at once."""
    current_changed = Signal()
    limit_changed = Signal()
    strength_changed = Signal(float)
    held_changed = Signal()
    floor_changed = Signal()

    def __init__(self) -> None:
        self.screen: Screen | None = None
        self.screen_name = ""
        self.origin: Origin | None = None
        self.intensity: IntensityMap | None = None
        self.source: Condition | None = None
        self.target: Condition | None = None
        self.field: Field | None = None
        self.image: FieldImage | None = None
        self.position = (0, 0)
        self.planes = Planes()
        self.cells: Cells | None = None
        self.cells_position: tuple[int, int] | None = None
        self.pen = Pen()
        self.nucleus_channel: int | None = None
        self.crop: int | None = None
        self.crop_chosen = False
        self.base = "compact"
        chosen = preferences()
        self.device = chosen.device
        self.devices: list[str] = []
        self.adapter: Adapter | None = None
        self.translator: Translator | None = None
        self.translator_device = "cpu"
        self.floor: NoiseFloor | None = None
        self.strength = chosen.strength
        self.limit: Limit = "cell"
        self.current: TranslatedCell | None = None
        self.translated: dict[PlaneId, dict[CellId, TranslatedCell]] = {}
        self.steps = TranslationSteps(self.exchange, self.pen.recorded, (self.screen_changed, self.adapter_changed))

    @property
    def plane(self) -> Plane | None:
        """Pixels (C, H, W) of the plane in view; None while they are being read."""
        return self.planes.known(self.position)

    @property
    def plane_shape(self) -> tuple[int, int, int] | None:
        """Shape (C, H, W) of the shown field's planes."""
        image = self.image
        return None if image is None else (image.n_channels, image.length("Y"), image.length("X"))

    @property
    def plane_id(self) -> PlaneId | None:
        """The plane in view."""
        return None if self.field is None else (self.field.key, *self.position)

    @property
    def colours(self) -> list[str]:
        """Colours of the open screen's channels, the same on the canvas and in every small picture."""
        return [] if self.screen is None else image_colours(self.screen.channel_names, self.image)

    def place(self, position: tuple[int, int]) -> str:
        """Name of a plane, as the viewer's sliders count; empty where the shown field is one plane."""
        axes = "" if self.image is None else self.image.stack_axes
        return ", ".join(f"{axis.lower()} {at}" for axis, at in zip("TZ", position, strict=True) if axis in axes)

    def set_devices(self, names: list[str]) -> None:
        """What this machine can compute on."""
        self.devices = names
        self.device = self.device if self.device in names else "auto"
        self.devices_changed.emit()

    def set_device(self, name: str) -> None:
        """Compute on a device, or on the best one where it is "auto"; what runs already stays where it is."""
        if name != self.device:
            self.device = name
            self.device_changed.emit()

    def set_base(self, base: str) -> None:
        """Fine-tune another base: "compact", a folder, or a name on the hub."""
        if base != self.base:
            self.base = base
            self.base_changed.emit()

    def set_screen(self, screen: "Screen", intensity: "IntensityMap", name: str, origin: Origin | None = None) -> None:
        """Work on another screen, read from `origin`; an adapter stays loaded where it fits the channels."""
        self.leaving.emit()
        self.origin = origin
        self.screen, self.intensity, self.screen_name = screen, intensity, name
        self.source = self.target = self.field = self.image = None
        self.planes.show(None)
        self.cells = self.cells_position = self.nucleus_channel = self.crop = None
        self.crop_chosen = False
        self.translated = {}
        self.pen.take_up(screen)
        self.screen_changed.emit()
        self.choose_cell(None)
        if self.adapter is not None and self.mismatch(self.adapter):
            self.adapter = self.translator = self.floor = None
            self.adapter_changed.emit()

    def set_conditions(self, source: "Condition | None", target: "Condition | None") -> None:
        """Choose the source (control) and the target condition."""
        self.source, self.target = source, target
        self.conditions_changed.emit()

    def ask_for_field(self, key: str) -> None:
        """Ask that the field of a key be shown; whoever reads fields listens."""
        self.field_wanted.emit(key)

    def set_field(self, field: "Field", image: FieldImage, plane: np.ndarray | None = None) -> None:
        """Show another field; `plane` is the one at the image's position, where that was read already."""
        self.field, self.image, self.position = field, image, image.position
        self.planes.show(image, plane)
        self.field_changed.emit()

    def set_position(self, position: tuple[int, int]) -> None:
        """Look at the plane at another time and depth (t, z) of the shown field."""
        if position != self.position:
            self.position = position
            self.plane_changed.emit()

    @property
    def annotations(self) -> "Annotations":
        """What the user says of the cells of the open screen."""
        return self.pen.annotations

    def set_cells(self, cells: "Cells", nucleus_channel: int | None, position: tuple[int, int] | None = None) -> None:
        """Use other cells, of the planes at `position` where the fields are stacks or series; annotations follow."""
        before, self.cells = self.cells, cells
        self.nucleus_channel, self.cells_position = nucleus_channel, position
        self.pen.found_anew(before, cells)
        self._limit_all()
        self.cells_changed.emit()

    def set_crop(self, crop: int, chosen: bool = False) -> None:
        """Look at cells through a square of `crop` pixels; one that was `chosen` by hand stays for this screen."""
        if chosen or not self.crop_chosen:
            self.crop, self.crop_chosen = crop, self.crop_chosen or chosen
            self.crop_changed.emit()

    def correct_cells(self, field: str, labels: np.ndarray, corner: tuple[int, int] | None = None) -> "CellChanges":
        """Use a corrected label image (H, W) of one field, or a part of it from `corner` (y, x) on; annotations follow.

        Raises
        ------
        CellError
            The cells of this field have no outlines, or they have another shape.
        """
        from phenolens.screens.cell_editing import corrected

        if self.cells is None:
            raise CellError("There are no cells to correct: find the cells first.")
        self.cells, changes = corrected(self.cells, field, labels, corner)
        self.pen.corrected(field, changes)
        self._limit_all()
        self.cells_changed.emit()
        return changes

    def screen_of_cells(self) -> "Screen | None":
        """The screen, of whose stacks and series the planes are taken in which the cells were found."""
        if self.screen is None or self.cells_position is None:
            return self.screen
        return self.screen.at_plane(*self.cells_position)

    def set_adapter(self, adapter: "Adapter", translator: "Translator", device: str) -> None:
        """Translate with `adapter`; cells of another one are forgotten, those of a draft of it translated anew.

        Raises
        ------
        ModelError
            Where the adapter's channels are not the screen's; the session keeps the adapter it had.
        """
        if reason := self.mismatch(adapter):
            raise ModelError(reason)
        draft = (old := self.adapter) is not None and old.unfinished and old.conditions == adapter.conditions
        again = {of: {at: one.anew() for at, one in here.items()} for of, here in self.translated.items() if draft}
        self.adapter, self.translator, self.translator_device = adapter, translator, device
        self.translated, self.floor = again, None
        self.choose_cell(None)  # before others hear of it, who may choose one at once
        self.adapter_changed.emit()
        self.translated_changed.emit()

    def set_floor(self, floor: "NoiseFloor") -> None:
        """Hold differences to a noise floor of the adapter."""
        self.floor = floor
        self.floor_changed.emit()

    def floor_misfit(self) -> str:
        """Why the shown differences cannot be compared with the noise floor; empty where they can."""
        if self.floor is None or self.translator is None:
            return ""
        try:
            direction = self.direction()
            guidance = self.translator.guidance_to(direction[1]) if direction else self.translator.guidance
            self.floor.check(self.translator.held, guidance)
        except ModelError as error:
            return str(error)
        return ""

    def mismatch(self, adapter: "Adapter") -> str:
        """Why `adapter` cannot be used on this screen; empty where it can."""
        if self.screen is None:
            return ""
        try:
            adapter.check_channels(tuple(self.screen.channel_names), "this screen")
        except ModelError as error:
            return str(error)
        return ""

    def queue(self) -> str:
        """The device that "auto" or the chosen name stands for, among those that were found."""
        if self.device != "auto":
            return self.device
        return next((name for name in ("cuda", "mps") if name in self.devices), "cpu")

    def set_strength(self, strength: float) -> None:
        """Move the slider: 0 is the cell itself, 1 the target condition."""
        self.strength = round(strength, 2)
        self.strength_changed.emit(self.strength)

    def set_limit(self, limit: Limit) -> None:
        """Change each translated cell alone ("cell"), or the whole crop around it ("crop")."""
        if limit != self.limit:
            self.limit = limit
            self._limit_all()
            self.limit_changed.emit()

    def _limit_all(self) -> None:
        for cells in self.translated.values():
            for cell in cells.values():
                cell.limit_to(self.limit, self.cells, self.window_size())

    def set_held(self, channels: list[str]) -> None:
        """Leave `channels` as they are; cells keep what they show until they are translated anew."""
        if self.translator is not None:
            self.translator.hold(channels)
            self.held_changed.emit()

    def here(self) -> dict[CellId, TranslatedCell]:
        """The translated cells of the plane in view."""
        return self.translated.get(self.plane_id, {}) if self.plane_id is not None else {}

    def in_field(self) -> list[TranslatedCell]:
        """The translated cells of all planes of the field that is shown."""
        key = None if self.field is None else self.field.key
        return [cell for plane, cells in self.translated.items() if plane[0] == key for cell in cells.values()]

    def holds(self, cell: TranslatedCell) -> bool:
        """Whether a cell is one of those that are kept: it may have been forgotten or replaced."""
        return self.translated.get(cell.plane, {}).get(cell.id) is cell

    def cell_at(self, y: float, x: float) -> tuple[float, float, str]:
        """Centre and name of the cell at a clicked pixel: the nearest known cell, or the point itself."""
        if self.cells is not None and self.field is not None:
            nearest = nearest_cell(self.cells, self.field.key, y, x, self.window_size() / 2)
            if nearest is not None:
                return float(nearest["y"]), float(nearest["x"]), f"cell {int(nearest['label'])}"
        return float(round(y)), float(round(x)), f"({x:.0f}, {y:.0f})"

    def cell_key_at(self, y: float, x: float) -> "CellKey | None":
        """Field and label of the cell at a pixel of the shown field: the one that it is of, else the nearest."""
        if self.field is None or self.cells is None:
            return None
        return cell_key_at(self.cells, self.field.key, y, x, self.window_size() / 2)

    def window_size(self) -> int:
        """Side in pixels of the square around a cell."""
        if self.adapter is not None:
            return self.adapter.crop
        return self.crop or 64

    def add_cell(self, cell: TranslatedCell) -> None:
        """Remember a translated cell, or one that is about to be."""
        cell.limit_to(self.limit, self.cells, self.window_size())
        self.translated.setdefault(cell.plane, {})[cell.id] = cell
        self.cell_changed.emit(cell)

    def bring_back(self, cells: Iterable[TranslatedCell]) -> None:
        """Remember cells that were translated before; they are drawn with the field that is shown next."""
        for cell in cells:
            cell.limit_to(self.limit, self.cells, self.window_size())
            self.translated.setdefault(cell.plane, {})[cell.id] = cell

    def exchange(self, gone: Iterable[TranslatedCell], new: Iterable[TranslatedCell] = ()) -> None:
        """Forget some translated cells, and remember others, at one go."""
        for cell in gone:
            self.translated.get(cell.plane, {}).pop(cell.id, None)
        self.bring_back(new)
        self.translated_changed.emit()
        if self.current is not None and not self.holds(self.current):
            self.choose_cell(None)

    def update_cell(self, cell: TranslatedCell, translation: "CellTranslation") -> None:
        """Keep a better or further result of a cell; strengths of the same accuracy are added to those known.

        A result that holds other channels than are held by now comes too late, and so does one of other steps than are
        asked for where one of those is there.
        """
        old = cell.translation
        if self.translator is not None:
            asked = self.translator.settings.steps
            late = old is not None and old.steps == asked != translation.steps
            if translation.held != self.translator.held or late:
                return
        if (
            old is not None
            and old.held == translation.held
            and old.trajectory is translation.trajectory
            and old.steps == translation.steps
        ):
            translation = old.joined(translation)
        if cell.share is not None and len(cell.share) != translation.window.size:
            cell.limit_to(self.limit, self.cells, translation.window.size)
        cell.translation = translation
        self.cell_changed.emit(cell)

    def remove_cell(self, cell: TranslatedCell) -> None:
        """Forget a clicked cell."""
        self.translated.get(cell.plane, {}).pop(cell.id, None)
        self.cell_changed.emit(cell)
        if cell is self.current:
            self.choose_cell(None)

    def choose_cell(self, cell: "TranslatedCell | None") -> None:
        """Look closer at a translated cell: the one that was clicked last."""
        if cell is not self.current:
            self.current = cell
            self.current_changed.emit()

    def direction(self) -> tuple[str, str] | None:
        """Source and target for the field that is shown: reversed where the field is of the target condition."""
        if self.adapter is None:
            return None
        adapter = self.adapter
        back = self.belongs(adapter.target) and not self.belongs(adapter.source)
        return adapter.conditions[::-1] if back else adapter.conditions

    def belongs(self, condition: "Condition") -> bool:
        """Whether the shown field is of a condition, or in a well that it leaves out; False where nothing says."""
        from phenolens.runtime.errors import ScreenError

        if self.screen is None or self.field is None:
            return False
        try:
            return self.field.key in {field.key for field in self.screen.select(condition.without_exclusions("Well"))}
        except ScreenError:
            return False
