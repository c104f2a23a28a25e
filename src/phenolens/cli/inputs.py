"""What a command is given to work on: a screen, or images one by one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from phenolens.screens.table import Screen


def open_screen(path: Path, pattern: str | None) -> "Screen":
    """Open one screen; `pattern` reads the file names of a folder.

    Raises
    ------
    ScreenError, ImageError
        It is not usable, or a pattern is given for what is no folder.
    """
    from phenolens.screens.table import read_screen

    if pattern is not None and path.exists() and not path.is_dir():
        raise ScreenError(f"--pattern reads the names of the images in a folder, and {path} is none: leave it out.")
    return read_screen(path, pattern)


def open_inputs(paths: Sequence[Path], pattern: str | None = None) -> "Screen":
    """Open one screen (table, folder or image), or several images as one screen.

    Raises
    ------
    ScreenError, ImageError
        Where one of them is not usable, two images would share the names of their results, or a pattern is given for
        what is no folder.
    """
    import pandas as pd

    from phenolens.screens.table import TABLE_SUFFIXES, Screen

    if len(paths) == 1:
        return open_screen(paths[0], pattern)
    for path in paths:
        if path.is_dir() or path.suffix.lower() in TABLE_SUFFIXES:
            raise ScreenError(f"{path} is a screen: give one screen alone, or one or more images.")
    opened = [open_screen(path, pattern) for path in paths]
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
