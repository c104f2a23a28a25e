"""What a command is given to work on: a screen, or images one by one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from phenolens.runtime.contents import content_of
from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from phenolens.screens.cells import CellFinder
    from phenolens.screens.table import Screen


def open_screen(place: str | Path, pattern: str | None, conditions: Path | None = None) -> "Screen":
    """Open one screen.

    Parameters
    ----------
    place
        Path, or URL of an OME-Zarr plate or image.
    pattern
        Reads the file names of a folder.
    conditions
        Table of what was in each well of an OME-Zarr plate.

    Raises
    ------
    ScreenError, ImageError
        It is not usable, or a pattern is given for what is no folder of files.
    """
    from phenolens.screens.label_images import holds_labels
    from phenolens.screens.ome_zarr.folders import is_url, is_zarr
    from phenolens.screens.table import read_screen

    folder = None if is_url(place) else content_of(place)
    if folder is not None and folder.name == "images" and pattern is None and holds_labels(Path(place)):
        raise ScreenError(f"{place} holds label images: give the screen that they are of, and them with --cells.")
    if pattern is not None and (is_url(place) or is_zarr(place) or Path(place).is_file()):
        raise ScreenError(f"--pattern reads the names of the images in a folder, and {place} is none: leave it out.")
    return read_screen(place, pattern, conditions)


def open_inputs(paths: Sequence[str | Path], pattern: str | None = None, conditions: Path | None = None) -> "Screen":
    """Open one screen (table, folder, OME-Zarr plate or image), or several images as one screen.

    Raises
    ------
    ScreenError, ImageError
        Where one of them is not usable, two images would share the names of their results, or a pattern is given for
        what is no folder.
    """
    import pandas as pd

    from phenolens.screens.ome_zarr.folders import is_url, is_zarr
    from phenolens.screens.table import TABLE_SUFFIXES, Screen

    if len(paths) == 1:
        return open_screen(paths[0], pattern, conditions)
    opened = []
    for path in paths:
        zarr = is_url(path) or is_zarr(path)
        if not zarr and (Path(path).is_dir() or Path(path).suffix.lower() in TABLE_SUFFIXES):
            raise ScreenError(f"{path} is a screen: give one screen alone, or one or more images.")
        screen = open_screen(path, pattern, conditions)
        if len(screen) > 1:
            raise ScreenError(f"{path} is a screen: give one screen alone, or one or more images.")
        opened.append(screen)
    # One agreement for all, so that an image whose channels differ from the first one's is named.
    agreement = opened[0].fields[0].agreement
    fields = tuple(replace(field, agreement=agreement) for screen in opened for field in screen)
    first: dict[str, str | Path] = {}
    for field, path in zip(fields, paths, strict=True):
        if (other := first.setdefault(field.key, path)) is not path:
            raise ScreenError(
                f"The results of {other} and {path} would both be called {field.key}: "
                "translate them into different folders."
            )
    return Screen(pd.concat([screen.table for screen in opened]), fields)


def some_wells(screen: "Screen", count: int) -> "Screen":
    """The fields of `count` wells, spread evenly over the screen; all where it has no more.

    Parameters
    ----------
    count
        1 or more.
    """
    import numpy as np

    wells = list(dict.fromkeys(field.well for field in screen))
    if count >= len(wells):
        return screen
    chosen = {wells[place] for place in np.linspace(0, len(wells) - 1, count).round().astype(int)}
    return screen.select([field.well in chosen for field in screen])


def with_finder(
    screen: "Screen", how: str | Path, channel: str | None = None, diameter: float | None = None
) -> "tuple[Screen, CellFinder]":
    """A screen with the channels of its first field that can be read, and what finds its cells.

    Parameters
    ----------
    how
        As ``--cells`` has it.
    channel
        The channel that shows nuclei; guessed where None.
    diameter
        About how many pixels a nucleus is wide, for segmenters that ask for it.

    Raises
    ------
    ScreenError, CellError, ImageError
        There is no such channel, no field can be read, or cells cannot be found in this way.
    """
    from phenolens.screens.cells import cell_finder, first_readable, guess_nucleus_channel
    from phenolens.screens.segmenters import segmenter_named

    first = first_readable(screen)
    screen = replace(screen, declared_channels=screen.declared_channels or first.alone().image().channel_names)
    nucleus = None
    if channel is not None:
        if channel not in (names := list(screen.channel_names)):
            raise ScreenError(f"The screen has no channel '{channel}': it has {', '.join(names)}.")
        nucleus = names.index(channel)
    elif segmenter_named(str(how)) is not None:
        nucleus = guess_nucleus_channel(screen.select([field.key == first.key for field in screen]))
    return screen, cell_finder(screen, how, nucleus_channel=nucleus, diameter=diameter)
