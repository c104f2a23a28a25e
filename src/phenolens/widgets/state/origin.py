"""Where a screen comes from, so that it can be opened again."""

from dataclasses import dataclass
from pathlib import Path

from phenolens.runtime.files import absolute
from phenolens.screens.ome_zarr.folders import is_url


@dataclass(frozen=True)
class Origin:
    """Where a screen was read from: its path or URL, and the pattern by which its files' names were read."""

    path: str
    pattern: str | None = None


def origin_of(path: str | Path | None, pattern: str | None = None) -> Origin | None:
    """Where a screen of `path` is read from, wherever the program runs; None where it was read from nowhere."""
    if path is None:
        return None
    return Origin(str(path) if is_url(path) else str(absolute(path)), pattern)
