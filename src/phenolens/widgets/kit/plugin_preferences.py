"""What stands in napari's preferences under Phenolens, handed to the library: now, and whenever it is changed there."""

from contextlib import suppress
from typing import Any

from napari.settings import get_plugin_settings
from napari.utils.notifications import show_error

from phenolens.runtime.choices.preferences import prefer, preferences
from phenolens.runtime.errors import PhenolensError

_PLUGIN = "napari-phenolens"


def follow_preferences() -> None:
    """Take over napari's preferences, and go on doing so; what environment variables say wins over them."""
    try:
        settings = get_plugin_settings(_PLUGIN)
    except KeyError:  # the plugin is switched off, and somebody opens its dock all the same
        return
    for group in _groups(settings):
        group.events.disconnect(_hand_over)  # each dock that opens asks for this
        group.events.connect(_hand_over)
    _hand_over()


def take_first_start() -> bool:
    """Whether the tour is to be shown: once, unless the preferences ask for it again."""
    wanted = bool(preferences().tour)
    if wanted:
        with suppress(KeyError):
            get_plugin_settings(_PLUGIN).defaults.tour = 0
    return wanted


def _groups(settings: Any) -> list[Any]:
    return [getattr(settings, name) for name in ("computing", "defaults")]


def _hand_over(_: Any = None) -> None:
    settings = get_plugin_settings(_PLUGIN)
    values = {name: value for group in _groups(settings) for name, value in group.model_dump().items()}
    try:
        prefer(values)
    except PhenolensError as error:
        show_error(str(error))
