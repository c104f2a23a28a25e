"""What lies in the cache: bases, networks made ready, samples; how large it is, and deleting it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import OutputError
from phenolens.runtime.output_kinds import DOWNLOAD, NETWORKS, PLATE, SAMPLE, SCREEN
from phenolens.runtime.outputs import read_mark, remove_files, whose

_BASE, _NETWORKS, _SAMPLE = "base model", "networks made ready", "sample"
_UNFINISHED = ", unfinished"
_PARTIAL = ".partial-"
_KINDS = {
    _BASE: DOWNLOAD,
    _BASE + _UNFINISHED: DOWNLOAD,
    _NETWORKS: NETWORKS,
    _SAMPLE: SAMPLE,
    _SAMPLE + _UNFINISHED: PLATE,
}


@dataclass(frozen=True)
class Kept:
    """One thing in the cache.

    Parameters
    ----------
    kind, name
        What it is, and what it is called.
    path, size
        Where it lies, and how many bytes this program has written there.
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
    found = [_sample(name, cache / name) for name in samples]
    found.append((_NETWORKS, "for ONNX Runtime", cache / "networks"))
    # what a download left that was broken off is listed too: it takes room
    found += [(_BASE + _UNFINISHED if _is_partial(path) else _BASE, _name_of(path), path) for path in _bases()]
    listed = []
    for kind, name, path in found:
        ours, _ = whose(path, _KINDS[kind])
        if ours:
            listed.append(Kept(kind, name, path, sum(_size(path / one) for one in ours)))
    return sorted(listed, key=lambda one: one.size, reverse=True)


def bases_in_cache() -> list[str]:
    """Names of the bases that are whole in the cache, as they are asked for."""
    return sorted(_name_of(path) for path in _bases() if path.is_dir() and not _is_partial(path))


def delete_kept(kept: Kept) -> list[str]:
    """Delete something of the cache; it is made or downloaded again when it is needed.

    Returns
    -------
    list of str
        What others have put into its folder, as relative paths: it is left there.

    Raises
    ------
    OutputError
        It lies outside the cache, or cannot be deleted.
    """
    inside = kept.path.resolve().is_relative_to(cache_folder().resolve())
    if not inside or kept.path.resolve() == cache_folder().resolve() or kept.path.is_symlink():
        raise OutputError(f"{kept.path} is no part of the cache, and is not deleted.")
    ours, others = whose(kept.path, _KINDS[kept.kind])
    remove_files(kept.path, ours)
    if any((kept.path / one).exists() for one in ours):
        raise OutputError(f"{kept.path} cannot be deleted, or not all of it: close what uses it, and try again.")
    return others


def _bases() -> list[Path]:
    folder = cache_folder() / "bases"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_partial(base: Path) -> bool:
    return base.name.startswith(_PARTIAL)


def _name_of(base: Path) -> str:
    return base.name.removeprefix(_PARTIAL).replace("--", "/")


def _sample(name: str, folder: Path) -> tuple[str, str, Path]:
    """Where a sample lies, by the mark that tells it from a folder of that name: by itself, or as it was downloaded."""
    for place in (folder, folder / "screen"):
        if (read_mark(place) or {}).get("kind") in (SCREEN.name, SAMPLE.name):
            return _SAMPLE, name, place
    return _SAMPLE + _UNFINISHED, name, folder / "plate1.zarr"


def _size(file: Path) -> int:
    with suppress(OSError):
        return file.lstat().st_size
    return 0
