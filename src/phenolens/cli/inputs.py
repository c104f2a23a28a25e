"""What a command is given to translate: a screen, or images one by one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from phenolens.screens.table import Screen


def open_inputs(paths: Sequence[Path]) -> "Screen":
    """Open one screen (table, folder or image), or several images as one screen.

    Raises
    ------
    ScreenError, ImageError
        Where one of them is not usable, or two images would share the names of their results.
    """
    import pandas as pd

    from phenolens.screens.table import TABLE_SUFFIXES, Screen, read_screen

    if len(paths) == 1:
        return read_screen(paths[0])
    for path in paths:
        if path.is_dir() or path.suffix.lower() in TABLE_SUFFIXES:
            raise ScreenError(f"{path} is a screen: give one screen alone, or one or more images.")
    opened = [read_screen(path) for path in paths]
    # One agreement for all, so that an image whose channels differ from the first one's is named.
    agreement = opened[0].fields[0].agreement
    fields = tuple(replace(field, agreement=agreement) for screen in opened for field in screen)
    first: dict[str, Path] = {}
    for field, path in zip(fields, paths, strict=True):
        if (other := first.setdefault(field.key, path)) is not path:
            raise ScreenError(
                f"The results of {other} and {path} would both be called {field.key}: "
                "translate them into different folders."
            )
    return Screen(pd.concat([screen.table for screen in opened]), fields)
