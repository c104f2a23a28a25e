"""Output folders that are replaced as a whole."""

from pathlib import Path

from phenolens.runtime.errors import OutputError


def check_replaceable(folder: Path, marker: str, what: str) -> None:
    """Make sure that replacing `folder` loses nothing but an earlier result.

    Parameters
    ----------
    marker
        File that every earlier result of the kind holds.
    what
        What such a result is called.

    Raises
    ------
    OutputError
        Where the folder holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / marker).is_file():
        raise OutputError(f"{folder} exists and is not {what}: choose another folder, so that nothing is overwritten.")
