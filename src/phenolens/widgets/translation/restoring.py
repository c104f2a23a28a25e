"""A session that was saved, brought back: read away from the window, then put into the dock at one go."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.errors import AnnotationError, ModelError, OutputError, PhenolensError, ScreenError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.ome_zarr.folders import is_url
from phenolens.sessions.cells import saved_cells
from phenolens.sessions.folder import SessionFolder
from phenolens.sessions.inputs import changed_fields, field_marks
from phenolens.sessions.reading import SavedSession, read_session
from phenolens.sessions.translations import saved_translation
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.widgets.choices.translate_choices import MOST_STEPS
from phenolens.widgets.state.origin import Origin
from phenolens.widgets.state.session import Session, TranslatedCell
from phenolens.widgets.translation import jobs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenolens.screens.cells import Cells
    from phenolens.screens.images import FieldImage
    from phenolens.screens.intensity import IntensityMap
    from phenolens.screens.table import Field, Screen
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter


class MissingScreen(ScreenError):
    """The screen of a session is not where it was."""


@dataclass
class Restored:
    """All of a session that can be had.

    Parameters
    ----------
    saved
        What was read.
    folder
        The session's folder, to go on in; None where it cannot be written, or another program does.
    """

    saved: SavedSession
    folder: SessionFolder | None
    screen: Screen
    intensity: IntensityMap
    origin: Origin
    shown: tuple[Field, FieldImage, NDArray[Any] | None]
    cells: Cells | None = None
    adapter: tuple[Adapter, Translator, str] | None = None
    translated: list[TranslatedCell] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What could not be brought back, a sentence each."""
        return self.saved.problems


def restore_session(folder: Path, device: str, elsewhere: Path | None = None) -> Job[Restored]:
    """Read a session and what it speaks of.

    Parameters
    ----------
    elsewhere
        Where the screen lies now, if it was moved.

    Raises
    ------
    MissingScreen
        The screen is not where it was.
    """
    yield Progress(0, 5, "reading the session")
    saved = read_session(folder)
    about = saved.value("screen", default={})
    origin = _origin(saved, about, elsewhere)
    screen, intensity = yield from jobs.open_screen(origin.path, origin.pattern)
    yield Progress(1, 5, "reading the field")
    changed = changed_fields(saved.value("inputs", default={}), field_marks(screen))
    if changed:
        saved.problems.append(
            f"The images of {_several(changed)} are not those that this session was saved with: cells that were "
            "found and translated there are left out."
        )
    shown = yield from _shown(saved, screen)
    yield Progress(2, 5, "reading the cells")
    restored = Restored(saved, None, screen, intensity, origin, shown)
    known = {one.key for one in screen}
    shape = shown[1].length("Y"), shown[1].length("X")
    for key, _ in list(saved.under("labels")):
        if key not in known or key in changed:
            del saved.state.values[f"labels/{key}"]
    restored.cells = saved_cells(saved, {shown[0].key: shape})
    yield Progress(3, 5, "loading the adapter")
    adapter = saved.value("adapter")
    if adapter is not None:
        restored.adapter = yield from _adapter(saved, screen, adapter, device)
    yield Progress(4, 5, "reading the translated cells")
    if restored.adapter is not None:
        restored.translated = _translated(saved, known - set(changed), restored.adapter)
    try:
        restored.folder = SessionFolder(folder)
    except OutputError as error:
        saved.problems.append(f"{error} What you do now is kept in a new session.")
    return restored


def _origin(saved: SavedSession, about: Mapping[str, Any], elsewhere: Path | None) -> Origin:
    pattern = about.get("pattern")
    pattern = pattern if isinstance(pattern, str) else None
    if elsewhere is not None:
        return Origin(str(elsewhere), pattern)
    path = about.get("path")
    if not isinstance(path, str) or not path:
        raise MissingScreen(
            f"The screen “{saved.title}” of this session was made of layers of the viewer, which no session keeps: "
            "save those layers, and choose their folder."
        )
    if not is_url(path) and not Path(path).exists():
        raise MissingScreen(
            f"The screen of this session is not at {path} any longer: put it back, or choose where it lies now."
        )
    return Origin(path, pattern)


def _shown(saved: SavedSession, screen: Screen) -> Job[tuple[Field, FieldImage, NDArray[Any] | None]]:
    place = saved.value("place", default={})
    key = place.get("field")
    field = next((one for one in screen if one.key == key), None)
    if field is None:
        if key is not None:
            saved.problems.append(f"The screen has no field {key} any longer: its first one is shown.")
        field = screen.fields[0]
    return (yield from jobs.read_field(field))


def _adapter(
    saved: SavedSession, screen: Screen, about: Mapping[str, Any], device: str
) -> Job[tuple[Adapter, Translator, str] | None]:
    folder = str(about.get("folder", ""))
    try:
        loaded = yield from jobs.load_translator(Path(folder), device)
        adapter, translator, _ = loaded
        adapter.check_channels(tuple(screen.channel_names), "this screen")
    except PhenolensError as error:
        saved.problems.append(f"The adapter could not be loaded, so no translated cell is shown: {error}")
        return None
    mark = saved.value("adapter mark", str)
    if mark is not None and adapter.sha256() != mark:
        saved.problems.append(
            f"The adapter in {folder} was made anew since: cells are shown as the earlier one translated them."
        )
    held = [name for name in saved.value("held", list, []) if name in adapter.channel_names]
    with suppress(ModelError):  # damaged, or of a later version: as by itself
        how = TranslationSettings.from_dict(saved.value("how", default={}))
        if how.steps <= MOST_STEPS:
            translator.settings = how
    translator.hold(held)
    return loaded


def _translated(saved: SavedSession, fields: set[str], loaded: tuple[Adapter, Translator, str]) -> list[TranslatedCell]:
    adapter, _, device = loaded
    found, damaged = [], 0
    for name, value in saved.under("translated"):
        cell = _cell(value)
        if cell is None or cell.field not in fields or set(cell.conditions) != set(adapter.conditions):
            damaged += cell is None
            continue
        if "file" in value:
            translation = saved_translation(saved, name, value, device)
            fits = translation is not None and len(translation.crop) == len(adapter.channel_names)
            cell.translation = translation if fits else None
            damaged += not fits
        found.append(cell)  # one whose result is missing is translated again
    if damaged:
        saved.problems.append(f"{damaged} translated cell{'s are' if damaged > 1 else ' is'} damaged.")
    return found


def _cell(value: Mapping[str, Any]) -> TranslatedCell | None:
    try:
        t, z = (int(at) for at in value["position"])
        source, target = (str(one) for one in value["conditions"])
        y, x = float(value["y"]), float(value["x"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not (abs(y) < 1e9 and abs(x) < 1e9):
        return None
    return TranslatedCell(
        str(value.get("field")), y, x, str(value.get("name", "cell"))[:200], (source, target), position=(t, z)
    )


def _several(keys: list[str]) -> str:
    return f"field {keys[0]}" if len(keys) == 1 else f"{len(keys)} fields ({keys[0]} first)"


def put_back(session: Session, found: Restored) -> None:
    """Give a session what was brought back, but for its screen and its field, which the dock shows."""
    saved = found.saved
    if found.cells is not None:
        about = saved.value("cells", default={})
        crop, nucleus = about.get("crop"), about.get("nucleus_channel")
        if isinstance(crop, int) and 16 <= crop <= 8192:
            session.set_crop(crop, about.get("crop_chosen") is True)
        channels = len(found.screen.channel_names)
        session.set_cells(
            found.cells,
            nucleus if isinstance(nucleus, int) and 0 <= nucleus < channels else None,
            _position(about.get("position")),
        )
    for record in saved.state.said:
        with suppress(AnnotationError, TypeError, ValueError, OverflowError):
            session.annotations.repeat(record)
    if found.adapter is not None:
        session.set_adapter(*found.adapter)
        session.bring_back(found.translated)
    if saved.value("limit", str) in ("cell", "crop"):
        session.set_limit(saved.value("limit", str))
    strength = saved.value("strength", (int, float), 1.0)
    session.set_strength(float(strength) if 0 <= strength <= 1.5 else 1.0)


def chosen_cell(saved: SavedSession) -> tuple[str, int] | None:
    """The cell that was spoken of."""
    chosen = saved.value("chosen", list, [])
    fine = len(chosen) == 2 and isinstance(chosen[0], str) and isinstance(chosen[1], int)
    return (chosen[0], chosen[1]) if fine else None


def position_of(saved: SavedSession) -> tuple[int, int] | None:
    """Time and depth (t, z) of the plane that was shown."""
    return _position(saved.value("place", default={}).get("position"))


def _position(value: object) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(at, int) and 0 <= at < 2**31 for at in value):
        return int(value[0]), int(value[1])
    return None
