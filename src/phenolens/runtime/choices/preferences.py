"""What a user has chosen once for all: environment variables first, then what a program such as the viewer handed over.

The viewer hands over what stands in its own preferences; the command line and scripts have the variables.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from phenolens.runtime.errors import PhenolensError

METHODS = ("lora", "svdiff", "full")
_LIMITS = {
    "cache_mb": (1, 10_000_000),
    "threads": (0, 4096),
    "steps": (1, 100_000),
    "strength": (0.0, 1.5),
    "tour": (0, 1),
}


@dataclass(frozen=True)
class Preferences:
    """Choices that hold wherever nobody says otherwise.

    Parameters
    ----------
    device
        What ``"auto"`` stands for: ``"auto"`` itself (a GPU where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``
        or ``"mps"``.
    cache
        Folder of downloads, samples and networks made ready for this computer; the user's cache folder where empty.
    cache_mb
        Megabytes of such networks that are kept; those used longest ago go first. As with all limits, the variable
        ``PHENOLENS_MAX_NETWORKS_MB`` wins.
    threads
        Threads to compute with at most; as many as there are free cores where 0.
    method, steps
        How the viewer offers to fine-tune.
    strength
        Where the viewer's slider stands at first.
    tour
        Whether the viewer's dock begins with a tour; 0 or 1.
    """

    device: str = "auto"
    cache: str = ""
    cache_mb: int = 1024
    threads: int = 0
    method: str = "lora"
    steps: int = 900
    strength: float = 1.0
    tour: int = 1


_VARIABLES = {one.name: f"PHENOLENS_{one.name.upper()}" for one in fields(Preferences) if one.name != "cache_mb"}
_handed_over: dict[str, Any] = {}


def preferences() -> Preferences:
    """The choices in force now.

    Raises
    ------
    PhenolensError
        An environment variable holds what it cannot.
    """
    chosen = dict(_handed_over)
    for name, variable in _VARIABLES.items():
        if written := os.environ.get(variable, "").strip():
            chosen[name] = _checked(name, written, variable)
    return Preferences(**chosen)


def prefer(values: Mapping[str, Any]) -> None:
    """Take over choices by name, for this process; what is not named is as it is by itself.

    Raises
    ------
    PhenolensError
        A value cannot be.
    """
    known = {one.name for one in fields(Preferences)}
    taken = {name: _checked(name, value, f"The preference '{name}'") for name, value in values.items() if name in known}
    _handed_over.clear()
    _handed_over.update(taken)


def cache_folder() -> Path:
    """Folder of downloads, samples and networks made ready for this computer, which need not exist yet."""
    if chosen := preferences().cache:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("phenolens", appauthor=False))


def _checked(name: str, value: Any, where: str) -> Any:
    default = getattr(Preferences(), name)
    try:
        # 1e3 is a whole number, too
        made = int(float(value)) if isinstance(default, int) else type(default)(value)
    except (TypeError, ValueError, OverflowError):
        raise PhenolensError(f"{where} is {value!r}: give a number, or unset it.") from None
    if name == "method" and made not in METHODS:
        raise PhenolensError(f"{where} is {value!r}: give one of {', '.join(METHODS)}, or unset it.")
    if name in _LIMITS and not _LIMITS[name][0] <= made <= _LIMITS[name][1]:
        low, high = _LIMITS[name]
        raise PhenolensError(f"{where} is {value!r}: give a number from {low:g} to {high:g}, or unset it.")
    return made
