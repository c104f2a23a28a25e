"""What lies in the cache: bases, networks made ready, samples; how large it is, and deleting it."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import OutputError
from phenolens.runtime.outputs import read_mark

_PARTIAL = ".partial-"
_KINDS = {"bases": "base model", "networks": "networks made ready"}


@dataclass(frozen=True)
class Kept:
    """One thing in the cache.

    Parameters
    ----------
    kind, name
        What it is, and what it is called.
    path, size
        Where it lies, and its size in bytes.
    """

    kind: str
    name: str
    path: Path
    size: int


def kept_in_cache(samples: tuple[str, ...] = ()) -> list[Kept]:
    """What this program has put into its cache, the largest first; files of others in there are not listed.

    Parameters
    ----------
    samples
        Names of samples that may be there.
    """
    cache = cache_folder()
    found = [("sample", name, cache / name) for name in samples if _is_ours(cache / name)]
    found += [(_KINDS["networks"], "for ONNX Runtime", cache / "networks")]
    for path in _bases():
        # what a download left that was broken off is listed too: it takes room
        unfinished = ", unfinished" if path.name.startswith(_PARTIAL) else ""
        found.append((_KINDS["bases"] + unfinished, _name_of(path), path))
    there = [Kept(kind, name, path, _size(path)) for kind, name, path in found if path.is_dir()]
    return sorted(there, key=lambda one: one.size, reverse=True)


def bases_in_cache() -> list[str]:
    """Names of the bases that are whole in the cache, as they are asked for."""
    return sorted(_name_of(path) for path in _bases() if not path.name.startswith(_PARTIAL) and path.is_dir())


def delete_kept(kept: Kept) -> None:
    """Delete something of the cache; it is made or downloaded again when it is needed.

    Raises
    ------
    OutputError
        It lies outside the cache, or cannot be deleted.
    """
    inside = kept.path.resolve().is_relative_to(cache_folder().resolve())
    if not inside or kept.path.resolve() == cache_folder().resolve() or kept.path.is_symlink():
        raise OutputError(f"{kept.path} is no part of the cache, and is not deleted.")
    try:
        shutil.rmtree(kept.path)
    except OSError as error:
        raise OutputError(f"{kept.path} cannot be deleted ({error.strerror or error}): close what uses it.") from error


def _is_ours(folder: Path) -> bool:
    """Whether a sample's folder, or one in it, has the mark of our outputs: a folder of that name may be anybody's."""
    return any(read_mark(one) is not None for one in (folder, *folder.glob("*/")))


def _bases() -> list[Path]:
    folder = cache_folder() / "bases"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _name_of(base: Path) -> str:
    return base.name.removeprefix(_PARTIAL).replace("--", "/")


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total
