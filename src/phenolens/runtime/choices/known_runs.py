"""Which runs were started from the viewer, so that they are found again after it was closed."""

from contextlib import suppress
from pathlib import Path

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.engines.run_file import PROGRESS
from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.files import absolute, write_json
from phenolens.runtime.json_files import read_json

_MOST = 20


def known_runs() -> list[Path]:
    """Output folders of runs that were started and not looked at since they ended, the latest first."""
    with suppress(PhenolensError, OSError, ValueError):
        found = read_json(_list())
        if isinstance(found, list):
            return [Path(one) for one in found if isinstance(one, str) and (Path(one) / PROGRESS).is_file()]
    return []


def remember_run(folder: Path) -> None:
    """Keep the output folder of a run in mind; where that cannot be written, it is not."""
    _keep([absolute(folder), *(one for one in known_runs() if one != absolute(folder))])


def forget_run(folder: Path) -> None:
    """A run has ended, and somebody has seen it."""
    _keep([one for one in known_runs() if one != absolute(folder)])


def _keep(folders: list[Path]) -> None:
    with suppress(PhenolensError, OSError):
        _list().parent.mkdir(parents=True, exist_ok=True)
        write_json(_list(), [str(one) for one in folders[:_MOST]])


def _list() -> Path:
    return cache_folder() / "runs.json"
