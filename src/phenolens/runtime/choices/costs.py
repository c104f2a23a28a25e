"""What long work took here the last time: the only honest ground to say what the next run will take."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.files import write_json
from phenolens.runtime.json_files import read_json

_MOST = 200


@dataclass(frozen=True)
class Cost:
    """What such work takes.

    Parameters
    ----------
    seconds
        Of one step.
    memory
        Bytes of the device that the whole run took at most; 0 where that is not known.
    """

    seconds: float
    memory: int = 0


def last_cost(kind: tuple[str, ...]) -> Cost | None:
    """What such work took the last time on this computer; None where it was never done."""
    found = _read().get(_key(kind))
    if not isinstance(found, dict):
        return None
    seconds, memory = found.get("seconds"), found.get("memory")
    if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        return None
    return Cost(float(seconds), memory if isinstance(memory, int) and memory > 0 else 0)


def remember_cost(kind: tuple[str, ...], cost: Cost) -> None:
    """Remember what such work took; where that cannot be written, nothing is remembered.

    Parameters
    ----------
    kind
        What the cost depends on, such as device, base, method and batch.
    """
    known = _read()
    known.pop(_key(kind), None)
    known[_key(kind)] = asdict(Cost(round(cost.seconds, 4), cost.memory))
    with suppress(PhenolensError, OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), dict(list(known.items())[-_MOST:]))


def _file() -> Path:
    return cache_folder() / "costs.json"


def _read() -> dict[str, object]:
    with suppress(PhenolensError, OSError, ValueError):
        found = read_json(_file())
        if isinstance(found, dict):
            return {str(name): value for name, value in found.items()}
    return {}


def _key(kind: tuple[str, ...]) -> str:
    return " | ".join(kind)
