"""What a call is given, in one form: a screen or its path, a condition or its text, a model in any form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenolens.screens.conditions import Condition
    from phenolens.screens.table import Screen
    from phenolens.translation.apply.settings import TranslationSettings
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.adapter import Adapter


def opened_screen(screen: Screen | str | Path) -> Screen:
    """Return the screen that is meant, opened where its path is given."""
    from phenolens.screens.table import Screen, read_screen

    return screen if isinstance(screen, Screen) else read_screen(screen)


def parsed(condition: Condition | str) -> Condition:
    """Return the condition that is meant, read where its text is given."""
    from phenolens.screens.conditions import Condition

    return Condition.parse(condition) if isinstance(condition, str) else condition


def channel_index(screen: Screen, channel: int | str | None) -> int | None:
    """Return the index of a channel that is given by index or by name; raise `ScreenError` where there is none."""
    from phenolens.runtime.errors import ScreenError

    if not isinstance(channel, str):
        return channel
    if channel not in screen.channel_names:
        raise ScreenError(f"The screen has no channel '{channel}': it has {', '.join(screen.channel_names)}.")
    return screen.channel_names.index(channel)


def chosen_model(
    model: Translator | Adapter | str | Path,
    device: str,
    **asked: Any,
) -> tuple[Adapter, TranslationSettings, str]:
    """The adapter that is meant, how to translate, and where: as asked for, else as chosen for the translator.

    What is asked for are fields of `TranslationSettings`; None leaves one to the translator.
    """
    from phenolens.translation.apply.settings import TranslationSettings
    from phenolens.translation.apply.translator import Translator
    from phenolens.translation.model.shipped import find_adapter

    chosen = TranslationSettings()
    if isinstance(model, Translator):
        chosen, device, model = model.settings, model.base.device, model.adapter
    asked = {name: value for name, value in asked.items() if value is not None}
    return find_adapter(model), replace(chosen, **asked), device
