"""What the commands on profiles share: an atlas from a file or a folder, and corrections in words."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phenolens.runtime.errors import ScreenError

if TYPE_CHECKING:
    from phenolens.cli.console import Console
    from phenolens.profiling.atlas.atlas import Atlas

Correct = Annotated[
    str,
    typer.Option(
        "--correct",
        help="What is taken out: scale (each plate by its controls), sphere (by all controls), both or none.",
        metavar="scale,sphere|scale|sphere|none",
    ),
]


def corrections_from(text: str) -> tuple[str, ...]:
    """Read the value of ``--correct``.

    Raises
    ------
    ScreenError
        It names another correction.
    """
    from phenolens.profiling.corrections.plate_correction import CORRECTIONS

    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return ()
    wrong = [name for name in names if name not in CORRECTIONS]
    if wrong or not names:
        raise ScreenError(
            f"There is no correction '{wrong[0] if wrong else text}': choose scale,sphere or scale or sphere or none."
        )
    return tuple(names)


def open_atlas(console: "Console", source: Path, correct: str) -> "Atlas":
    """Load the atlas in a folder, or make one, with principal components, of a file of profiles.

    Raises
    ------
    ModelError, ScreenError
        It is neither, or cannot be used.
    """
    from phenolens.profiling.atlas.atlas import CARD, Atlas
    from phenolens.profiling.tables.profile_files import read_profiles

    chosen = corrections_from(correct)
    if source.is_dir() and ((source / CARD).is_file() or not any(source.glob("*.npz"))):
        return Atlas.load(source)
    return console.follow(Atlas.fit(read_profiles(source), correct=chosen))
