"""JSON that others may have written, read within bounds of size and depth."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from phenolens.runtime.drives.network import patiently
from phenolens.runtime.limits import JSON_DEPTH, JSON_MB


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file in UTF-8.

    Raises
    ------
    ValueError
        It is no plain file, no JSON, larger than ``PHENOLENS_MAX_JSON_MB``, or nested deeper than
        ``PHENOLENS_MAX_JSON_DEPTH``.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    content = patiently(lambda: _content(path))
    try:
        return parsed_json(content)
    except ValueError as error:
        raise ValueError(f"{path.name} is not usable JSON: {error}") from error


def _content(path: Path) -> bytes:
    if os.path.lexists(path) and not path.is_file():
        raise ValueError(f"{path.name} is no plain file")  # a pipe would be waited for without end
    size = path.stat().st_size
    if size > JSON_MB() * 2**20:
        raise ValueError(f"{path.name} has {size / 2**20:.0f} MiB, more than the {JSON_MB()} that are read")
    return path.read_bytes()


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that holds an object, as `read_json` does; a ValueError where it holds something else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{Path(path).name} does not hold an object of names and values")
    return found


def parsed_json(text: str | bytes) -> Any:
    """Parse JSON within the bound of depth; a ValueError where it is none or nested too deeply."""
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _check_depth(found)
    return found


def _check_depth(found: Any) -> None:
    most = JSON_DEPTH()
    level, depth = [found], 0
    while level:
        depth += 1
        if depth > most + 1:
            raise ValueError(f"it is nested deeper than {most} levels")
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                deeper.extend(value.values())
            elif isinstance(value, list):
                deeper.extend(value)
        level = deeper
