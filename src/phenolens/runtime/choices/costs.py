"""What a step of long work took here the last time: the only honest ground to say how long the next run will take."""

from contextlib import suppress
from pathlib import Path

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.files import write_json
from phenolens.runtime.json_files import read_json

_MOST = 200


def _file() -> Path:
    return cache_folder() / "costs.json"


def seconds_a_step(kind: tuple[str, ...]) -> float | None:
    """Seconds that a step of such work took the last time on this computer; None where it was never done."""
    found = _read().get(_key(kind))
    return float(found) if isinstance(found, int | float) and found > 0 else None


def remember_cost(kind: tuple[str, ...], seconds: float) -> None:
    """Remember what a step took; where that cannot be written, nothing is remembered.

    Parameters
    ----------
    kind
        What the cost depends on, such as device, base, method and batch.
    seconds
        Of one step.
    """
    known = _read()
    known.pop(_key(kind), None)
    known[_key(kind)] = round(seconds, 4)
    with suppress(PhenolensError, OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), dict(list(known.items())[-_MOST:]))


def _read() -> dict[str, object]:
    with suppress(PhenolensError, OSError, ValueError):
        found = read_json(_file())
        if isinstance(found, dict):
            return {str(name): value for name, value in found.items()}
    return {}


def _key(kind: tuple[str, ...]) -> str:
    return " | ".join(kind)
