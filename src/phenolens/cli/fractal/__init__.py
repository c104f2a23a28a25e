"""Tasks for Fractal, which calls each for one image of a plate after the other, or for many at once.

Each call is one job of an array over the plate's images; the one that finds all of them done ends the work.
"""

import argparse
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolens.runtime.engines.doing import OthersFirst
from phenolens.runtime.engines.parts import Part
from phenolens.runtime.errors import FieldsFailed, ScreenError
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.locks import Held
from phenolens.runtime.progress import Job, finish

if TYPE_CHECKING:
    from phenolens.screens.table import Field, Screen


def image_of_plate(zarr_url: str) -> "tuple[Screen, Field, Part]":
    """The plate that an image lies in, the image as a field of it, and which job of an array it is.

    Raises
    ------
    ScreenError
        It is no image of a plate.
    """
    from phenolens.screens.table import read_screen

    place = zarr_url.rstrip("/")
    screen = read_screen(place.rsplit("/", 3)[0])
    for number, field in enumerate(screen, start=1):
        if field.address.rstrip("/") == place:
            return screen, field, Part(number, len(screen))
    raise ScreenError(f"{zarr_url} is no image of an OME-Zarr plate: give one as its plate names it.")


def end_if_last(gathering: Job[Any]) -> None:
    """End the work where all images are done; where not, a later call does."""
    with suppress(OthersFirst, Held, FieldsFailed):
        finish(gathering)


def called_by_fractal(task: Callable[..., dict[str, Any]]) -> None:
    """Run a task with the arguments of a JSON file, and write what it returns to another."""
    parser = argparse.ArgumentParser(description=task.__doc__)
    parser.add_argument("--args-json", type=Path, required=True)
    parser.add_argument("--out-json", type=Path, required=True)
    files = parser.parse_args()
    made = task(**read_json_object(files.args_json))
    files.out_json.write_text(json.dumps(made), encoding="utf-8")
